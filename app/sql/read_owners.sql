-- Whose are these patients? Deleted ones too. One look into customers_patient_key an id (see begin.sql).
select c.patient, c.customer
from unnest($1::text[]) as asked (patient)
join customers as c on c.patient = asked.patient
