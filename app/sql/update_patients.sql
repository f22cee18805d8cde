-- Changes patients, sorted by customer. A row that has moved on or was deleted since it was read, or that is not this
-- customer's, is missing from the count. By patients_customer_key or patients_pkey (see begin.sql).
update patients as p
set
    first_name = new.first_name, last_name = new.last_name, date_of_birth = new.date_of_birth, gender = new.gender,
    address = new.address, address2 = new.address2, city = new.city, state = new.state,
    postal_code = new.postal_code, country = new.country, effective_at = new.effective_at,
    updated_at = new.updated_at, version = new.version
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::date[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::bigint[]
) as new (
    patient, customer, first_name, last_name, date_of_birth, gender, address, address2, city, state, postal_code,
    country, effective_at, updated_at, version
)
where
    p.customer = new.customer and p.patient = new.patient and p.version = new.version - 1 and p.deleted_at is null
