-- Locks the rows of these customers until the end of the transaction, in the order in which updates lock them, and as
-- strongly. By customers_pkey (see begin.sql).
select
from unnest($1::text[]) as asked (customer)
join customers as c on c.customer = asked.customer
order by c.customer
for no key update of c
