//! What is known on one connection, and forgotten with it.

use std::collections::BTreeMap;

use protocol::frame::v1::{ClientFrame, RowChange};
use protocol::ids::{Lane, QueryNumber, RequestNumber, SeqId};

use crate::look::Look;
use crate::pieces::Pieces;
use crate::stored::SubscriptionId;
use crate::violation::ProtocolViolation;

/// A connection, from `hello` on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// The last number that a `subscribe` was given.
    last_request: u64,
    /// What to send once the server has answered `hello`.
    pub(crate) waiting: Vec<ClientFrame>,
    /// The subscribes that still have a subscription. Two texts of one are two of them.
    requests: BTreeMap<RequestNumber, SubscriptionId>,
    /// The subscriptions that were asked for.
    asked: BTreeMap<SubscriptionId, Asked>,
    /// The subscribes that were taken back, with the last number that was given before.
    ended: BTreeMap<RequestNumber, u64>,
    /// Every query that was named, also when nothing wants it any more: its frames still say where
    /// its lane is.
    queries: BTreeMap<QueryNumber, Query>,
    /// What has come of a description of the tables.
    pub(crate) schema: Option<Pieces>,
    /// Every lane that was named.
    pub(crate) feeds: BTreeMap<Lane, Feed>,
    /// At what does not move.
    pub(crate) look: Look,
}

/// A subscription that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// By this `subscribe`.
    pub(crate) request: RequestNumber,
    /// What the server calls it, once it has answered.
    pub(crate) query: Option<QueryNumber>,
}

/// A query that was named.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The lane of its table.
    pub(crate) lane: Lane,
    /// The subscription that its rows are for, if there is one.
    pub(crate) subscription: Option<SubscriptionId>,
    /// The `subscribe` that began it at the server.
    begun_by: Option<RequestNumber>,
}

/// What the server sends of one lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feed {
    /// How far it has come.
    pub(crate) state: FeedState,
    /// The parts of a commit that has not ended.
    pub(crate) commit: Option<Commit>,
    /// Something of it is staged.
    pub(crate) staged: bool,
    /// How many pieces of what was missed have come.
    pub(crate) pieces: u64,
}

/// How far the feed of a lane has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// Nothing came yet, and nothing of the lane is held.
    #[default]
    Opening,
    /// Nothing came yet, and the server was told how far the client is.
    Resuming,
    /// Pieces of what was missed come.
    CatchingUp,
    /// Commits come as they happen.
    Live,
}

/// A commit that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    /// Where the lane was before it.
    pub(crate) previous: SeqId,
    /// Its last change.
    pub(crate) seq: SeqId,
    /// What it means for each subscription.
    pub(crate) parts: Vec<Part>,
}

/// What a commit means for one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The subscription.
    pub(crate) subscription: SubscriptionId,
    /// What became of its rows.
    pub(crate) changes: Vec<RowChange>,
}

impl Connection {
    /// A number for a `subscribe` of this subscription.
    pub(crate) fn number(&mut self, id: SubscriptionId) -> RequestNumber {
        self.last_request += 1;
        let request = RequestNumber(self.last_request);
        self.requests.insert(request, id);
        self.asked.insert(id, Asked { request, query: None });
        request
    }

    /// How the subscription was asked for.
    pub(crate) fn asked(&self, id: SubscriptionId) -> Option<Asked> {
        self.asked.get(&id).copied()
    }

    /// Whether the server has answered for the subscription.
    pub(crate) fn is_answered(&self, id: SubscriptionId) -> bool {
        self.asked(id).is_some_and(|asked| asked.query.is_some())
    }

    /// The subscription that the `subscribe` was for, if it is still wanted.
    ///
    /// # Errors
    /// [`ProtocolViolation::Request`] when there was no such `subscribe`.
    pub(crate) fn requested(
        &self,
        request: RequestNumber,
    ) -> Result<Option<SubscriptionId>, ProtocolViolation> {
        if request.0 == 0 || request.0 > self.last_request {
            return Err(ProtocolViolation::Request(request));
        }
        Ok(self.requests.get(&request).copied())
    }

