//! Every bound of the protocol, with its unit and its reason.
//!
//! Whoever meets one of them is told (`too_large`) before anything is stored. Lowering a bound breaks what exists; raising one breaks older readers, so it comes with
//! a new version of the protocol.

/// Longest name of a namespace, table or column, in bytes: what PostgreSQL users are used to.
pub const NAME_BYTES_MAX: usize = 63;

/// Longest user id, in bytes. It is part of every storage key of the user's rows.
pub const TENANT_ID_BYTES_MAX: usize = 128;

/// Most columns of a table. A set of columns then still fits 32 bytes as a bit map.
pub const COLUMNS_MAX: usize = 256;

/// Most columns of a primary key or of an index.
pub const KEY_COLUMNS_MAX: usize = 8;

/// Most indexes of a table. Every write of a row may write each of them twice.
pub const INDEXES_MAX: usize = 16;

/// Largest encoded commit, in bytes: it is applied in one piece on every device.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// Largest message of any kind, in bytes: a commit with what is said about it.
pub const FRAME_BYTES_MAX: usize = COMMIT_BYTES_MAX + 64 * 1024;

/// Largest frame from a client, in bytes.
pub const CLIENT_FRAME_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// Largest frame from a server, in bytes: a commit, with what is said about each of up to
/// [`CHANGES_MAX`] changes.
pub const SERVER_FRAME_BYTES_MAX: usize = COMMIT_BYTES_MAX + 48 * CHANGES_MAX;

/// Most changes of one commit: an operation deletes a row and another makes it anew.
pub const CHANGES_MAX: usize = 2 * OPERATIONS_MAX;

/// Most rows of one batch of a load.
pub const BATCH_ROWS_MAX: usize = 10_000;

/// Most versions of the protocol that a client offers.
pub const OFFERED_VERSIONS_MAX: usize = 16;

/// Most lanes in which one connection has something: each costs the server a feed.
pub const CONNECTION_LANES_MAX: usize = 256;

/// Most subscriptions of one connection. Those of one application are a few dozen.
pub const CONNECTION_SUBSCRIPTIONS_MAX: usize = 1_000;

/// Most parameters of one statement: what SQLite takes.
pub const SQL_PARAMS_MAX: usize = 32_766;

/// Most tables that a client is told of. A server has fewer; a client makes each of them in its file.
pub const SCHEMA_TABLES_MAX: usize = 10_000;

/// Bytes of tables behind which a description of tables goes on in another piece. A piece with one
/// table may have more.
pub const SCHEMA_PIECE_BYTES: usize = 256 * 1024;

/// Most rows of one piece of an answer to a statement.
pub const SQL_RESULT_ROWS_MAX: usize = BATCH_ROWS_MAX;

/// Most statements of one connection that run at once. One more is refused for now.
pub const CONNECTION_STATEMENTS_MAX: usize = 8;

/// Largest encoded row, in bytes: half of a commit, so that a row fits one together with its key
/// and what is said about it. Files belong beside rows, not in them.
pub const ROW_BYTES_MAX: usize = 512 * 1024;

/// Largest encoded primary key or index entry of one row, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Most operations of one write. A thousand in one transaction are ordinary; what is larger is an
/// import, and goes in several.
pub const OPERATIONS_MAX: usize = 10_000;

/// Most mutations of a client in one lane that are decided and not yet confirmed. The client sends
/// no more before it has confirmed some, so what the server keeps for it is bounded.
pub const WINDOW_MAX: u64 = 256;

/// Most mutations of one frame: as many as may be undecided.
#[expect(clippy::cast_possible_truncation, reason = "a few hundred fit any usize")]
pub const MUTATIONS_MAX: usize = WINDOW_MAX as usize;

/// Most nodes of a predicate. It is evaluated for every changed row of its partition.
pub const PREDICATE_NODES_MAX: usize = 256;

/// Deepest nesting of a predicate. Evaluation recurses this deep, and no deeper.
pub const PREDICATE_DEPTH_MAX: usize = 32;

/// Most values of one `IN (…)` list.
pub const IN_LIST_MAX: usize = 1_000;

/// Most values of all lists of a predicate together. Each is a parameter of the SQL that a replica
/// runs, where SQLite takes at most 32,766.
pub const PREDICATE_VALUES_MAX: usize = 4_000;

/// Longest `LIKE` pattern, in bytes.
pub const LIKE_PATTERN_BYTES_MAX: usize = 1024;

/// Most characters between two `%` of a `LIKE` pattern where one of them is `_`: the bits of the
/// number with which they are all looked for at once.
pub const LIKE_SEGMENT_CHARACTERS_MAX: usize = 64;

/// Most `LIKE`s of a predicate. Each reads the whole text of its column.
pub const PREDICATE_LIKES_MAX: usize = 16;

/// Longest life of a row in a table with a TTL, in seconds: ten years of 365 days.
pub const TTL_SECONDS_MAX: u32 = 10 * 365 * 24 * 60 * 60;

/// Deepest nesting of any encoded message. A predicate is the deepest thing there is, and each
/// of its levels takes up to four levels of MessagePack.
pub const CODEC_DEPTH_MAX: usize = 4 * PREDICATE_DEPTH_MAX + 16;

const _: () = assert!(ROW_BYTES_MAX * 2 <= COMMIT_BYTES_MAX);
const _: () = assert!(COLUMNS_MAX <= u16::MAX as usize);
