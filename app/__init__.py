"""The patient upsert worker: requests from Kafka, one effect in Postgres, one answer back to Kafka."""
