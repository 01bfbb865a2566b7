//! What was written: sent, and settled.
//!
//! Nothing is sent before a synced step has it, with how far the numbers have gone: a power cut would
//! give a number to something else otherwise. What is decided comes with the commits of its lane, and
//! in their step (INV-9); after a connection was lost, with the lane's frontier.

use std::collections::BTreeMap;

use protocol::frame::v1::{
    ClientFrame, Decided, LaneAt, LaneWriter, OpenLane, RetryAfter, Undecided, WriterState,
};
use protocol::ids::{ClientId, Epoch, Lane, MutationNumber};
use protocol::limits::CONNECTION_LANES_MAX;

use super::turns::tell_stuck;
use super::{Machine, Phase, State, apply};
use crate::connection::FeedState;
use crate::instruction::{self, Instruction, MutationProgress, Step, Write};
use crate::outgoing::{Entry, ForkedFrom, Left, Outgoing};
use crate::stored::{MutationId, StoredMutation, StoredWriter};
use crate::time::{Millis, Moment};
use crate::violation::ProtocolViolation;

/// About how many bytes go in one frame. A larger mutation is one of its own.
const FRAME_BYTES: usize = 256 * 1024;

/// How long nothing is sent after a server has said that the order is another.
const PAUSE_MS: u64 = 200;

/// How long after it has said so of the content.
const FORK_PAUSE_MS: u64 = 1_000;

/// The longest that a server can ask for.
const RETRY_AFTER_MS_MAX: u64 = 10 * 60 * 1_000;

pub(super) fn from_stored(
    client: ClientId,
    writers: Vec<StoredWriter>,
    outbox: &[StoredMutation],
) -> BTreeMap<Lane, Outgoing> {
    let of_lane = |writer: StoredWriter| (writer.lane.clone(), Outgoing::from_stored(writer));
    let mut all: BTreeMap<_, _> = writers.into_iter().map(of_lane).collect();
    for stored in outbox {
        outgoing(&mut all, client, &stored.lane).push(stored);
    }
    all
}

fn outgoing<'a>(
    all: &'a mut BTreeMap<Lane, Outgoing>,
    client: ClientId,
    lane: &Lane,
) -> &'a mut Outgoing {
    all.entry(lane.clone()).or_insert_with(|| Outgoing::new(lane.clone(), client))
}

/// Tells the app of what waits no longer.
pub(super) fn tell_left(left: Vec<Left>, out: &mut Vec<Instruction>) {
    for Left { entry, settled } in left {
        let progress = MutationProgress::Settled(settled);
        out.push(Instruction::MutationChanged(entry.id, progress));
    }
}

fn settle_all(left: &[Left], writes: &mut Vec<Write>) {
    writes.extend(
        left.iter().map(|Left { entry, settled }| Write::Settle {
            id: entry.id,
            settled: settled.clone(),
        }),
    );
}

impl Machine {
    /// Whether an [`Event::Flush`](crate::Event::Flush) is wanted.
    pub fn has_to_send(&self, now: Millis) -> bool {
        let turn = || self.turn(now);
        self.phase() == Phase::Open
            && (self.outgoing.values().any(|outgoing| outgoing.wants_to_open(now))
                || self.outgoing.keys().any(|lane| self.may_post(lane, now) && turn().is_of(lane)))
    }

    /// Whether something was sent on this connection and is not decided.
    pub fn is_sending(&self) -> bool {
        self.outgoing.values().any(|outgoing| outgoing.posted > outgoing.writer.settled)
    }

    /// Whether a mutation can still be taken back: it has not left the device, or is stuck.
    pub fn may_take_back(&self, id: MutationId) -> bool {
        self.is_sent(id) == Some(false) || self.is_stuck(id)
    }

    /// Whether a mutation that waits may have left the device; `None` when it does not wait.
    pub fn is_sent(&self, id: MutationId) -> Option<bool> {
        self.outgoing.values().find_map(|outgoing| outgoing.is_sent(id))
    }

    pub(super) fn wrote(&mut self, stored: &StoredMutation) {
        outgoing(&mut self.outgoing, self.client, &stored.lane).push(stored);
    }

    pub(super) fn taken_back(&mut self, id: MutationId, out: &mut Vec<Instruction>) {
        let mut writes = Vec::new();
        for outgoing in self.outgoing.values_mut() {
            outgoing.take_back(id);
            if outgoing.writer.stuck == Some(id) {
                outgoing.set_free();
                writes.push(Write::PutWriter(Box::new(outgoing.writer.clone())));
            }
        }
        apply(writes, out);
    }

    /// Whether there is something that may be sent.
    pub(super) fn may_post(&self, lane: &Lane, now: Millis) -> bool {
        self.outgoing.get(lane).is_some_and(Outgoing::has_to_post) && self.may_send(lane, now)
    }

