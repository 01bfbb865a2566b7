//! The data directory: who uses it, of which version it is, the signing key, the two databases.
//!
//! | name | what it is |
//! | --- | --- |
//! | `lock` | held by the process that uses the directory, for as long as it runs |
//! | `version` | the version of this layout |
//! | `key` | signs tokens: 64 hexadecimal digits |
//! | `log`, `rows` | the databases |
//! | `founded` | the first start has come to its end, so nothing above may be missing |
//!
//! Each file is written under another name, synced and renamed, so there is the whole of it or
//! nothing. Up to `founded` a start repeats what an earlier one did not finish; from then on it
//! makes nothing anew, least of all a key.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use server_replication::{Databases, Disk, LOG_LAYOUT};
use server_storage::{RocksOptions, RocksStore, StorageError};

/// The version of this layout.
const VERSION: u32 = 1;

/// Bytes of the signing key.
const KEY_BYTES: usize = 32;

/// What a file is called until it is whole.
const UNFINISHED: &str = ".unfinished";

const DATABASES: [&str; 2] = ["log", "rows"];

/// What may be in a directory that is not founded yet.
const OURS: [&str; 6] = ["lock", "version", "key", "log", "rows", "lost+found"];

/// A data directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// The key that signs tokens.
pub(crate) struct Key(pub(crate) [u8; KEY_BYTES]);

impl DataDirectory {
    /// Takes the directory, and makes it where there is none.
    ///
    /// # Errors
    /// A sentence: another process uses it, or what is in it cannot be gone on with.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        make(path).with_context(|| format!("the data directory {shown} cannot be made"))?;
        let lock = lock(path)?;
        let directory = Self { path: path.to_owned(), _lock: lock };
        directory.check_version()?;
        if directory.is_founded() {
            directory.check_complete()?;
        }
        Ok(directory)
    }

    /// The signing key. The first start makes it.
    ///
    /// # Errors
    /// It is damaged or gone. It is not replaced: all tokens would be void.
    pub(crate) fn key(&self) -> anyhow::Result<Key> {
        let file = self.path.join("key");
        if !self.is_founded() && !self.has("key")? {
            let mut key = [0; KEY_BYTES];
            getrandom::fill(&mut key)
                .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
            let mut text = String::new();
            for byte in key {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
            self.put("key", &text)?;
        }
        read_key(&file)
    }

    /// What opens the databases.
    pub(crate) fn disk(&self, options: RocksOptions) -> Arc<dyn Disk> {
        Arc::new(Directories { path: self.path.clone(), options })
    }

    /// Notes that the first start has come to its end.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn found(&self) -> anyhow::Result<()> {
        if self.is_founded() {
            return Ok(());
        }
        self.put("founded", "by the first start that came to its end\n")
    }

    fn is_founded(&self) -> bool {
        is_founded(&self.path)
    }

    fn has(&self, name: &str) -> anyhow::Result<bool> {
        let file = self.path.join(name);
        file.try_exists().with_context(|| format!("{} cannot be read", file.display()))
    }

    /// Writes a file as a whole, readable by nobody else.
    fn put(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let place = self.path.join(name);
        let aside = self.path.join(format!("{name}{UNFINISHED}"));
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &place)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("{} cannot be written", place.display()))
    }

    /// A directory of this version, or an empty one, which becomes one.
    fn check_version(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        if !self.has("version")? {
            self.check_unused()?;
            return self.put("version", &format!("{VERSION}\n"));
        }
        let text = fs::read_to_string(self.path.join("version"))
            .with_context(|| format!("the file version of {shown} cannot be read"))?;
        match text.trim_end().parse::<u32>() {
            Ok(VERSION) => Ok(()),
            Ok(later) if later > VERSION => bail!(
                "the data in {shown} is of version {later}, and this server knows up to \
                 {VERSION}: start a later server on it"
            ),
            _ => bail!("the file version of {shown} is damaged: restore the data from a backup"),
        }
    }

    /// Before there is a version, nothing of ours has been written; what is there is somebody's.
    fn check_unused(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        let entries = fs::read_dir(&self.path)
            .with_context(|| format!("the data directory {shown} cannot be read"))?;
        for entry in entries {
            let name = entry.with_context(|| format!("{shown} cannot be read"))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if name.strip_suffix(UNFINISHED) == Some("version")
                || ["lock", "lost+found"].contains(&&*name)
            {
                continue;
            }
            if OURS.contains(&&*name) || name == "founded" {
                bail!(
                    "{shown} has {name} and no file version: it was not copied as a whole, so \
                     restore it from a backup"
                );
            }
            bail!(
                "{shown} has {name} in it, which is not of Tidewire: name an empty directory, or \
                 one that does not exist"
            );
        }
        Ok(())
    }

    /// From the first start on, nothing may be missing: it would be made anew, and empty.
    fn check_complete(&self) -> anyhow::Result<()> {
        let is_missing = |name: &&str| !is_whole(&self.path, name);
        let missing = if self.has("key")? { None } else { Some("key") };
        if let Some(name) = missing.or_else(|| DATABASES.into_iter().find(is_missing)) {
            bail!(
                "{name} is missing in {}, or not whole: restore the data from a backup",
                self.path.display()
            );
        }
        Ok(())
    }
}

