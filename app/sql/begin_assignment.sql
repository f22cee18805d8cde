-- Notes where the assignments of these partitions begin and where their first batch ends. Says how often in a row the last
-- ones have died on the first record (on it alone, or, the first time, in a batch that began with it), and up to where
-- the one that kills may lie. One look into assignments_pkey a partition.
insert into assignments as last (group_id, topic, partition, head, tail, held)
select $1, $2, new.partition, new.head, new.tail, true
from unnest($3::integer[], $4::bigint[], $5::bigint[]) as new (partition, head, tail)
order by new.partition
on conflict (group_id, topic, partition) do update set
    head = excluded.head,
    tail = case
        when last.held and excluded.head in (last.head, last.touched) then greatest(last.tail, excluded.head)
        else excluded.tail
    end,
    held = true,
    touched = null,
    deaths = case
        when not last.held then 0
        when last.touched = excluded.head then last.deaths + 1
        when last.head = excluded.head then greatest(last.deaths, 1)
        else 0
    end,
    begun_at = now()
returning last.partition, last.deaths, last.tail
