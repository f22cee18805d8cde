-- `update_customers.sql` for one row, and its answer. No row has been changed or added where the customer has moved on or
-- was deleted since it was read, or its patient is another. $1 to $19 are the parts of a `patient_upsert_change`.
with changed as (
    update customers as c
    set
        email = $2, phone = $3, updated_at = $4, patient = $5, patient_first_name = $6, patient_last_name = $7,
        date_of_birth = $8, gender = $9, address = $10, address2 = $11, city = $12, state = $13, postal_code = $14,
        country = $15, effective_at = $16, patient_created_at = $17, patient_updated_at = $18, version = $19::bigint
    where
        c.customer = $1 and c.version = $19::bigint - 1 and c.deleted_at is null
        and c.patient_deleted_at is null and (c.patient is null or c.patient = $5)
    returning c.customer
)
insert into requests (
    key, source, id, customer, record_topic, record_partition, record_offset, record_timestamp, fingerprint, outcome,
    answer, received_at
)
select
    $20::bytea, $21::text, $22::text, $23::text, $24::text, $25::integer, $26::bigint, $27::bigint, $28::bytea, $29::text,
    $30::bytea, $31::timestamptz
from changed
