-- Four roles, each with the rights that it uses, for the tables in the schema public of the database that this is run in.
-- As a superuser, before the first `setup`; it may be run again, and on a database that another role has migrated:
--
--     psql --dbname=patient_upsert --file=deploy/postgres-roles.sql
--
--   patient_upsert_owner      owns the tables; nobody logs in as it
--   patient_upsert_migrator   logs in for `patient-upsert setup`, and becomes the owner
--   patient_upsert_worker     logs in for `patient-upsert run` and `doctor`: `setup` grants it what this version uses
--   patient_upsert_reader     logs in for support and reports: reads every table, and the tables of later versions
--
-- There are no passwords here. Give those that log in one (\password patient_upsert_worker), or a certificate.
begin;

do $$
declare
    wanted record;
begin
    for wanted in
        values
            ('patient_upsert_owner', 'nologin'),
            ('patient_upsert_migrator', 'login'),
            ('patient_upsert_worker', 'login'),
            ('patient_upsert_reader', 'login')
    loop
        if to_regrole(wanted.column1) is null then
            execute format('create role %I %s', wanted.column1, wanted.column2);
        end if;
    end loop;
end
$$;

grant usage, create on schema public to patient_upsert_owner;
grant usage on schema public to patient_upsert_worker, patient_upsert_reader;

-- What the migrator makes is the owner's.
grant patient_upsert_owner to patient_upsert_migrator;
alter role patient_upsert_migrator set role = patient_upsert_owner;
alter default privileges for role patient_upsert_owner in schema public grant select on tables to patient_upsert_reader;

-- What another role has made becomes the owner's.
do $$
declare
    name text;
begin
    foreach name in array array['customers', 'requests', 'assignments', 'patient_upsert_revision']
    loop
        if to_regclass('public.' || name) is not null then
            execute format('alter table public.%I owner to patient_upsert_owner', name);
            execute format('grant select on public.%I to patient_upsert_reader', name);
        end if;
    end loop;
    if to_regtype('public.patient_upsert_change') is not null then
        alter type public.patient_upsert_change owner to patient_upsert_owner;
    end if;
    if to_regprocedure('public.patient_upsert_count_change()') is not null then
        alter function public.patient_upsert_count_change() owner to patient_upsert_owner;
    end if;
end
$$;

-- Names are looked up here and nowhere else. The server's log gets nothing of a row: PostgreSQL writes the row that it
-- refuses into the DETAIL of the error, and an error may carry the values of a statement. So errors of these roles are
-- not logged by the server (log_error_verbosity = terse would leave DETAIL in csvlog and jsonlog); the worker logs their
-- SQLSTATE. Slow statements and waits for locks are logged as ever, without the values. See docs/decisions/0020-roles.md.
do $$
declare
    name text;
begin
    foreach name in array array['patient_upsert_migrator', 'patient_upsert_worker', 'patient_upsert_reader']
    loop
        execute format('alter role %I set search_path = public', name);
        execute format('alter role %I set log_min_messages = log', name);
        execute format('alter role %I set log_parameter_max_length = 0', name);
        execute format('alter role %I set log_parameter_max_length_on_error = 0', name);
        -- A plan that is made for values has them in it.
        execute format('alter role %I set debug_print_parse = off', name);
        execute format('alter role %I set debug_print_rewritten = off', name);
        execute format('alter role %I set debug_print_plan = off', name);
    end loop;
end
$$;

-- People write values into the statement itself: it is not logged for being slow or sampled, nor beside a wait for a lock,
-- a temporary file or the end of the session.
alter role patient_upsert_reader set log_statement = none;
alter role patient_upsert_reader set log_min_duration_statement = -1;
alter role patient_upsert_reader set log_min_duration_sample = -1;
alter role patient_upsert_reader set log_transaction_sample_rate = 0;
alter role patient_upsert_reader set log_min_error_statement = panic;

commit;
