//! The process that writes until it is killed.

use std::path::Path;

use server_storage::Store;

use crate::{Outcome, messages};

/// The argument that makes this program the writer.
pub(crate) const COMMAND: &str = "write";

/// More than the demo waits for: the writer ends by itself if nobody kills it.
const MESSAGES_MAX: u64 = 1_000_000;

pub(crate) fn run(directory: &Path) -> Outcome {
    let store = messages::open(directory)?;
    for number in 1..=MESSAGES_MAX {
        store.write(messages::batch(number)?)?;
        if number % 1_000 == 0 {
            store.persist()?;
            println!("{number}");
        }
    }
    Ok(())
}
