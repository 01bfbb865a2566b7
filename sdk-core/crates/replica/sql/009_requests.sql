-- What was done for a call is done once, however often it is asked for; and how it was decided is found by
-- whoever was not told.

-- What a call has given, stored with what it has done, until whoever called has it; in the order in which that
-- was. `call` is the hash of what was to be done, NULL where that is not known. `rows_affected` is NULL of one
-- that is no write: then it was done to `mutation`, which is NULL of a write that stays on the device.
-- `returned` are the columns of RETURNING and its values, one row after the other; NULL where there are none.
CREATE TABLE tw_requests (
  place INTEGER NOT NULL PRIMARY KEY,
  client TEXT NOT NULL,
  number INTEGER NOT NULL,
  call BLOB,
  mutation INTEGER,
  rows_affected INTEGER,
  returned BLOB,
  UNIQUE (client, number)
) STRICT;

-- The write had a request: how it is decided is kept.
ALTER TABLE tw_outbox ADD COLUMN requested INTEGER NOT NULL DEFAULT 0;

-- How the last of them were decided, in the order in which they were. The number of an accepted one is
-- where its lane was right after it; the blob of a rejected one says why; of the others it is a word.
CREATE TABLE tw_decisions (
  place INTEGER NOT NULL PRIMARY KEY,
  id INTEGER NOT NULL UNIQUE,
  decision ANY NOT NULL
) STRICT;
