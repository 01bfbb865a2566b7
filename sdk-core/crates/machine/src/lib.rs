//! The sync logic of every client, without I/O.
//!
//! A [`Machine`] is told what happens ([`Event`]) and says what is to be done ([`Instruction`]). It
//! has no socket, disk, clock or chance of its own: its host has them, and is small. So the same
//! logic runs natively, in a browser and on a phone, and is tested in simulated time.
//!
//! ```text
//!   the app ──── Event ───►┌─────────┐── Instruction ──► the socket
//!   the socket ─ Event ───►│ Machine │── Instruction ──► the replica
//!   the clock ── Event ───►└─────────┘── Instruction ──► the app
//! ```
//!
//! **Only crashes.** The host follows instructions in their order. Where an [`Instruction::Apply`]
//! fails, it drops the rest and the machine, hangs up, and builds a new one of what the replica
//! has stored. So memory never differs from the disk for longer than the step that failed, and a
//! full disk, a killed process and an empty battery are one path, which every test of a crash
//! tests.
//!
//! `SPEC.md` has the machine's states, with what happens in each of them on each event; the tests
//! read its tables.

mod backoff;
mod check;
mod connection;
mod delivery;
mod event;
mod instruction;
mod look;
mod machine;
mod outgoing;
mod pieces;
mod statement;
mod status;
mod stored;
mod subscription;
mod sync;
mod time;
mod violation;

#[cfg(feature = "testing")]
pub mod replica;

pub use check::{Comparison, Mismatch, Verdict};
pub use event::{Ask, AskError, Attempt, Config, Event};
pub use instruction::{Instruction, MutationProgress, Outgoing, Staged, Step, Write};
pub use machine::{Machine, Phase};
pub use statement::{SqlAnswer, SqlAsk, StatementId};
pub use status::{Reason, Refusal, Stall, Status, StatusWord, SubscriptionState, SubscriptionView};
pub use stored::{
    Known, MutationId, Place, Settled, SqlText, Stored, StoredLane, StoredMutation, StoredSchema,
    StoredSubscription, StoredWriter, SubscriptionId,
};
pub use sync::SyncId;
pub use time::{Millis, Moment};
pub use violation::ProtocolViolation;
