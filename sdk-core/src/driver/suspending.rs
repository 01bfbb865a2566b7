//! Suspended: no connection, no lock, no thread that reads. The system may stop the process at any
//! point, or end it.

use sdk_machine::{Event, Stored};
use sdk_replica::ReplicaError;

use super::Driver;
use crate::readers::Ending;

impl Driver {
    pub(super) fn is_suspended(&self) -> bool {
        !self.replica.is_open()
    }

    /// Lets go of everything that is the system's.
    pub(super) fn suspend(&mut self) {
        // It may be closed and about to be opened again.
        self.trouble = None;
        if self.is_suspended() {
            return;
        }
        self.store_synced(0);
        self.event(Event::Pause);
        // What was not to wait for a connection does not wait for the next time, either.
        self.look_at_online();
        self.readers.end(Ending::ForNow);
        // They have ended, so all that they have read is here.
        while let Ok(finished) = self.reads.try_recv() {
            self.watches.finished(finished, &self.machine);
        }
        self.watches.read_again();
        self.replica.close();
        // The clock may stand still meanwhile; a server says what time it is.
        self.time_at_begin = None;
        // The machine that goes on is one of what is stored then.
        self.is_stale = true;
    }

    /// What is stored. Where the file is closed it is opened again.
    pub(super) fn wake(&mut self) -> Result<Stored, ReplicaError> {
        let replica = self.replica.open_again()?;
        self.readers.open(replica)?;
        replica.load()
    }
}
