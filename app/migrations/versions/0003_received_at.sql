-- Finds the oldest stored answers, to remove them in time. Where there are answers already, `setup` has built it before
-- this, without holding up the workers (see app.store.migrate).
create index if not exists requests_received_at on requests (received_at)
