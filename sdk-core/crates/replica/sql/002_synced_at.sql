-- When everything that was subscribed to was here and live for the last time, by the server's clock,
-- in microseconds since 1970.
ALTER TABLE tw_replica ADD COLUMN synced_at INTEGER;
