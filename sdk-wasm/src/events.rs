//! What is told unasked: all that one step has changed is told at once.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::task::Poll;

use futures::stream::{AbortHandle, LocalBoxStream, SelectAll, StreamExt, abortable};
use js_sys::{Array, Int32Array, Uint32Array};
use sdk_core::{
    Client, Diff, FromTo, Incident, Mutation, MutationId, Overview, ResultState, Subscription,
    WatchResult,
};
use tokio::sync::mpsc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::given::Host;
use crate::objects::{failure, number, object};
use crate::told::{idle, progress, state, view};
use crate::values::{columns, row};

/// How many are told at once at most. Each teller has one thing to tell at a time, the latest.
const AT_ONCE_MAX: usize = 1_000;

type Teller = LocalBoxStream<'static, JsValue>;

/// Those who tell something, by their handles.
#[derive(Debug)]
pub(crate) struct Events {
    tellers: mpsc::UnboundedSender<Teller>,
    named: HashMap<String, AbortHandle>,
    /// The writes of which it is told how it is with them.
    undecided: Rc<RefCell<HashSet<MutationId>>>,
}

impl Events {
    /// Begins to tell.
    pub(crate) fn start(host: Host) -> Self {
        let (tellers, mut more) = mpsc::unbounded_channel::<Teller>();
        spawn_local(async move {
            let mut all = SelectAll::<Teller>::new();
            loop {
                let told = std::future::poll_fn(|context| {
                    let mut is_over = false;
                    while let Poll::Ready(teller) = more.poll_recv(context) {
                        match teller {
                            Some(teller) => all.push(teller),
                            None => {
                                is_over = true;
                                break;
                            }
                        }
                    }
                    let told = Array::new();
                    while told.length() < AT_ONCE_MAX as u32
                        && let Poll::Ready(Some(event)) = all.poll_next_unpin(context)
                    {
                        told.push(&event);
                    }
                    match told.length() {
                        0 if is_over => Poll::Ready(None),
                        0 => Poll::Pending,
                        _ => Poll::Ready(Some(told)),
                    }
                });
                let Some(told) = told.await else { return };
                // Who listens is to blame for what goes wrong there.
                let _ = host.emit(&told);
            }
        });
        Self { tellers, named: HashMap::new(), undecided: Rc::default() }
    }

    /// Tells what a stream says.
    fn tell(&self, teller: impl futures::Stream<Item = JsValue> + 'static) {
        // It is over when the core is.
        let _ = self.tellers.send(teller.boxed_local());
    }

    /// The same, until the handle is forgotten.
    fn tell_for(&mut self, handle: &str, teller: impl futures::Stream<Item = JsValue> + 'static) {
        let (teller, end) = abortable(teller);
        self.tell(teller);
        if let Some(before) = self.named.insert(handle.to_owned(), end) {
            before.abort();
        }
    }

    /// Nobody wants to hear of it any more.
    pub(crate) fn forget(&mut self, handle: &str) {
        if let Some(end) = self.named.remove(handle) {
            end.abort();
        }
    }

    /// Tells how the client is.
    pub(crate) fn tell_of(&self, client: &Client) {
        self.tell(client.overviews().map(|overview| {
            let Overview { status, progress: loads, last_synced_at } = overview;
            let reason = status.reason.as_ref().map_or(JsValue::NULL, |reason| {
                object(&[
                    ("code", reason.code.as_str().into()),
                    ("message", reason.message.as_str().into()),
                ])
            });
            object(&[
                ("type", "status".into()),
                ("word", status.word.as_str().into()),
                ("reason", reason),
                ("lastSyncedAt", micros(last_synced_at)),
                ("progress", progress(loads)),
            ])
        }));
        self.tell(client.rejected().map(|_| object(&[("type", "rejections".into())])));
        self.tell(client.incidents().map(|incident| {
            let kind = match incident {
                Incident::Rebuilt(_) => "rebuilt",
                Incident::Stalled { .. } => "stalled",
                Incident::Mismatched(_) => "mismatched",
                Incident::Dropped { .. } => "dropped",
                _ => "other",
            };
            object(&[
                ("type", "incident".into()),
                ("kind", kind.into()),
                ("message", incident.to_string().into()),
            ])
        }));
    }

