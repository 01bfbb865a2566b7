//! Bits of the log flip on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use server_replication::{Node, ReplicationError, Settings};

use crate::world::{Dice, Directory, Writer, define, notes, ports, runtime, settings};

/// The journal that the log's database has written last.
fn journal(directory: &Path) -> PathBuf {
    let files = std::fs::read_dir(directory.join("log")).unwrap().map(|file| file.unwrap().path());
    let journals = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    journals.max().unwrap()
}

/// INV-10: RocksDB takes damage in the middle of its journal for its end, and what follows is gone
/// without an error. The rows tell how far the log has to reach, so the start is refused.
#[test]
fn a_damaged_log_is_noticed() {
    seeds::for_each("damaged-logs", 4, |seed| {
        let mut dice = Dice::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let writers = Writer::some(4);
        let run = |last| {
            let runtime = runtime();
            let outcome = runtime.block_on(async {
                let disk = Directory(directory.path()).disk();
                let settings = Settings { log_bytes_max: u64::MAX, ..settings() };
                let node = Node::start(settings, ports(disk).0).await?;
                node.ready().await?;
                define(&node, notes()).await;
                Writer::run_all(&writers, &node, last).await;
                Writer::check(&writers, &node);
                let node: Arc<Node> = node;
                node.stop().await
            });
            runtime.shutdown_timeout(Duration::from_secs(30));
            outcome
        };
        run(20).unwrap();
        let journal = journal(directory.path());
        let mut bytes = std::fs::read(&journal).unwrap();
        let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
        bytes[at] ^= 1 << dice.below(8);
        std::fs::write(&journal, &bytes).unwrap();
        match run(25) {
            // What was lost lies behind all that the rows have, such as a vote.
            Ok(()) => {}
            Err(ReplicationError::Unfit { why, .. }) => assert!(why.contains("restore"), "{why}"),
            Err(ReplicationError::Storage(error)) => println!("seed {seed}: {error}"),
            Err(other) => panic!("{other}"),
        }
    });
}
