//! The file of the replica: open, or closed for as long as the client is suspended.

use std::path::PathBuf;

use protocol::ids::ClientId;
use sdk_replica::{Replica, ReplicaError};

use crate::error::Error;

/// The replica, while it is open.
pub(crate) struct ReplicaFile {
    path: PathBuf,
    replica: Option<Replica>,
}

impl ReplicaFile {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let mut file = Self { path, replica: None };
        file.open_again()?;
        Ok(file)
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

    /// Opens it again, if it is closed.
    pub(super) fn open_again(&mut self) -> Result<&mut Replica, ReplicaError> {
        if self.replica.is_none() {
            let mut fresh = [0; 16];
            getrandom::fill(&mut fresh)
                .map_err(|error| ReplicaError::File(format!("no randomness: {error}")))?;
            self.replica = Some(Replica::open(&self.path, ClientId::from_bytes(fresh))?);
        }
        self.get_mut()
    }
}
