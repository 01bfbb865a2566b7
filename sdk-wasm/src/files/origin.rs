//! The files of the origin: a pool, by which SQLite reads and writes without waiting.

use std::cell::RefCell;
use std::sync::Arc;

use rsqlite_vfs::VfsFilesManager;
use rsqlite_vfs::transfer::DbTransfer;
use sdk_core::ports::Pool;
use sdk_core::{Error, ErrorCode};
use sqlite_wasm_rs::WasmOsCallback;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, OpfsSAHPoolUtil, install};

/// How many files there is room for beside those that are there: a replica with its journal, and what
/// takes its place when it is damaged.
const FREE_FILES: usize = 8;

thread_local! {
    /// A worker has one pool for as long as it lives.
    static POOL: RefCell<Option<OpfsSAHPoolUtil>> = const { RefCell::new(None) };
}

/// Opens the pool in a directory of the origin, as the file system of SQLite.
pub(super) async fn open(directory: &str) -> Result<Arc<dyn Pool>, Error> {
    let there = POOL.with_borrow(Clone::clone);
    let pool = match there {
        Some(pool) => pool,
        None => {
            let options = OpfsSAHPoolCfgBuilder::new().directory(directory).build();
            install::<WasmOsCallback>(&options, true).await.map_err(failed)?
        }
    };
    let files = pool.len().map_err(failed)?;
    pool.ensure_capacity(files + FREE_FILES).await.map_err(failed)?;
    POOL.set(Some(pool));
    Ok(Arc::new(OriginFiles))
}

/// The files of the origin, once they are open.
struct OriginFiles;

impl OriginFiles {
    fn with<T>(
        work: impl FnOnce(&OpfsSAHPoolUtil) -> Result<T, OpfsSAHError>,
    ) -> Result<T, String> {
        POOL.with_borrow(|pool| match pool {
            Some(pool) => work(pool).map_err(|error| error.to_string()),
            None => Err("the files of the origin are not open".to_owned()),
        })
    }
}

impl Pool for OriginFiles {
    fn contains(&self, name: &str) -> Result<bool, String> {
        Self::with(|pool| pool.contains(name))
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        Self::with(|pool| pool.remove(name).map(drop))
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), String> {
        // It is small: what can be loaded again is not in it.
        Self::with(|pool| pool.import_db_unchecked(to, &pool.export_db(from)?))
    }
}

fn failed(error: OpfsSAHError) -> Error {
    let told = error.to_string();
    let advice = match error {
        OpfsSAHError::NotSupported => {
            "use a browser and an address (https:, or localhost) that have them, and no private window"
        }
        _ if told.contains(TAKEN) => "close what else of this site is open, and try again",
        _ => {
            "load the page again; if that does not help, clear what the browser has stored of this site"
        }
    };
    let message = format!("the private files of the origin cannot be used ({told}): {advice}");
    Error::Asked { code: ErrorCode::Internal, message }
}

/// How browsers say that somebody else has a file open.
const TAKEN: &str = "NoModificationAllowedError";
