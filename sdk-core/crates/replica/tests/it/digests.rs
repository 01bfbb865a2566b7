//! What is compared with the server is what the server has said, whatever is written here.

use protocol::digest::RowsDigest;
use protocol::ids::Floor;
use sdk_machine::{Comparison, SubscriptionId};
use sdk_replica::Replica;

use crate::world::{
    Place, batch, birth, known, message, messages, put, put_lane, rows, step, write,
};

fn digest(replica: &Replica, below: Option<u64>) -> RowsDigest {
    let (subscription, theirs) = (SubscriptionId(1), RowsDigest::default());
    let (floor, below) = (Floor(birth(5).0), below.map(birth));
    replica.digest(&Comparison { subscription, floor, below, theirs }).unwrap()
}

#[test]
fn writes_that_wait_change_nothing_of_it() {
    let place = Place::new();
    let mut replica = place.open();
    let loaded: Vec<_> = (1..=4).map(|id| message(id, 7, "there")).collect();
    let mut expected = RowsDigest::default();
    for (born, row) in (4..).zip(&loaded).skip(1) {
        expected.add(birth(born), row);
    }
    let writes = vec![
        put(1, known(messages(), &[1, 2, 3, 4])),
        batch(1, &[4, 5, 6, 7], loaded),
        put_lane(9),
    ];
    replica.apply(&step(writes)).unwrap();
    assert_eq!(digest(&replica, None), expected);
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 2").unwrap();
    write(&mut replica, "DELETE FROM chat.messages WHERE id = 3").unwrap();
    write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (9, 'new')").unwrap();
    let shown = rows(&replica, "SELECT id, body FROM chat.messages ORDER BY id");
    assert_eq!(shown, ["1 there", "2 mine", "4 there", "9 new"]);
    assert_eq!(digest(&replica, None), expected);
    assert_eq!(digest(&replica, Some(7)).rows, 2);
    assert_eq!(digest(&replica, Some(5)), RowsDigest::default());
}
