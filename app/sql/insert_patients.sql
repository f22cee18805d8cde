-- Adds new patients, sorted by customer. One whose id or customer is taken is left alone and missing from the count.
-- Nothing to plan: rows come from the arrays, conflicts from patients_pkey and patients_customer_key.
insert into patients (
    patient, customer, first_name, last_name, date_of_birth, gender, address, address2, city, state, postal_code,
    country, effective_at, created_at, updated_at, deleted_at, version
)
-- The driver sends the first moment of year 1, which some senders use for "no time", as -infinity: greatest() undoes it.
select
    patient, customer, first_name, last_name, date_of_birth, gender, address, address2, city, state, postal_code,
    country, greatest(effective_at, '0001-01-01 00:00:00+00'), created_at, updated_at, deleted_at, version
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::date[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[],
    $16::timestamptz[], $17::bigint[]
) as new (
    patient, customer, first_name, last_name, date_of_birth, gender, address, address2, city, state, postal_code,
    country, effective_at, created_at, updated_at, deleted_at, version
)
on conflict do nothing
