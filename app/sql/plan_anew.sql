-- Has each statement planned for the arrays at hand, behind begin.sql: a plan that was kept from the time when a table was
-- empty would walk through a whole index for ever. Statements of one row (`*_one.sql`) cannot, and keep their plans,
-- which is a third of what they cost.
set local plan_cache_mode = force_custom_plan;
