//! What is different from one kind of schedule to the other.

use fastrand::Rng;
use server_engine::CatchUpLimits;
use server_subscriptions::Settings;

use crate::tables::TEXTS;

/// A kind of schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) nodes: usize,
    /// How many of the texts clients choose from: of few, several have the same.
    pub(crate) texts: usize,
    /// Tombstones retire.
    pub(crate) retires: bool,
    /// Snapshots are installed.
    pub(crate) installs: bool,
    /// Histories are replaced by older ones.
    pub(crate) restores: bool,
    /// The power of a client fails: its last transactions are gone.
    pub(crate) power: bool,
    /// Replicas are copied.
    pub(crate) copies: bool,
    /// Clients that were silent are forgotten.
    pub(crate) forgets: bool,
    /// Clients write.
    pub(crate) writes: bool,
    /// Now and then one writes more than may be under way.
    pub(crate) bursts: bool,
    /// How many entries a worker's queue takes.
    pub(crate) queue: usize,
    pub(crate) steps: usize,
    /// Clients compare what they have with the server.
    pub(crate) compares: bool,
    /// A row of a client comes to be another one.
    pub(crate) spoils: bool,
    /// Replicas have a twin in a file.
    pub(crate) files: bool,
    pub(crate) settings: Settings,
}

impl Plan {
    /// One client and one node, for which all is large enough.
    pub(crate) fn calm() -> Self {
        Self {
            clients: 1,
            nodes: 1,
            texts: TEXTS.len(),
            retires: false,
            installs: false,
            restores: false,
            power: true,
            copies: false,
            forgets: false,
            writes: true,
            bursts: false,
            queue: 100,
            steps: 0,
            compares: false,
            spoils: false,
            files: false,
            settings: Settings::default(),
        }
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let few = |rng: &mut Rng| rng.usize(1..4);
        let bytes_max = [120, 400, 1 << 20][rng.usize(..3)];
        let is_small = rng.bool();
        let settings = Settings {
            queue_bytes_max: bytes_max,
            held_commits_max: rng.usize(1..5),
            batch_rows_max: few(rng) as u32,
            batch_examined_max: [1, 3, 100][rng.usize(..3)],
            piece: CatchUpLimits { changes: few(rng), bytes: 1 << 20 },
            resume_changes_max: if is_small { 3 } else { 1_000 },
            resume_cuts_max: if rng.bool() { 2 } else { 100 },
            ..Settings::default()
        };
        // What a copy and a server that has forgotten may do together is a limit that is stated.
        let (restores, copies) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
        let copies = copies && !restores;
        // They take far longer.
        let files = rng.u8(..16) == 0;
        let writes = copies || rng.u8(..4) > 0;
        let bursts = writes && !files && rng.u8(..50) == 0;
        Self {
            copies,
            forgets: !copies && rng.u8(..4) == 0,
            writes,
            bursts,
            clients: if copies { 3 } else { rng.usize(1..4) },
            nodes: rng.usize(1..3),
            texts: [2, 4, TEXTS.len()][rng.usize(..3)],
            retires: rng.bool(),
            installs: rng.bool(),
            restores,
            power: rng.u8(..3) == 0,
            queue: rng.usize(1..7),
            steps: [60, 120, 200, 300][rng.usize(..4)],
            settings,
            compares: rng.bool(),
            spoils: !copies && !files && rng.bool(),
            files,
        }
    }
}
