//! Random steps: after each, the file shows what the replica in memory does.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::digest::RowsDigest;
use protocol::frame::v1::RowChange;
use protocol::ids::{Birth, ColumnId, Floor, SchemaVersion, SeqId};
use protocol::schema::ColumnDefault;
use protocol::value::{ColumnType, Row, Value};
use sdk_machine::replica::MemoryReplica;
use sdk_machine::{Comparison, Known, Staged, Step, SubscriptionId, Write};
use sdk_replica::Replica;

use crate::rows_told;
use crate::world::{
    CLIENT, Place, birth, column, known, lane, marks, messages, put, put_lane, rows,
};

/// The subscriptions there can be: two that overlap, a projection, and two of another table.
fn kinds() -> Vec<Known> {
    vec![
        known(messages(), &[1, 2, 3, 4]),
        known(messages(), &[3, 1]),
        known(messages(), &[1, 4]),
        known(marks(), &[1, 2, 3]),
        known(marks(), &[2, 1]),
    ]
}

/// A column that comes later, whose default is 7.
const ADDED: u16 = 9;

/// The same subscription when its table has that column. Those of all columns get it.
fn altered(mut known: Known) -> Known {
    let mut likes = column(ADDED, "likes", ColumnType::BigInt);
    likes.default = Some(ColumnDefault::Value(Value::Integer(7)));
    if known.columns.len() == known.table.columns.len() {
        known.columns.push(likes.id);
    }
    known.table.columns.push(likes);
    known.table.version = SchemaVersion(2);
    known
}

#[derive(Clone, Debug)]
enum Move {
    Subscribe(u32),
    Remove(u32),
    Batch(u32, Vec<(u8, u8)>),
    Changes(u32, Vec<(u8, u8, u8)>),
    Stage(u32, Vec<(u8, u8, u8)>),
    Show,
    DropOfLane,
    DropOfSubscription(u32),
    Keep(u32),
    DropGhosts(u32),
    Lane(u64),
    /// The table gets a column, as this subscription is told.
    Alter(u32),
}

fn a_move() -> impl Strategy<Value = Move> {
    let id = || 1..=5_u32;
    let changes = || vec((0..4_u8, 1..3_u8, 0..4_u8), 1..5);
    prop_oneof![
        2 => id().prop_map(Move::Subscribe),
        1 => id().prop_map(Move::Remove),
        4 => (id(), vec((0..4_u8, 1..3_u8), 0..5)).prop_map(|(id, rows)| Move::Batch(id, rows)),
        5 => (id(), changes()).prop_map(|(id, changes)| Move::Changes(id, changes)),
        2 => (id(), changes()).prop_map(|(id, changes)| Move::Stage(id, changes)),
        1 => Just(Move::Show),
        1 => select(vec![Move::DropOfLane, Move::DropOfSubscription(1), Move::DropOfSubscription(2)]),
        1 => id().prop_map(Move::Keep),
        1 => id().prop_map(Move::DropGhosts),
        1 => (1..100_u64).prop_map(Move::Lane),
        1 => id().prop_map(Move::Alter),
    ]
}

/// A value of a column of a row: it follows from both, as everywhere one server's rows do.
fn value(known: &Known, column: ColumnId, key: u8, birth: u8) -> Value {
    match (known.table.id.0, column.0) {
        (64, 1) => Value::Integer(key.into()),
        (_, ADDED) => Value::Integer(100 + i64::from(key)),
        (64, 2) | (65, 3) => Value::Integer(i64::from(birth) * 10),
        (65, 1) => Value::text(format!("user {}", key % 3)).unwrap(),
        (65, 2) => Value::Integer((key / 3).into()),
        (_, other) => Value::text(format!("{key} of {birth}, {other}")).unwrap(),
    }
}

fn row(known: &Known, key: u8, birth: u8) -> Row {
    known.columns.iter().map(|column| value(known, *column, key, birth)).collect()
}

