-- Which tables there are for the user, as the server has said last, and whether rows of them may be
-- written. tw_tables has those that are made in this file, as they are made.
CREATE TABLE tw_schema (
  id INTEGER NOT NULL PRIMARY KEY,
  writable INTEGER NOT NULL,
  schema BLOB NOT NULL
) STRICT;

-- Which description that is. NULL: the server has not said.
ALTER TABLE tw_replica ADD COLUMN schema_version BLOB;
ALTER TABLE tw_replica ADD COLUMN schema_revision INTEGER;