    /// What was said about the query.
    pub(crate) fn query(&self, number: QueryNumber) -> Result<&Query, ProtocolViolation> {
        self.queries.get(&number).ok_or(ProtocolViolation::Query(number))
    }

    /// The query that this number was given to, if it was.
    pub(crate) fn named(&self, number: QueryNumber) -> Option<&Query> {
        self.queries.get(&number)
    }

    /// Whether the server, when it answered the `subscribe`, still had the query for an earlier one
    /// that was taken back meanwhile. Then it goes on for that one, and ends when it hears of it.
    pub(crate) fn is_ending(&self, number: QueryNumber, request: RequestNumber) -> bool {
        let begun_by = self.named(number).and_then(|query| query.begun_by);
        let ended = begun_by.and_then(|begun_by| self.ended.get(&begun_by));
        ended.is_some_and(|last_before| request.0 <= *last_before)
    }

    /// The server calls what it sends for the `subscribe` by this number.
    pub(crate) fn name(
        &mut self,
        number: QueryNumber,
        lane: Lane,
        request: RequestNumber,
        id: Option<SubscriptionId>,
    ) {
        self.feeds.entry(lane.clone()).or_default();
        let goes_on = self.is_ending(number, request);
        let new = Query { lane, subscription: None, begun_by: None };
        let query = self.queries.entry(number).or_insert(new);
        if query.subscription.is_none() && !goes_on {
            query.begun_by = Some(request);
        }
        let Some(id) = id else { return };
        query.subscription = Some(id);
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.query = Some(number);
        }
    }

    /// Another query takes the place of the one that a subscription has, since its table has
    /// changed. Says whether something of its lane was staged, which comes again.
    pub(crate) fn take_place(&mut self, id: SubscriptionId, number: QueryNumber) -> bool {
        let Some(Asked { request, query: Some(before) }) = self.asked(id) else { return false };
        let Some(query) = self.queries.get_mut(&before) else { return false };
        (query.subscription, query.begun_by) = (None, None);
        let lane = query.lane.clone();
        self.name(number, lane.clone(), request, Some(id));
        self.feeds.get_mut(&lane).is_some_and(|feed| std::mem::take(&mut feed.staged))
    }

    /// One subscription turned out to be another: what was asked for `gone` is `stays`.
    pub(crate) fn merge(&mut self, gone: SubscriptionId, stays: SubscriptionId) {
        self.asked.remove(&gone);
        for id in self.requests.values_mut().filter(|id| **id == gone) {
            *id = stays;
        }
    }

    /// The subscription is taken back: nothing more that comes is for it.
    pub(crate) fn end(&mut self, id: SubscriptionId) -> Option<Asked> {
        let asked = self.forget(id)?;
        self.ended.insert(asked.request, self.last_request);
        Some(asked)
    }

    /// The server has ended the subscription: nothing more comes for it.
    pub(crate) fn refuse(&mut self, id: SubscriptionId) {
        let query = self.forget(id).and_then(|asked| asked.query);
        if let Some(query) = query.and_then(|number| self.queries.get_mut(&number)) {
            query.begun_by = None;
        }
    }

    fn forget(&mut self, id: SubscriptionId) -> Option<Asked> {
        self.requests.retain(|_, requested| *requested != id);
        let asked = self.asked.remove(&id)?;
        let query = asked.query.and_then(|number| self.queries.get_mut(&number));
        if let Some(query) = query {
            query.subscription = None;
        }
        Some(asked)
    }

    /// The feed of the lane, between two commits of it.
    pub(crate) fn feed(&self, lane: &Lane) -> Result<&Feed, ProtocolViolation> {
        let feed = self.feeds.get(lane).ok_or_else(|| ProtocolViolation::Lane(lane.clone()))?;
        match feed.commit {
            Some(_) => Err(ProtocolViolation::OpenCommit(lane.clone())),
            None => Ok(feed),
        }
    }

    /// Whether commits of the lane come as they happen.
    pub(crate) fn is_live(&self, lane: &Lane) -> bool {
        self.feeds.get(lane).is_some_and(|feed| feed.state == FeedState::Live)
    }
}
