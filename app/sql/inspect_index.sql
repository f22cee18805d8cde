-- Is there a schema of ours (its revision table, $1), and is this index ($2) complete? Null when there is none.
select
    to_regclass($1::text) is not null as there,
    (select i.indisvalid from pg_index as i where i.indexrelid = to_regclass($2::text)) as valid
