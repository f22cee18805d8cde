-- `read.sql` for one request: its key ($1) and its customer ($2), each of which may be null. One row.
select
    r.key, r.source, r.id, r.customer,
    r.record_topic, r.record_partition, r.record_offset, r.record_timestamp,
    r.fingerprint, r.outcome, r.answer, r.received_at,
    c.customer, c.email, c.first_name, c.last_name, c.billing_address_id, c.phone, c.has_account, c.metadata,
    c.created_at, c.updated_at, c.deleted_at, c.version,
    c.patient, c.customer, c.patient_first_name, c.patient_last_name, c.date_of_birth, c.gender, c.address, c.address2,
    c.city, c.state, c.postal_code, c.country, c.effective_at, c.patient_created_at, c.patient_updated_at,
    c.patient_deleted_at
from (values ($1::bytea, $2::text)) as asked (key, customer)
left join requests as r on r.key = asked.key
left join customers as c on c.customer = asked.customer
