//! The way to a connection, and back.

use protocol::error_code::ErrorCode;
use protocol::frame::VERSIONS;
use protocol::frame::v1::{ClientFrame, Goodbye, Hello, LaneCursor, ServerFrame, Token, Welcome};

use super::{Machine, Open, Phase, Renewal, State, apply};
use crate::check::Check;
use crate::connection::{Connection, Feed, FeedState};
use crate::event::Attempt;
use crate::instruction::{Instruction, Staged, Write};
use crate::outgoing::Outgoing;
use crate::status::Reason;
use crate::stored::StoredLane;
use crate::time::{Millis, Moment};
use crate::violation::ProtocolViolation;

/// How long the app has for a token: it may ask a server of its own, or a person.
const TOKEN_MS_MAX: u64 = 30_000;

/// How long a socket may take to open.
const DIAL_MS_MAX: u64 = 10_000;

/// How long a server may take to answer `hello`.
const GREETING_MS_MAX: u64 = 10_000;

/// An open connection that lasted so long was a good one: the next wait is short again.
const STEADY_MS: u64 = 10_000;

/// The least wait of a client that is too old: only an update helps, or a server taken back.
const UPDATE_REQUIRED_MS: u64 = 60_000;

/// The longest wait that a server can ask for.
const RETRY_AFTER_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The least silence that is taken for a dead connection, whatever the server says.
const SILENCE_MS_MIN: u64 = 2_000;

/// The least time between two tokens, and after an app that has none before it is asked again.
const RENEWAL_MS_MIN: u64 = 10_000;

impl Machine {
    pub(super) fn resume(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        self.backoff.reset();
        if matches!(self.phase(), Phase::Paused | Phase::Waiting) {
            self.try_at_once(moment, out);
        }
    }

    pub(super) fn nudge(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        self.backoff.reset();
        if self.phase() == Phase::Waiting {
            self.try_at_once(moment, out);
        }
    }

    /// Begins an attempt, but not before a server wants it: a network that flaps must not break
    /// what an overloaded server has asked for.
    fn try_at_once(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        match self.not_before.filter(|not_before| moment.now < *not_before) {
            Some(until) => self.state = State::Waiting { until },
            None => self.begin(moment, out),
        }
    }

    /// Begins an attempt. Each asks for a token anew, so a refused one is never sent again.
    fn begin(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        self.not_before = None;
        self.attempt = Attempt(self.attempt.0 + 1);
        self.state = State::Authorizing { until: moment.now.after(TOKEN_MS_MAX) };
        out.push(Instruction::AskToken { attempt: self.attempt });
    }

    /// The app does not want a connection.
    pub(super) fn stop(&mut self, state: State, moment: Moment, out: &mut Vec<Instruction>) {
        self.end(true, moment.now, out);
        self.failure = None;
        self.state = state;
    }

    /// The attempt has failed: the next one comes after a while.
    pub(super) fn fail(
        &mut self,
        reason: Reason,
        hangup: bool,
        moment: Moment,
        out: &mut Vec<Instruction>,
    ) {
        if matches!(self.phase(), Phase::Dialing | Phase::Greeting) {
            self.server = (self.server + 1) % self.servers;
        }
        if self.phase() == Phase::Open && reason.may_be_of_what_was_sent() {
            self.connection_ended(moment.now, out);
        }
        self.end(hangup, moment.now, out);
        let until = moment.now.after(self.backoff.next(moment.chance));
        let until = self.not_before.map_or(until, |not_before| until.max(not_before));
        self.state = State::Waiting { until };
        self.failure = Some(reason);
    }

    /// Forgets the connection, and in the replica what only it could have brought to an end.
    fn end(&mut self, hangup: bool, now: Millis, out: &mut Vec<Instruction>) {
        let has_socket = matches!(self.phase(), Phase::Dialing | Phase::Greeting | Phase::Open);
        if hangup && has_socket {
            out.push(Instruction::Hangup { attempt: self.attempt });
        }
        if let State::Open(open) = &self.state
            && now.since(open.since) >= STEADY_MS
        {
            self.backoff.reset();
        }
        let mut writes = Vec::new();
        if self.has_connection() {
            let connection = std::mem::take(&mut self.connection);
            for (lane, _) in connection.feeds.into_iter().filter(|(_, feed)| feed.staged) {
                writes.push(Write::DropStaged(Staged::OfLane(lane)));
            }
            self.remove_unused_lanes(&mut writes);
            self.outgoing.values_mut().for_each(Outgoing::disconnect);
            self.checks.values_mut().for_each(Check::disconnect);
        }
        apply(writes, out);
    }

