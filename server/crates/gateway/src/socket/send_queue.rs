//! What waits for a client.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::frame::v1::Goodbye;
use tokio::sync::Notify;

/// Room for so many items stays when the queue is empty. Most connections are idle, so it is not a
/// channel, which keeps room for more.
const ROOM_KEPT: usize = 4;

/// Frames on their way to a client, in order. Whoever adds some keeps to the bound: the queue takes
/// everything, so that nobody who adds ever waits.
#[derive(Clone)]
pub struct SendQueue(Arc<Shared>);

/// Something that waits.
#[derive(Debug)]
pub(super) enum Item {
    /// A frame.
    Frame(Bytes),
    /// The end. What waits before it is sent.
    Goodbye(Box<Goodbye>),
}

/// The other end of the queue.
pub(super) struct Outgoing(Arc<Shared>);

struct Shared {
    items: Mutex<VecDeque<Item>>,
    /// There is an item.
    added: Notify,
    /// Bytes that the operating system does not have yet.
    waiting: AtomicUsize,
    /// Half of what may wait.
    half: usize,
    is_over: AtomicBool,
    /// There is room, or it is over.
    room: Notify,
}

impl Shared {
    fn items(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, item: Item) {
        let mut items = self.items();
        // Nobody would take it.
        if !self.is_over.load(Ordering::Acquire) {
            if let Item::Frame(frame) = &item {
                self.waiting.fetch_add(frame.len(), Ordering::AcqRel);
            }
            items.push_back(item);
            drop(items);
            self.added.notify_one();
        }
    }
}

impl SendQueue {
    /// A queue in which so many bytes may wait.
    pub(super) fn new(bytes_max: usize) -> (Self, Outgoing) {
        let shared = Arc::new(Shared {
            items: Mutex::default(),
            added: Notify::new(),
            waiting: AtomicUsize::new(0),
            half: bytes_max / 2,
            is_over: AtomicBool::new(false),
            room: Notify::new(),
        });
        (Self(Arc::clone(&shared)), Outgoing(shared))
    }

    /// Adds a frame. It never waits. When the connection has ended, nothing happens.
    pub fn push(&self, frame: Bytes) {
        self.0.add(Item::Frame(frame));
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Acquire)
    }

    /// Whether no more than half of what may wait does. When it has become so, the port is told.
    pub fn has_room(&self) -> bool {
        self.waiting() <= self.0.half
    }

    /// Ends the connection behind what waits.
    pub fn close(&self, goodbye: Goodbye) {
        self.0.add(Item::Goodbye(Box::new(goodbye)));
    }

    /// Waits until no more than half of what may wait does. Says whether there is still a
    /// connection.
    pub(super) async fn room(&self) -> bool {
        loop {
            let notified = self.0.room.notified();
            if self.0.is_over.load(Ordering::Acquire) {
                return false;
            }
            if self.has_room() {
                return true;
            }
            notified.await;
        }
    }

    /// Whether more waits than may: then nothing is done that would add to it.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() > self.0.half.saturating_mul(2)
    }
}

impl Outgoing {
    /// Waits for the next item.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Item {
        loop {
            if let Some(item) = self.next_if_any() {
                return item;
            }
            self.0.added.notified().await;
        }
    }

    /// The next item that is there already.
    pub(super) fn next_if_any(&mut self) -> Option<Item> {
        let mut items = self.0.items();
        let item = items.pop_front()?;
        if items.is_empty() {
            items.shrink_to(ROOM_KEPT);
        }
        Some(item)
    }

    /// So many bytes are with the operating system. Says whether that has made room: whether half of
    /// what may wait does so now, and more did before.
    pub(super) fn sent(&self, bytes: usize) -> bool {
        let before = self.0.waiting.fetch_sub(bytes, Ordering::AcqRel);
        let has_room = before > self.0.half && before - bytes <= self.0.half;
        if has_room {
            self.0.room.notify_waiters();
        }
        has_room
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut items = self.0.items();
        self.0.is_over.store(true, Ordering::Release);
        items.clear();
        drop(items);
        self.0.room.notify_waiters();
    }
}

impl fmt::Debug for SendQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendQueue").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_told_exactly_when_half_is_passed() {
        let (queue, outgoing) = SendQueue::new(100);
        queue.push(Bytes::from(vec![0; 80]));
        assert!(!outgoing.sent(20), "60 wait");
        assert!(outgoing.sent(10), "50 wait");
        assert!(!outgoing.sent(10), "40 wait, as before in effect");
        queue.push(Bytes::from(vec![0; 10]));
        assert!(!outgoing.sent(10), "it was not above half");
        queue.push(Bytes::from(vec![0; 61]));
        assert!(queue.is_full(), "101 wait");
        assert!(outgoing.sent(101));
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken_by_room_and_by_the_end() {
        let (queue, outgoing) = SendQueue::new(100);
        assert!(queue.room().await);
        queue.push(Bytes::from(vec![0; 80]));
        let waits = tokio::spawn({
            let queue = queue.clone();
            async move { queue.room().await }
        });
        tokio::task::yield_now().await;
        outgoing.sent(80);
        assert!(waits.await.unwrap());
        queue.push(Bytes::from(vec![0; 80]));
        let waits = tokio::spawn({
            let queue = queue.clone();
            async move { queue.room().await }
        });
        tokio::task::yield_now().await;
        drop(outgoing);
        assert!(!waits.await.unwrap());
        let waiting = queue.waiting();
        queue.push(Bytes::from(vec![0; 80]));
        assert_eq!(queue.waiting(), waiting, "nobody takes it");
    }
}
