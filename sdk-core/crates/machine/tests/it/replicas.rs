//! What a replica must show, by the replica in memory.

use protocol::frame::v1::{RowChange, Subscribed};
use protocol::ids::{ColumnId, Floor, Lane, TableId};
use protocol::value::{Row, Value};
use sdk_machine::replica::{Key, MemoryReplica};
use sdk_machine::{Staged, Step, StoredLane, StoredSubscription, SubscriptionId, Write};

use crate::client::{CLIENT, EPOCH, birth, described, key, lane, row, seq};

const ALL: SubscriptionId = SubscriptionId(1);
const ROOMS: SubscriptionId = SubscriptionId(2);
const TABLE: TableId = TableId(1);

/// Two subscriptions to one table: all columns, and the key with the room.
fn replica() -> MemoryReplica {
    let mut replica = MemoryReplica::new(CLIENT);
    let subscription = |id, subscribed: Subscribed| StoredSubscription {
        id,
        texts: Vec::new(),
        fetch_last: None,
        batch_rows: None,
        known: Some(subscribed.into()),
        floor: Some(Floor::COMPLETE),
        missing: None,
        ready: false,
        resetting: false,
    };
    let mut rooms = described(2, 2);
    rooms.columns = vec![ColumnId(1), ColumnId(0)];
    for stored in [subscription(ALL, described(1, 1)), subscription(ROOMS, rooms)] {
        write(&mut replica, [Write::PutSubscription(Box::new(stored))]);
    }
    replica
}

fn write(replica: &mut MemoryReplica, writes: impl IntoIterator<Item = Write>) {
    replica.execute(Step { writes: writes.into_iter().collect(), synced: false });
}

fn changes(subscription: SubscriptionId, changes: Vec<RowChange>) -> Write {
    Write::Changes { subscription, changes }
}

fn room(id: i64, room: i64) -> Row {
    Row(vec![Value::Integer(room), Value::Integer(id)])
}

fn shown(replica: &MemoryReplica) -> Vec<(i64, u64)> {
    let rows = replica.visible(TABLE).into_iter();
    let id = |key: &Key| match key.0[0] {
        Value::Integer(id) => id,
        _ => unreachable!(),
    };
    rows.map(|(key, row)| (id(&key), row.birth.0.get())).collect()
}

#[test]
fn subscriptions_of_different_columns_share_a_row() {
    let mut replica = replica();
    write(&mut replica, [changes(ROOMS, vec![RowChange::Row(birth(1), room(7, 3))])]);
    assert_eq!(replica.visible(TABLE)[&Key(key(7))].values.len(), 2);
    write(&mut replica, [changes(ALL, vec![RowChange::Row(birth(1), row(7, 4, "text"))])]);
    assert_eq!(replica.rows(ROOMS)[&Key(key(7))], (birth(1), room(7, 4)));
    assert_eq!(replica.rows(ALL)[&Key(key(7))], (birth(1), row(7, 4, "text")));
    // One lets go, the other holds on; then nobody does.
    write(&mut replica, [changes(ALL, vec![RowChange::Left(birth(1), key(7))])]);
    assert_eq!((replica.rows(ALL).len(), replica.rows(ROOMS).len()), (0, 1));
    write(&mut replica, [Write::RemoveSubscription(ROOMS)]);
    assert_eq!(shown(&replica), []);
}

#[test]
fn another_birth_is_another_row() {
    let mut replica = replica();
    write(
        &mut replica,
        [
            changes(ALL, vec![RowChange::Row(birth(1), row(7, 3, "old"))]),
            changes(ROOMS, vec![RowChange::Row(birth(1), room(7, 3))]),
            Write::KeepRows(ALL),
        ],
    );
    write(&mut replica, [changes(ROOMS, vec![RowChange::Row(birth(9), room(7, 5))])]);
    let row = &replica.visible(TABLE)[&Key(key(7))];
    assert_eq!((row.birth, row.values.len()), (birth(9), 2), "the old text is gone");
    assert!(replica.ghosts(ALL).is_empty());
    // What is said about the old row is not about the new one.
    write(
        &mut replica,
        [changes(
            ROOMS,
            vec![RowChange::Left(birth(1), key(7)), RowChange::Deleted(birth(1), key(7))],
        )],
    );
    assert_eq!(shown(&replica), [(7, 9)]);
}