    pub(super) fn tick(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        if self.wakes_at().is_none_or(|at| moment.now < at) {
            return;
        }
        match self.state {
            State::Paused | State::Closed => {}
            State::Waiting { .. } => self.begin(moment, out),
            State::Authorizing { .. } => self.fail(Reason::NoToken, false, moment, out),
            State::Dialing { .. } => self.fail(Reason::Unreachable, true, moment, out),
            State::Greeting { .. } => self.fail(Reason::Silent, true, moment, out),
            State::Open(open) if moment.now >= open.heard.after(open.silence_ms_max) => {
                self.fail(Reason::Silent, true, moment, out);
            }
            State::Open(open) => {
                self.send_again(moment.now);
                if let Some(stall) = self.look(moment.now) {
                    return self.fail(Reason::Stalled(stall), true, moment, out);
                }
                if open.is_renewal_due(moment.now) {
                    self.renew(open, moment.now, out);
                }
            }
        }
    }

    /// It is time for a new token, or for the end of waiting for one.
    fn renew(&mut self, mut open: Open, now: Millis, out: &mut Vec<Instruction>) {
        open.renewal = match open.renewal {
            Renewal::Never => Renewal::Never,
            Renewal::Due { interval_ms, .. } => {
                out.push(Instruction::AskToken { attempt: self.attempt });
                Renewal::Asked { until: now.after(TOKEN_MS_MAX), interval_ms }
            }
            Renewal::Asked { interval_ms, .. } => {
                Renewal::Due { at: now.after(RENEWAL_MS_MIN), interval_ms }
            }
        };
        self.state = State::Open(open);
    }

    pub(super) fn token_ready(&mut self, token: Token, moment: Moment, out: &mut Vec<Instruction>) {
        if self.phase() == Phase::Authorizing {
            self.state = State::Dialing { until: moment.now.after(DIAL_MS_MAX), token };
            out.push(Instruction::Dial { attempt: self.attempt, server: self.server });
        } else if let State::Open(open) = &mut self.state
            && let Renewal::Asked { interval_ms, .. } = open.renewal
        {
            // The server does not say how long this one lives: as long as the first, it is taken.
            open.renewal = Renewal::Due { at: moment.now.after(interval_ms), interval_ms };
            out.push(Instruction::Send(ClientFrame::Token(token)));
        }
    }

    pub(super) fn token_failed(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        if self.phase() == Phase::Authorizing {
            self.fail(Reason::NoToken, false, moment, out);
        } else if let State::Open(open) = self.state
            && let Renewal::Asked { .. } = open.renewal
        {
            // The present one is still good. Once it is not, the server says so.
            self.renew(open, moment.now, out);
        }
    }

    pub(super) fn connected(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        if let State::Dialing { token, .. } = &self.state {
            let token = token.clone();
            let hello = self.hello(token, out);
            self.state = State::Greeting { until: moment.now.after(GREETING_MS_MAX) };
            out.push(Instruction::Send(ClientFrame::Hello(hello)));
        }
    }

    /// Says who and where the client is, in one message: everything is resumed in one round trip.
    fn hello(&mut self, token: Token, out: &mut Vec<Instruction>) -> Hello {
        self.connection = Connection::default();
        self.statements.begin_anew();
        self.syncs.begin_anew();
        let writers = self.open_writers(out);
        let mut lanes = Vec::new();
        for stored in self.lanes.values() {
            // Where nothing is held there is nothing to resume, and any history will do.
            if self.holders(&stored.lane).next().is_none() {
                if writers.iter().any(|writer| writer.lane == stored.lane) {
                    lanes.push(cursor(stored));
                }
                continue;
            }
            let feed = Feed { state: FeedState::Resuming, ..Feed::default() };
            self.connection.feeds.insert(stored.lane.clone(), feed);
            lanes.push(cursor(stored));
        }
        let mut subscriptions = Vec::new();
        for (id, subscription) in &self.subscriptions {
            if subscription.refusal.is_none() {
                subscriptions.push(subscription.ask(self.connection.number(*id)));
            }
        }
        let (versions, client) = (VERSIONS.to_vec(), self.client);
        let schema = self.schema.map(|held| held.version);
        let app_version = self.app_version;
        Hello { versions, token, client, lanes, subscriptions, writers, schema, app_version }
    }

    pub(super) fn disconnected(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        match self.phase() {
            Phase::Dialing | Phase::Greeting | Phase::Open => {
                self.fail(Reason::Unreachable, false, moment, out);
            }
            Phase::Paused | Phase::Waiting | Phase::Authorizing | Phase::Closed => {}
        }
    }

    pub(super) fn frame(&mut self, frame: ServerFrame, moment: Moment, out: &mut Vec<Instruction>) {
        if let State::Open(open) = &mut self.state {
            open.heard = moment.now;
        }
        let handled = match (self.phase(), frame) {
            // Nothing can come where there is no socket.
            (Phase::Paused | Phase::Waiting | Phase::Authorizing | Phase::Closed, _) => Ok(()),
            (Phase::Greeting, ServerFrame::Welcome(welcome)) => self.welcome(welcome, moment, out),
            (Phase::Greeting | Phase::Open, ServerFrame::Goodbye(goodbye)) => {
                self.goodbye(goodbye, moment, out);
                Ok(())
            }
            (Phase::Open, frame) => self.open_frame(frame, moment, out),
            (Phase::Dialing | Phase::Greeting, frame) => {
                Err(ProtocolViolation::Misplaced(name(&frame)))
            }
        };
        if let Err(violation) = handled {
            self.fail(Reason::Violation(violation), true, moment, out);
        }
    }

