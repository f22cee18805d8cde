-- What stands for these customers: their row and that of their patient, deleted ones too. One look into customers_pkey
-- and one into patients_customer_key a customer (see begin.sql).
select
    c.customer, c.email, c.first_name, c.last_name, c.billing_address_id, c.phone, c.has_account, c.metadata,
    c.created_at, c.updated_at, c.deleted_at, c.version,
    p.patient, p.customer, p.first_name, p.last_name, p.date_of_birth, p.gender, p.address, p.address2, p.city, p.state,
    p.postal_code, p.country, p.effective_at, p.created_at, p.updated_at, p.deleted_at, p.version
from unnest($1::text[]) as asked (customer)
join customers as c on c.customer = asked.customer
left join patients as p on p.customer = c.customer
