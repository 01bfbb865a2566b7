use protocol::ids::{ClientId, Lane, MutationNumber, RequestId, TenantId};
use server_storage::KeyRange;
use server_storage::key::KeyWriter;

use super::{DueKind, StateKind, due, open, state};
use crate::command::Time;
use crate::error::EngineError;
use crate::slot::StoreNumber;

/// A client of a user in a lane, as part of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientKey<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) user: &'a TenantId,
    pub(crate) client: ClientId,
}

impl ClientKey<'_> {
    fn parts(self, key: KeyWriter) -> KeyWriter {
        let Self { lane, user, client } = self;
        key.text(&lane.to_string()).text(user.as_str()).array(client.as_bytes())
    }

    pub(crate) fn client(self, store: StoreNumber) -> Vec<u8> {
        self.parts(state(store, StateKind::Client)).finish()
    }

    pub(crate) fn decision(self, store: StoreNumber, number: MutationNumber) -> Vec<u8> {
        self.parts(state(store, StateKind::Decision)).u64(number.get()).finish()
    }

    /// Decisions behind `number`.
    pub(crate) fn decisions(self, store: StoreNumber, number: MutationNumber) -> KeyRange {
        let prefix = self.parts(state(store, StateKind::Decision)).finish();
        let start = KeyWriter::new().parts(&prefix).u64(number.get() + 1).finish();
        KeyRange { start, end: KeyRange::prefix(prefix).end }
    }

    pub(crate) fn forgotten(self, store: StoreNumber) -> Vec<u8> {
        let key = state(store, StateKind::Forgotten).text(&self.lane.to_string());
        key.text(self.user.as_str()).finish()
    }

    pub(crate) fn due(self, store: StoreNumber, day: i64) -> Vec<u8> {
        self.parts(due(store, DueKind::Client).i64(day)).finish()
    }
}

/// The parts of a client's key of [`DUE`].
pub(crate) fn read_client_due(key: &[u8]) -> Result<(Lane, TenantId, ClientId), EngineError> {
    let damaged = || EngineError::damaged("client");
    let (_, mut reader) = open(key)?;
    reader.i64()?;
    let lane = reader.text()?.parse().map_err(|_| damaged())?;
    let user = TenantId::new(reader.text()?).map_err(|_| damaged())?;
    Ok((lane, user, ClientId::from_bytes(reader.array()?)))
}

/// A request as the last parts of a key of [`STATE`] and of [`DUE`].
fn request_parts(key: KeyWriter, lane: &Lane, user: &TenantId, request: RequestId) -> KeyWriter {
    key.text(&lane.to_string()).text(user.as_str()).array(request.as_bytes())
}

pub(crate) fn request(
    store: StoreNumber,
    lane: &Lane,
    user: &TenantId,
    request: RequestId,
) -> Vec<u8> {
    request_parts(state(store, StateKind::Request), lane, user, request).finish()
}

pub(crate) fn request_due(
    store: StoreNumber,
    time: Time,
    lane: &Lane,
    user: &TenantId,
    request: RequestId,
) -> Vec<u8> {
    request_parts(due(store, DueKind::Request).i64(time.0), lane, user, request).finish()
}

/// The key of [`STATE`] that a request's key of [`DUE`] belongs to.
pub(crate) fn request_of_due(key: &[u8]) -> Result<Vec<u8>, EngineError> {
    let (store, mut reader) = open(key)?;
    reader.i64()?;
    Ok(state(store, StateKind::Request).parts(reader.rest()).finish())
}
