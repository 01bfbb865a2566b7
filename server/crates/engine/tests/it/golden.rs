//! The exact bytes of the log and of everything that is stored: servers in the field have written
//! them. A line of these files may be added, and never changed.
//!
//! To add the lines of new samples, run the tests once with `TIDEWIRE_GOLDEN=add` in the
//! environment.

use protocol::ids::{ClientId, ContentHash, Epoch, MutationNumber, SeqId, TableId};
use protocol::mutation::Guard;
use server_engine::{
    Command, Confirm, EncodedCommand, Entry, Export, LAYOUT, Mutate, Numbered, Outcome, Request,
    Slot, Time, Write,
};
use server_storage::{Direction, KeyRange};

use crate::alter::{notes_at, with_likes};
use crate::world::{
    BODY, COUNT, EPOCH, EVENTS, ID, MARKS, NOTES, POSTS, RANK, ROOM, SHARD, World, add, delete,
    guarded, hash, insert, int, lane_of, notes, patch, service, set, shared, tenant, text, upsert,
    user, write,
};

/// Holds lines against a golden file of this crate.
fn check(file: &str, lines: &[(String, Vec<u8>)]) {
    seeds::golden::check(env!("CARGO_MANIFEST_DIR"), file, lines);
}

/// One command of every kind.
fn commands() -> Vec<(&'static str, Command)> {
    let (lane, actor) = (lane_of("ann"), user("ann"));
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let request = Some(Request { id, hash: hash(1), rows: 1 });
    let operations = vec![insert(NOTES, &[(ID, int(1)), (ROOM, int(7)), (BODY, text("hello"))])];
    let mutated = vec![patch(NOTES, 1, vec![set(ROOM, int(8)), add(COUNT, 2)])];
    // To the engine they are any.
    let hashes: [ContentHash; 2] =
        ["6fe475c72991ec2042ca16a0443f95da", "cc58b63c2b079aa682cf80a93f16d6a7"]
            .map(|hash| hash.parse().unwrap());
    let (client, slot) = (ClientId::from_bytes([1; 16]), Slot::of(&lane));
    let number = |number| MutationNumber::new(number).unwrap();
    let mutate = Mutate {
        lane: lane.clone(),
        actor: actor.clone(),
        client,
        client_since: Time(5),
        epoch: EPOCH,
        first: number(1),
        previous: ContentHash::START,
        mutations: vec![
            Numbered { hash: hashes[0], operations: Some(mutated) },
            Numbered { hash: hashes[1], operations: None },
        ],
        confirmed: number(0),
    };
    let confirm = Confirm {
        lane: lane.clone(),
        user: tenant("ann"),
        client,
        epoch: EPOCH,
        confirmed: number(1),
    };
    let post = guarded(insert(POSTS, &[(ID, int(1))]), Guard::Absent);
    let through = SeqId::new(3).unwrap();
    vec![
        ("found", Command::Found { slots: vec![slot, Slot::of(&shared())], epoch: EPOCH }),
        ("define", Command::Define(Box::new(notes()))),
        ("write", Command::Write(Write { lane: lane.clone(), actor, operations, request })),
        ("write-shared", write(shared(), service(), vec![post])),
        ("mutate", Command::Mutate(mutate)),
        ("confirm", Command::Confirm(confirm)),
        ("expire", Command::Expire { slot, rows_max: 10 }),
        ("retire", Command::Retire { lane, table: NOTES, through }),
        ("forget", Command::Forget { slot, silent_since: Time(-6), count_max: 10 }),
        ("drop", Command::Drop(MARKS)),
        ("sweep", Command::Sweep { table: MARKS, rows_max: 10 }),
        ("new-epoch", Command::NewEpoch(Epoch::from_bytes([9; 16]))),
    ]
}

#[test]
fn the_log_keeps_its_bytes() {
    let lines: Vec<_> = commands()
        .into_iter()
        .map(|(name, command)| {
            let packed = Entry::pack(Time(1_000), [command.encode()].iter());
            let entry = Entry::new(Time(1_000), vec![command]);
            assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry, "{name} reads back");
            assert_eq!(packed, entry.encode(), "{name} is packed to the same");
            (name.to_owned(), entry.encode())
        })
        .collect();
    check("entries.hex", &lines);
}

