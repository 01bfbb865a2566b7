//! Files of the host, such as those of Node: SQLite reads and writes them through functions that do
//! not wait. Nobody else has them; the host sees to that.

use std::cell::RefCell;
use std::sync::Arc;

use rsqlite_vfs::{
    AccessMode, LockLevel, OpenOptions, OpenRequest, OpenedFile, SQLiteIoMethods, SQLiteVfs,
    SyncOptions, VfsError, VfsErrorCode, VfsFile, VfsResult, VfsStore, register_vfs,
};
use sdk_core::ports::{Pool, PoolError};
use sdk_core::{Error, ErrorCode};
use sqlite_wasm_rs::WasmOsCallback;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// Files by their names. Each function throws what is wrong.
    pub type Files;

    /// A number for an open file; none where there is no such file and none is to be made.
    #[wasm_bindgen(method, structural, catch)]
    fn open(this: &Files, name: &str, create: bool) -> Result<Option<u32>, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn close(this: &Files, file: u32) -> Result<(), JsValue>;
    /// How many bytes there were from there on, at most as many as there is room for.
    #[wasm_bindgen(method, structural, catch)]
    fn read(this: &Files, file: u32, into: &mut [u8], at: f64) -> Result<u32, JsValue>;
    /// All of them.
    #[wasm_bindgen(method, structural, catch)]
    fn write(this: &Files, file: u32, bytes: &[u8], at: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn truncate(this: &Files, file: u32, size: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn sync(this: &Files, file: u32) -> Result<(), JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn size(this: &Files, file: u32) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn exists(this: &Files, name: &str) -> Result<bool, JsValue>;
    /// Durably, if it is there.
    #[wasm_bindgen(method, structural, catch)]
    fn remove(this: &Files, name: &str) -> Result<(), JsValue>;
    /// All of it is there under the other name, durably, or nothing.
    #[wasm_bindgen(method, structural, catch)]
    fn copy(this: &Files, from: &str, to: &str) -> Result<(), JsValue>;
}

/// By which SQLite has them: a worker may have those of the origin as well.
const FILE_SYSTEM: &str = "host";

thread_local! {
    /// A worker has the files of one host for as long as it lives.
    static FILES: RefCell<Option<Files>> = const { RefCell::new(None) };
}

/// Opens them as the file system of SQLite.
pub(super) fn open(files: Files) -> Result<Arc<dyn Pool>, Error> {
    let is_first = FILES.replace(Some(files)).is_none();
    if is_first {
        // SAFETY: there is one thread, nothing else registers this name, and what is registered is
        // never taken back. The methods are those of the crate, for the store that they are given.
        #[expect(unsafe_code, reason = "it is how a file system is given to SQLite")]
        let registered =
            unsafe { register_vfs::<Methods, HostVfs>(FILE_SYSTEM, WasmOsCallback, false) };
        let registered = registered.map_err(|error| Error::Asked {
            code: ErrorCode::Internal,
            message: format!("SQLite does not take the files of the host: {error}"),
        })?;
        // For as long as the worker lives.
        let _ = registered.into_raw();
    }
    Ok(Arc::new(HostFiles))
}

fn with<T>(code: VfsErrorCode, work: impl FnOnce(&Files) -> Result<T, JsValue>) -> VfsResult<T> {
    FILES.with_borrow(|files| {
        let files = files.as_ref().ok_or_else(|| VfsError::new(code, "it is not open".into()))?;
        work(files).map_err(|error| {
            let is_full = text(&error, "code").is_some_and(|code| FULL.contains(&&*code));
            let code = if is_full { VfsErrorCode::Full } else { code };
            VfsError::new(code, text(&error, "message").unwrap_or_default().into())
        })
    })
}

/// How Node says that there is no room.
const FULL: [&str; 2] = ["ENOSPC", "EDQUOT"];

fn text(error: &JsValue, property: &str) -> Option<String> {
    js_sys::Reflect::get(error, &property.into()).ok()?.as_string()
}

/// A place in a file. Files are smaller than 2^53 bytes.
#[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
fn place(at: u64) -> f64 {
    at as f64
}

struct HostFile(u32);

impl VfsFile for HostFile {
    fn read(&mut self, buf: &mut [u8], offset: u64) -> VfsResult<usize> {
        let count = with(VfsErrorCode::IoRead, |it| it.read(self.0, buf, place(offset)))?;
        Ok(count as usize)
    }

    fn write(&mut self, buf: &[u8], offset: u64) -> VfsResult<()> {
        with(VfsErrorCode::IoWrite, |it| it.write(self.0, buf, place(offset)))
    }

    fn truncate(&mut self, size: u64) -> VfsResult<()> {
        with(VfsErrorCode::IoTruncate, |it| it.truncate(self.0, place(size)))
    }

    fn sync(&mut self, _options: SyncOptions) -> VfsResult<()> {
        with(VfsErrorCode::IoSync, |it| it.sync(self.0))
    }

    fn size(&self) -> VfsResult<u64> {
        let size = with(VfsErrorCode::IoStat, |it| it.size(self.0))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the size of a file is whole and below 2^53"
        )]
        Ok(size as u64)
    }

    // There is one connection, and the host sees to it that it is the only one.
    fn lock(&mut self, _level: LockLevel) -> VfsResult<()> {
        Ok(())
    }

    fn unlock(&mut self, _level: LockLevel) -> VfsResult<()> {
        Ok(())
    }

    fn check_reserved_lock(&self) -> VfsResult<bool> {
        Ok(false)
    }
}

