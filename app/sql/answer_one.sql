-- One answer alone; several go by COPY. A taken key is an error.
insert into requests (
    key, source, id, customer, record_topic, record_partition, record_offset, record_timestamp, fingerprint, outcome,
    answer, received_at
) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
