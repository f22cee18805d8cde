-- Changes customers in the order given, which is sorted: what a request may change, the rest belongs to others. A row
-- that has moved on or was deleted since it was read is missing from the count. By customers_pkey (see begin.sql).
update customers as c
set email = new.email, phone = new.phone, updated_at = new.updated_at, version = new.version
from unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[]
) as new (customer, email, phone, updated_at, version)
where c.customer = new.customer and c.version = new.version - 1 and c.deleted_at is null
