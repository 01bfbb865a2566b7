//! Large loads over a network that breaks, and loads that begin anew.

use std::time::Duration;

use e2e_harness::Role;
use protocol::frame::v1::{ServerFrame, Subscribe};
use sdk_core::{Client, SubscribeOptions, Subscription, SubscriptionState};

use crate::kills::Dice;
use crate::raw::{Raw, subscribe};
use crate::sdk::{World, rows, soon, texts};

const SQL: &str = "SELECT * FROM app.notes";

/// Bytes that may come again after a cut: those of a batch of which the end was missing, and what
/// else was on the way.
const AGAIN_BYTES: u64 = 96 * 1024;

fn block_on(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(run);
}

/// L1: a load goes on where it was cut.
#[test]
fn a_load_that_is_cut_goes_on_and_ends_complete() {
    seeds::for_each("cut-loads", 1, |seed| {
        let (rows, cuts) = if seed == 0 { (20_000, 6) } else { (100_000, 30) };
        block_on(cut_load(seed, rows, cuts));
    });
}

async fn begin(client: &Client) -> Subscription {
    let options = SubscribeOptions { batch_rows: Some(500), ..SubscribeOptions::default() };
    client.subscribe(SQL, &[], options).await.unwrap()
}

#[expect(clippy::print_stdout, reason = "whoever runs the soak wants the figures")]
async fn cut_load(seed: u64, count: u64, cuts: u64) {
    let world = World::new();
    for part in 0..count / 1_000 {
        let values: Vec<_> = (0..1_000)
            .map(|id| format!("({}, 7, '{}', 'x')", part * 1_000 + id, "b".repeat(80)))
            .collect();
        world.ann.ok(&format!("INSERT INTO app.notes VALUES {}", values.join(", ")));
    }
    // What it takes without a cut.
    let whole = world.client_of("ann", "undisturbed").await;
    begin(&whole).await.ready().await.unwrap();
    let (bytes, connections) = (world.proxy.bytes_down(), world.proxy.connections());
    let bytes_of_all = bytes;
    soon(whole.close()).await;

    let client = world.client("ann").await;
    let subscription = begin(&client).await;
    let mut dice = Dice::new(seed);
    let mut before = 0;
    for cut in 0..cuts {
        // Anywhere in what is left, so that all of the cuts have a place.
        let left = bytes_of_all.saturating_sub(world.proxy.bytes_down() - bytes);
        world.proxy.cut_after(1 + dice.below((2 * left / (cuts - cut + 1)).max(1)));
        while world.proxy.will_cut() {
            client.network_changed();
            tokio::time::sleep(Duration::from_millis(2)).await;
            if subscription.state() == SubscriptionState::Live {
                panic!("it was over after {cut} cuts");
            }
        }
        // Before the first answer there is no table.
        let counted = client.query("SELECT count(*) AS n FROM app.notes", &[]).await;
        let present: i64 = counted.map_or(0, |rows| rows.get(0).unwrap().get("n").unwrap());
        assert!(present >= before, "it never begins again");
        before = present;
    }
    soon(async {
        while subscription.state() != SubscriptionState::Live {
            client.network_changed();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let again = (world.proxy.bytes_down() - bytes).saturating_sub(bytes_of_all);
    let connections = world.proxy.connections() - connections;
    println!(
        "{count} rows, cut {cuts} times, {connections} connections: {bytes_of_all} bytes, and \
         {again} of them again"
    );
    assert!(again < (cuts + 1) * AGAIN_BYTES, "{again} bytes came again");
    for from in (0..count).step_by(1_000) {
        let to = from + 1_000;
        let range = format!("id >= {from} AND id < {to}");
        let part = format!("SELECT id, room, body, extra FROM app.notes WHERE {range} ORDER BY id");
        let (here, there) = (rows(&client, &part).await, world.ann.rows(&part));
        assert!(here == there && here.len() == 1_000, "rows {from} to {to} are not the same");
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM app.notes").await, [count.to_string()]);
}

/// M6, R5: who was away for longer than the server knows what is gone loads anew, and his screen
/// is never blank.
#[tokio::test]
async fn who_was_away_for_too_long_loads_anew_behind_what_is_shown() {
    let world = World::with_settings("[retention]\ntombstones_min = 0\nsweep_seconds = 1\n");
    let values: Vec<_> = (1..=100).map(|id| format!("({id}, 7, 'old', 'x')")).collect();
    world.ann.ok(&format!("INSERT INTO app.notes VALUES {}", values.join(", ")));
    let mut raw = Raw::open(&world.ann).await;
    let loaded = raw.load(subscribe(1, SQL)).await;
    drop(raw);
    let client = world.client("ann").await;
    soon(begin(&client).await.ready()).await.unwrap();
    soon(client.close()).await;

    // Of more rows than twice those that are left, it is not kept that they are gone.
    world.ann.ok("DELETE FROM app.notes WHERE id > 4");
    world.ann.ok("INSERT INTO app.notes VALUES (200, 7, 'new', 'x')");
    let (cursor, held) = loaded.held();
    let is_reset = async || {
        let resumed = Subscribe { held: Some(held.clone()), ..subscribe(1, SQL) };
        let mut raw = Raw::resume(&world.ann, vec![cursor.clone()], vec![resumed]).await;
        loop {
            match raw.next().await {
                ServerFrame::Reset(_) => return true,
                ServerFrame::Frontier(_) | ServerFrame::CatchUp(_) => return false,
                _ => {}
            }
        }
    };
    soon(async {
        while !is_reset().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;

    let client = world.client("ann").await;
    let shown = "SELECT count(*) FILTER (WHERE body = 'old'), count(*) FROM app.notes";
    let mut watch = client.watch(shown, &[]).unwrap();
    let mut seen = Vec::new();
    soon(async {
        while seen.last().is_none_or(|last| last != "4 5") {
            let result = watch.next().await.expect("the client lives");
            assert_eq!(result.error, None);
            seen.extend(texts(&result.rows));
        }
    })
    .await;
    // All that was there, and then all that is: nothing between the two.
    seen.dedup();
    assert_eq!(seen, ["100 100", "4 5"]);
    let other = world.home.client("ann", Role::User);
    assert_eq!(other.rows("SELECT COUNT(*) FROM app.notes"), ["5"]);
}