struct Store;

impl VfsStore for Store {
    type File = HostFile;
    type AppData = WasmOsCallback;

    fn open_file(_: &WasmOsCallback, request: OpenRequest<'_>) -> VfsResult<OpenedFile<HostFile>> {
        let none = || VfsError::new(VfsErrorCode::CantOpen, "there is no such file".into());
        // What SQLite needs for a while only it has in memory.
        let name = request.filename.ok_or_else(none)?;
        let create = request.options.create();
        let opened = with(VfsErrorCode::CantOpen, |it| it.open(name.path(), create))?;
        let file = HostFile(opened.ok_or_else(none)?);
        Ok(OpenedFile { file, access: request.options.access() })
    }

    fn close_file(
        _: &WasmOsCallback,
        name: Option<&str>,
        file: HostFile,
        options: OpenOptions,
    ) -> VfsResult<()> {
        with(VfsErrorCode::IoClose, |it| it.close(file.0))?;
        match name.filter(|_| options.delete_on_close()) {
            Some(name) => with(VfsErrorCode::IoDelete, |it| it.remove(name)),
            None => Ok(()),
        }
    }

    fn access(_: &WasmOsCallback, name: &str, _mode: AccessMode) -> VfsResult<bool> {
        with(VfsErrorCode::IoAccess, |it| it.exists(name))
    }

    fn full_pathname(_: &WasmOsCallback, name: &str) -> VfsResult<String> {
        Ok(name.to_owned())
    }

    fn delete_file(_: &WasmOsCallback, name: &str, _sync_dir: bool) -> VfsResult<()> {
        with(VfsErrorCode::IoDelete, |it| it.remove(name))
    }
}

struct Methods;

impl SQLiteIoMethods for Methods {
    type Store = Store;
}

struct HostVfs;

impl SQLiteVfs<Methods> for HostVfs {
    type Os = WasmOsCallback;

    fn os(data: &WasmOsCallback) -> &WasmOsCallback {
        data
    }
}

/// The files of the host, once they are open.
struct HostFiles;

impl Pool for HostFiles {
    fn file_system(&self) -> Option<&'static str> {
        Some(FILE_SYSTEM)
    }

    fn contains(&self, name: &str) -> Result<bool, PoolError> {
        with(VfsErrorCode::IoAccess, |it| it.exists(name)).map_err(of_pool)
    }

    fn remove(&self, name: &str) -> Result<(), PoolError> {
        with(VfsErrorCode::IoDelete, |it| it.remove(name)).map_err(of_pool)
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), PoolError> {
        with(VfsErrorCode::IoWrite, |it| it.copy(from, to)).map_err(of_pool)
    }

    // They may be in memory.
    fn fill(&self, _name: &str, _size: u64) -> Result<(), PoolError> {
        Ok(())
    }

    fn give(&self, _name: &str) -> Result<bool, PoolError> {
        Ok(false)
    }
}

fn of_pool(error: VfsError) -> PoolError {
    match error.code() {
        VfsErrorCode::Full => PoolError::Full,
        _ => PoolError::Failed(error.to_string()),
    }
}
