//! The stores against the suite, against each other, and against crashes.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod faulty;
mod keys;
mod kill;
mod model;
mod suite;
