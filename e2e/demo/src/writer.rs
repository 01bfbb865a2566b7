//! The process that applies the log until it is killed.

use std::path::Path;

use crate::node::Node;
use crate::{Outcome, log};

/// The argument that makes this program the writer.
pub(crate) const COMMAND: &str = "write";

/// More than the demo waits for: the writer ends by itself if nobody kills it.
const ENTRIES_MAX: u64 = 10_000;

pub(crate) fn run(directory: &Path) -> Outcome {
    let mut node = Node::on_disk(directory)?;
    for number in 0..ENTRIES_MAX {
        node.apply(&log::entry(number)?)?;
        if number % 20 == 0 {
            node.persist()?;
            println!("{number}");
        }
    }
    Ok(())
}
