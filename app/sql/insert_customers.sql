-- Adds new customers in the order given, which is sorted. One that someone else has added meanwhile is left alone and
-- missing from the count. Nothing to plan: rows come from the arrays, conflicts from customers_pkey.
insert into customers (
    customer, email, first_name, last_name, billing_address_id, phone, has_account, metadata,
    created_at, updated_at, deleted_at, version
)
select *
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::jsonb[],
    $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::bigint[]
)
on conflict do nothing
