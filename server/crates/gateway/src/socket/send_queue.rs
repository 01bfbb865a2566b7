//! What waits for a client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use protocol::frame::v1::Goodbye;
use tokio::sync::{Notify, mpsc};

/// Frames on their way to a client, in order. Whoever adds some keeps to the bound: the queue takes
/// everything, so that nobody who adds ever waits.
#[derive(Clone)]
pub struct SendQueue {
    items: mpsc::UnboundedSender<Item>,
    shared: Arc<Shared>,
}

/// Something that waits.
pub(super) enum Item {
    /// A frame.
    Frame(Bytes),
    /// The end. What waits before it is sent.
    Goodbye(Box<Goodbye>),
}

/// The other end of the queue.
pub(super) struct Outgoing {
    pub(super) items: mpsc::UnboundedReceiver<Item>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Bytes that the operating system does not have yet.
    waiting: AtomicUsize,
    /// Half of what may wait.
    half: usize,
    is_over: AtomicBool,
    /// There is room, or it is over.
    room: Notify,
}

impl SendQueue {
    /// A queue in which so many bytes may wait.
    pub(super) fn new(bytes_max: usize) -> (Self, Outgoing) {
        let (sender, items) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            half: bytes_max / 2,
            is_over: AtomicBool::new(false),
            room: Notify::new(),
        });
        let queue = Self { items: sender, shared: Arc::clone(&shared) };
        (queue, Outgoing { items, shared })
    }

    /// Adds a frame. It never waits. When the connection has ended, nothing happens.
    pub fn push(&self, frame: Bytes) {
        let bytes = frame.len();
        self.shared.waiting.fetch_add(bytes, Ordering::AcqRel);
        if self.items.send(Item::Frame(frame)).is_err() {
            self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
        }
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Acquire)
    }

    /// Ends the connection behind what waits.
    pub fn close(&self, goodbye: Goodbye) {
        // One that has ended needs no end.
        let _ = self.items.send(Item::Goodbye(Box::new(goodbye)));
    }

    /// Waits until no more than half of what may wait does. Says whether there is still a
    /// connection.
    pub(super) async fn room(&self) -> bool {
        loop {
            let notified = self.shared.room.notified();
            if self.shared.is_over.load(Ordering::Acquire) {
                return false;
            }
            if self.waiting() <= self.shared.half {
                return true;
            }
            notified.await;
        }
    }

    /// Whether more waits than may: then nothing is done that would add to it.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() > self.shared.half.saturating_mul(2)
    }
}

impl Outgoing {
    /// So many bytes are with the operating system. Says whether that has made room: whether half of
    /// what may wait does so now, and more did before.
    pub(super) fn sent(&self, bytes: usize) -> bool {
        let before = self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
        let has_room = before > self.shared.half && before - bytes <= self.shared.half;
        if has_room {
            self.shared.room.notify_waiters();
        }
        has_room
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.room.notify_waiters();
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
        let waits = tokio::spawn(async move { queue.room().await });
        tokio::task::yield_now().await;
        drop(outgoing);
        assert!(!waits.await.unwrap());
    }
}