#[test]
fn a_deleted_row_is_gone_for_everybody() {
    let mut replica = replica();
    write(
        &mut replica,
        [
            changes(ALL, vec![RowChange::Row(birth(1), row(7, 3, ""))]),
            changes(ROOMS, vec![RowChange::Row(birth(1), room(7, 3))]),
        ],
    );
    write(&mut replica, [changes(ALL, vec![RowChange::Deleted(birth(1), key(7))])]);
    assert_eq!((replica.rows(ROOMS).len(), shown(&replica).len()), (0, 0));
}

#[test]
fn ghosts_stay_until_they_are_dropped_and_those_that_came_again_stay_for_good() {
    let mut replica = replica();
    let births = vec![birth(1), birth(2)];
    let rows = vec![row(7, 1, ""), row(8, 1, "")];
    let load = Write::Batch { subscription: ALL, births, rows, expiries: vec![10, 20] };
    write(&mut replica, [load]);
    assert_eq!(replica.visible(TABLE)[&Key(key(8))].expiry, Some(20));
    write(&mut replica, [Write::KeepRows(ALL)]);
    assert_eq!((replica.rows(ALL).len(), shown(&replica).len()), (0, 2));
    write(&mut replica, [changes(ALL, vec![RowChange::Row(birth(2), row(8, 1, "new"))])]);
    write(&mut replica, [Write::DropGhosts(ALL)]);
    assert_eq!(shown(&replica), [(8, 2)]);
}

#[test]
fn what_is_staged_is_shown_in_its_order_or_dropped() {
    let other = Lane::Shared(lane_name());
    let stage = |changes| Write::Stage { lane: lane(), subscription: ALL, changes };
    let pieces = || {
        [
            stage(vec![RowChange::Row(birth(1), row(7, 1, "a"))]),
            stage(vec![
                RowChange::Deleted(birth(1), key(7)),
                RowChange::Row(birth(5), row(8, 1, "")),
            ]),
        ]
    };
    let mut replica = replica();
    write(&mut replica, pieces());
    assert_eq!((shown(&replica).len(), replica.staged()), (0, 2));
    write(&mut replica, [Write::ShowStaged { lane: other }]);
    assert_eq!(replica.staged(), 2, "those of another lane");
    write(&mut replica, [Write::ShowStaged { lane: lane() }]);
    assert_eq!((shown(&replica), replica.staged()), (vec![(8, 5)], 0));

    let ends = [
        Write::DropStaged(Staged::OfLane(lane())),
        Write::DropStaged(Staged::OfSubscription(ALL)),
        Write::RemoveSubscription(ALL),
    ];
    for end in ends {
        let mut replica = self::replica();
        write(&mut replica, pieces());
        write(&mut replica, [end]);
        assert_eq!(replica.staged(), 0);
    }
    let mut replica = self::replica();
    write(&mut replica, pieces());
    replica.load();
    assert_eq!(replica.staged(), 0, "whoever opens a replica drops them");
}

#[test]
fn a_lane_is_kept_until_it_is_removed() {
    let mut replica = replica();
    let stored = StoredLane { lane: lane(), epoch: EPOCH, seq: seq(3), cut: 1 };
    write(&mut replica, [Write::PutLane(stored.clone())]);
    let mut copy = replica.clone();
    assert_eq!(copy.load().lanes, [stored]);
    write(&mut copy, [Write::RemoveLane(lane())]);
    assert!(copy.load().lanes.is_empty());
    assert_eq!(replica.load().lanes.len(), 1, "a clone is another replica");
}

fn lane_name() -> protocol::ids::Name {
    protocol::ids::Name::new("chat").unwrap()
}
