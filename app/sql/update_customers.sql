-- Changes customers and their patients in the order given, which is sorted: what a request may change, the rest belongs to
-- others. A row that has moved on or was deleted since it was read, or whose patient is another, is missing from the
-- count. One array of rows instead of one a column: half the work for the driver, and a fifth less for the server. By
-- customers_pkey (see begin.sql).
update customers as c
set
    email = new.email, phone = new.phone, updated_at = new.updated_at, patient = new.patient,
    patient_first_name = new.patient_first_name, patient_last_name = new.patient_last_name,
    date_of_birth = new.date_of_birth, gender = new.gender, address = new.address, address2 = new.address2,
    city = new.city, state = new.state, postal_code = new.postal_code, country = new.country,
    effective_at = new.effective_at, patient_created_at = new.patient_created_at,
    patient_updated_at = new.patient_updated_at, version = new.version
from unnest($1::patient_upsert_change[]) as new
where
    c.customer = new.customer and c.version = new.version - 1 and c.deleted_at is null
    and c.patient_deleted_at is null and (c.patient is null or c.patient = new.patient)
