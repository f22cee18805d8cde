-- Notes which record is processed alone now; with null, that the search is over. By assignments_pkey.
update assignments
set touched = $4::bigint, deaths = case when $4::bigint is null then 0 else deaths end
where group_id = $1 and topic = $2 and partition = $3::integer
