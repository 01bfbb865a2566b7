//! What was written in a lane and is not decided: its numbers, its chain, and how far it was sent.
//!
//! The n-th mutation of an identity has number n. What is decided goes from the front, so the number
//! and the hash of each that waits follow from where the front is.

use std::collections::{BTreeMap, VecDeque};

use protocol::frame::v1::MutationDecision;
use protocol::ids::{ClientId, ContentHash, Epoch, Lane, MutationNumber};
use protocol::limits::{MUTATIONS_MAX, WINDOW_MAX};
use protocol::mutation::{MutationDigest, Verdict};

use crate::delivery::Delivery;
use crate::stored::{MutationId, Place, Settled, StoredMutation, StoredWriter};
use crate::time::Millis;

/// How many bytes may be on their way, one mutation at least: a server keeps a few times as much of a
/// connection, and a slow network has it all to carry again when it is cut.
const ON_THE_WAY_BYTES_MAX: usize = 1024 * 1024;

/// Fewer than these are not worth a frame and a sync of their own, while others are on their way and
/// more of them wait.
const WORTH_SENDING: u64 = WINDOW_MAX / 4;
const WORTH_SENDING_BYTES: usize = ON_THE_WAY_BYTES_MAX / 4;

/// When what was sent is sent again, if nothing of it is decided. A server says at once what it does
/// not decide, so this is for what got lost within it, and behind the time that a slow network takes.
const AGAIN_MS: u64 = 15_000;
const SLOW_BYTES_A_MS: u64 = 16;

/// A mutation that is not decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: MutationId,
    pub(crate) place: Place,
    pub(crate) digest: MutationDigest,
    /// The chained hash after it.
    pub(crate) hash: ContentHash,
    pub(crate) bytes: usize,
    pub(crate) is_cancelled: bool,
    /// What it does cannot be read.
    is_unreadable: bool,
}

/// What waits in a lane.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// As it is stored. `since` is 0 before a server has dated the identity.
    pub(crate) writer: StoredWriter,
    /// In the order of their places.
    entries: VecDeque<Entry>,
    /// The places of those that were held back. Of all others it is the id.
    moved: BTreeMap<MutationId, Place>,
    /// Up to where this connection was sent.
    pub(crate) posted: MutationNumber,
    /// Whether this connection was told that the client writes there, under this identity.
    pub(crate) is_open: bool,
    /// Nothing is sent before the lane's next frontier.
    pub(crate) hushed: bool,
    /// The last that may have left the device before this connection, under whatever identity.
    sent_before: Place,
    /// Nothing is sent before.
    pub(crate) not_before: Option<Millis>,
    /// The lane is not opened before.
    pub(crate) not_opened_before: Option<Millis>,
    /// What was sent is sent again then, if nothing is decided.
    pub(crate) again_at: Option<Millis>,
    pub(crate) delivery: Delivery,
}

/// The client is a copy of another one, or the other way round: numbers from this one on have other
/// content at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForkedFrom(pub(crate) MutationNumber);

/// A mutation that is not waiting any more.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) entry: Entry,
    pub(crate) settled: Settled,
}

impl Outgoing {
    /// Nothing waits, and nothing was ever sent.
    pub(crate) fn new(lane: Lane, client: ClientId) -> Self {
        Self::from_stored(StoredWriter {
            lane,
            client,
            since: 0,
            epoch: None,
            settled: MutationNumber::ZERO,
            settled_hash: ContentHash::START,
            sent: MutationNumber::ZERO,
            sent_place: Place(0),
            sent_elsewhere: Place(0),
            confirmed: MutationNumber::ZERO,
            stuck: None,
        })
    }

    pub(crate) fn from_stored(writer: StoredWriter) -> Self {
        Self {
            posted: writer.settled,
            sent_before: writer.sent_place,
            writer,
            entries: VecDeque::new(),
            moved: BTreeMap::new(),
            is_open: false,
            hushed: false,
            not_before: None,
            not_opened_before: None,
            again_at: None,
            delivery: Delivery::default(),
        }
    }

