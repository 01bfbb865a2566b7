//! What the machine wants of frames that have come together is stored in one transaction: a commit costs
//! more than most of what is in it.

use sdk_machine::{Attempt, Event, Instruction, Step, Write};
use sdk_replica::ReplicaError;

use super::{Driver, FRAMES_WAITING_MAX};
use crate::error::Error;
use crate::ports::SocketEvent;

/// How many rows are gathered before they are stored: the application waits for that at most.
const ROWS_TOGETHER: usize = 256;

/// Steps, and who is told when they are done, in their order.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    instructions: Vec<Instruction>,
    rows: usize,
}

impl Gathered {
    pub(super) fn add(&mut self, instruction: Instruction) {
        if let Some(step) = instruction.step() {
            self.rows += step.writes.iter().map(rows).sum::<usize>();
        }
        self.instructions.push(instruction);
    }

    fn is_enough(&self) -> bool {
        self.rows >= ROWS_TOGETHER
    }
}

fn rows(write: &Write) -> usize {
    match write {
        Write::Batch { rows, .. } => rows.len(),
        Write::Changes { changes, .. } | Write::Stage { changes, .. } => changes.len(),
        Write::RowsNow(tables) => tables.iter().map(|now| now.rows.len()).sum(),
        // What it lets go may be a whole table.
        Write::ShowStaged { .. }
        | Write::KeepRows(_)
        | Write::DropGhosts(_)
        | Write::RemoveSubscription(_) => ROWS_TOGETHER,
        _ => 1,
    }
}

impl Driver {
    /// Takes a frame, and those that have come with it.
    pub(super) fn frames(&mut self, attempt: Attempt, first: SocketEvent) {
        if self.is_stale {
            return;
        }
        let (mut next, mut taken) = (Some(first), 0);
        while let Some(SocketEvent::Frame(frame)) = next {
            self.note_frame(&frame);
            taken += 1;
            let moment = self.moment();
            let instructions = self.machine.handle(Event::Frame { attempt, frame: *frame }, moment);
            let goes_on = self.gather(instructions)
                && !self.gathered.is_enough()
                && taken < FRAMES_WAITING_MAX;
            let socket = self.socket.as_mut().filter(|(of, ..)| goes_on && *of == attempt);
            next = socket.and_then(|(.., events)| events.try_recv().ok());
        }
        self.apply_gathered();
        self.note_synced();
        if let Some(end) = next {
            self.socket_event(attempt, end);
        }
    }

    /// Stores what was gathered, and tells who is concerned. Says whether that was possible.
    pub(super) fn apply_gathered(&mut self) -> bool {
        let Gathered { instructions, .. } = std::mem::take(&mut self.gathered);
        let (is_done, mut failed) = match self.apply_together(&instructions) {
            Ok(is_done) => (is_done, None),
            Err(error) => (false, Some(error)),
        };
        for instruction in instructions {
            match instruction {
                // Who has asked the server has its answer, also where the disk takes nothing.
                Instruction::StatementEnded(id, answer) => {
                    self.waiting.ended(id, answer.map_err(Error::from));
                }
                Instruction::Verified(id, verdict) => self.verified(id, verdict.into()),
                _ if failed.is_some() => {}
                Instruction::Apply(step) => {
                    let done = if is_done { Ok(()) } else { self.apply(&[&step]) };
                    match done {
                        Ok(()) => self.stepped(&step),
                        Err(error) => failed = Some(error),
                    }
                }
                Instruction::StatusChanged => self.look_at_stall(),
                Instruction::SubscriptionChanged(id) => self.show(id),
                Instruction::ServerIs(id, positions) => self.syncing.server_is(id, positions),
                Instruction::MutationChanged(id, progress) => self.mutation_changed(id, progress),
                Instruction::Same { asked, is } => self.same(asked, is),
                // The others are done at once.
                _ => {}
            }
        }
        match failed {
            Some(error) => {
                self.fail(error);
                false
            }
            None => true,
        }
    }

    /// Stores all steps in one transaction. Says whether they are stored: where one of them will never
    /// be, those before it can be, one by one.
    fn apply_together(&mut self, instructions: &[Instruction]) -> Result<bool, ReplicaError> {
        let steps: Vec<&Step> = instructions.iter().filter_map(Instruction::step).collect();
        match self.apply(&steps) {
            Ok(()) => Ok(true),
            Err(error) if steps.len() == 1 || error.may_pass() => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn apply(&mut self, steps: &[&Step]) -> Result<(), ReplicaError> {
        if steps.is_empty() {
            return Ok(());
        }
        let writer = self.writer();
        let replica = self.replica.get_mut()?;
        replica.note_writer(&writer);
        let changed = replica.apply_all(steps)?;
        self.note(changed);
        Ok(())
    }
}