/// Makes the directory and those around it, so that they are there after a power cut as well.
fn make(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|place| !place.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    for made in missing {
        if let Some(around) = made.parent() {
            match File::open(around) {
                // Who may make something there need not be let read what is there.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                opened => opened?.sync_all()?,
            }
        }
    }
    Ok(())
}

fn is_founded(directory: &Path) -> bool {
    directory.join("founded").exists()
}

/// Whether a database is there. RocksDB makes this file last, and makes a new database where it is
/// not.
fn is_whole(directory: &Path, database: &str) -> bool {
    directory.join(database).join("CURRENT").exists()
}

/// Reads the key of a data directory that another process may use.
///
/// # Errors
/// There is none, or it is damaged.
pub(crate) fn key_of(directory: &Path) -> anyhow::Result<Key> {
    let file = directory.join("key");
    if matches!(file.try_exists(), Ok(false)) {
        bail!(
            "there is no key in {}: name the data directory of a server that was started once",
            directory.display()
        );
    }
    read_key(&file)
}

fn read_key(file: &Path) -> anyhow::Result<Key> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("the key {shown} cannot be read"))?;
    let mode = fs::metadata(file).map_or(0, |data| data.permissions().mode());
    if mode & 0o077 != 0 {
        bail!("others may read the key {shown}: chmod 600 {shown}");
    }
    let digits = text.strip_suffix(b"\n").unwrap_or(&text);
    parse_key(digits).ok_or_else(|| {
        anyhow!(
            "the key {shown} is damaged: restore it from a backup. Without one, write 64 \
             hexadecimal digits into it, drawn at random; all tokens are void then"
        )
    })
}

fn parse_key(digits: &[u8]) -> Option<Key> {
    let digits = str::from_utf8(digits).ok().filter(|digits| digits.is_ascii())?;
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    // What a file system leaves of a file that was not written.
    key.iter().any(|byte| *byte != 0).then_some(Key(key))
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let place = path.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&place)
        .with_context(|| format!("{} cannot be opened", place.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another process uses the data in {}: stop it, or name another directory with --data",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", place.display()))
        }
    }
}

/// Two databases in directories.
#[derive(Debug)]
struct Directories {
    path: PathBuf,
    options: RocksOptions,
}

impl Disk for Directories {
    fn open(&self) -> Result<Databases, StorageError> {
        // Also when a running server opens them again: one that has gone would be made anew, empty.
        if is_founded(&self.path)
            && let Some(name) = DATABASES.into_iter().find(|name| !is_whole(&self.path, name))
        {
            let detail = format!("the database {name} is gone");
            return Err(StorageError::Corrupt { detail });
        }
        let open = |name, layout| {
            let place = self.path.join(name);
            // For nobody else, whatever the directory around it lets others do.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
            made.map_err(|error| StorageError::Io { detail: error.to_string() })?;
            RocksStore::open(&place, layout, &self.options)
        };
        let log = Arc::new(open("log", LOG_LAYOUT)?);
        Ok(Databases { log, rows: Arc::new(open("rows", server_engine::LAYOUT)?) })
    }
}

// Nothing of it belongs in a log.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests;
