//! Where the server is: so that the app can wait until it has all that was there when it asked.
//!
//! A question without an answer when a connection ends is put again on the next one. One that was
//! answered is put again, too: the next server may have another history, in which the positions of the
//! first one mean nothing.

use protocol::frame::v1::{AskSync, ClientFrame, Synced};
use protocol::ids::RequestNumber;

use super::{Machine, Phase};
use crate::event::AskError;
use crate::instruction::Instruction;
use crate::sync::{Asked, SyncId};
use crate::time::Millis;
use crate::violation::ProtocolViolation;

/// Most questions at once.
const SYNCS_MAX: usize = 1_000;

/// When a server is asked again that did not know.
const AGAIN_MS: u64 = 500;

impl Machine {
    /// Asks the server where it is in each lane that is subscribed to: now, or when there is a connection.
    /// [`Instruction::ServerIs`] follows, for each connection once, until [`Event::ForgetSync`] comes.
    ///
    /// # Errors
    /// [`AskError`].
    ///
    /// [`Event::ForgetSync`]: crate::Event::ForgetSync
    pub fn sync(&mut self, now: Millis) -> Result<(SyncId, Vec<Instruction>), AskError> {
        if self.phase() == Phase::Closed {
            return Err(AskError::Closed);
        }
        if self.syncs.open.len() >= SYNCS_MAX {
            return Err(AskError::TooManyStatements(SYNCS_MAX));
        }
        self.syncs.last += 1;
        let id = SyncId(self.syncs.last);
        self.syncs.open.insert(id, Asked::Not);
        let mut out = Vec::new();
        self.send_syncs(now, &mut out);
        Ok((id, out))
    }

    /// Puts the questions that are not under way.
    pub(super) fn send_syncs(&mut self, now: Millis, out: &mut Vec<Instruction>) {
        if self.phase() != Phase::Open {
            return;
        }
        for (id, asked) in &mut self.syncs.open {
            if matches!(asked, Asked::Not) || matches!(asked, Asked::Again(at) if *at <= now) {
                *asked = Asked::Sent;
                let request = RequestNumber(id.0);
                out.push(Instruction::Send(ClientFrame::Sync(AskSync { request })));
            }
        }
    }

    pub(super) fn synced(
        &mut self,
        synced: Synced,
        now: Millis,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let Synced { request, positions, later } = synced;
        if request.0 == 0 || request.0 > self.syncs.last {
            return Err(ProtocolViolation::Request(request));
        }
        let id = SyncId(request.0);
        match self.syncs.open.get_mut(&id) {
            Some(asked @ Asked::Sent) if later => *asked = Asked::Again(now.after(AGAIN_MS)),
            Some(asked @ Asked::Sent) => {
                *asked = Asked::Answered;
                out.push(Instruction::ServerIs(id, positions));
            }
            // Nobody waits for it any more.
            None => {}
            Some(_) => return Err(ProtocolViolation::Request(request)),
        }
        Ok(())
    }

    /// Nobody waits for it any more.
    pub(super) fn forget_sync(&mut self, id: SyncId) {
        self.syncs.open.remove(&id);
    }
}
