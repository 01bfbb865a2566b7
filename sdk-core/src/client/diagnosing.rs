//! How it is with everything, and how much room it takes.

use serde_json::json;
use tokio::sync::oneshot;

use super::Client;
use crate::command::Command;
use crate::error::Error;
use crate::readers::{Waited, WaitedHere};
use crate::storage::Storage;

impl Client {
    /// How much room the replica takes, by table and by subscription. It reads the whole file.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Replica`] when the file cannot be read, or with `cancelled` while the
    /// client is suspended.
    ///
    /// # Cancel safety
    /// When it is dropped, the reading ends.
    pub async fn storage(&self) -> Result<Storage, Error> {
        let (done, subscribed) = oneshot::channel();
        // Through the loop, so a client that is about to be resumed is.
        self.tell(Command::Subscribed(done))?;
        let subscribed = subscribed.await.map_err(|_| Error::Closed)?;
        let waited = Waited::default();
        let _here = WaitedHere(waited.clone());
        let (done, found) = oneshot::channel();
        let is_wanted = self.inner.readers.wanted(&waited);
        self.inner.readers.run(move |reader| {
            // Whoever asked may have gone.
            let _ = done.send(reader.storage(is_wanted));
        })?;
        let found = found.await.map_err(|_| self.inner.readers.why_not())?;
        Ok(Storage::new(found?, &subscribed))
    }

    /// How it is with everything, as one JSON object: versions, states, cursors, how far what was
    /// written has come, the codes of the last errors, sizes, times. There is no row in it, no value,
    /// no user and no token, so it can go into a report.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn diagnose(&self) -> Result<String, Error> {
        let (done, diagnosis) = oneshot::channel();
        self.tell(Command::Diagnose(done))?;
        let mut diagnosis = diagnosis.await.map_err(|_| Error::Closed)?;
        diagnosis["storage"] = match self.storage().await {
            Ok(it) => {
                let table = |it: &sdk_replica::TableStorage| json!({ "name": it.name, "rows": it.rows, "bytes": it.bytes });
                json!({
                    "file": it.file,
                    "journal": it.journal,
                    "free": it.free,
                    "outbox": it.outbox,
                    "rejections": it.rejections,
                    "tables": it.tables.iter().map(table).collect::<Vec<_>>(),
                    "subscriptions": it.subscriptions.iter().map(|it| it.bytes).collect::<Vec<_>>(),
                })
            }
            Err(error) => json!({ "error": error.code().as_str() }),
        };
        Ok(diagnosis.to_string())
    }
}
