//! What the machine wants of frames that have come together is stored in one transaction: a commit costs
//! more than most of what is in it.

use sdk_machine::{Attempt, Event, Instruction, Step, Write};
use sdk_replica::ReplicaError;

use super::Driver;
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
        if let Instruction::Apply(step) = &instruction {
            self.rows += step.writes.iter().map(rows).sum::<usize>();
        }
        self.instructions.push(instruction);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
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
        let mut next = Some(first);
        while let Some(SocketEvent::Frame(frame)) = next {
            self.note_frame(&frame);
            let moment = self.moment();
            let instructions = self.machine.handle(Event::Frame { attempt, frame: *frame }, moment);
            let goes_on = self.gather(instructions) && !self.gathered.is_enough();
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
        let mut steps: Vec<&Step> = Vec::new();
        for instruction in &instructions {
            if let Instruction::Apply(step) = instruction {
                steps.push(step);
            }
        }
        // Where one of them cannot be done, those before it are.
        let is_done = steps.len() > 1 && self.apply(&steps).is_ok();
        for instruction in instructions {
            match instruction {
                Instruction::Apply(step) => {
                    if !is_done && let Err(error) = self.apply(&[&step]) {
                        self.fail(error);
                        return false;
                    }
                    self.stepped(&step);
                }
                Instruction::StatusChanged => self.look_at_stall(),
                Instruction::SubscriptionChanged(id) => self.show(id),
                Instruction::StatementEnded(id, answer) => {
                    self.waiting.ended(id, answer.map_err(Error::from));
                }
                Instruction::ServerIs(id, positions) => self.syncing.server_is(id, positions),
                Instruction::MutationChanged(id, progress) => self.mutation_changed(id, progress),
                Instruction::Verified(id, verdict) => self.verified(id, verdict.into()),
                Instruction::Same { asked, is } => self.same(asked, is),
                // The others are done at once.
                _ => {}
            }
        }
        true
    }

    fn apply(&mut self, steps: &[&Step]) -> Result<(), ReplicaError> {
        let writer = self.writer();
        let replica = self.replica.get_mut()?;
        replica.note_writer(&writer);
        let changed = replica.apply_all(steps)?;
        self.note(changed);
        Ok(())
    }
}