    /// The connection is gone, and all that was only of it.
    pub(crate) fn disconnect(&mut self) {
        (self.posted, self.sent_before) = (self.writer.settled, self.writer.sent_place);
        self.delivery.disconnect();
        (self.is_open, self.again_at) = (false, None);
        (self.not_before, self.not_opened_before) = (None, None);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What stands behind all others.
    pub(crate) fn push(&mut self, stored: &StoredMutation) {
        let StoredMutation { id, place, digest, bytes, is_cancelled, .. } = *stored;
        if place.0 != id.0 {
            self.moved.insert(id, place);
        }
        let (hash, is_unreadable) = (self.last_hash().then(digest), false);
        self.entries.push_back(Entry {
            id,
            place,
            digest,
            hash,
            bytes,
            is_cancelled,
            is_unreadable,
        });
    }

    fn last_hash(&self) -> ContentHash {
        self.entries.back().map_or(self.writer.settled_hash, |entry| entry.hash)
    }

    /// The number of the last that waits.
    fn last(&self) -> MutationNumber {
        self.number(self.entries.len())
    }

    /// The number `count` behind what is settled.
    fn number(&self, count: usize) -> MutationNumber {
        let number = self.writer.settled.get().saturating_add(count as u64);
        MutationNumber::new(number).unwrap_or(MutationNumber::MAX)
    }

    fn place(&self, number: MutationNumber) -> Option<usize> {
        let behind = number.get().checked_sub(self.writer.settled.get() + 1)?;
        usize::try_from(behind).ok().filter(|place| *place < self.entries.len())
    }

    /// The one with this number.
    pub(crate) fn get(&self, number: MutationNumber) -> Option<&Entry> {
        self.entries.get(self.place(number)?)
    }

    /// The chained hash after this number, if it is known.
    fn hash_after(&self, number: MutationNumber) -> Option<ContentHash> {
        match number == self.writer.settled {
            true => Some(self.writer.settled_hash),
            false => self.get(number).map(|entry| entry.hash),
        }
    }

    /// The place of a mutation, and its number.
    pub(crate) fn find(&self, id: MutationId) -> Option<(usize, MutationNumber)> {
        let place = self.moved.get(&id).copied().unwrap_or(Place(id.0));
        let place = self.entries.binary_search_by_key(&place, |entry| entry.place).ok()?;
        Some((place, self.number(place + 1)))
    }

    fn find_mut(&mut self, id: MutationId) -> Option<&mut Entry> {
        let (place, _) = self.find(id)?;
        self.entries.get_mut(place)
    }

    /// Whether a mutation that waits may have left the device, under whatever identity: in a history that
    /// comes back it may be decided.
    pub(crate) fn is_sent(&self, id: MutationId) -> Option<bool> {
        let (place, _) = self.find(id)?;
        self.entries.get(place).map(|entry| entry.place <= self.writer.sent_place)
    }

    /// Whether a mutation waits here that could not be read.
    pub(crate) fn cannot_be_read(&self, id: MutationId) -> bool {
        self.find(id)
            .and_then(|(place, _)| self.entries.get(place))
            .is_some_and(|it| it.is_unreadable)
    }

    /// The first that waits.
    pub(crate) fn front(&self) -> Option<MutationId> {
        self.entries.front().map(|entry| entry.id)
    }

    /// The mutation is taken back. It keeps its number, and what it does is not sent any more.
    pub(crate) fn take_back(&mut self, id: MutationId) {
        let Some(entry) = self.find_mut(id) else { return };
        (entry.is_cancelled, entry.is_unreadable) = (true, false);
    }

    /// What the mutation does cannot be read, so it and what is behind it was not sent.
    pub(crate) fn unreadable(&mut self, id: MutationId) {
        if let Some(entry) = self.find_mut(id) {
            entry.is_unreadable = true;
            self.posted = self.writer.settled;
        }
    }

    /// Up to where it may be sent, if what is settled is confirmed.
    pub(crate) fn sendable(&self) -> MutationNumber {
        let (mut count, mut bytes) = (0, 0);
        let most = if self.is_suspect() { 1 } else { MUTATIONS_MAX };
        for entry in self.entries.iter().take(most) {
            bytes += entry.bytes;
            if entry.is_unreadable || (bytes > ON_THE_WAY_BYTES_MAX && count > 0) {
                break;
            }
            count += 1;
        }
        self.number(count)
    }

    /// Whether there is something to be sent, and enough of it.
    pub(crate) fn has_to_post(&self) -> bool {
        if self.posted >= self.last() {
            return false;
        }
        let sendable = self.sendable();
        let room = sendable.get().saturating_sub(self.posted.get());
        let is_first = self.posted == self.writer.settled;
        room > 0
            && (is_first
                || sendable == self.last()
                || room >= WORTH_SENDING
                || self.bytes(self.posted, sendable) >= WORTH_SENDING_BYTES)
    }

    /// What is behind `after`, up to `through`.
    fn between(
        &self,
        after: MutationNumber,
        through: MutationNumber,
    ) -> impl Iterator<Item = &Entry> {
        let place = |number: MutationNumber| {
            let behind = number.get().saturating_sub(self.writer.settled.get());
            usize::try_from(behind).unwrap_or(usize::MAX)
        };
        self.entries.iter().take(place(through)).skip(place(after))
    }

    fn bytes(&self, after: MutationNumber, through: MutationNumber) -> usize {
        self.between(after, through).map(|entry| entry.bytes).sum()
    }

    /// How long a slow network takes for what is on its way.
    fn on_the_way_ms(&self) -> u64 {
        self.bytes(self.writer.settled, self.posted) as u64 / SLOW_BYTES_A_MS
    }

    /// Something was sent.
    pub(crate) fn on_its_way(&mut self, now: Millis) {
        self.delivery.post(now, self.on_the_way_ms());
        self.wait(now);
    }

    /// Waits from now on for what is on its way to be decided.
    pub(crate) fn wait(&mut self, now: Millis) {
        self.again_at = Some(now.after(AGAIN_MS + self.on_the_way_ms()));
    }

    /// Up to where mutations may have been decided that the server does not know any more: what was
    /// sent first on this connection, it has just said that it was not.
    pub(crate) fn uncertain_through(&self) -> MutationNumber {
        self.through(self.sent_before)
    }

    /// The number of the last that stands at this place or before it.
    fn through(&self, place: Place) -> MutationNumber {
        self.number(self.entries.partition_point(|entry| entry.place <= place))
    }

    /// The hash before the next one to be sent.
    pub(crate) fn posted_hash(&self) -> ContentHash {
        self.hash_after(self.posted).unwrap_or(self.writer.settled_hash)
    }

    /// What is to be sent as one frame: the next ones, up to `through` and about `bytes_max`.
    pub(crate) fn next_frame(&self, through: MutationNumber, bytes_max: usize) -> Vec<Entry> {
        let mut frame: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for entry in self.between(self.posted, through) {
            bytes += entry.bytes;
            if bytes > bytes_max && !frame.is_empty() {
                break;
            }
            frame.push(*entry);
        }
        frame
    }

    /// The first is decided, or will never be known to be.
    fn pop(&mut self, settled: Settled) -> Option<Left> {
        let entry = self.entries.pop_front()?;
        self.forget(entry.id);
        self.delivery = Delivery::default();
        self.writer.settled = self.writer.settled.next();
        self.writer.settled_hash = entry.hash;
        self.writer.sent = self.writer.sent.max(self.writer.settled);
        self.posted = self.posted.max(self.writer.settled);
        Some(Left { entry, settled })
    }

    /// Another copy has confirmed decisions that are kept no longer. Where the content is the same up
    /// to there, what it was is not known here.
    pub(crate) fn confirmed_by_other(
        &mut self,
        confirmed: MutationNumber,
        hash: ContentHash,
        left: &mut Vec<Left>,
    ) -> Result<(), ForkedFrom> {
        if confirmed <= self.writer.settled {
            return Ok(());
        }
        if self.hash_after(confirmed) != Some(hash) {
            // Up to what is settled both are the same, so the first behind it is where they differ. Of
            // several behind it, nobody knows which that is.
            let is_first = confirmed == self.writer.settled.next();
            return Err(ForkedFrom(if is_first { confirmed } else { confirmed.next() }));
        }
        while self.writer.settled < confirmed {
            left.extend(self.pop(Settled::Uncertain));
        }
        Ok(())
    }

    /// Settles by number and chained hash. A number that was never sent settles all the same: a copy
    /// has sent what is next in line here.
    pub(crate) fn settle(
        &mut self,
        decision: &MutationDecision,
        left: &mut Vec<Left>,
    ) -> Result<(), ForkedFrom> {
        if decision.number <= self.writer.settled {
            return Ok(());
        }
        let is_same = decision.number == self.writer.settled.next()
            && self.hash_after(decision.number) == Some(decision.hash);
        if !is_same {
            return Err(ForkedFrom(decision.number));
        }
        left.extend(self.pop(match &decision.verdict {
            Verdict::Accepted => Settled::Accepted(decision.seq),
            Verdict::Rejected(rejection) => Settled::Rejected(rejection.clone()),
        }));
        Ok(())
    }

    /// It waits no longer.
    fn forget(&mut self, id: MutationId) {
        self.moved.remove(&id);
        self.writer.stuck = self.writer.stuck.filter(|stuck| *stuck != id);
        // One that cannot be read is what the lane waits for from now on.
        let next = self.entries.front().filter(|next| next.is_unreadable).map(|next| next.id);
        self.writer.stuck = next.or(self.writer.stuck);
    }

    /// What waits from `from` on is this copy's alone, and goes again under an identity of its own;
    /// what comes before is uncertain. So is what was held back: the other copy may have let it go at
    /// another place.
    pub(crate) fn fork(&mut self, from: MutationNumber, left: &mut Vec<Left>) {
        self.give_up_before(from, left);
        for (id, _) in std::mem::take(&mut self.moved) {
            let place = self.entries.iter().position(|entry| entry.id == id);
            if let Some(entry) = place.and_then(|place| self.entries.remove(place)) {
                self.forget(id);
                left.push(Left { entry, settled: Settled::Uncertain });
            }
        }
        self.rename(b"");
    }

    /// The lane is in another history, which has decided this identity's mutations up to `decided`. What
    /// waits goes again. Where it knows nothing of this identity, and what waits was sent to a third
    /// one under another, it may have that: it may be of a time between both.
    pub(crate) fn change_history(
        &mut self,
        epoch: Epoch,
        decided: MutationNumber,
        left: &mut Vec<Left>,
    ) {
        let elsewhere = self.writer.sent_elsewhere;
        let from = match decided {
            MutationNumber::ZERO => self.through(elsewhere),
            _ => decided,
        };
        self.begin_anew(from.next(), epoch.as_bytes(), left);
        self.writer.sent_elsewhere = self.writer.sent_place;
    }

    /// What waits is told anew where the server has forgotten the client, or never knew it: nobody else
    /// has sent any of it there.
    pub(crate) fn begin_anew(&mut self, from: MutationNumber, why: &[u8], left: &mut Vec<Left>) {
        self.give_up_before(from, left);
        self.rename(why);
    }

    fn give_up_before(&mut self, from: MutationNumber, left: &mut Vec<Left>) {
        while self.writer.settled.next() < from && !self.entries.is_empty() {
            left.extend(self.pop(Settled::Uncertain));
        }
    }

    /// What waits goes under another identity.
    fn rename(&mut self, why: &[u8]) {
        // Copies that go on with the same mutation come to the same identity, so that it is decided
        // once.
        let first = self.entries.front().map_or(MutationDigest::NONE, |first| first.digest);
        self.writer.client = self.writer.client.then(why, first);
        self.writer.settled = MutationNumber::ZERO;
        self.writer.settled_hash = ContentHash::START;
        self.writer.sent = MutationNumber::ZERO;
        self.writer.confirmed = MutationNumber::ZERO;
        self.delivery = Delivery::default();
        self.disconnect();
        let mut hash = ContentHash::START;
        for entry in &mut self.entries {
            hash = hash.then(entry.digest);
            entry.hash = hash;
        }
    }

    /// Something waits, and the server has to be told that the client writes there.
    pub(crate) fn wants_to_open(&self, now: Millis) -> bool {
        let may = self.not_opened_before.is_none_or(|at| now >= at);
        may && !self.is_open && !self.entries.is_empty()
    }

    /// Its identity was used in this history or in none.
    pub(crate) fn is_of(&self, epoch: Epoch) -> bool {
        self.writer.epoch.is_none_or(|known| known == epoch)
    }
}
