//! What the faces of the chat have in common: its tables, what is written in them, and who tells of
//! mentions.
//!
//! | to find | look in |
//! | --- | --- |
//! | the tables | `tables.rs` |
//! | how a message is written, and a room founded | `writing.rs` |
//! | who tells of mentions | `notifier.rs` |

mod notifier;
mod tables;
mod writing;

pub use notifier::notify;
pub use tables::make_tables;
pub use writing::{found, say};
