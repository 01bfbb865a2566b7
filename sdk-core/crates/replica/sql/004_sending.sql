-- How far what was written is sent and decided.

-- When a server first heard of the replica, in microseconds since 1970.
ALTER TABLE tw_replica ADD COLUMN since INTEGER;

-- What the mutation is, in 128 bits: see the protocol. The content of one that was taken back is not
-- needed any more with it.
ALTER TABLE tw_outbox ADD COLUMN digest BLOB;

-- Where something was sent. The n-th mutation of an identity has number n, so what waits in a lane,
-- in the order of the ids, is numbered from `settled` on. `sent_id` is the last that may have left the
-- device.
CREATE TABLE tw_writers (
  lane TEXT NOT NULL PRIMARY KEY,
  client BLOB NOT NULL,
  since INTEGER NOT NULL,
  epoch BLOB,
  settled INTEGER NOT NULL,
  settled_hash BLOB NOT NULL,
  sent INTEGER NOT NULL,
  sent_id INTEGER NOT NULL,
  confirmed INTEGER NOT NULL
) STRICT;

-- What was written and did not happen, or is not known to have: kept until the application has dealt
-- with it. `content` is the mutation, `verdict` the rejection; NULL where it is uncertain.
CREATE TABLE tw_rejected (
  id INTEGER NOT NULL PRIMARY KEY,
  lane TEXT NOT NULL,
  written_at INTEGER NOT NULL,
  content BLOB NOT NULL,
  verdict BLOB
) STRICT;

DROP VIEW tw_pending;

-- For applications.
CREATE VIEW tw_pending AS
  SELECT replace(replace(tables.name, '___', '_.'), '__', '.') AS "table", operations.key AS key,
         operations.mutation AS mutation,
         CASE WHEN operations.mutation <= writers.sent_id THEN 'sent' ELSE 'queued' END AS state
  FROM tw_operations AS operations
  JOIN tw_tables AS tables ON tables.id = operations.table_id
  JOIN tw_outbox AS outbox ON outbox.id = operations.mutation
  LEFT JOIN tw_writers AS writers ON writers.lane = outbox.lane;
