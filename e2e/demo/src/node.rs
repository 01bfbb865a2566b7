//! A shard on a store, and the log that it applies.

use std::path::Path;
use std::sync::Arc;

use protocol::ids::{Floor, SeqId};
use protocol::value::Row;
use server_engine::{
    CatchUp, CatchUpLimits, Entry, Image, LAYOUT, LoadBatch, LoadLimits, Piece, Query, Resuming,
    Shard, Stores, Time, View, recount,
};
use server_storage::{MemoryStore, RocksOptions, RocksStore, Store};

use crate::{Outcome, log};

pub(crate) struct Node {
    store: Box<dyn Store>,
    shard: Shard,
}

impl Node {
    pub(crate) fn on_disk(directory: &Path) -> Outcome<Self> {
        Self::on(Box::new(RocksStore::open(directory, LAYOUT, &RocksOptions::default())?))
    }

    pub(crate) fn in_memory() -> Outcome<Self> {
        Self::on(Box::new(MemoryStore::new(LAYOUT)))
    }

    fn on(store: Box<dyn Store>) -> Outcome<Self> {
        let stores = Arc::new(Stores::open(&*store)?);
        let shard = Shard::open(&*store.snapshot(), log::SHARD, stores)?;
        Ok(Self { store, shard })
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Outcome {
        let applied = self.shard.apply(&*self.store.snapshot(), entry)?;
        Ok(self.store.write(applied.batch)?)
    }

    pub(crate) fn persist(&self) -> Outcome {
        Ok(self.store.persist()?)
    }

    /// The sum over the contents, after checking that it is that of what is stored.
    pub(crate) fn checked_sum(&self) -> Outcome<u128> {
        let (kept, found) = (self.shard.sum(), recount(&*self.store.snapshot(), &self.shard)?);
        if kept == found { Ok(kept.0) } else { Err("the sum is not that of what is stored".into()) }
    }

    fn view<T>(&self, read: impl FnOnce(View<'_>) -> Outcome<T>) -> Outcome<T> {
        let snapshot = self.store.snapshot();
        read(View::new(&*snapshot, self.shard.catalog(), log::SHARD, Time(0)))
    }

    /// How many messages a user has.
    pub(crate) fn count(&self, user: &str) -> Outcome<u64> {
        self.view(|view| Ok(view.partition(&log::lane(user)?, log::MESSAGES)?.rows))
    }

    /// The last rows of a query.
    pub(crate) fn last(&self, user: &str, query: &Query, rows: usize) -> Outcome<LoadBatch> {
        let limits = LoadLimits { rows, bytes: usize::MAX, examined: usize::MAX };
        self.view(|view| Ok(view.load(&log::lane(user)?, query, None, limits)?))
    }

    /// What has changed for a query behind a position.
    pub(crate) fn catch_up(
        &self,
        user: &str,
        query: &Query,
        floor: Floor,
        position: SeqId,
    ) -> Outcome<Piece> {
        let queries = [Resuming { query, floor }];
        let limits = CatchUpLimits { changes: 1_000, bytes: usize::MAX };
        self.view(|view| {
            match view.catch_up(&log::lane(user)?, log::EPOCH, position, &queries, limits)? {
                CatchUp::Piece(piece) => Ok(piece),
                other => Err(format!("no piece but {other:?}").into()),
            }
        })
    }

    pub(crate) fn row(&self, image: &Image) -> Outcome<Row> {
        let table = self.shard.catalog().table(log::MESSAGES).ok_or("there is no table")?;
        Ok(image.view(table)?.row(table.schema()))
    }
}
