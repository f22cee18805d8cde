-- Notes that the assignments of these partitions have ended in order: nothing has died. By assignments_pkey.
update assignments
set held = false, touched = null, deaths = 0
where group_id = $1 and topic = $2 and partition = any($3::integer[])