    /// Whether the history in which the lane's numbers hold is the one the server is in.
    fn may_send(&self, lane: &Lane, now: Millis) -> bool {
        let Some(outgoing) = self.outgoing.get(lane) else { return false };
        let known = self.lanes.get(lane).map(|lane| lane.epoch);
        outgoing.is_open
            && !outgoing.hushed
            && outgoing.not_before.is_none_or(|at| now >= at)
            && outgoing.delivery.parked_until().is_none_or(|at| now >= at)
            && known.is_some_and(|epoch| outgoing.is_of(epoch))
    }

    /// The lanes that a new connection is told of: something waits there, or its decisions are kept
    /// for this client still. What is settled becomes confirmed with it.
    pub(super) fn open_writers(&mut self, out: &mut Vec<Instruction>) -> Vec<LaneWriter> {
        let (mut writers, mut writes) = (Vec::new(), Vec::new());
        let wanted = self.outgoing.iter_mut().filter(|(_, outgoing)| {
            !outgoing.is_empty() || outgoing.writer.confirmed < outgoing.writer.settled
        });
        for (lane, outgoing) in wanted.take(CONNECTION_LANES_MAX) {
            let writer = &mut outgoing.writer;
            if writer.confirmed < writer.settled {
                writer.confirmed = writer.settled;
                writes.push(Write::PutWriter(Box::new(writer.clone())));
            }
            outgoing.is_open = true;
            self.connection.feeds.entry(lane.clone()).or_default();
            writers.push(lane_writer(lane, &outgoing.writer));
        }
        apply_synced(writes, out);
        writers
    }

    /// Sends what was written, as far as it may be sent.
    pub(super) fn flush(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        if self.phase() != Phase::Open {
            return;
        }
        let lanes: Vec<Lane> = self.outgoing.keys().cloned().collect();
        let mut ready = Vec::new();
        let mut writes = Vec::new();
        for lane in &lanes {
            self.open_lane(lane, moment.now, out);
        }
        self.note_behind(moment.now);
        let turn = self.turn(moment.now);
        for lane in lanes.into_iter().filter(|lane| turn.is_of(lane)) {
            if self.may_send(&lane, moment.now)
                && let Some(through) = self.number(&lane, &mut writes)
            {
                ready.push((lane, through));
            }
        }
        apply_synced(writes, out);
        for (lane, through) in ready {
            self.post(&lane, through, moment.now, out);
        }
    }

    /// Tells the server that the client writes in the lane, if something waits there.
    fn open_lane(&mut self, lane: &Lane, now: Millis, out: &mut Vec<Instruction>) {
        let Some(outgoing) = self.outgoing.get_mut(lane) else { return };
        if !outgoing.wants_to_open(now) {
            return;
        }
        outgoing.is_open = true;
        self.connection.feeds.entry(lane.clone()).or_default();
        let writer = lane_writer(lane, &outgoing.writer);
        let stored = self.lanes.get(lane);
        let at = stored.map(|stored| LaneAt { epoch: stored.epoch, seq: stored.seq });
        out.push(Instruction::Send(ClientFrame::OpenLane(OpenLane { writer, at })));
    }

    /// Gives numbers to what may be sent, and says up to where that is; nothing where there is
    /// nothing to send.
    fn number(&mut self, lane: &Lane, writes: &mut Vec<Write>) -> Option<MutationNumber> {
        let (since, epoch) = (self.since?, self.lanes.get(lane)?.epoch);
        let outgoing = self.outgoing.get_mut(lane)?;
        if !outgoing.has_to_post() {
            return None;
        }
        let through = outgoing.sendable();
        let before = outgoing.writer.clone();
        let last = outgoing.get(through).map(|entry| entry.place);
        let writer = &mut outgoing.writer;
        writer.epoch = Some(epoch);
        if writer.since == 0 {
            writer.since = since;
        }
        if writer.sent < through {
            writer.sent = through;
            writer.sent_place = writer.sent_place.max(last.unwrap_or_default());
        }
        // Only a step that is synced anyway says how far things are settled, unless the window is full
        // without.
        let is_behind = through.get() - writer.confirmed.get() > protocol::limits::WINDOW_MAX;
        if *writer != before || is_behind {
            writer.confirmed = writer.settled;
            writes.push(Write::PutWriter(Box::new(writer.clone())));
        }
        Some(through)
    }

