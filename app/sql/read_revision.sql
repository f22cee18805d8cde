-- At which revision is the schema? One row, none before the first migration.
select version_num from patient_upsert_revision
