//! The file of the replica: open, or closed for as long as the client is suspended.

use protocol::ids::ClientId;
use sdk_replica::{Place, Replica, ReplicaError, Rescued};

use crate::error::Error;

/// The replica, while it is open.
pub(crate) struct ReplicaFile {
    place: Place,
    replica: Option<Replica>,
    /// It is to be made anew when it is opened.
    is_damaged: bool,
    /// What became of damaged ones, and nobody was told of yet.
    rescued: Vec<Rescued>,
}

impl ReplicaFile {
    /// Opens the file, or makes it.
    pub(crate) fn open(place: Place) -> Result<Self, Error> {
        let mut file = Self { place, replica: None, is_damaged: false, rescued: Vec::new() };
        match file.open_again() {
            Ok(_) => Ok(file),
            // Nobody is there yet who would go on by themselves.
            Err(error @ ReplicaError::DiskFull) => Err(Error::Replica {
                code: error.code(),
                message:
                    "the disk is full, and a replica needs a little room to be opened: free some \
                          space, and open it again"
                        .to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.replica.is_some()
    }

    pub(crate) fn get(&self) -> Result<&Replica, ReplicaError> {
        self.replica.as_ref().ok_or(ReplicaError::Suspended)
    }

    pub(super) fn get_mut(&mut self) -> Result<&mut Replica, ReplicaError> {
        self.replica.as_mut().ok_or(ReplicaError::Suspended)
    }

    /// Lets go of the file: every lock is free afterwards.
    pub(super) fn close(&mut self) {
        self.replica = None;
    }

    /// It is damaged: the next one that is opened is made of what can be read of it.
    pub(super) fn give_up(&mut self) {
        self.close();
        self.is_damaged = true;
    }

    /// Removes it. Nobody else has had it meanwhile, unless it was closed.
    pub(super) fn wipe(mut self) -> Result<(), ReplicaError> {
        self.open_again()?;
        self.replica.map_or(Ok(()), Replica::wipe)
    }

    /// Opens it again, if it is closed. On a full disk it takes what is reserved.
    pub(super) fn open_again(&mut self) -> Result<&mut Replica, ReplicaError> {
        if self.replica.is_none() {
            let (replica, rescued) = match self.make() {
                Err(ReplicaError::DiskFull) if self.place.give_reserve() => self.make()?,
                made => made?,
            };
            self.replica = Some(replica);
            self.is_damaged = false;
            self.rescued.extend(rescued);
        }
        self.get_mut()
    }

    fn make(&self) -> Result<(Replica, Option<Rescued>), ReplicaError> {
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh)
            .map_err(|error| ReplicaError::File(format!("no randomness: {error}")))?;
        let (place, fresh) = (self.place.clone(), ClientId::from_bytes(fresh));
        match self.is_damaged {
            true => Replica::rebuild(place, fresh).map(|(it, by)| (it, Some(by))),
            false => Replica::open_or_rebuild(place, fresh),
        }
    }

    /// What became of damaged ones since it was last asked.
    pub(super) fn take_rescued(&mut self) -> Vec<Rescued> {
        std::mem::take(&mut self.rescued)
    }
}
