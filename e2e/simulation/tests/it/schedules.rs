//! Random schedules.

use crate::world::World;

#[test]
fn every_schedule_ends_complete_and_shows_nothing_that_never_was() {
    seeds::for_each("simulation", 2_000, |seed| World::new(seed).run());
}
