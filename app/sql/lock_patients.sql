-- Locks the patients of these customers, as lock_customers.sql does and after it. By patients_customer_key.
select
from unnest($1::text[]) as asked (customer)
join patients as p on p.customer = asked.customer
order by p.customer
for no key update of p
