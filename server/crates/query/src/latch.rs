//! A place in line for a partition whose rows are written by many at once.
//!
//! A statement is planned without waiting for anybody. When what it read has changed before it was
//! written, it is planned again, and from then on in line: whoever comes while there is a line
//! goes to its end. So a hot row is written by one after another, and nobody starves.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Line, OwnedMutexGuard};

/// The lines there are, by what they are for.
#[derive(Debug)]
pub(crate) struct Latches<K: Eq + Hash>(Mutex<HashMap<K, Arc<Line<()>>>>);

impl<K: Eq + Hash> Default for Latches<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The first place of a line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a, K: Eq + Hash> {
    latches: &'a Latches<K>,
    of: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Clone + Eq + Hash> Latches<K> {
    /// Waits for the first place, if there is a line.
    pub(crate) async fn join(&self, of: &K) -> Option<Held<'_, K>> {
        let line = self.lines().get(of).map(Arc::clone)?;
        Some(self.wait(of.clone(), line).await)
    }

    /// Waits for the first place, in a new line if there is none.
    pub(crate) async fn take(&self, of: &K) -> Held<'_, K> {
        let line = Arc::clone(self.lines().entry(of.clone()).or_default());
        self.wait(of.clone(), line).await
    }

    async fn wait(&self, of: K, line: Arc<Line<()>>) -> Held<'_, K> {
        // Made first: who gives up waiting leaves the line as well.
        let mut held = Held { latches: self, of, guard: None };
        held.guard = Some(line.lock_owned().await);
        held
    }
}

impl<K: Eq + Hash> Latches<K> {
    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<K, Arc<Line<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Held<'_, K> {
    fn drop(&mut self) {
        self.guard = None;
        let mut lines = self.latches.lines();
        // Only the map has it: nobody is in it, and nobody is about to be.
        if lines.get(&self.of).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::{Lane, TableId};

    use super::*;

    fn partition() -> (TableId, Lane) {
        (TableId(1), "user/alice".parse().unwrap())
    }

    #[tokio::test]
    async fn who_comes_while_there_is_a_line_waits_in_it_and_the_last_ends_it() {
        let latches = Arc::new(Latches::default());
        let partition = partition();
        assert!(latches.join(&partition).await.is_none());
        let first = latches.take(&partition).await;
        let second = {
            let (latches, partition) = (Arc::clone(&latches), partition.clone());
            tokio::spawn(async move { latches.join(&partition).await.is_some() })
        };
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
        assert!(latches.lines().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let latches = Arc::new(Latches::default());
        let partition = partition();
        let first = latches.take(&partition).await;
        let gone =
            tokio::time::timeout(std::time::Duration::from_millis(1), latches.take(&partition));
        assert!(gone.await.is_err());
        drop(first);
        assert!(latches.lines().is_empty());
    }
}
