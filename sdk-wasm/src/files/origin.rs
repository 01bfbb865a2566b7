//! The files of the origin: a pool, by which SQLite reads and writes without waiting.
//!
//! One worker of all that the origin has can have them open. It may let them go while it lives, and take
//! them again.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use futures::FutureExt;
use js_sys::Reflect;
use rsqlite_vfs::VfsFilesManager;
use rsqlite_vfs::transfer::{DbTransfer, ImportTarget};
use sdk_core::ports::{Pool, PoolError};
use sdk_core::{Error, ErrorCode};
use sqlite_wasm_rs::WasmOsCallback;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, OpfsSAHPoolUtil, install};
use tokio::sync::{Mutex, MutexGuard};
use wasm_bindgen_futures::spawn_local;

/// By which SQLite has them: a worker may have those of its host as well.
const FILE_SYSTEM: &str = "origin";

/// How many files are free: for a replica with its journal and its reserve, and for what takes its place when
/// it is damaged. Each takes a moment when the pool is opened.
const FREE_FILES: usize = 8;

/// When there are fewer, it is added to the pool as it is opened. That takes longer.
const FREE_FILES_MIN: usize = 6;

/// The last are for the one that takes the place of a damaged one, with its journal and its copy.
const FREE_FILES_LAST: usize = 3;

/// The pool of a worker, from when it is first opened for as long as the worker lives.
#[derive(Clone)]
struct Origin {
    directory: String,
    pool: OpfsSAHPoolUtil,
    /// Whoever has them open has a clone.
    files: Arc<OriginFiles>,
}

thread_local! {
    static ORIGIN: RefCell<Option<Origin>> = const { RefCell::new(None) };
    /// Whether there was no room when something was to be added last.
    static IS_FULL: Cell<bool> = const { Cell::new(false) };
}

/// Who opens the pool, adds to it or lets it go. It takes a while, and is not done twice at once; meanwhile the
/// pool does nothing else. A client that runs waits for nobody: it fails, and tries again.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until nobody else has to do with the pool, and keeps others from it.
pub(super) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The same, where that is so now.
pub(super) fn try_turn() -> Option<MutexGuard<'static, ()>> {
    TURN.try_lock().ok()
}

/// Opens the pool in a directory of the origin, as the file system of SQLite.
pub(super) async fn open(directory: &str) -> Result<Arc<dyn Pool>, Error> {
    let _turn = TURN.lock().await;
    let there = ORIGIN.with_borrow(Clone::clone);
    let Origin { pool, files, .. } = match there {
        Some(origin) if origin.directory == directory => {
            origin.pool.resume().await.map_err(failed)?;
            origin
        }
        Some(origin) => return Err(elsewhere(&origin.directory)),
        None => {
            let options = OpfsSAHPoolCfgBuilder::new()
                .vfs_name(FILE_SYSTEM)
                .directory(directory)
                .initial_capacity(0)
                .build();
            let pool = install::<WasmOsCallback>(&options, true).await.map_err(failed)?;
            let (directory, files) = (directory.to_owned(), Arc::new(OriginFiles));
            let origin = Origin { directory, pool, files };
            ORIGIN.set(Some(origin.clone()));
            origin
        }
    };
    match make_room(pool.clone()).await {
        // A replica that is there needs none, and can be read and written without.
        Err(error) if code(&error) == ErrorCode::Quota && !pool.is_empty().map_err(failed)? => {}
        done => done.map_err(failed)?,
    }
    Ok(files)
}

/// Lets the pool go, so that another worker can open it, until it is opened again.
pub(super) async fn let_go() -> Result<(), Error> {
    let _turn = TURN.lock().await;
    let Some(origin) = ORIGIN.with_borrow(Clone::clone) else { return Ok(()) };
    let Origin { pool, files, .. } = origin;
    // This clone, and the one that stays. Of a client that is suspended no file is open, and it has them
    // all the same: once it is resumed SQLite would find no file system, or another one.
    if Arc::strong_count(&files) > 2 {
        return Err(in_use());
    }
    pool.pause().map_err(|error| match error {
        OpfsSAHError::FilesInUse => in_use(),
        error => failed(error),
    })
}

/// The files of the origin, once they are open.
struct OriginFiles;

impl OriginFiles {
    fn with<T>(
        work: impl FnOnce(&OpfsSAHPoolUtil) -> Result<T, OpfsSAHError>,
    ) -> Result<T, PoolError> {
        ORIGIN.with_borrow(|origin| match origin {
            Some(origin) => work(&origin.pool).map_err(|error| match code(&error) {
                ErrorCode::Quota => PoolError::Full,
                _ => PoolError::Failed(error.to_string()),
            }),
            None => Err(PoolError::Failed("the files of the origin are not open".to_owned())),
        })
    }
}