/// At each length at which a list begins otherwise, and at all commands at once.
#[test]
fn an_entry_is_packed_to_the_bytes_that_it_encodes_to() {
    let some = |count: u32| (0..count).map(|id| Command::Drop(TableId(id))).collect();
    let mut all: Vec<Vec<Command>> =
        [0, 1, 2, 15, 16, 17, 255, 256, 65_535, 65_536].map(some).into();
    all.push(commands().into_iter().map(|(_, command)| command).collect());
    for commands in all {
        let encoded: Vec<_> = commands.iter().map(Command::encode).collect();
        let packed = Entry::pack(Time(-7), encoded.iter());
        let length = encoded.iter().map(EncodedCommand::len).sum::<usize>();
        assert!(packed.len() >= length && packed.len() < length + 64);
        let entry = Entry::new(Time(-7), commands);
        assert!(packed == entry.encode(), "with {} commands", encoded.len());
        assert!(Entry::decode(&packed).unwrap() == entry, "with {} commands", encoded.len());
    }
}

/// A history with every kind of record.
fn every_kind() -> World {
    let mut world = World::new();
    world.run(commands().into_iter().map(|(_, command)| command).collect());
    let mutation = Numbered { hash: hash(1), operations: None };
    let mutate = commands().into_iter().find_map(|(_, command)| match command {
        Command::Mutate(mutate) => Some(mutate),
        _ => None,
    });
    let (lane, actor, mutations) = (lane_of("bob"), user("bob"), vec![mutation]);
    let slot = Slot::of(&lane);
    let silent_since = Time(2 * 24 * 60 * 60 * 1_000_000);
    world.run(vec![
        Command::Mutate(Mutate {
            lane,
            actor,
            epoch: Epoch::from_bytes([9; 16]),
            mutations,
            ..mutate.unwrap()
        }),
        Command::Forget { slot, silent_since, count_max: 1 },
    ]);
    let operations = vec![
        upsert(EVENTS, &[(ID, int(1))]),
        insert(NOTES, &[(ID, int(-2))]),
        delete(NOTES, 1),
        insert(NOTES, &[(ID, int(1)), (ROOM, int(7)), (RANK, int(1))]),
    ];
    assert!(matches!(world.write("ann", operations), Outcome::Written { .. }));
    world
}

/// Every kind of record, of a short history.
#[test]
fn the_store_keeps_its_bytes() {
    let world = every_kind();
    let snapshot = world.store.snapshot();
    let mut lines = Vec::new();
    for family in LAYOUT.families {
        let mut scan = snapshot.scan(*family, KeyRange::all(), Direction::Forward);
        while let Some(entry) = scan.next().unwrap() {
            lines.push((
                format!("{} {}", family.name, seeds::golden::hex(entry.key)),
                entry.value.to_vec(),
            ));
        }
    }
    check("contents.hex", &lines);
}

/// A table with a column that some rows are older than.
#[test]
fn a_table_that_has_changed_keeps_its_bytes() {
    let mut world = World::new();
    world.one(Command::Define(Box::new(notes_at(2, with_likes))));
    let snapshot = world.store.snapshot();
    let mut lines = Vec::new();
    for family in LAYOUT.families {
        let mut scan = snapshot.scan(*family, KeyRange::all(), Direction::Forward);
        while let Some(entry) = scan.next().unwrap() {
            if entry.value.windows(5).any(|window| window == b"likes") {
                lines.push((seeds::golden::hex(entry.key), entry.value.to_vec()));
            }
        }
    }
    assert_eq!(lines.len(), 1);
    check("altered.hex", &lines);
}

/// What goes to a node of the version before, or comes from it.
#[test]
fn a_transfer_keeps_its_bytes() {
    let world = every_kind();
    let snapshot = world.store.snapshot();
    let mut export = Export::new(&*snapshot, SHARD).unwrap();
    let mut lines = Vec::new();
    while let Some(piece) = export.next(500).unwrap() {
        lines.push((format!("piece {}", lines.len()), piece));
    }
    check("transfer.hex", &lines);
}

/// Where a lane lies is where its data is.
#[test]
fn lanes_keep_their_slots() {
    let lanes = ["user/ann", "user/bob", "user/ä", "shared/app", "shared/chat"];
    let lines: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let slot = Slot::of(&lane.parse().unwrap());
            ((*lane).to_owned(), slot.number().to_be_bytes().to_vec())
        })
        .collect();
    check("slots.hex", &lines);
}
