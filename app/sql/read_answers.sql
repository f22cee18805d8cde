-- Which of these requests have their final answer? One look into requests_pkey a key (see begin.sql).
select
    r.key, r.source, r.id, r.customer,
    r.record_topic, r.record_partition, r.record_offset, r.record_timestamp,
    r.fingerprint, r.outcome, r.answer, r.received_at
from unnest($1::bytea[]) as asked (key)
join requests as r on r.key = asked.key