    /// Sends the next ones, in frames.
    fn post(
        &mut self,
        lane: &Lane,
        through: MutationNumber,
        now: Millis,
        out: &mut Vec<Instruction>,
    ) {
        let Some(outgoing) = self.outgoing.get_mut(lane) else { return };
        let Some(epoch) = outgoing.writer.epoch else { return };
        while outgoing.posted < through {
            let frame = outgoing.next_frame(through, FRAME_BYTES);
            let Some(last) = frame.last() else { break };
            let first = outgoing.posted.next();
            let previous = outgoing.posted_hash();
            let Some((_, posted)) = outgoing.find(last.id) else { break };
            outgoing.posted = posted;
            out.push(Instruction::Mutate(instruction::Outgoing {
                lane: lane.clone(),
                client: outgoing.writer.client,
                since: outgoing.writer.since,
                epoch,
                first,
                previous,
                mutations: frame.iter().map(|entry| entry.id).collect(),
                confirmed: outgoing.writer.confirmed,
            }));
            let stuck = outgoing.writer.stuck;
            let is_shown = |entry: &&Entry| !entry.is_cancelled && Some(entry.id) != stuck;
            for entry in frame.iter().filter(is_shown) {
                out.push(Instruction::MutationChanged(entry.id, MutationProgress::Sent));
            }
        }
        outgoing.on_its_way(now);
    }

    /// When something is to be sent again, or may be sent at last.
    pub(super) fn sends_again_at(&self) -> Option<Millis> {
        let has_suspect = self.has_suspect();
        let at = |it: &Outgoing| {
            let trial = it.on_trial_until().filter(|_| has_suspect);
            [it.not_before, it.not_opened_before, it.again_at, it.delivery.parked_until(), trial]
        };
        self.outgoing.values().filter(|it| !it.is_empty()).flat_map(at).flatten().min()
    }

    /// Some time has passed.
    pub(super) fn send_again(&mut self, now: Millis) {
        for outgoing in self.outgoing.values_mut() {
            for before in [&mut outgoing.not_before, &mut outgoing.not_opened_before] {
                *before = before.filter(|at| now < *at);
            }
            outgoing.delivery.pass(now);
            if outgoing.again_at.is_some_and(|at| now >= at) {
                (outgoing.posted, outgoing.again_at) = (outgoing.writer.settled, None);
                outgoing.delivery.send_again();
            }
        }
    }

    /// A mutation was decided. Its commit ends with it: all of it is one step.
    pub(super) fn decided(
        &mut self,
        decided: Decided,
        moment: Moment,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let Decided { lane, client, previous, seq, decision, tables } = decided;
        let feed = self.connection.feeds.get_mut(&lane);
        let (Some(feed), Some(stored)) = (feed, self.lanes.get(&lane)) else {
            return Err(ProtocolViolation::Lane(lane));
        };
        let frontier = stored.seq;
        if feed.state != FeedState::Live {
            return Err(ProtocolViolation::NotLive(lane));
        }
        if previous != frontier {
            return Err(ProtocolViolation::Gap { lane, frontier, previous });
        }
        if seq < previous {
            return Err(ProtocolViolation::Back { lane, frontier, to: seq });
        }
        if feed.commit.as_ref().is_some_and(|open| (open.previous, open.seq) != (previous, seq)) {
            return Err(ProtocolViolation::OpenCommit(lane));
        }
        let parts = feed.commit.take().map_or(Vec::new(), |commit| commit.parts);
        let (mut writes, mut left) = (Vec::new(), Vec::new());
        self.show_commit(&lane, seq, parts, &mut writes);
        let outgoing = self.outgoing.get_mut(&lane);
        // Of an identity that it had before, nothing is to be known any more.
        if let Some(outgoing) = outgoing.filter(|outgoing| outgoing.writer.client == client) {
            let settled = outgoing.settle(&decision, &mut left);
            if let Err(ForkedFrom(number)) = settled {
                outgoing.fork(number, &mut left);
            }
            outgoing.wait(moment.now);
            if !left.is_empty() || settled.is_err() {
                settle_all(&left, &mut writes);
                if settled.is_err() {
                    writes.push(Write::HeldBackUncertain(lane));
                }
                writes.push(Write::RowsNow(tables));
                writes.push(Write::PutWriter(Box::new(outgoing.writer.clone())));
            }
        }
        apply(writes, out);
        tell_left(left, out);
        Ok(())
    }