impl Pool for OriginFiles {
    fn file_system(&self) -> Option<&'static str> {
        Some(FILE_SYSTEM)
    }

    fn contains(&self, name: &str) -> Result<bool, PoolError> {
        Self::with(|pool| pool.contains(name))
    }

    fn remove(&self, name: &str) -> Result<(), PoolError> {
        Self::with(|pool| pool.remove(name).map(drop))
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), PoolError> {
        // It is small: what can be loaded again is not in it.
        Self::with(|pool| pool.import_db_unchecked(to, &pool.export_db(from)?))
    }

    fn fill(&self, name: &str, size: u64) -> Result<(), PoolError> {
        let filled = Self::with(|pool| {
            // Each that was given up has taken one from the pool. The last are not for this.
            if free_files(pool)? <= FREE_FILES_LAST {
                spawn_local(make_room_beside(pool.clone()));
                return Err(OpfsSAHError::NoCapacity);
            }
            fill(pool, name, size)
        });
        match filled {
            // It is not known whether there is room, and was none.
            Err(PoolError::Failed(_)) if IS_FULL.get() => Err(PoolError::Full),
            filled => {
                IS_FULL.set(filled == Err(PoolError::Full));
                filled
            }
        }
    }

    fn give(&self, name: &str) -> Result<bool, PoolError> {
        Self::with(|pool| {
            let was_there = pool.remove(name)?;
            if was_there {
                close_last(pool);
            }
            Ok(was_there)
        })
    }
}

/// How many files can be made without adding to the pool.
fn free_files(pool: &OpfsSAHPoolUtil) -> Result<usize, OpfsSAHError> {
    Ok(pool.capacity() - pool.len()?)
}

/// Adds to a pool that has few free files, or none: one after the other, since of several the first are not kept
/// where there is no room for the last.
async fn make_room(pool: OpfsSAHPoolUtil) -> Result<(), OpfsSAHError> {
    if free_files(&pool)? < FREE_FILES_MIN {
        while free_files(&pool)? < FREE_FILES {
            pool.add_capacity(1).await?;
        }
    }
    Ok(())
}

/// The same beside everything else.
async fn make_room_beside(pool: OpfsSAHPoolUtil) {
    let _turn = TURN.lock().await;
    // It may have been let go meanwhile. Whoever needs room finds out whether there is some.
    if let Err(error) = make_room(pool).await
        && code(&error) == ErrorCode::Quota
    {
        IS_FULL.set(true);
    }
}

/// The last piece is written first: there is room for all of it, or none is taken.
fn fill(pool: &OpfsSAHPoolUtil, name: &str, size: u64) -> Result<(), OpfsSAHError> {
    let mut file = pool.create_import(name, size)?;
    // Not zeros: a browser may take no room for those.
    let piece: Vec<u8> = (0..64 * 1024_u32).map(|at| (at.wrapping_mul(167) >> 8) as u8).collect();
    let mut end = size;
    let mut has_room = false;
    let written = loop {
        if end == 0 {
            break Ok(());
        }
        let count = piece.len().min(usize::try_from(end).unwrap_or(usize::MAX));
        end -= count as u64;
        if let Err(error) = file.write_at(end, &piece[..count]) {
            break Err(error);
        }
        has_room = true;
    };
    let filled = match written {
        Ok(()) => file.commit(),
        Err(error) => Err(file.abort_with_error(error)),
    };
    // There are as many as before of a full disk, however often it is tried.
    if filled.is_err() && has_room {
        close_last(pool);
    }
    filled
}

/// Takes the file from the pool that was free last. Chromium keeps the room that a file once had for it, as
/// long as it is open, although it is short.
fn close_last(pool: &OpfsSAHPoolUtil) {
    // It is closed at once, and removed soon; if not, it is found when the pool is opened again.
    let _ = pool.reduce_capacity(1).now_or_never();
}

fn in_use() -> Error {
    let message = "the private files of the origin are in use: close every client of this worker \
                   first, and those that are suspended, too";
    Error::Asked { code: ErrorCode::InvalidRequest, message: message.to_owned() }
}

fn elsewhere(directory: &str) -> Error {
    let message = format!(
        "this worker has its replicas in the directory {directory:?}: open all of them there, or use \
         another worker"
    );
    Error::Asked { code: ErrorCode::InvalidRequest, message }
}

fn failed(error: OpfsSAHError) -> Error {
    let code = code(&error);
    let advice = match code {
        ErrorCode::Unsupported => {
            "use a browser and an address (https:, or localhost) that have them, and no private window"
        }
        ErrorCode::LeaderChanged => "close what else of this site is open, and try again",
        ErrorCode::Quota => "free some space on this device, and open it again",
        _ => {
            "load the page again; if that does not help, clear what the browser has stored of this site"
        }
    };
    let message = format!("the private files of the origin cannot be used ({error}): {advice}");
    Error::Asked { code, message }
}

/// What the browser means: that it has no such files, or not here; that another worker has them open; that
/// there is no room; or anything else.
fn code(error: &OpfsSAHError) -> ErrorCode {
    match error {
        OpfsSAHError::NotSupported => ErrorCode::Unsupported,
        OpfsSAHError::Cleanup { error, .. } => code(error),
        OpfsSAHError::Opfs { operation, value, .. } => {
            let name = Reflect::get(value, &"name".into()).ok().and_then(|name| name.as_string());
            match name.as_deref() {
                Some("NoModificationAllowedError") => ErrorCode::LeaderChanged,
                Some("QuotaExceededError") => ErrorCode::Quota,
                Some("NotSupportedError" | "NotAllowedError" | "SecurityError") => {
                    ErrorCode::Unsupported
                }
                // Browsers have many words for it.
                _ if *operation == ROOT => ErrorCode::Unsupported,
                _ => ErrorCode::Internal,
            }
        }
        _ => ErrorCode::Internal,
    }
}

/// How the first step is called, which every browser with such files can do.
const ROOT: &str = "get OPFS root";
