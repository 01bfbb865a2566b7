//! Who is signed in. Of each session a hash is stored, so that a restart signs nobody out, and
//! whoever reads the file is nobody.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long a session lasts.
const SECONDS: u64 = 30 * 24 * 60 * 60;

/// Most sessions. One more ends the one that would end first.
const SESSIONS_MAX: usize = 10_000;

const SECRET_BYTES: usize = 32;

/// All sessions, by the hash of their secret.
#[derive(Debug)]
pub(crate) struct Sessions {
    file: PathBuf,
    known: Mutex<BTreeMap<String, Session>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    user: String,
    /// Seconds since 1970.
    until: u64,
}

impl Sessions {
    /// Those that a folder has. It is made where there is none.
    ///
    /// # Errors
    /// A sentence with the file.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("sessions.json");
        let shown = file.display();
        fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let known = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            text => {
                let text = text.with_context(|| format!("{shown} cannot be read"))?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{shown} is damaged: remove it, everybody signs in"))?
            }
        };
        Ok(Self { file, known: Mutex::new(known) })
    }

    /// Begins one, and gives its secret.
    ///
    /// # Errors
    /// It could not be stored, or there is no randomness.
    pub(crate) fn begin(&self, user: &str, now: u64) -> anyhow::Result<String> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
        let secret = URL_SAFE_NO_PAD.encode(bytes);
        let mut known = self.lock();
        known.retain(|_, session| session.until > now);
        if known.len() >= SESSIONS_MAX {
            let first = known.iter().min_by_key(|(_, session)| session.until);
            if let Some(first) = first.map(|(hash, _)| hash.clone()) {
                known.remove(&first);
            }
        }
        known.insert(hash(&secret), Session { user: user.to_owned(), until: now + SECONDS });
        self.store(&known)?;
        Ok(secret)
    }

    /// Whose it is, and until when; none when it is unknown or over.
    pub(crate) fn user(&self, secret: &str, now: u64) -> Option<(String, u64)> {
        let known = self.lock();
        let session = known.get(&hash(secret)).filter(|session| session.until > now)?;
        Some((session.user.clone(), session.until))
    }

    /// Ends one, if there is such a one.
    ///
    /// # Errors
    /// It could not be stored.
    pub(crate) fn end(&self, secret: &str) -> anyhow::Result<()> {
        let mut known = self.lock();
        match known.remove(&hash(secret)) {
            Some(_) => self.store(&known),
            None => Ok(()),
        }
    }

    /// Writes all of them, or nothing. They are few.
    fn store(&self, known: &BTreeMap<String, Session>) -> anyhow::Result<()> {
        let aside = self.file.with_extension("unfinished");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&serde_json::to_vec(known)?)?;
            file.sync_all()?;
            fs::rename(&aside, &self.file)
        };
        write().with_context(|| format!("{} cannot be written", self.file.display()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        // What a panic left is whole: each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_outlives_the_program_and_its_secret_is_in_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let ann = sessions.begin("ann", 10).unwrap();
        let bob = sessions.begin("bob", 10).unwrap();
        sessions.end(&bob).unwrap();
        sessions.end("unknown").unwrap();
        drop(sessions);
        let sessions = Sessions::open(folder.path()).unwrap();
        assert_eq!(sessions.user(&ann, 11), Some(("ann".to_owned(), 10 + SECONDS)));
        assert_eq!(sessions.user(&ann, 10 + SECONDS), None);
        assert_eq!(sessions.user(&bob, 11), None);
        let stored = fs::read_to_string(folder.path().join("sessions.json")).unwrap();
        assert!(!stored.contains(&ann), "{stored}");
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let first = sessions.begin("ann", 0).unwrap();
        let session = Session { user: "eve".to_owned(), until: 1 + SECONDS };
        let others = (1..SESSIONS_MAX).map(|number| (number.to_string(), session.clone()));
        sessions.lock().extend(others);
        assert!(sessions.user(&first, 1).is_some());
        let last = sessions.begin("ann", 1).unwrap();
        assert_eq!((sessions.user(&first, 1), sessions.lock().len()), (None, SESSIONS_MAX));
        assert!(sessions.user(&last, 1).is_some());
    }

    #[test]
    fn a_damaged_file_is_said_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sessions.json"), "{").unwrap();
        let error = Sessions::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("remove it"), "{error}");
    }
}
