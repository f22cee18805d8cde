-- Notes which record is processed alone now; null: none. Deaths were counted on the first record (head), so what another
-- one inherits of them is no more than the suspicion. By assignments_pkey.
update assignments
set touched = $4::bigint, deaths = case when $4::bigint = head then deaths else least(deaths, 1) end
where group_id = $1 and topic = $2 and partition = $3::integer
