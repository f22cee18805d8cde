-- Lets the foreign key check of inserted patients keep its plan: planning it for each row costs half as much again as
-- the insert. It cannot flip: planned under `begin.sql`, it can only use the primary key of customers.
set local plan_cache_mode = force_generic_plan;
