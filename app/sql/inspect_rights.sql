-- Which of the rights that the worker uses does this role have? A row for each table and right; `granted` is null where
-- the table is not to be found in the role's search path.
select needed.name, needed.right_name, has_table_privilege(to_regclass(needed.name), needed.right_name) as granted
from unnest($1::text[], $2::text[]) as needed (name, right_name)
