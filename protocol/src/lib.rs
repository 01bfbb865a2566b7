//! The vocabulary that the server and every client share, and its bytes.
//!
//! Both ends depend on this one crate, so a value, a name or a predicate cannot come to mean two
//! things. It does no I/O and reads no clock; it builds for every platform an SDK runs on.
//!
//! | to find | look in |
//! | --- | --- |
//! | how large anything may be | [`limits`] |
//! | names, positions and identities | [`ids`] |
//! | what a column can hold, and in which order | [`value`] |
//! | how text written by people becomes a value | [`literal`] |
//! | the text of a point in time | [`timestamp`] |
//! | tables, columns, keys and indexes | [`schema`] |
//! | what a subscription may ask of a row | [`predicate`] |
//! | what a client writes, and the server's answer | [`mutation`] |
//! | `SNOWFLAKE_ID()` and `UUID_V7()` | [`generated`] |
//! | the messages of a connection | [`frame`] |
//! | how any of these becomes bytes | [`codec`] |
//! | how both ends see that they have the same rows | [`digest`] |
//! | the codes that applications match on | [`error_code`] |

pub mod limits;

pub mod ids;
pub mod value;

pub mod generated;
pub mod literal;
pub mod schema;
pub mod timestamp;

pub mod mutation;
pub mod predicate;

pub mod frame;

pub mod codec;
pub mod digest;
pub mod error_code;

mod bounded;

#[cfg(feature = "testing")]
pub mod testing;
