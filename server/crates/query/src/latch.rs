//! A place in line for a partition whose rows are written by many at once.
//!
//! A statement is planned without waiting for anybody. When what it read has changed before it was
//! written, it is planned again, and from then on in line: whoever comes while there is a line
//! goes to its end. So a hot row is written by one after another, and nobody starves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ids::{Lane, TableId};
use tokio::sync::{Mutex as Line, OwnedMutexGuard};

type Partition = (TableId, Lane);

/// The lines there are.
#[derive(Debug, Default)]
pub(crate) struct Latches(Mutex<HashMap<Partition, Arc<Line<()>>>>);

/// The first place of a line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    latches: &'a Latches,
    partition: Partition,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Latches {
    /// Waits for the first place, if there is a line.
    pub(crate) async fn join(&self, table: TableId, lane: &Lane) -> Option<Held<'_>> {
        let partition = (table, lane.clone());
        let line = self.lines().get(&partition).map(Arc::clone)?;
        Some(self.wait(partition, line).await)
    }

    /// Waits for the first place, in a new line if there is none.
    pub(crate) async fn take(&self, table: TableId, lane: &Lane) -> Held<'_> {
        let partition = (table, lane.clone());
        let line = Arc::clone(self.lines().entry(partition.clone()).or_default());
        self.wait(partition, line).await
    }

    async fn wait(&self, partition: Partition, line: Arc<Line<()>>) -> Held<'_> {
        // Made first: who gives up waiting leaves the line as well.
        let mut held = Held { latches: self, partition, guard: None };
        held.guard = Some(line.lock_owned().await);
        held
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<Partition, Arc<Line<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut lines = self.latches.lines();
        // Only the map has it: nobody is in it, and nobody is about to be.
        if lines.get(&self.partition).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> (TableId, Lane) {
        (TableId(1), "user/alice".parse().unwrap())
    }

    #[tokio::test]
    async fn who_comes_while_there_is_a_line_waits_in_it_and_the_last_ends_it() {
        let latches = Arc::new(Latches::default());
        let (table, lane) = partition();
        assert!(latches.join(table, &lane).await.is_none());
        let first = latches.take(table, &lane).await;
        let second = {
            let (latches, lane) = (Arc::clone(&latches), lane.clone());
            tokio::spawn(async move { latches.join(table, &lane).await.is_some() })
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
        let (table, lane) = partition();
        let first = latches.take(table, &lane).await;
        let gone =
            tokio::time::timeout(std::time::Duration::from_millis(1), latches.take(table, &lane));
        assert!(gone.await.is_err());
        drop(first);
        assert!(latches.lines().is_empty());
    }
}
