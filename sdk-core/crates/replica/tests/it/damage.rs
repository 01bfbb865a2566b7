//! A file that is damaged: what can be read of what was written is not lost, and nothing of it is sent
//! twice.

use std::collections::BTreeSet;
#[cfg(not(target_family = "wasm"))]
use std::fs;

use protocol::ids::ClientId;
use sdk_machine::{MutationId, Write};
use sdk_replica::{OnReject, Replica, ReplicaError, Rescued, WriteOptions};

use crate::sending::{ALL, apply, rejected, settle, writer};
use crate::world::{Place, rows, with, write};

const FRESH: ClientId = ClientId::from_bytes([8; 16]);

/// Writes `sent` were sent before it was damaged, and all the others were not.
struct Damaged {
    place: Place,
    sent: Vec<MutationId>,
    unsent: Vec<MutationId>,
    rejected: MutationId,
}

impl Damaged {
    fn new() -> Self {
        let place = Place::new();
        let mut replica = place.with_messages();
        let insert = |replica: &mut Replica, id: i64| {
            let sql = format!("INSERT INTO chat.messages (id, body) VALUES ({id}, 'mine {id}')");
            write(replica, &sql).unwrap()
        };
        let refused = insert(&mut replica, 10);
        let sent: Vec<_> = (11..14).map(|id| insert(&mut replica, id)).collect();
        apply(
            &mut replica,
            vec![settle(refused, rejected()), Write::PutWriter(Box::new(writer(sent[2].0)))],
        );
        let mut unsent: Vec<_> = (14..60).map(|id| insert(&mut replica, id)).collect();
        let taken = insert(&mut replica, 60);
        replica.cancel(taken).unwrap().unwrap();
        let queue = WriteOptions {
            queue: Some("q".to_owned()),
            on_reject: OnReject::Hold,
            ..WriteOptions::default()
        };
        for id in [61, 62] {
            let sql = format!("INSERT INTO chat.messages (id, body) VALUES ({id}, 'queued')");
            unsent.push(with(&mut replica, queue.clone(), &sql).unwrap().id.unwrap());
        }
        Self { place, sent, unsent, rejected: refused }
    }

    fn all(&self) -> usize {
        self.sent.len() + self.unsent.len() + 1
    }

    /// What must be so, whatever is damaged.
    fn check(&self, replica: &Replica, rescued: &Rescued) -> usize {
        let pending = replica.pending().unwrap();
        let waiting: BTreeSet<MutationId> = pending.iter().map(|it| it.id).collect();
        let kept = replica.rejections(0, usize::MAX).unwrap();
        let uncertain = kept.iter().filter(|it| it.rejection.is_none());
        let uncertain: BTreeSet<MutationId> = uncertain.map(|it| it.id).collect();
        assert!(self.sent.iter().all(|id| !waiting.contains(id)), "it would be sent twice");
        assert_eq!((waiting.len(), uncertain.len()), (rescued.waiting, rescued.uncertain));
        assert_eq!(kept.len() - uncertain.len(), rescued.rejections);
        let found = rescued.waiting + rescued.uncertain + rescued.rejections;
        let all = found + rescued.lost;
        assert!(all == self.all() || (all < self.all() && rescued.may_miss_some), "{rescued:?}");
        assert_eq!(replica.client(), FRESH);
        // In a pool nobody could look at it.
        let is_kept = rescued.set_aside.as_ref().is_some_and(|path| path.exists());
        assert_eq!(is_kept, cfg!(not(target_family = "wasm")));
        found
    }
}

/// Nothing but the header is damaged, or one page, each in its turn.
#[test]
fn whatever_page_is_damaged_nothing_is_sent_twice_and_what_can_be_read_is_kept() {
    let damaged = Damaged::new();
    let whole = damaged.place.bytes("");
    let pages = whole.len() / 4096;
    let (mut found, mut noticed) = (Vec::new(), 0);
    for page in 0..pages {
        for end in ["", "-wal", "-shm", ".set-aside"] {
            damaged.place.remove(end);
        }
        let mut bytes = whole.clone();
        bytes[page * 4096..][..4096].fill(0xA5);
        damaged.place.put("", &bytes);
        let opened = Replica::open(&damaged.place, FRESH);
        noticed += usize::from(matches!(opened, Err(ReplicaError::Damaged)));
        drop(opened);
        let (replica, rescued) = Replica::rebuild(&damaged.place, FRESH).unwrap();
        found.push(damaged.check(&replica, &rescued));
        // It works as any other.
        if replica.schema(protocol::ids::TableId(64)).is_some() {
            let mut replica = replica;
            assert!(write(&mut replica, "INSERT INTO chat.messages (id) VALUES (99)").is_some());
        }
    }
    let whole = found.iter().filter(|found| **found == damaged.all()).count();
    assert!(whole > pages / 2, "{found:?}");
    assert_eq!(found[0], 0, "without its header nothing can be read");
    assert!(noticed > 3, "{noticed} of {pages}");
}

