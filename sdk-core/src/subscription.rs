//! What is kept in step with the server.

use std::sync::Arc;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use sdk_machine::{SubscriptionId, SubscriptionState, SubscriptionView};
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{Command, Shown};
use crate::error::Error;
use crate::verify::Verdict;

/// How something is subscribed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Only the last born rows, so many of them; all without.
    pub fetch_last: Option<u64>,
    /// Most rows of one batch of the load; as the server likes without.
    pub batch_rows: Option<u32>,
    /// How long it is kept when the last [`Subscription`] of it is dropped, or nobody asks for it after
    /// the client was opened: 7 days without. Only time in which the client runs counts. Where several
    /// ask for the same, the longest counts.
    pub ttl: Option<Duration>,
}

impl SubscribeOptions {
    /// The last born `rows`.
    pub fn last(rows: u64) -> Self {
        Self { fetch_last: Some(rows), ..Self::default() }
    }
}

/// How far a load is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Rows that it has brought, since it began or since the client was opened.
    pub rows: u64,
    /// About how many are left to look at, once the server has said so.
    pub remaining: Option<u64>,
    /// From 0 to 1, as far as it is known. It is 1 exactly when all is here.
    pub fraction: Option<f64>,
}

impl Progress {
    /// Of all of them together: of those that are loading, while some are.
    pub(crate) fn of(views: &[SubscriptionView]) -> Self {
        let loading = views.iter().filter(|view| view.state == SubscriptionState::Loading);
        let loading: Vec<_> = loading.collect();
        if loading.is_empty() {
            let rows = views.iter().map(|view| view.rows_loaded).sum();
            return Self { rows, remaining: None, fraction: Some(1.0) };
        }
        let rows = loading.iter().map(|view| view.rows_loaded).sum();
        // Where one does not know, nobody does.
        let remaining = loading.iter().map(|view| view.remaining).sum::<Option<u64>>();
        let fraction = remaining.map(|remaining| {
            #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
            let (rows, all) = (rows as f64, (rows + remaining) as f64);
            // What is left may have none that match, and then it is over at once.
            if all > 0.0 { (rows / all).min(0.99) } else { 0.0 }
        });
        Self { rows, remaining, fraction }
    }
}

/// A live query that the replica is kept in step with. It goes on for a while when this is dropped, and
/// when the client is closed and opened again: see [`SubscribeOptions::ttl`].
/// [`Subscription::unsubscribe`] ends it at once. Whoever asks for the same text again has the same one.
#[derive(Clone, Debug)]
pub struct Subscription {
    shown: watch::Receiver<Shown>,
    interest: Arc<Interest>,
}

/// Somebody asks for it. It comes behind what is shown, so that nobody looks at that any more when it is
/// dropped.
#[derive(Debug)]
struct Interest(mpsc::UnboundedSender<Command>);

impl Drop for Interest {
    fn drop(&mut self) {
        // A client that is closed keeps everything.
        let _ = self.0.send(Command::LookAtIdle);
    }
}

impl Subscription {
    pub(crate) fn new(
        commands: mpsc::UnboundedSender<Command>,
        shown: watch::Receiver<Shown>,
    ) -> Self {
        Self { shown, interest: Arc::new(Interest(commands)) }
    }

    /// Waits until all rows that it wants are here. Offline that is at once when they were before.
    ///
    /// # Errors
    /// Why the server refuses it, or [`Error::Closed`].
    ///
    /// # Cancel safety
    /// It only waits.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut shown = self.shown.clone();
        loop {
            let view = shown.borrow_and_update().1.clone();
            match view.state {
                SubscriptionState::Live | SubscriptionState::Behind => return Ok(()),
                SubscriptionState::Refused => return Err(refusal(view)),
                SubscriptionState::Loading => {}
            }
            shown.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// How it is: `loading`, `live`, `behind` or `refused`.
    pub fn state(&self) -> SubscriptionState {
        self.shown.borrow().1.state
    }

    /// Why it is refused, if it is.
    pub fn refused(&self) -> Option<Error> {
        let view = self.shown.borrow().1.clone();
        (view.state == SubscriptionState::Refused).then(|| refusal(view))
    }

    /// Waits until its state or progress is another one, and gives the state.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// # Cancel safety
    /// It only waits.
    pub async fn changed(&mut self) -> Result<SubscriptionState, Error> {
        self.shown.changed().await.map_err(|_| Error::Closed)?;
        Ok(self.shown.borrow_and_update().1.state)
    }

    /// How far its load is.
    pub fn progress(&self) -> Progress {
        Progress::of(&[self.shown.borrow().1.clone()])
    }

    /// Makes its window wider by so many older rows. They come when the server sends them.
    pub fn load_older(&self, rows: u64) {
        self.tell(|id| Command::LoadOlder(id, rows));
    }

    /// Loads it anew. Its rows stay until the new ones are here; nothing else is touched.
    pub fn reset(&self) {
        self.tell(Command::Reset);
    }

    /// Compares what is here with what the server has, both as of the same moment, and says what came of
    /// it. What is different is loaded anew by itself. It waits until the subscription is live and has
    /// all its rows, so offline it waits for a connection: give it up when you like.
    ///
    /// # Errors
    /// Why the server refuses it; [`Error::Asked`] with `not_found` when it has ended; [`Error::Closed`].
    ///
    /// # Cancel safety
    /// When it is dropped the rows are compared all the same, and a difference is reported by
    /// [`Client::incidents`](crate::Client::incidents).
    pub async fn verify(&self) -> Result<Verdict, Error> {
        let (done, answer) = oneshot::channel();
        self.tell(|id| Command::Verify(id, done));
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Ends it. Its rows leave the device, but for those that another subscription has.
    pub fn unsubscribe(self) {
        self.tell(Command::Unsubscribe);
    }

    fn tell(&self, command: impl FnOnce(SubscriptionId) -> Command) {
        let id = self.shown.borrow().0;
        // A client that is closed does nothing more.
        let _ = self.interest.0.send(command(id));
    }
}

pub(crate) fn refusal(view: SubscriptionView) -> Error {
    let refused = view.refusal.map(Error::from);
    refused.unwrap_or_else(|| Error::Server {
        code: ErrorCode::Unknown,
        message: "the server refuses the subscription".to_owned(),
        retry_after_ms: None,
    })
}
