//! Suspended: no connection, no lock, no thread that reads. The system may stop the process at any
//! point, or end it.

use protocol::error_code::ErrorCode;
use sdk_machine::{Event, Stored};
use sdk_replica::ReplicaError;

use super::Driver;
use crate::command::SignOut;
use crate::error::Error;
use crate::readers::{Ending, Job};

impl Driver {
    pub(super) fn is_suspended(&self) -> bool {
        !self.replica.is_open()
    }

    /// The application wants no connection.
    pub(super) fn pause(&mut self) {
        self.is_paused = true;
        self.event(Event::Pause);
    }

    /// It wants one again.
    pub(super) fn resume(&mut self) {
        self.is_paused = false;
        if self.is_suspended() {
            self.try_again();
        } else if self.trouble.is_none() {
            self.event(Event::Resume);
        }
    }

    /// Lets go of everything that is the system's.
    pub(super) fn suspend(&mut self) {
        // It may be closed and about to be opened again.
        self.trouble = None;
        if self.is_suspended() {
            // It must not act on what it has in mind, and there is nothing left to be done.
            let _ = self.machine.handle(Event::Pause, self.moment());
            return;
        }
        self.store_synced(0);
        self.count_idle();
        self.store_idle();
        self.event(Event::Pause);
        // What was not to wait for a connection does not wait for the next time, either.
        self.look_at_online();
        self.end_reading();
        self.replica.close();
        // The clock may stand still meanwhile; a server says what time it is.
        self.time_at_begin = None;
        // The machine that goes on is one of what is stored then.
        self.is_stale = true;
    }

    /// Reads by the connection that writes.
    pub(super) fn read(&mut self, job: Job) {
        match self.replica.get_mut() {
            Ok(replica) if !self.readers.is_stopped() => job(&mut replica.view()),
            // Whoever waits for it hears that it is over.
            _ => drop(job),
        }
    }

    /// Nobody reads any more. What was being read is read when the file is opened again.
    fn end_reading(&mut self) {
        self.readers.end(Ending::ForNow);
        while let Ok(job) = self.jobs.try_recv() {
            // Whoever waits for it hears that it is over.
            drop(job);
        }
        // They have ended, so all that they have read is here.
        while let Ok(finished) = self.reads.try_recv() {
            self.watches.finished(finished, &self.machine);
        }
        self.watches.read_again();
    }

    /// Somebody has stopped all that reads, so that the client could go to sleep in time; and it runs.
    pub(super) fn read_on(&mut self) {
        if self.is_suspended() || !self.readers.are_stopped_for_now() {
            return;
        }
        self.end_reading();
        let opened = self.replica.get().and_then(|replica| self.readers.open(replica));
        if let Err(error) = opened {
            self.fail(error);
        }
    }

    /// A query has found damage, in the file as it was opened for this time.
    pub(super) fn found_damage(&mut self, opening: u64) {
        // Several may find it, and the first has had it replaced.
        if self.replica.is_open() && opening == self.readers.openings() {
            self.fail(ReplicaError::Damaged);
        }
    }

    /// The file is damaged: another one takes its place.
    pub(super) fn give_up_file(&mut self) {
        self.end_reading();
        self.replica.give_up();
    }

    /// Whether the client can go for good: with everything, only where nothing is lost by it that
    /// somebody has written.
    pub(super) fn may_sign_out(
        &mut self,
        data: SignOut,
        discard_pending: bool,
    ) -> Result<(), Error> {
        if data == SignOut::Keep || discard_pending {
            return Ok(());
        }
        let was_suspended = self.is_suspended();
        let replica = self.replica.open_again()?;
        let counted = replica
            .pending()
            .map(|it| it.len())
            .and_then(|waiting| Ok((waiting, replica.rejections(0, usize::MAX)?.len())));
        if was_suspended {
            self.replica.close();
        }
        let (waiting, rejected) = counted?;
        if waiting + rejected == 0 {
            return Ok(());
        }
        let message = format!(
            "{waiting} writes wait for the server and {rejected} were rejected and are not dealt \
             with: they would be lost; connect and wait for them, or say that they are to be \
             discarded"
        );
        Err(Error::Asked { code: ErrorCode::Conflict, message })
    }

    /// What is stored. Where the file is closed it is opened again.
    pub(super) fn wake(&mut self) -> Result<Stored, ReplicaError> {
        if self.is_suspended() {
            self.idle.pass_over();
        }
        let replica = self.replica.open_again()?;
        if let Err(error) = self.readers.open(replica) {
            // Both are open, or none is.
            self.replica.close();
            return Err(error);
        }
        replica.load()
    }
}