fn change(known: &Known, (key, number, kind): (u8, u8, u8)) -> RowChange {
    let born: Birth = birth(u64::from(number));
    let primary: Row =
        known.table.primary_key.iter().map(|column| value(known, *column, key, number)).collect();
    match kind {
        0 | 1 if known.table.ttl_seconds.is_some() => {
            RowChange::Expiring(born, row(known, key, number), i64::from(kind) + 50)
        }
        0 | 1 => RowChange::Row(born, row(known, key, number)),
        2 => RowChange::Left(born, primary),
        _ => RowChange::Deleted(born, primary),
    }
}

/// The writes of a move, if it is one that a machine can want.
fn writes(a_move: &Move, memory: &MemoryReplica) -> Vec<Write> {
    let known = |id: &u32| {
        let stored = memory.subscription(SubscriptionId(*id));
        stored.and_then(|stored| stored.known.clone())
    };
    let of_changes = |id: &u32, changes: &[(u8, u8, u8)]| {
        let known = known(id)?;
        Some(changes.iter().map(|one| change(&known, *one)).collect::<Vec<_>>())
    };
    let mut writes = Vec::new();
    if matches!(a_move, Move::Alter(_)) {
        writes.push(Write::DropStaged(Staged::OfLane(lane())));
    }
    let write = match a_move {
        Move::Subscribe(id) => {
            (known(id).is_none()).then(|| put(*id, kinds()[*id as usize - 1].clone()))
        }
        Move::Remove(id) => known(id).map(|_| Write::RemoveSubscription(SubscriptionId(*id))),
        Move::Batch(id, of) => known(id).map(|known| Write::Batch {
            subscription: SubscriptionId(*id),
            births: of.iter().map(|(_, number)| birth(u64::from(*number))).collect(),
            rows: of.iter().map(|(key, number)| row(&known, *key, *number)).collect(),
            expiries: match known.table.ttl_seconds {
                Some(_) => of.iter().map(|(key, _)| i64::from(*key) + 40).collect(),
                None => vec![],
            },
        }),
        Move::Changes(id, of) => of_changes(id, of)
            .map(|changes| Write::Changes { subscription: SubscriptionId(*id), changes }),
        Move::Stage(id, of) => of_changes(id, of).map(|changes| Write::Stage {
            lane: lane(),
            subscription: SubscriptionId(*id),
            changes,
        }),
        Move::Show => Some(Write::ShowStaged { lane: lane() }),
        Move::DropOfLane => Some(Write::DropStaged(Staged::OfLane(lane()))),
        Move::DropOfSubscription(id) => {
            Some(Write::DropStaged(Staged::OfSubscription(SubscriptionId(*id))))
        }
        Move::Keep(id) => known(id).map(|_| Write::KeepRows(SubscriptionId(*id))),
        Move::DropGhosts(id) => known(id).map(|_| Write::DropGhosts(SubscriptionId(*id))),
        Move::Lane(at) => Some(put_lane(*at)),
        Move::Alter(id) => known(id)
            .filter(|known| known.table.version == SchemaVersion(1))
            .map(|known| put(*id, altered(known))),
    };
    writes.extend(write);
    writes
}

/// What the memory shows of a table, as the file would: columns that nobody who has the row knows
/// read as NULL.
fn expected(memory: &MemoryReplica, of: &Known) -> Vec<String> {
    let subscriptions: BTreeMap<SubscriptionId, Vec<ColumnId>> = memory
        .subscriptions()
        .filter_map(|stored| Some((stored.id, stored.known.clone()?.columns)))
        .collect();
    let mut shown: Vec<String> = memory
        .visible(of.table.id)
        .values()
        .map(|row| {
            let who = row.holders.iter().chain(&row.ghosts);
            let known: Vec<ColumnId> =
                who.filter_map(|id| subscriptions.get(id)).flatten().copied().collect();
            let value = |column: &protocol::schema::Column| {
                let value = row.values.get(&column.id).filter(|_| known.contains(&column.id));
                match value {
                    None | Some(Value::Null) => "NULL".to_owned(),
                    Some(Value::Integer(number)) => number.to_string(),
                    Some(Value::Text(text)) => text.to_string(),
                    other => format!("{other:?}"),
                }
            };
            let mut values: Vec<String> = of.table.columns.iter().map(value).collect();
            values.push(row.birth.0.get().to_string());
            values.join(" ")
        })
        .collect();
    shown.sort();
    shown
}

