-- Removes the oldest stored answers of a topic, no more than $4, from a time on and given before another. One walk along
-- requests_received_at, then one look into requests_pkey an answer. A row for each, with its time.
delete from requests as r
using (
    select old.key
    from requests as old
    where old.received_at >= $1::timestamptz and old.received_at < $2::timestamptz and old.record_topic = $3::text
    order by old.received_at
    limit $4::integer
) as due
where r.key = due.key
returning r.received_at