    /// What the server knows of this client where the lane has become live.
    pub(super) fn caught_up(
        &mut self,
        lane: &Lane,
        epoch: Epoch,
        state: WriterState,
        writes: &mut Vec<Write>,
    ) -> Result<Vec<Left>, ProtocolViolation> {
        let WriterState { client, confirmed, confirmed_hash, decisions, tables } = state;
        let outgoing = self.outgoing.get_mut(lane);
        let Some(outgoing) = outgoing.filter(|outgoing| outgoing.writer.client == client) else {
            return Ok(Vec::new());
        };
        let (before, mut left) = (outgoing.writer.clone(), Vec::new());
        let last = decisions.last().map_or(confirmed, |decision| decision.number);
        let mut compare = || -> Result<(), ForkedFrom> {
            outgoing.confirmed_by_other(confirmed, confirmed_hash, &mut left)?;
            decisions.iter().try_for_each(|decision| outgoing.settle(decision, &mut left))
        };
        let compared = compare();
        outgoing.hushed = false;
        let is_copy = compared.is_err();
        if let Err(ForkedFrom(number)) = compared {
            outgoing.fork(number, &mut left);
        } else if !outgoing.is_of(epoch) {
            // What this history has of the client is settled; the rest is told again under an
            // identity that was never in another one.
            outgoing.change_history(epoch, last, &mut left);
        }
        outgoing.writer.epoch = Some(epoch);
        if before != outgoing.writer {
            settle_all(&left, writes);
            if is_copy {
                writes.push(Write::HeldBackUncertain(lane.clone()));
            }
            writes.push(Write::RowsNow(tables));
            writes.push(Write::PutWriter(Box::new(outgoing.writer.clone())));
        }
        Ok(left)
    }

    /// The one that an answer is about, if it is about something that is not settled.
    fn undecided(&mut self, undecided: &Undecided) -> Option<&mut Outgoing> {
        let Undecided { lane, client, number } = undecided;
        let outgoing = self.outgoing.get_mut(lane)?;
        let is_it = outgoing.writer.client == *client && *number > outgoing.writer.settled;
        is_it.then_some(outgoing)
    }

    pub(super) fn expected(
        &mut self,
        expected: &Undecided,
        moment: Moment,
    ) -> Result<(), ProtocolViolation> {
        if let Some(outgoing) = self.undecided(expected)
            && expected.number <= outgoing.posted
        {
            // Each frame behind the first that was not decided is answered so.
            outgoing.posted = outgoing.writer.settled;
            outgoing.not_before = Some(moment.now.after(PAUSE_MS));
        }
        Ok(())
    }

    /// The next frontier says from where on the content is another.
    pub(super) fn forked(
        &mut self,
        forked: &Undecided,
        moment: Moment,
    ) -> Result<(), ProtocolViolation> {
        if let Some(outgoing) = self.undecided(forked)
            && !outgoing.hushed
            && forked.number <= outgoing.posted
        {
            (outgoing.hushed, outgoing.is_open) = (true, false);
            outgoing.posted = outgoing.writer.settled;
            outgoing.not_before = Some(moment.now.after(FORK_PAUSE_MS));
        }
        Ok(())
    }

    /// What was sent before this connection is uncertain, and the rest goes under a new identity.
    pub(super) fn unknown_client(
        &mut self,
        unknown: &Undecided,
        moment: Moment,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let State::Open(open) = &self.state else { return Ok(()) };
        // The server's time by now: it has forgotten identities that are as old as this connection.
        let passed = moment.now.since(open.since).saturating_mul(1_000);
        let time = open.time.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        let Some(outgoing) = self.undecided(unknown) else { return Ok(()) };
        let mut left = Vec::new();
        let from = outgoing.uncertain_through().next();
        outgoing.begin_anew(from, &time.to_be_bytes(), &mut left);
        outgoing.writer.since = time;
        let mut writes = Vec::new();
        settle_all(&left, &mut writes);
        writes.push(Write::PutWriter(Box::new(outgoing.writer.clone())));
        apply(writes, out);
        tell_left(left, out);
        Ok(())
    }

    pub(super) fn retry_after(
        &mut self,
        later: &RetryAfter,
        moment: Moment,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let outgoing = self.outgoing.get_mut(&later.lane);
        if let Some(outgoing) = outgoing.filter(|outgoing| outgoing.writer.client == later.client) {
            let wait = later.retry_after_ms.min(RETRY_AFTER_MS_MAX);
            tell_stuck(outgoing.put_off(wait), outgoing, out);
            // Opened once more, it is also said what has become of what was sent.
            (outgoing.posted, outgoing.is_open) = (outgoing.writer.settled, false);
            outgoing.not_before = Some(moment.now.after(wait));
            outgoing.not_opened_before = outgoing.not_before;
        }
        Ok(())
    }
}

fn lane_writer(lane: &Lane, writer: &StoredWriter) -> LaneWriter {
    LaneWriter { lane: lane.clone(), client: writer.client, confirmed: writer.confirmed }
}

/// Wants the writes done in one step that survives a power cut.
fn apply_synced(writes: Vec<Write>, out: &mut Vec<Instruction>) {
    if !writes.is_empty() {
        out.push(Instruction::Apply(Step { writes, synced: true }));
    }
}