    /// Tells the results of a watch.
    pub(crate) fn tell_results(
        &mut self,
        handle: &str,
        results: impl futures::Stream<Item = WatchResult> + 'static,
    ) {
        let named = handle.to_owned();
        self.tell_for(handle, results.map(move |result| news(&named, &result)));
    }

    /// Tells how it is with a subscription.
    pub(crate) fn tell_subscription(&mut self, handle: &str, subscription: &Subscription) {
        let begin = Some(subscription.clone());
        let views = futures::stream::unfold(begin, |subscription| async move {
            let mut subscription = subscription?;
            match subscription.changed().await {
                Ok(_) => Some((view(&subscription), Some(subscription))),
                // Somebody else has ended it.
                Err(_) => Some((idle(&subscription), None)),
            }
        });
        let named = handle.to_owned();
        let events = views.map(move |view| {
            let handle = named.as_str().into();
            object(&[("type", "subscription".into()), ("handle", handle), ("view", view)])
        });
        self.tell_for(handle, events);
    }

    /// Tells how it is with a write, until it is decided.
    pub(crate) fn tell_mutation(&self, mutation: &Mutation) {
        let Some(id) = mutation.id().filter(|id| self.undecided.borrow_mut().insert(*id)) else {
            return;
        };
        let undecided = Rc::clone(&self.undecided);
        let told = mutation.states().map(move |now| {
            object(&[
                ("type", "mutation".into()),
                ("id", number(id.0.unsigned_abs())),
                ("state", state(&now)),
            ])
        });
        let end = futures::stream::poll_fn(move |_| {
            undecided.borrow_mut().remove(&id);
            Poll::Ready(None)
        });
        self.tell(told.chain(end));
    }
}

/// A time in microseconds since 1970.
fn micros(at: Option<i64>) -> JsValue {
    at.map_or(JsValue::NULL, |at| number(at.unsigned_abs()))
}

/// The result of a watch, as what is new in it.
fn news(handle: &str, result: &WatchResult) -> JsValue {
    let WatchResult { rows, diff, state, error, .. } = result;
    let mut order: Vec<i32> = (0..).take(diff.before.len()).collect();
    diff.apply(rows, &mut order, |_| NEW);
    let is_new = |(_, place): &(_, &i32)| **place == NEW;
    let fresh: Array = rows.iter().zip(&order).filter(is_new).map(|(it, _)| row(it)).collect();
    let state = match state {
        ResultState::Loading => "loading",
        ResultState::Cached => "cached",
        ResultState::Live => "live",
        ResultState::Behind => "behind",
    };
    object(&[
        ("type", "result".into()),
        ("handle", handle.into()),
        ("state", state.into()),
        ("error", error.as_ref().map_or(JsValue::NULL, failure)),
        ("columns", columns(rows)),
        ("order", Int32Array::from(&*order).into()),
        ("fresh", fresh.into()),
        ("diff", changes(diff)),
    ])
}

/// A row that was not in the result before.
const NEW: i32 = -1;

fn changes(diff: &Diff) -> JsValue {
    let place = |place: &usize| u32::try_from(*place).unwrap_or(u32::MAX);
    let places = |all: &[usize]| Uint32Array::from(&*all.iter().map(place).collect::<Vec<_>>());
    let pairs = |all: &[FromTo]| {
        let pairs = all.iter().flat_map(|FromTo { from, to }| [place(from), place(to)]);
        Uint32Array::from(&*pairs.collect::<Vec<_>>())
    };
    let key: Array = diff.key.iter().map(|name| JsValue::from_str(name)).collect();
    object(&[
        ("key", key.into()),
        ("removed", places(&diff.removed).into()),
        ("inserted", places(&diff.inserted).into()),
        ("updated", pairs(&diff.updated).into()),
        ("moved", pairs(&diff.moved).into()),
    ])
}
