//! What the machine wants is done, and what came of it is told.

use protocol::frame::v1::{ClientFrame, Mutate};
use sdk_machine::{Attempt, Event, Instruction, Machine, Outgoing, Stored, SubscriptionId};
use sdk_replica::{Changed, Replica, ReplicaError};
use tokio::sync::mpsc;

use super::{Driver, FRAMES_WAITING_MAX, Happened, TRY_AGAIN, TRY_AGAIN_MAX, token};
use crate::config::LogLevel;
use crate::incident::Incident;
use crate::platform::Instant;
use crate::status::{Status, StatusReason, StatusWord};
use crate::subscription::Progress;
use crate::verify::Verdict;

/// What is stored, and what is told when it is.
fn is_gathered(instruction: &Instruction) -> bool {
    match instruction {
        Instruction::AskToken { .. }
        | Instruction::Dial { .. }
        | Instruction::Send(_)
        | Instruction::Mutate(_)
        | Instruction::Hangup { .. }
        | Instruction::Compare(_) => false,
        Instruction::Apply(_)
        | Instruction::StatusChanged
        | Instruction::SubscriptionChanged(_)
        | Instruction::StatementEnded(..)
        | Instruction::ServerIs(..)
        | Instruction::MutationChanged(..)
        | Instruction::Verified(..)
        | Instruction::Same { .. } => true,
    }
}

impl Driver {
    /// Tells the machine that something has happened, and does what it wants. Says whether that was
    /// possible.
    pub(super) fn event(&mut self, event: Event) -> bool {
        // It has something in mind that is not stored, and must not act on it.
        if self.is_stale && event != Event::Close {
            return false;
        }
        let moment = self.moment();
        let instructions = self.machine.handle(event, moment);
        self.follow(instructions)
    }

    /// Tells the machine what the application wants: later, if it is not possible now.
    pub(super) fn wish(&mut self, wish: Event) {
        if !self.event(wish.clone()) && !self.wishes.contains(&wish) {
            self.wishes.push(wish);
        }
    }

    /// Does one after the other. Where a step cannot be done, the rest is dropped. Says whether all
    /// were done.
    pub(super) fn follow(&mut self, instructions: Vec<Instruction>) -> bool {
        self.gather(instructions) && self.apply_gathered()
    }

    /// The same, but what is to be stored last is only gathered, and nobody is told of it yet.
    pub(super) fn gather(&mut self, instructions: Vec<Instruction>) -> bool {
        let mut events = Vec::new();
        for instruction in instructions {
            // What leaves the device is stored before.
            if !is_gathered(&instruction) && !self.apply_gathered() {
                return false;
            }
            match instruction {
                Instruction::AskToken { attempt } => {
                    self.beside.push(token::ask(&self.config, attempt));
                }
                Instruction::Dial { attempt, server } => self.dial(attempt, server),
                Instruction::Send(frame) => self.send(&frame),
                Instruction::Mutate(outgoing) => match self.mutate(&outgoing) {
                    Ok(frame) => self.send(&ClientFrame::Mutate(Box::new(frame))),
                    Err(ReplicaError::Unreadable(id)) => events.push(Event::Unreadable(id)),
                    Err(error) => {
                        self.fail(error);
                        return false;
                    }
                },
                Instruction::Hangup { attempt } => {
                    if self.socket.as_ref().is_some_and(|(of, ..)| *of == attempt) {
                        self.socket = None;
                    }
                }
                Instruction::Compare(of) => {
                    match self.replica.get().and_then(|replica| replica.digest(&of)) {
                        Ok(ours) => events.push(Event::Compared(of, ours)),
                        Err(error) => {
                            self.fail(error);
                            return false;
                        }
                    }
                }
                gathered => self.gathered.add(gathered),
            }
        }
        events.into_iter().all(|event| self.event(event))
    }

    pub(super) fn verified(&mut self, id: SubscriptionId, verdict: Verdict) {
        if let Verdict::Different(mismatch) = &verdict {
            self.incident(Incident::Mismatched(mismatch.clone()));
        }
        self.verifying.verified(id, &verdict);
    }

    fn mutate(&self, outgoing: &Outgoing) -> Result<Mutate, ReplicaError> {
        self.replica.get()?.mutate(outgoing)
    }

    fn send(&self, frame: &ClientFrame) {
        if let Some((_, socket, _)) = &self.socket {
            socket.send(protocol::codec::encode(frame));
        }
    }

    fn dial(&mut self, attempt: Attempt, server: usize) {
        let (events, received) = mpsc::channel(FRAMES_WAITING_MAX);
        let socket = self.transport.dial(server, events);
        self.socket = Some((attempt, socket, received));
    }

    /// A step could not be done: a new machine begins on what is stored, after a pause.
    pub(super) fn fail(&mut self, error: ReplicaError) {
        let word = match &error {
            ReplicaError::DiskFull => StatusWord::DiskFull,
            _ => StatusWord::Error,
        };
        let reason = StatusReason { code: error.code(), message: error.to_string() };
        self.log(LogLevel::Warn, || format!("the replica cannot be written: {}", reason.message));
        self.socket = None;
        self.is_stale = true;
        // Some steps may be possible while another one, which comes again each time, is not.
        let now = Instant::now();
        let failed_at = self.failed_at.replace(now);
        if failed_at.is_none_or(|at| now.duration_since(at) > 2 * TRY_AGAIN_MAX) {
            self.pause = TRY_AGAIN;
        }
        self.trouble = Some((reason, word, Instant::now() + self.pause));
        self.pause = (self.pause * 2).min(TRY_AGAIN_MAX);
        if matches!(error, ReplicaError::Damaged) {
            self.give_up_file();
        }
        // What the machine had in mind and the disk has not is forgotten, if it can be read.
        if let Ok(stored) = self.replica.get_mut().and_then(Replica::load) {
            self.begin_anew(stored);
        }
    }

