-- Whose are these patients? Deleted ones too. One look into patients_pkey an id (see begin.sql).
select p.patient, p.customer
from unnest($1::text[]) as asked (patient)
join patients as p on p.patient = asked.patient
