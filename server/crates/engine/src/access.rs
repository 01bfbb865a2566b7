//! Who may do what.

use protocol::ids::{ColumnId, Lane, TenantId};
use protocol::mutation::Reason;
use protocol::schema::{AccessLevel, Sharing, TableKind, TableSchema};
use protocol::value::{Row, Value};
use serde::{Deserialize, Serialize};

/// Who writes or reads: what the token says, or whom a service acts as.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The user.
    pub user: TenantId,
    /// What that user may do.
    pub role: Role,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Their own partitions, and what access rules grant.
    User,
    /// All SHARED tables.
    Service,
    /// All SHARED tables, and their definitions.
    Admin,
}

/// Whether `user` may write in `lane` at all: in another tenant's, nobody may, and nothing of it is
/// told.
pub(crate) fn may_enter(lane: &Lane, user: &TenantId) -> bool {
    match lane {
        Lane::User(tenant) => tenant == user,
        Lane::Shared(_) => true,
    }
}

/// Whether `actor` may read the rows that `table` has in `lane`.
pub fn may_read(table: &TableSchema, lane: &Lane, actor: &Actor) -> bool {
    may(table, lane, actor, AccessLevel::Read)
}

/// Whether `actor` may write rows that `table` has in `lane`, owners aside.
pub fn may_write(table: &TableSchema, lane: &Lane, actor: &Actor) -> bool {
    may(table, lane, actor, AccessLevel::Write)
}

/// Whether some rows of `table` may be read in `role`: those of an own partition, or shared ones.
pub fn is_readable(table: &TableSchema, role: Role) -> bool {
    is_granted(table, role, AccessLevel::Read)
}

/// Whether rows of `table` may be written in `role`, owners aside.
pub fn is_writable(table: &TableSchema, role: Role) -> bool {
    is_granted(table, role, AccessLevel::Write)
}

/// Whether the rows of `table` are in lanes such as `lane`.
pub(crate) fn is_of_lane(table: &TableSchema, lane: &Lane) -> bool {
    match (&table.kind, lane) {
        (TableKind::User | TableKind::Stream, Lane::User(_)) => true,
        (TableKind::Shared(_), Lane::Shared(namespace)) => table.name.namespace == *namespace,
        _ => false,
    }
}

fn may(table: &TableSchema, lane: &Lane, actor: &Actor, wanted: AccessLevel) -> bool {
    table.lane(&actor.user) == *lane && is_granted(table, actor.role, wanted)
}

fn is_granted(table: &TableSchema, role: Role, wanted: AccessLevel) -> bool {
    match &table.kind {
        TableKind::User | TableKind::Stream => true,
        TableKind::Shared(Sharing { access, .. }) => {
            let granted = match access {
                AccessLevel::Private => false,
                AccessLevel::Read => wanted == AccessLevel::Read,
                AccessLevel::Write => true,
            };
            granted || role > Role::User
        }
    }
}

/// The column that names the owner of a row, if the table has one.
pub(crate) fn owner_column(table: &TableSchema) -> Option<ColumnId> {
    match &table.kind {
        TableKind::Shared(Sharing { owner_column, .. }) => *owner_column,
        TableKind::User | TableKind::Stream => None,
    }
}

/// Whether `actor` may make the row `old` the row `new`.
///
/// Of role user only the owner changes or deletes a row, or makes one, and nobody else becomes its
/// owner.
pub(crate) fn check_owner(
    table: &TableSchema,
    actor: &Actor,
    old: Option<&Row>,
    new: Option<&Row>,
) -> Result<(), Reason> {
    let place = owner_column(table)
        .and_then(|owner| table.columns.iter().position(|column| column.id == owner));
    let Some(place) = place.filter(|_| actor.role == Role::User) else { return Ok(()) };
    let is_own = |row: &Row| matches!(row.get(place), Some(Value::Text(owner)) if **owner == *actor.user.as_str());
    if old.into_iter().chain(new).all(is_own) { Ok(()) } else { Err(Reason::NotOwner) }
}
