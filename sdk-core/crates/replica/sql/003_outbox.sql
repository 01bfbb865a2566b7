-- What applications have written and the server has not decided. Beside each replicated table, N by
-- its number, are tw_base_N and tw_log_N: see FORMAT.md.

-- Mutations, in the order in which they were written. One that was taken back has its content in
-- `cancelled`, and no operations any more.
CREATE TABLE tw_outbox (
  id INTEGER NOT NULL PRIMARY KEY,
  lane TEXT NOT NULL,
  written_at INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  cancelled BLOB
) STRICT;

-- What they do, in their order, and to which row. `key` is the value of the primary key; of a key of
-- several columns, the JSON array of its values.
CREATE TABLE tw_operations (
  mutation INTEGER NOT NULL,
  place INTEGER NOT NULL,
  table_id INTEGER NOT NULL,
  key ANY NOT NULL,
  operation BLOB NOT NULL,
  PRIMARY KEY (mutation, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX tw_operations_of_row ON tw_operations (table_id, key, mutation, place);

-- For applications.
CREATE VIEW tw_pending AS
  SELECT replace(replace(tables.name, '___', '_.'), '__', '.') AS "table", operations.key AS key,
         operations.mutation AS mutation, 'queued' AS state
  FROM tw_operations AS operations JOIN tw_tables AS tables ON tables.id = operations.table_id;

-- The last id of those that have gone from the outbox: none is used twice.
ALTER TABLE tw_replica ADD COLUMN last_mutation INTEGER NOT NULL DEFAULT 0;

-- By how many microseconds the server's clock is ahead of the device's, as it was last.
ALTER TABLE tw_replica ADD COLUMN clock_ahead INTEGER;

-- Within a transaction: what it does to rows that are not here.
CREATE TABLE tw_log_direct (
  place INTEGER NOT NULL PRIMARY KEY,
  table_id INTEGER NOT NULL,
  key ANY NOT NULL,
  operation BLOB NOT NULL
) STRICT;
