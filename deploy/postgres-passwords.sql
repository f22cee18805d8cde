-- For docker-compose.yml: the roles that log in get the password with which this is run (PGPASSWORD).
-- Elsewhere give each its own; see docs/deploy.md.
\getenv password PGPASSWORD
set password_encryption = 'scram-sha-256';
-- for this session alone: a server that logs statements would log the password
set log_statement = none;
set log_min_duration_statement = -1;
alter role patient_upsert_migrator password :'password';
alter role patient_upsert_worker password :'password';
alter role patient_upsert_reader password :'password';
