//! How a shard's tables follow those of another, where they are decided.

use protocol::ids::{Name, SchemaVersion, TableName};
use protocol::schema::TableSchema;

use super::{Catalog, Table};
use crate::command::Command;

impl Catalog {
    /// The commands that bring this catalog of a shard to what `source` says, in their order; none
    /// when it is there. Propose them in one entry: a table may have another name in between.
    ///
    /// Tables that `source` has never known are left alone. So is what this catalog would refuse,
    /// as one that has always followed never does.
    pub fn toward(&self, source: &Self) -> Vec<Command> {
        let mut next = self.clone();
        let mut commands = Vec::new();
        let is_over =
            |table: &&Table| source.any(table.schema.id).is_some_and(|decided| !decided.is_used());
        // First, because a name that is free again may have been given to another table.
        for table in self.tables().filter(is_over) {
            next.insert(table.dropped());
            commands.push(Command::Drop(table.schema.id));
        }
        let mut missing: Vec<&TableSchema> = source.tables().map(Table::schema).collect();
        missing.retain(|schema| {
            let known = self.any(schema.id);
            known.is_none_or(|known| known.schema.version < schema.version)
        });
        while !missing.is_empty() {
            let count = missing.len();
            let mut defined = Vec::new();
            missing.retain(|schema| {
                let table = next.define(schema);
                let is_refused = table.is_none();
                if let Some(table) = table {
                    defined.push((*schema).clone());
                    next.insert(table);
                }
                is_refused
            });
            if missing.len() == count {
                // What is left waits for names that others have: those may wait for one another.
                let Some(aside) = self.one_aside(&next, &missing, source) else { break };
                defined.push(aside.schema.clone());
                next.insert(aside);
            }
            commands.extend(defined.into_iter().map(|schema| Command::Define(Box::new(schema))));
        }
        commands
    }

    /// A table under a name that nobody has, so that those that wait for its name can have it. One
    /// of those that have exchanged their names had to have another name in between, so there is
    /// a version for it that it has left since.
    fn one_aside(&self, next: &Self, missing: &[&TableSchema], source: &Self) -> Option<Table> {
        missing.iter().filter(|schema| is_waited_for(schema, next, missing)).find_map(|schema| {
            let now = &next.table(schema.id)?.schema;
            let version = SchemaVersion(now.version.0.checked_add(1)?);
            let is_as_it_was = self.any(schema.id).is_some_and(|table| table.schema == *now);
            if !is_as_it_was || version >= schema.version {
                return None;
            }
            let name = free_name(now, [next, source])?;
            next.define(&TableSchema { name, version, ..now.clone() })
        })
    }
}

/// Whether a table waits for a name whose table waits for a name, and so on to the name that it
/// has itself.
fn is_waited_for(schema: &TableSchema, next: &Catalog, missing: &[&TableSchema]) -> bool {
    let mut waits = schema;
    for _ in missing {
        let holder = next.tables().map(Table::schema).find(|table| table.name == waits.name);
        let holder = holder.and_then(|holder| missing.iter().find(|table| table.id == holder.id));
        match holder {
            Some(holder) if holder.id == schema.id => return waits.id != schema.id,
            Some(holder) => waits = holder,
            None => return false,
        }
    }
    false
}

fn free_name(schema: &TableSchema, catalogs: [&Catalog; 2]) -> Option<TableName> {
    let namespace = &schema.name.namespace;
    let mut names = (0..=u32::MAX).map_while(|number| {
        let table = Name::new(&format!("renamed_{}_{number}", schema.id.0)).ok()?;
        Some(TableName { namespace: namespace.clone(), table })
    });
    names.find(|name| {
        !catalogs.iter().any(|catalog| catalog.tables().any(|table| table.schema.name == *name))
    })
}