    fn begin_anew(&mut self, stored: Stored) {
        let fresh = Machine::new(self.config.machine(), stored);
        let dropped = std::mem::replace(&mut self.machine, fresh);
        self.machine.take_over(dropped);
        self.is_stale = false;
        // What was to be looked at may have been lost with the machine.
        self.has_settled = true;
        // If it cannot be read, whatever comes next fails, too.
        let _ = self.load_online();
        self.note_overdue();
        let mut ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.show(id);
        }
    }

    /// Goes on after the pause.
    pub(super) fn try_again(&mut self) {
        if self.is_stale {
            match self.wake() {
                Ok(stored) => self.begin_anew(stored),
                Err(error) => return self.fail(error),
            }
        }
        // What somebody writes has the first of the room that there is.
        match self.replica.get().and_then(Replica::keep_reserve) {
            Err(ReplicaError::DiskFull) => return self.fail(ReplicaError::DiskFull),
            // It goes on without, and has one soon.
            Err(_) => self.tidying.wanted(),
            Ok(()) => {}
        }
        self.trouble = None;
        if !self.is_paused {
            self.event(Event::Resume);
        }
        for wish in std::mem::take(&mut self.wishes) {
            match self.trouble.is_none() {
                true => self.wish(wish),
                false => self.wishes.push(wish),
            }
        }
    }

    /// Keeps in mind what a step has changed.
    pub(super) fn note(&mut self, mut changed: Changed) {
        let names = std::mem::take(&mut changed.dropped);
        if !names.is_empty() {
            self.incident(Incident::Dropped { names });
        }
        self.tidying.wanted();
        self.changed.add(changed);
    }

    /// Tells everybody who is concerned, once for all that has happened.
    pub(super) fn tell(&mut self) {
        self.look_at_rescued();
        self.look_at_online();
        self.look_at_settled();
        let mut changed = std::mem::take(&mut self.changed);
        if !changed.tables.is_empty() || changed.schema {
            if let Ok(next) = self.replica.get().and_then(Replica::next_expiry) {
                self.next_expiry = next;
            }
            self.note_overdue();
            // What the machine has in mind then, and the file has not, says nothing of its rows.
            changed.schema |= self.is_stale;
            self.watches.changed(&changed, &self.machine);
        }
        if std::mem::take(&mut self.has_shown) {
            self.watches.states_changed();
            let ids = self.machine.subscriptions().map(|stored| stored.id);
            let views: Vec<_> = ids.filter_map(|id| self.machine.subscription(id)).collect();
            self.progress.send_replace(Progress::of(&views));
        }
        if let Ok(replica) = self.replica.get_mut() {
            self.watches.run(&self.machine);
            // What concerns a query that is not read yet is of no account, so it is early enough.
            if let Some(tables) = self.watches.looks_at(&self.machine) {
                replica.tell_rows_of(tables);
            }
        }
        // Else the machine does not speak of what is stored.
        if !self.is_stale {
            self.waiting.look_at(&self.machine);
        }
        self.verifying.look_at(&self.machine);
        self.show_status();
        self.look_at_syncs();
    }

    pub(super) fn show(&mut self, id: SubscriptionId) {
        self.has_shown = true;
        let Some(shown) = self.subscriptions.get(&id) else { return };
        match self.machine.subscription(id) {
            Some(view) => {
                shown.send_if_modified(|shown| {
                    let is_other = shown.1 != view;
                    shown.1 = view;
                    is_other
                });
            }
            // Whoever still has it hears that it is over.
            None => {
                self.subscriptions.remove(&id);
            }
        }
    }

    /// Two subscriptions have turned out to be one.
    pub(super) fn same(&mut self, asked: SubscriptionId, is: SubscriptionId) {
        self.verifying.same(asked, is);
        let Some(gone) = self.subscriptions.remove(&asked) else { return };
        let Some(view) = self.machine.subscription(is) else { return };
        gone.send_replace((is, view.clone()));
        // Both have their own senders: the second one follows the first.
        match self.subscriptions.entry(is) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(gone);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                let mut follows = entry.get().subscribe();
                self.beside.push(Box::pin(async move {
                    loop {
                        tokio::select! {
                            changed = follows.changed() => if changed.is_err() { break },
                            // Nobody looks at it any more.
                            () = gone.closed() => break,
                        }
                        let shown = follows.borrow_and_update().clone();
                        gone.send_replace(shown);
                    }
                    Happened::Over
                }));
            }
        }
    }

    pub(super) fn show_status(&mut self) {
        let machine = self.machine.status();
        let mut status = Status { word: machine.word.into(), reason: None };
        status.reason = machine
            .reason
            .map(|reason| StatusReason { code: reason.code(), message: token::sentence(&reason) });
        if status.word == StatusWord::NeedsAuth {
            if self.is_wrong_user {
                status.word = StatusWord::WrongUser;
            }
            status.reason = self.no_token.clone().or(status.reason);
        }
        if let Some((reason, word, _)) = &self.trouble
            && status.word != StatusWord::Closed
        {
            status = Status { word: *word, reason: Some(reason.clone()) };
        }
        self.status.send_if_modified(|shown| {
            let is_other = *shown != status;
            *shown = status;
            is_other
        });
    }
}
