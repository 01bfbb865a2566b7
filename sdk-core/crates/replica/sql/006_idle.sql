-- Subscriptions that nobody asks for. Both in milliseconds: how long one is kept then, and how long it
-- was so far while the client ran. Without the first, as long as the SDK keeps one.
ALTER TABLE tw_subscriptions ADD COLUMN ttl INTEGER;
ALTER TABLE tw_subscriptions ADD COLUMN idle INTEGER NOT NULL DEFAULT 0;
