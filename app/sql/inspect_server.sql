-- What is this server, whose are we there, how durable are its commits, and how many connections may this role have?
-- One row, with the names of `app.store.inspect.Server`. Every setting is read as this role has it.
select
    current_setting('server_version_num')::int / 10000 as version,
    current_database()::text as database,
    current_user::text as role,
    pg_is_in_recovery() as standby,
    current_setting('default_transaction_read_only')::boolean as read_only,
    current_setting('fsync')::boolean as fsync,
    current_setting('full_page_writes')::boolean as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('synchronous_standby_names') as synchronous_standby_names,
    -- Any role sees the rows, if not what is in them. Logical subscribers count too: they may be promoted as well.
    (select count(*)::int from pg_stat_replication) as replicas,
    least(
        -- The second setting came with version 16.
        current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0),
        (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user),
        (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
    ) as connection_limit,
    (select coalesce(sum(numbackends), 0)::int from pg_stat_database) as connections,
    -- Whether an error of this session reaches the server's log, with the row at fault, and how much of its values.
    current_setting('log_min_messages') not in ('log', 'fatal', 'panic') as errors_logged,
    greatest(
        (select abs(setting::int) from pg_settings where name = 'log_parameter_max_length'),
        (select abs(setting::int) from pg_settings where name = 'log_parameter_max_length_on_error')
    ) > 0 as values_logged,
    clock_timestamp() as clock
