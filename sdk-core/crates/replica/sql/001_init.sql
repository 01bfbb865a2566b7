-- What the SDK keeps besides the rows. Tables of applications never begin with tw_.

-- Exactly one row.
CREATE TABLE tw_replica (
  client BLOB NOT NULL,
  last_set INTEGER NOT NULL
) STRICT;

-- How far each lane is.
CREATE TABLE tw_lanes (
  lane TEXT NOT NULL PRIMARY KEY,
  epoch BLOB NOT NULL,
  seq INTEGER NOT NULL,
  cut INTEGER NOT NULL
) STRICT;

-- What is subscribed to. `texts` and `known` are MessagePack, as the protocol writes it.
CREATE TABLE tw_subscriptions (
  id INTEGER NOT NULL PRIMARY KEY,
  texts BLOB NOT NULL,
  fetch_last INTEGER,
  batch_rows INTEGER,
  known BLOB,
  floor INTEGER,
  missing INTEGER,
  ready INTEGER NOT NULL,
  resetting INTEGER NOT NULL
) STRICT;

-- The replicated tables, as the server has described them last.
CREATE TABLE tw_tables (
  id INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  schema BLOB NOT NULL
) STRICT;

-- Pieces of what was missed, until all of them are here.
CREATE TABLE tw_staged (
  place INTEGER NOT NULL PRIMARY KEY,
  lane TEXT NOT NULL,
  subscription INTEGER NOT NULL,
  changes BLOB NOT NULL
) STRICT;

-- The sets that `_set` of a row names. A member is a subscription, twice its number; plus one where
-- it only shows the row until it is loaded anew. Set 0 is the empty one.
CREATE TABLE tw_sets (
  id INTEGER NOT NULL PRIMARY KEY,
  members TEXT NOT NULL UNIQUE
) STRICT;
