//! Who waits to hear whether a subscription is as the server has it, and what was found.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use sdk_machine::{Machine, SubscriptionId, SubscriptionState};
use tokio::sync::{oneshot, watch};

use crate::error::Error;
use crate::subscription::refusal;
use crate::verify::{Verdict, Verifications};

/// Everybody who waits.
#[derive(Default)]
pub(super) struct Verifying {
    waiting: BTreeMap<SubscriptionId, Vec<oneshot::Sender<Result<Verdict, Error>>>>,
    pub(super) counts: watch::Sender<Verifications>,
}

impl Verifying {
    pub(super) fn add(
        &mut self,
        id: SubscriptionId,
        done: oneshot::Sender<Result<Verdict, Error>>,
    ) {
        self.waiting.entry(id).or_default().push(done);
    }

    /// A subscription was compared.
    pub(super) fn verified(&mut self, id: SubscriptionId, verdict: &Verdict) {
        self.counts.send_modify(|counts| match verdict {
            Verdict::Equal { .. } => counts.equal += 1,
            Verdict::Different(_) => counts.different += 1,
            Verdict::Expiring => {}
        });
        self.answer(id, &Ok(verdict.clone()));
    }

    /// Two subscriptions have turned out to be one.
    pub(super) fn same(&mut self, asked: SubscriptionId, is: SubscriptionId) {
        if let Some(waiting) = self.waiting.remove(&asked) {
            self.waiting.entry(is).or_default().extend(waiting);
        }
    }

    /// Tells those whose subscription is not there any more, or is refused.
    pub(super) fn look_at(&mut self, machine: &Machine) {
        let mut over = Vec::new();
        for id in self.waiting.keys() {
            match machine.subscription(*id) {
                Some(view) if view.state == SubscriptionState::Refused => {
                    over.push((*id, refusal(view)));
                }
                Some(_) => {}
                None => {
                    let message = "the subscription has ended: subscribe again".to_owned();
                    over.push((*id, Error::Asked { code: ErrorCode::NotFound, message }));
                }
            }
        }
        for (id, error) in over {
            self.answer(id, &Err(error));
        }
    }

    fn answer(&mut self, id: SubscriptionId, answer: &Result<Verdict, Error>) {
        for done in self.waiting.remove(&id).into_iter().flatten() {
            // Whoever asked may have gone.
            let _ = done.send(answer.clone());
        }
    }

    /// Ends all of them: who waits hears that the client is closed.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
    }
}