fn compare(replica: &mut Replica, memory: &MemoryReplica) -> Result<(), TestCaseError> {
    for of in [known(messages(), &[]), known(marks(), &[])] {
        let has_table = memory
            .subscriptions()
            .any(|stored| stored.known.as_ref().is_some_and(|known| known.table.id == of.table.id));
        if !has_table {
            continue;
        }
        let is_altered = |stored: &sdk_machine::StoredSubscription| {
            let known = stored.known.as_ref();
            known.is_some_and(|known| {
                known.table.id == of.table.id && known.table.version > of.table.version
            })
        };
        let of = if memory.subscriptions().any(is_altered) { altered(of) } else { of };
        let columns = of.table.columns.iter().map(|column| column.name.as_str());
        let columns = columns.chain(["_seq"]).collect::<Vec<_>>().join(", ");
        let mut shown = rows(replica, &format!("SELECT {columns} FROM {}", of.table.name));
        shown.sort();
        prop_assert_eq!(shown, expected(memory, &of), "{}", of.table.name);
    }
    let born = |seq: u64| SeqId::new(seq).unwrap();
    let of = memory.subscriptions().filter(|stored| stored.known.is_some()).map(|stored| stored.id);
    for subscription in of {
        for (floor, below) in [(0, None), (3, None), (0, Some(4)), (2, Some(5))] {
            let (floor, below) = (Floor(born(floor)), below.map(|seq| Birth(born(seq))));
            let theirs = RowsDigest::default();
            let of = Comparison { subscription, floor, below, theirs };
            prop_assert_eq!(replica.digest(&of).unwrap(), memory.digest(&of), "{:?}", of);
        }
    }
    Ok(())
}

#[test]
fn the_file_shows_what_the_memory_does() {
    let moves = vec((vec(a_move(), 1..4), 0..12_u8), 1..40);
    seeds::check("replica-histories", 60, &moves, |steps| {
        let place = Place::new();
        let (mut replica, mut memory) = (place.open(), MemoryReplica::new(CLIENT));
        rows_told::tell_rows(&mut replica);
        let mut together = Vec::new();
        for (moves, what) in steps {
            // Each write is judged after those before it in the same step.
            let mut ahead = memory.clone();
            let mut all = Vec::new();
            for a_move in &moves {
                let writes = writes(a_move, &ahead);
                ahead.execute(Step { writes: writes.clone(), synced: false });
                all.extend(writes);
            }
            memory.execute(Step { writes: all.clone(), synced: false });
            together.push(Step { writes: all, synced: false });
            // The next one is done in the same transaction.
            if what > 8 {
                continue;
            }
            let before = rows_told::shown(&replica);
            let steps = std::mem::take(&mut together);
            let changed = replica.apply_all(&steps.iter().collect::<Vec<_>>()).unwrap();
            rows_told::check(&before, &rows_told::shown(&replica), &changed)?;
            match what {
                0 => {
                    drop(replica);
                    replica = place.open();
                    rows_told::tell_rows(&mut replica);
                    prop_assert_eq!(replica.load().unwrap(), memory.load());
                }
                1 => prop_assert_eq!(replica.load().unwrap(), memory.load()),
                _ => {}
            }
            compare(&mut replica, &memory)?;
        }
        replica.apply_all(&together.iter().collect::<Vec<_>>()).unwrap();
        compare(&mut replica, &memory)
    });
}
