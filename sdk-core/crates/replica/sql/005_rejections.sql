-- Writes that are held back, and what becomes of those that did not happen.

-- Where it stands in the order of sending: NULL while it is held back. Writes of a queue go one after
-- the other. What expires does so if it is not sent before, in microseconds since 1970. What is
-- `online` is not to wait for a connection.
ALTER TABLE tw_outbox ADD COLUMN place INTEGER;
ALTER TABLE tw_outbox ADD COLUMN queue TEXT;
ALTER TABLE tw_outbox ADD COLUMN expires_at INTEGER;
ALTER TABLE tw_outbox ADD COLUMN online INTEGER NOT NULL DEFAULT 0;

UPDATE tw_outbox SET place = id;

CREATE INDEX tw_outbox_of_queue ON tw_outbox (queue, id) WHERE queue IS NOT NULL;
CREATE INDEX tw_outbox_held ON tw_outbox (id) WHERE place IS NULL;
CREATE INDEX tw_outbox_expiring ON tw_outbox (expires_at) WHERE expires_at IS NOT NULL;

-- `sent_id` is the place of the last that may have left the device. `stuck` is what could not be
-- delivered.
ALTER TABLE tw_writers ADD COLUMN stuck INTEGER;

-- `place` is in the order in which it was heard; `server` has the rows as the server had them then.
ALTER TABLE tw_rejected ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tw_rejected ADD COLUMN queue TEXT;
ALTER TABLE tw_rejected ADD COLUMN server BLOB;

UPDATE tw_rejected SET place = id;

CREATE UNIQUE INDEX tw_rejected_in_order ON tw_rejected (place);
CREATE INDEX tw_rejected_of_queue ON tw_rejected (queue) WHERE queue IS NOT NULL;

-- The last place of a rejection: none is used twice.
ALTER TABLE tw_replica ADD COLUMN last_rejected INTEGER NOT NULL DEFAULT 0;

UPDATE tw_replica SET last_rejected = coalesce((SELECT max(place) FROM tw_rejected), 0);

DROP VIEW tw_pending;

-- For applications.
CREATE VIEW tw_pending AS
  SELECT replace(replace(tables.name, '___', '_.'), '__', '.') AS "table", operations.key AS key,
         operations.mutation AS mutation,
         CASE WHEN operations.mutation = writers.stuck THEN 'stuck'
              WHEN outbox.place <= writers.sent_id THEN 'sent'
              ELSE 'queued' END AS state
  FROM tw_operations AS operations
  JOIN tw_tables AS tables ON tables.id = operations.table_id
  JOIN tw_outbox AS outbox ON outbox.id = operations.mutation
  LEFT JOIN tw_writers AS writers ON writers.lane = outbox.lane;