/// What waits is shown and waits, also what is held back; what was sent is uncertain, and can be written
/// again. Numbers that were given are not given again.
#[test]
fn what_is_rescued_goes_on_as_before() {
    let damaged = Damaged::new();
    let (mut replica, rescued) = Replica::rebuild(&damaged.place, FRESH).unwrap();
    assert_eq!(damaged.check(&replica, &rescued), damaged.all());
    let shown = rows(&replica, ALL);
    let mut wanted: Vec<String> = (14..60).map(|id| format!("{id} mine {id} NULL")).collect();
    wanted.extend([61, 62].map(|id| format!("{id} queued NULL")));
    assert_eq!(shown, wanted);
    let stored = replica.load().unwrap();
    assert_eq!((stored.writers, stored.lanes), (vec![], vec![]));
    assert_eq!(stored.outbox.len(), 47, "the second of the queue is held back");
    let one = &stored.subscriptions[0];
    assert_eq!((&one.known, one.floor, one.missing), (&None, None, one.fetch_last));
    assert!(!one.ready);
    let kept = replica.rejected(damaged.sent[0]).unwrap().unwrap();
    assert_eq!((kept.rejection, kept.mutation.operations.len()), (None, 1));
    assert!(replica.rejected(damaged.rejected).unwrap().unwrap().rejection.is_some());
    let next = write(&mut replica, "INSERT INTO chat.messages (id) VALUES (99)").unwrap();
    assert!(next > *damaged.unsent.last().unwrap());
}

/// A file is damaged before it was brought to the present format: what was not sent waits all the same.
#[test]
fn what_was_not_sent_is_rescued_from_earlier_formats() {
    for format in 5..=Replica::FORMAT {
        let place = Place::new();
        crate::formats::copy(&place, u32::try_from(format).unwrap());
        let (replica, rescued) = Replica::rebuild(&place, FRESH).unwrap();
        assert_eq!((rescued.waiting, rescued.uncertain, rescued.lost), (2, 2, 0), "{format}");
        assert_eq!(replica.pending().unwrap().len(), 2);
    }
}

/// Wherever replacing it was cut short, the next open ends it, once.
// In a browser: files of a pool have no other names. What is done there instead is in `pooled.rs`.
#[cfg(not(target_family = "wasm"))]
#[test]
fn replacing_a_damaged_file_goes_on_after_a_crash() {
    for step in 0..3 {
        let damaged = Damaged::new();
        let beside = |end: &str| damaged.place.beside(end);
        let (path, away) = (beside(""), beside(".damaged"));
        // As it is while the journal has something.
        let open = damaged.place.open();
        for end in ["", "-wal"] {
            fs::copy(beside(end), beside(&format!(".copy{end}"))).unwrap();
        }
        drop(open);
        fs::rename(beside(".copy"), &away).unwrap();
        match step {
            // The journal was not moved yet.
            0 => {
                fs::remove_file(&path).unwrap();
                fs::rename(beside(".copy-wal"), beside("-wal")).unwrap();
            }
            // The new one was begun.
            1 => {
                fs::remove_file(&path).unwrap();
                fs::rename(beside(".copy-wal"), beside(".damaged-wal")).unwrap();
                fs::write(beside(".rebuilt"), b"half of it").unwrap();
            }
            // The new one has its name, and the old one not its last.
            _ => {
                fs::remove_file(beside(".copy-wal")).unwrap();
                fs::write(beside(".set-aside"), b"an older one").unwrap();
            }
        }
        let (replica, rescued) = Replica::open_or_rebuild(&path, FRESH).unwrap();
        match rescued {
            Some(rescued) => {
                assert!(step < 2);
                assert_eq!(damaged.check(&replica, &rescued), damaged.all(), "step {step}");
            }
            None => assert!(step >= 2, "step {step}"),
        }
        assert!(!away.exists() && beside(".set-aside").exists(), "step {step}");
        let sent = if step < 2 { 0 } else { damaged.sent.len() };
        assert_eq!(replica.pending().unwrap().len(), damaged.unsent.len() + sent);
        drop(replica);
        // The old one is not looked at again, whatever becomes of the file.
        fs::remove_file(&path).unwrap();
        let (replica, rescued) = Replica::open_or_rebuild(&path, FRESH).unwrap();
        assert_eq!((replica.pending().unwrap().len(), rescued), (0, None));
    }
}

/// Z3: nothing of it is left but the lock.
#[test]
fn what_is_wiped_is_gone() {
    let damaged = Damaged::new();
    let (replica, _) = Replica::rebuild(&damaged.place, FRESH).unwrap();
    replica.wipe().unwrap();
    assert_eq!(damaged.place.ends(), [""; 0]);
    let replica = damaged.place.open();
    assert_eq!(replica.pending().unwrap(), []);
}
