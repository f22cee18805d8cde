-- The two tables. A statement ends with a semicolon and an empty line.
--
-- The rules of the fields hold here too, so that no other writer can store what the worker would not answer.
-- Lengths are counted after normalisation. Ids collate "C": their order is that of their bytes, the same in the worker
-- and on every system, and it is the order in which rows are locked. Times are finite: the driver reads an infinite one
-- as a time without a zone, which nothing can be compared with. Pages of rows that change keep room for the next version:
-- a change that stays on its page (HOT) touches no index.

-- A customer and its one patient profile: one row, because each change concerns both, and a row costs a page of the table
-- and one of each index. Without a profile all its columns are null. Customers made by other systems need both names as
-- well: the 200 answer always carries them. The id of a patient is checked by length only: older ids have other forms.
create table customers (
    customer text collate "C" not null,
    email text,
    first_name text not null,
    last_name text not null,
    billing_address_id text,
    phone text,
    has_account boolean not null default false,
    metadata jsonb not null default '{}',
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now(),
    deleted_at timestamptz(3),
    patient text collate "C",
    patient_first_name text,
    patient_last_name text,
    date_of_birth date,
    gender text,
    address text,
    address2 text,
    city text,
    state text,
    postal_code text,
    country text,
    effective_at timestamptz(3),
    patient_created_at timestamptz(3),
    patient_updated_at timestamptz(3),
    patient_deleted_at timestamptz(3),
    version bigint not null default 1,
    constraint customers_pkey primary key (customer),
    constraint customers_patient_key unique (patient),
    constraint customers_customer_length check (octet_length(customer) between 1 and 255),
    constraint customers_email_length check (char_length(email) between 1 and 254),
    constraint customers_first_name_length check (char_length(first_name) between 1 and 200),
    constraint customers_last_name_length check (char_length(last_name) between 1 and 200),
    constraint customers_billing_address_id_length check (char_length(billing_address_id) between 1 and 255),
    constraint customers_phone_length check (char_length(phone) between 1 and 40),
    constraint customers_metadata_object check (jsonb_typeof(metadata) = 'object'),
    constraint customers_metadata_length check (octet_length(metadata::text) <= 16384),
    constraint customers_patient_length check (octet_length(patient) between 1 and 255),
    constraint customers_patient_first_name_length check (char_length(patient_first_name) between 1 and 200),
    constraint customers_patient_last_name_length check (char_length(patient_last_name) between 1 and 200),
    constraint customers_gender_length check (char_length(gender) between 1 and 100),
    constraint customers_address_length check (char_length(address) between 1 and 300),
    constraint customers_address2_length check (char_length(address2) between 1 and 300),
    constraint customers_city_length check (char_length(city) between 1 and 100),
    constraint customers_state_length check (char_length(state) <= 100),
    constraint customers_postal_code_length check (char_length(postal_code) <= 100),
    constraint customers_country_length check (char_length(country) between 1 and 100),
    constraint customers_patient_whole check (
        case
            when patient is null then num_nonnulls(
                patient_first_name, patient_last_name, date_of_birth, gender, address, address2, city, state,
                postal_code, country, effective_at, patient_created_at, patient_updated_at, patient_deleted_at
            ) = 0
            else num_nulls(
                patient_first_name, patient_last_name, date_of_birth, address, city, state, postal_code, country,
                effective_at, patient_created_at, patient_updated_at
            ) = 0
        end
    ),
    constraint customers_times_finite check (
        isfinite(created_at) and isfinite(updated_at) and isfinite(deleted_at) and isfinite(effective_at)
        and isfinite(patient_created_at) and isfinite(patient_updated_at) and isfinite(patient_deleted_at)
        and isfinite(date_of_birth)
    ),
    constraint customers_deleted_after_created check (deleted_at >= created_at),
    constraint customers_patient_deleted_after_created check (patient_deleted_at >= patient_created_at),
    constraint customers_version_positive check (version >= 1)
) with (fillfactor = 85);

comment on column customers.metadata is 'of other systems, 16 KiB at most: every answer of the customer carries it';

comment on column customers.first_name is 'of the account; the profile has its own in patient_first_name';

comment on column customers.effective_at is 'the newest effective time of a request that was applied to the profile';

-- A change of a row as the worker sends it. It is never altered, for workers at work know its columns by their places: one
-- that needs others gets a type of its own.
create type patient_upsert_change as (
    customer text,
    email text,
    phone text,
    updated_at timestamptz,
    patient text,
    patient_first_name text,
    patient_last_name text,
    date_of_birth date,
    gender text,
    address text,
    address2 text,
    city text,
    state text,
    postal_code text,
    country text,
    effective_at timestamptz,
    patient_created_at timestamptz,
    patient_updated_at timestamptz,
    version bigint
);

-- The final answer of each request that has one, under the digest of source and id (16 bytes: a short key halves the
-- cost of the table). No foreign key: an answer outlives its customer's row, and the check would cost as much as the
-- rest of the insert. 511 bytes hold the longest source (kafka:<topic>#<customer>) and the longest id (a position).
create table requests (
    key bytea not null,
    source text not null,
    id text not null,
    customer text collate "C" not null,
    record_topic text not null,
    record_partition integer not null,
    record_offset bigint not null,
    record_timestamp bigint not null,
    fingerprint bytea not null,
    outcome text not null,
    answer bytea not null,
    received_at timestamptz(3) not null,
    constraint requests_pkey primary key (key),
    constraint requests_key_length check (octet_length(key) = 16),
    constraint requests_source_length check (octet_length(source) between 1 and 511),
    constraint requests_id_length check (octet_length(id) between 1 and 511),
    constraint requests_customer_length check (octet_length(customer) between 1 and 255),
    constraint requests_record_topic_length check (octet_length(record_topic) between 1 and 249),
    constraint requests_record_partition_natural check (record_partition >= 0),
    constraint requests_record_offset_natural check (record_offset >= 0),
    constraint requests_fingerprint_length check (octet_length(fingerprint) = 32),
    constraint requests_outcome_known check (outcome in ('created', 'updated', 'unchanged', 'superseded')),
    constraint requests_received_at_finite check (isfinite(received_at)),
    constraint requests_answer_length check (octet_length(answer) >= 1)
);

comment on column requests.record_timestamp is 'Unix milliseconds, or -1 for a record without one';

comment on column requests.answer is
    'the bytes as published; to read them: select convert_from(answer, ''UTF8'')::jsonb from requests';

-- Every change of a row counts, also one by hand or by another system: the worker's guard compares versions.
create function patient_upsert_count_change() returns trigger language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end
$$;

create trigger customers_count_change before update on customers
    for each row when (new.version = old.version) execute function patient_upsert_count_change();
