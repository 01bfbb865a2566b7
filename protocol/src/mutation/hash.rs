use sha2::{Digest, Sha256};

use super::Mutation;
use crate::codec::encode;

crate::ids::identity! {
    /// What a client has written in a lane up to and with one mutation: the first 16 bytes of the
    /// SHA-256 (FIPS 180-4) of the hash before it and of the mutation as [`encode`] makes it.
    ///
    /// The chain is what tells copies of one replica apart: equal number and equal hash mean equal
    /// content, and equal content of all mutations before.
    ContentHash
}

impl ContentHash {
    /// The hash before the first mutation.
    pub const START: Self = Self::from_bytes([0; 16]);

    /// The hash after `mutation`, where this is the one before it.
    #[must_use]
    pub fn then(self, mutation: &Mutation) -> Self {
        let digest = Sha256::new().chain_update(self.as_bytes()).chain_update(encode(mutation));
        let mut first = [0; 16];
        first.copy_from_slice(&digest.finalize()[..16]);
        Self::from_bytes(first)
    }
}
