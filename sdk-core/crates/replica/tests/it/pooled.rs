//! A replica in a pool of files, as browsers have it: one connection, and no other name for a file.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::ids::ClientId;
use sdk_replica::{Place, Pool, PoolError, Replica, ReplicaError};

use crate::world::{Place as Folder, write};

const FRESH: ClientId = ClientId::from_bytes([8; 16]);

/// Files by their paths. After so many operations that change something, none is possible any more.
struct Files(AtomicUsize);

impl Files {
    fn with_operations(count: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(count)))
    }

    fn operate(&self) -> Result<(), PoolError> {
        let taken =
            self.0.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| PoolError::Failed("the page has gone".to_owned()))
    }
}

impl Pool for Files {
    fn contains(&self, name: &str) -> Result<bool, PoolError> {
        Ok(Path::new(name).exists())
    }

    fn remove(&self, name: &str) -> Result<(), PoolError> {
        if Path::new(name).exists() {
            self.operate()?;
            fs::remove_file(name).unwrap();
        }
        Ok(())
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), PoolError> {
        self.operate()?;
        assert!(!Path::new(to).exists(), "{to}");
        assert!(!Path::new(&format!("{from}-wal")).exists(), "{from} has a journal");
        fs::copy(from, to).unwrap();
        Ok(())
    }

    fn fill(&self, _name: &str, _size: u64) -> Result<(), PoolError> {
        Ok(())
    }

    fn give(&self, _name: &str) -> Result<bool, PoolError> {
        Ok(false)
    }
}

fn pooled(path: &Path, files: &Arc<Files>) -> Place {
    Place::pooled(path.to_str().unwrap(), Arc::<Files>::clone(files) as _)
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
    let folder = Folder::new();
    drop(folder.with_messages());
    let files = Files::with_operations(usize::MAX);
    let place = pooled(&folder.path(), &files);
    let mut replica = Replica::open(place.clone(), FRESH).unwrap();
    insert(&mut replica, 100);
    assert_eq!(shown(&mut replica), 1);
    let later = replica.view().query("SELECT now() > 0", &[]).unwrap_err().to_string();
    assert_eq!(later, "no such function: now", "as any reader says");
    let reader = replica.reader().unwrap_err().to_string();
    assert!(reader.contains("one connection"), "{reader}");
    assert!(matches!(Replica::open(place.clone(), FRESH), Err(ReplicaError::InUse)));
    assert!(!sdk_replica::can_be_had_alone(&folder.path()), "it holds the file");
    assert!(replica.view().storage(|| true).unwrap().journal > 0);
    drop(replica);
    assert!(sdk_replica::can_be_had_alone(&folder.path()));
    let mut replica = Replica::open(place, FRESH).unwrap();
    assert_eq!(shown(&mut replica), 1);
    replica.wipe().unwrap();
    assert_eq!(
        fs::read_dir(folder.path().parent().unwrap()).unwrap().flatten().count(),
        1,
        "the lock"
    );
}

/// The page may go at any point, and what is opened next has each write once.
#[test]
fn a_damaged_one_is_replaced_wherever_that_is_cut_short() {
    let folder = Folder::new();
    let mut replica = folder.with_messages();
    (100..120).for_each(|id| insert(&mut replica, id));
    drop(replica);
    let mut whole = fs::read(folder.path()).unwrap();
    // What nobody can read without noticing, and what was written is beside it.
    whole[4096..4096 + 64].fill(0xA5);
    let beside = |end: &str| folder.path().with_extension(format!("sqlite{end}"));
    let mut cuts = 0;
    for (operations, again) in (0..).flat_map(|count| [(count, false), (count, true)]) {
        for end in ["-wal", "-shm", ".rebuilt", ".whole"] {
            let _ = fs::remove_file(beside(end));
        }
        fs::write(folder.path(), &whole).unwrap();
        let files = Files::with_operations(operations);
        let cut = Replica::rebuild(pooled(&folder.path(), &files), FRESH).err();
        let is_whole = beside(".whole").exists();
        let files = Files::with_operations(usize::MAX);
        let place = pooled(&folder.path(), &files);
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
        assert!([".rebuilt", ".whole"].iter().all(|end| !beside(end).exists()));
        match cut {
            Some(_) => cuts += 1,
            None => break,
        }
    }
    assert!(cuts > 7, "{cuts}");
}

/// What cannot be read at the moment is still there.
#[test]
fn a_damaged_one_that_cannot_be_read_at_the_moment_stays() {
    let folder = Folder::new();
    let mut replica = folder.with_messages();
    insert(&mut replica, 100);
    drop(replica);
    let there = fs::read(folder.path()).unwrap();
    // Something else has it, which is no damage.
    let held = sdk_replica::hold(&folder.path());
    let place = pooled(&folder.path(), &Files::with_operations(usize::MAX));
    let error = Replica::rebuild(place.clone(), FRESH).unwrap_err().to_string();
    assert!(error.contains("tried again"), "{error}");
    assert_eq!(fs::read(folder.path()).unwrap(), there);
    drop(held);
    let (replica, rescued) = Replica::rebuild(place, FRESH).unwrap();
    assert_eq!((rescued.waiting, replica.pending().unwrap().len()), (1, 1));
}