    fn open_frame(
        &mut self,
        frame: ServerFrame,
        moment: Moment,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        match frame {
            ServerFrame::Schema(piece) => self.schema(piece, out),
            ServerFrame::Subscribed(subscribed) => self.subscribed(*subscribed, out),
            ServerFrame::Refused(refused) => self.refused(refused, out),
            ServerFrame::Reset(reset) => self.reset(&reset, out),
            ServerFrame::InitialDataBatch(batch) => self.batch(batch, out),
            ServerFrame::Digest(digest) => self.digest(&digest, out),
            ServerFrame::Synced(synced) => self.synced(synced, moment.now, out),
            ServerFrame::Delta(delta) => self.delta(delta, out),
            ServerFrame::CatchUp(piece) => self.catch_up(piece, out),
            ServerFrame::Frontier(frontier) => self.frontier(frontier, out),
            ServerFrame::Progress(progress) => self.progress(progress, out),
            ServerFrame::SqlResult(result) => self.sql_result(result, out),
            ServerFrame::Decided(decided) => self.decided(*decided, moment, out),
            ServerFrame::Expected(expected) => self.expected(&expected, moment),
            ServerFrame::Forked(forked) => self.forked(&forked, moment),
            ServerFrame::UnknownClient(unknown) => self.unknown_client(&unknown, moment, out),
            ServerFrame::RetryAfter(later) => self.retry_after(&later, moment, out),
            frame @ (ServerFrame::Welcome(_) | ServerFrame::Goodbye(_)) => {
                Err(ProtocolViolation::Misplaced(name(&frame)))
            }
        }
    }

    fn welcome(
        &mut self,
        welcome: Welcome,
        moment: Moment,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        if !VERSIONS.contains(&welcome.version) {
            return Err(ProtocolViolation::Version(welcome.version));
        }
        let renewal = welcome.token_expires_ms.map_or(Renewal::Never, |lifetime| {
            // At 80 % of its life, so that the app has time to get the next one.
            let interval_ms = (lifetime / 5).saturating_mul(4).max(RENEWAL_MS_MIN);
            Renewal::Due { at: moment.now.after(interval_ms), interval_ms }
        });
        self.state = State::Open(Open {
            since: moment.now,
            heard: moment.now,
            silence_ms_max: (u64::from(welcome.silence_ms_max) * 2).max(SILENCE_MS_MIN),
            renewal,
            time: welcome.time,
        });
        self.failure = None;
        if self.since.is_none() {
            self.since = Some(welcome.time);
            apply(vec![Write::PutSince(welcome.time)], out);
        }
        let waiting = std::mem::take(&mut self.connection.waiting);
        out.extend(waiting.into_iter().map(Instruction::Send));
        self.send_statements(out);
        Ok(())
    }

    fn goodbye(&mut self, goodbye: Goodbye, moment: Moment, out: &mut Vec<Instruction>) {
        let Goodbye { code, message, retry_after_ms } = goodbye;
        let at_least = match code {
            ErrorCode::UpdateRequired => Some(UPDATE_REQUIRED_MS.max(retry_after_ms.unwrap_or(0))),
            _ => retry_after_ms,
        };
        self.not_before = at_least.map(|wait| moment.now.after(wait.min(RETRY_AFTER_MS_MAX)));
        self.fail(Reason::Goodbye { code, message }, true, moment, out);
    }
}

fn cursor(stored: &StoredLane) -> LaneCursor {
    LaneCursor {
        lane: stored.lane.clone(),
        epoch: stored.epoch,
        since_seq: stored.seq,
        cut: stored.cut,
    }
}

fn name(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Welcome(_) => "welcome",
        ServerFrame::Schema(_) => "schema",
        ServerFrame::Subscribed(_) => "subscribed",
        ServerFrame::Refused(_) => "refused",
        ServerFrame::Reset(_) => "reset",
        ServerFrame::InitialDataBatch(_) => "initial_data_batch",
        ServerFrame::Digest(_) => "digest",
        ServerFrame::Synced(_) => "synced",
        ServerFrame::Delta(_) => "delta",
        ServerFrame::CatchUp(_) => "catch_up",
        ServerFrame::Frontier(_) => "frontier",
        ServerFrame::Progress(_) => "progress",
        ServerFrame::Decided(_) => "decided",
        ServerFrame::Expected(_) => "expected",
        ServerFrame::Forked(_) => "forked",
        ServerFrame::UnknownClient(_) => "unknown_client",
        ServerFrame::RetryAfter(_) => "retry_after",
        ServerFrame::SqlResult(_) => "sql_result",
        ServerFrame::Goodbye(_) => "goodbye",
    }
}
