-- Which of these requests have their final answer, and what stands for these customers: their row and that of their
-- patient, deleted ones too? The two lists have nothing to do with each other: a row of the answer holds what the next of
-- each asked for, nulls where nothing was found or a list has ended. One look into requests_pkey a key, and one into
-- customers_pkey and patients_customer_key a customer (see begin.sql).
select
    r.key, r.source, r.id, r.customer,
    r.record_topic, r.record_partition, r.record_offset, r.record_timestamp,
    r.fingerprint, r.outcome, r.answer, r.received_at,
    c.customer, c.email, c.first_name, c.last_name, c.billing_address_id, c.phone, c.has_account, c.metadata,
    c.created_at, c.updated_at, c.deleted_at, c.version,
    p.patient, p.customer, p.first_name, p.last_name, p.date_of_birth, p.gender, p.address, p.address2, p.city, p.state,
    p.postal_code, p.country, p.effective_at, p.created_at, p.updated_at, p.deleted_at, p.version
from unnest($1::bytea[], $2::text[]) as asked (key, customer)
left join requests as r on r.key = asked.key
left join customers as c on c.customer = asked.customer
left join patients as p on p.customer = c.customer
