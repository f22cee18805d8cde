-- Begins the transaction of one batch and, for it alone, says how to plan and how long to wait. One round trip.
--
-- Local settings only: behind pgbouncer a session belongs to nobody. Plans cannot flip: scans of whole tables, which also
-- lock rows in an order of their own, are left out (and see plan_anew.sql). Other settings of the role (read only, say)
-- are respected.
begin isolation level read committed;
set local enable_seqscan = off;
set local enable_bitmapscan = off;
set local enable_hashjoin = off;
set local enable_mergejoin = off;
set local jit = off;
-- Below the worker's own limit of 30 s, so that the server lets go of its locks before the worker gives up on it.
set local lock_timeout = '10s';
set local statement_timeout = '25s';
-- A worker cut off by the network must not keep its rows locked until TCP notices.
set local idle_in_transaction_session_timeout = '60s';
