//! Every bound of SQL, with its unit and its reason.

use std::time::Duration;

/// Longest statement, in bytes. Its tokens take about a hundred times as much while it is parsed;
/// larger values travel as parameters.
pub const SQL_BYTES_MAX: usize = 256 * 1024;

/// The stack that a thread needs on which statements are planned, in bytes: what nests is bounded,
/// and fits into this.
pub const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Most parameters of a statement.
pub const PARAMS_MAX: usize = 65_535;

/// Deepest nesting of brackets in a statement. The parser recurses this deep.
pub(crate) const NESTING_MAX: usize = 32;

/// Most tokens of one expression, from comma to comma, together with those of the expressions
/// around it. A chain such as `a + a + a …` becomes a tree as deep as it is long, and what walks
/// that tree recurses.
pub(crate) const EXPRESSION_TOKENS_MAX: usize = 2_000;

/// Most tokens of a SELECT. What it is made of is planned before anybody can look at the clock.
pub(crate) const QUERY_TOKENS_MAX: usize = 10_000;

/// Most `UNION`, `EXCEPT` and `INTERSECT` of a statement. They make a chain across commas.
pub(crate) const SET_OPERATIONS_MAX: usize = 64;

/// Most columns of an answer. Planning compares each with each.
pub(crate) const ANSWER_COLUMNS_MAX: usize = 1_000;

/// Bytes that parsed statements take which are kept for whoever sends the same text again.
pub(crate) const STATEMENTS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Longest text of a statement that is kept, in bytes.
pub(crate) const STATEMENT_BYTES_KEPT_MAX: usize = 4 * 1024;

/// A statement with more tokens or deeper brackets is parsed where nobody else has to wait for it.
pub(crate) const QUICK_TOKENS_MAX: usize = 500;

/// The same, of brackets.
pub(crate) const QUICK_NESTING_MAX: usize = 8;

/// Most `CASE`, `BETWEEN`, `COALESCE` and `NULLIF` of a statement. Planning takes what they test
/// twice, and so for each of them that is within another one.
pub(crate) const DOUBLING_MAX: usize = 16;

/// Most bytes that the values of a condition have together, each as often as it is used. A
/// subscription keeps them for as long as it lives.
pub(crate) const CONDITION_BYTES_MAX: usize = 64 * 1024;

/// Most bytes that parameters become in a query, each as often as it is used.
pub(crate) const PARAM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most tables that a SELECT names, each as often as it does.
pub(crate) const RELATIONS_MAX: usize = 64;

/// How deep subqueries of expressions are within each other, with what WITH puts in their place.
/// DataFusion looks at each of them twice, and so at the deepest as often as a power of two says.
pub(crate) const SUBQUERIES_NESTED_MAX: usize = 8;

/// How often a SELECT names what its WITH defines. Each time takes the whole definition, so that
/// definitions of definitions grow with a power of it.
pub(crate) const WITH_REFERENCES_MAX: usize = 16;

/// Most rows that all joins of a SELECT make together. Rows without columns, as in `SELECT count(*)
/// FROM a, b`, have no bytes that anybody counts, and are gathered all the same.
pub const JOINED_ROWS_MAX: usize = 100_000_000;

/// Longest text that a SELECT puts together, in bytes. A row holds half of it.
pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of such texts from one batch of rows to the next.
pub(crate) const TEXTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most namespaces.
pub(crate) const NAMESPACES_MAX: usize = 1_000;

/// Most tables. Every shard keeps the description of each in memory.
pub(crate) const TABLES_MAX: usize = 1_000;

/// How many rows a statement that writes looks at before it looks at the clock.
pub(crate) const EXAMINED_PER_STEP: usize = 4_096;

/// How long it is waited for a shard to hear of a table that was defined just before.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(5);
