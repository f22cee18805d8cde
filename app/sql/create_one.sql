-- One new customer with its patient, and its answer; several go by COPY. A taken key is an error.
with created as (
    insert into customers (
        customer, email, first_name, last_name, billing_address_id, phone, has_account, metadata, created_at,
        updated_at, deleted_at, version, patient, patient_first_name, patient_last_name, date_of_birth, gender, address,
        address2, city, state, postal_code, country, effective_at, patient_created_at, patient_updated_at,
        patient_deleted_at
    ) values (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        $25, $26, $27
    )
)
insert into requests (
    key, source, id, customer, record_topic, record_partition, record_offset, record_timestamp, fingerprint, outcome,
    answer, received_at
) values ($28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39)
