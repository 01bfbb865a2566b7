//! A table changes under its subscriptions, or ends.
//!
//! What a client was told of a table before a version is as of before it, and so are the rows that it
//! has: in a new column they hold its default. So a query is of one version of its table. Its
//! place is taken by one of the next version at that point of the log, before anything of behind it
//! is told, and `subscribed` tells the client. Nothing is loaded anew.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::ids::{ColumnId, QueryNumber, TableId};
use protocol::schema::TableSchema;
use server_engine::{Catalog, Table};

use super::{Worker, refuse, send, subscribed};
use crate::commit::Entry;
use crate::feed::{FeedKey, State};
use crate::host::Outbox;
use crate::query::LiveQuery;

impl<O: Outbox> Worker<O> {
    /// Looks at the tables as they are after an entry, before anything of it is told.
    pub(super) fn look_at_tables(&mut self, entry: &Arc<Entry>) {
        let shard = self.shards.entry(entry.shard).or_default();
        let known = shard.catalog.replace(Arc::clone(&entry.catalog));
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &entry.catalog)) {
            return;
        }
        let mut gone = Vec::new();
        for (key, feed) in self.feeds.iter().filter(|(_, feed)| feed.shard == entry.shard) {
            let dropped = |number: &&QueryNumber| {
                let table = feed.subscriptions[*number].query.query.table;
                // One that is newer than this entry was not there before it, either.
                known.as_ref().is_some_and(|known| known.table(table).is_some())
                    && entry.catalog.table(table).is_none()
            };
            gone.extend(feed.subscriptions.keys().filter(dropped).map(|number| (key, *number)));
        }
        for (key, number) in gone {
            self.refuse(key, number);
        }
        let feeds = self.feeds.iter().filter(|(_, feed)| feed.shard == entry.shard);
        let keys: Vec<FeedKey> = feeds.map(|(key, _)| key).collect();
        for key in keys {
            self.follow(key, |id| described(&entry.catalog, id));
        }
    }

    /// A read was of no use: a table is not in the version that a query is of.
    pub(super) fn read_of_others(&mut self, key: FeedKey, tables: &[Arc<TableSchema>]) {
        let is_followed =
            self.follow(key, |id| tables.iter().find(|table| table.id == id).cloned());
        if is_followed {
            return;
        }
        // This node has not come to the change that its description of the tables has already.
        let position = match self.feeds[key].state {
            State::Registering { position, .. } => position,
            State::Loading { position, .. } => Some(position),
            _ => return,
        };
        self.wait(key, position);
    }

    /// Has the subscriptions of a feed follow the tables that have changed, as of where the feed is;
    /// says whether any had to. One that is lagging follows when it reads, and so does one whose
    /// client has not taken what it was told before.
    fn follow(
        &mut self,
        key: FeedKey,
        present: impl Fn(TableId) -> Option<Arc<TableSchema>>,
    ) -> bool {
        let feed = &self.feeds[key];
        let of_before = feed.subscriptions.iter().filter_map(|(number, held)| {
            let schema = present(held.query.query.table)?;
            (schema.version > held.query.schema.version).then_some((*number, schema))
        });
        let of_before: Vec<_> = of_before.collect();
        if of_before.is_empty() || feed.state.is_lagging() {
            return false;
        }
        let has_room = feed.outbox.waiting() <= self.settings.queue_bytes_max;
        let mut is_told = false;
        for (number, schema) in of_before.iter().filter(|_| has_room) {
            is_told |= self.take_place(key, *number, schema);
        }
        let feed = &self.feeds[key];
        match feed.state {
            // What is being read is of queries that are no more. A client that is told of others has
            // dropped what was staged, so all comes again from where it was told to be.
            State::Registering { position, .. } => {
                let told = feed.told;
                self.again(key, position.map(|position| if is_told { told } else { position }));
            }
            State::Loading { position, .. } => self.lag(key, position),
            State::Live if !has_room => {
                let position = self.index.lanes.get(&feed.lane).and_then(|lane| lane.position);
                self.lag(key, position.map_or(feed.told, |(_, seq)| seq));
            }
            _ => {}
        }
        true
    }

    /// A query of a later version takes the place of one of a feed; says whether the client was told
    /// of it. One that names a column that is gone ends.
    fn take_place(&mut self, key: FeedKey, number: QueryNumber, schema: &Arc<TableSchema>) -> bool {
        let feed = &mut self.feeds[key];
        let Some(mut held) = feed.subscriptions.remove(&number) else { return false };
        self.index.unregister(&held.query, key);
        match self.queries.renew(&held.query, schema) {
            Ok(query) => {
                send(&feed.outbox, &subscribed(held.request, &query));
                if feed.state.is_registered() {
                    self.index.register(&query, key);
                }
                held.query = Arc::clone(&query);
                feed.subscriptions.insert(query.number, held);
                true
            }
            Err(gone) => {
                refuse(
                    &feed.outbox,
                    held.request,
                    ErrorCode::NotFound,
                    told_gone(&held.query, gone),
                );
                false
            }
        }
    }

    /// The query as the worker knows its table by now. An error is what to tell whoever asks for it.
    pub(super) fn present(
        &self,
        key: FeedKey,
        query: Arc<LiveQuery>,
    ) -> Result<Arc<LiveQuery>, String> {
        let catalog = self.shards.get(&self.feeds[key].shard).and_then(|s| s.catalog.as_ref());
        let schema = catalog.and_then(|catalog| described(catalog, query.query.table));
        match schema.filter(|schema| schema.version > query.schema.version) {
            Some(schema) => {
                self.queries.renew(&query, &schema).map_err(|gone| told_gone(&query, gone))
            }
            None => Ok(query),
        }
    }
}

fn described(catalog: &Catalog, id: TableId) -> Option<Arc<TableSchema>> {
    catalog.table(id).map(Table::schema).map(|schema| Arc::new(schema.clone()))
}

fn told_gone(query: &LiveQuery, gone: ColumnId) -> String {
    let column = query.schema.column(gone).map_or("", |column| column.name.as_str());
    let table = &query.schema.name;
    format!("{table} has no column {column} any more: subscribe again without it")
}
