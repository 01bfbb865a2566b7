//! A replica in a pool of files, as browsers have it: one connection, and no other name for a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::ids::ClientId;
use sdk_replica::{ChangedRows, Pool, PoolError, Replica, ReplicaError};

use crate::place::pool;
use crate::rows_told;
use crate::world::{Place, execute, write};

const FRESH: ClientId = ClientId::from_bytes([8; 16]);

/// A pool. After so many operations that change something, none is possible any more.
struct Files {
    left: AtomicUsize,
    pool: Arc<dyn Pool>,
}

impl Files {
    fn operate(&self) -> Result<(), PoolError> {
        let taken =
            self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| PoolError::Failed("the page has gone".to_owned()))
    }
}

impl Pool for Files {
    fn contains(&self, name: &str) -> Result<bool, PoolError> {
        self.pool.contains(name)
    }

    fn remove(&self, name: &str) -> Result<(), PoolError> {
        if self.pool.contains(name)? {
            self.operate()?;
        }
        self.pool.remove(name)
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), PoolError> {
        self.operate()?;
        self.pool.copy(from, to)
    }

    fn fill(&self, name: &str, size: u64) -> Result<(), PoolError> {
        self.pool.fill(name, size)
    }

    fn give(&self, name: &str) -> Result<bool, PoolError> {
        self.pool.give(name)
    }
}

fn pooled(place: &Place, operations: usize) -> sdk_replica::Place {
    let left = AtomicUsize::new(operations);
    place.pooled(Arc::new(Files { left, pool: pool() }))
}

fn insert(replica: &mut Replica, id: i64) {
    write(replica, &format!("INSERT INTO chat.messages (id, body) VALUES ({id}, 'mine')")).unwrap();
}

fn shown(replica: &mut Replica) -> usize {
    let mine = "SELECT id FROM chat.messages WHERE body = 'mine'";
    replica.view().query(mine, &[]).unwrap().rows.len()
}

#[test]
fn one_connection_reads_and_writes_and_has_the_file_alone() {
    let folder = Place::new();
    drop(folder.with_messages());
    let place = pooled(&folder, usize::MAX);
    let mut replica = Replica::open(place.clone(), FRESH).unwrap();
    insert(&mut replica, 100);
    assert_eq!(shown(&mut replica), 1);
    let later = replica.view().query("SELECT now() > 0", &[]).unwrap_err().to_string();
    assert_eq!(later, "no such function: now", "as any reader says");
    let reader = replica.reader().unwrap_err().to_string();
    assert!(reader.contains("one connection"), "{reader}");
    assert!(matches!(Replica::open(place.clone(), FRESH), Err(ReplicaError::InUse)));
    // Files of an origin have no locks: who has the pool has all of them.
    let can_be_had = || sdk_replica::can_be_had_alone(&folder.path());
    assert!(cfg!(target_family = "wasm") || !can_be_had(), "it holds the file");
    assert!(replica.view().storage(|| true).unwrap().journal > 0);
    drop(replica);
    assert!(cfg!(target_family = "wasm") || can_be_had());
    let mut replica = Replica::open(place, FRESH).unwrap();
    assert_eq!(shown(&mut replica), 1);
    replica.wipe().unwrap();
    assert_eq!(folder.ends(), [""; 0]);
}

/// Nobody sees how a row was.
#[test]
fn all_rows_of_a_table_count_where_there_is_one_connection() {
    let folder = Place::new();
    drop(folder.with_messages());
    let mut replica = Replica::open(pooled(&folder, usize::MAX), FRESH).unwrap();
    rows_told::tell_rows(&mut replica);
    let update = "UPDATE chat.messages SET room = 9 WHERE id = 1";
    let changed = execute(&mut replica, update, &[]).unwrap().changed;
    assert_eq!(changed.tables["chat__messages"], ChangedRows::All);
}

/// The page may go at any point, and what is opened next has each write once.
#[test]
fn a_damaged_one_is_replaced_wherever_that_is_cut_short() {
    let folder = Place::new();
    let mut replica = folder.with_messages();
    (100..120).for_each(|id| insert(&mut replica, id));
    drop(replica);
    let mut whole = folder.bytes("");
    // What nobody can read without noticing, and what was written is beside it.
    whole[4096..4096 + 64].fill(0xA5);
    let is_there = |end: &str| folder.ends().iter().any(|it| it == end);
    let mut cuts = 0;
    for (operations, again) in (0..).flat_map(|count| [(count, false), (count, true)]) {
        for end in ["-wal", "-shm", ".rebuilt", ".whole"] {
            folder.remove(end);
        }
        folder.put("", &whole);
        let cut = Replica::rebuild(pooled(&folder, operations), FRESH).err();
        let is_whole = is_there(".whole");
        let place = pooled(&folder, usize::MAX);
        let rebuild = || {
            let (replica, rescued) = Replica::rebuild(place.clone(), FRESH).unwrap();
            assert_eq!((rescued.waiting, rescued.lost), (20, 0));
            replica
        };
        let mut replica = match &cut {
            // The new one is whole, so nobody looks at the other any more: after a reload, and where it
            // is tried again.
            Some(_) if is_whole && again => Replica::open(place.clone(), FRESH).unwrap(),
            Some(_) => rebuild(),
            None => Replica::open(place.clone(), FRESH).unwrap(),
        };
        assert_eq!(replica.client(), FRESH);
        assert_eq!(replica.pending().unwrap().len(), 20, "after {operations} operations");
        assert_eq!(shown(&mut replica), 20);
        drop(replica);
        assert!([".rebuilt", ".whole"].iter().all(|end| !is_there(end)));
        match cut {
            Some(_) => cuts += 1,
            None => break,
        }
    }
    assert!(cuts > 7, "{cuts}");
}

/// What cannot be read at the moment is still there.
// In a browser: files have no locks, by which something else would have it.
#[cfg(not(target_family = "wasm"))]
#[test]
fn a_damaged_one_that_cannot_be_read_at_the_moment_stays() {
    let folder = Place::new();
    let mut replica = folder.with_messages();
    insert(&mut replica, 100);
    drop(replica);
    let there = folder.bytes("");
    // Something else has it, which is no damage.
    let held = sdk_replica::hold(&folder.path());
    let place = pooled(&folder, usize::MAX);
    let error = Replica::rebuild(place.clone(), FRESH).unwrap_err().to_string();
    assert!(error.contains("tried again"), "{error}");
    assert_eq!(folder.bytes(""), there);
    drop(held);
    let (replica, rescued) = Replica::rebuild(place, FRESH).unwrap();
    assert_eq!((rescued.waiting, replica.pending().unwrap().len()), (1, 1));
}
