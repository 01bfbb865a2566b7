//! Which tables there are: a device knows all that its user may read, and writes to those that it never
//! subscribed to.

use e2e_harness::Role;
use futures::StreamExt;
use protocol::frame::v1::{ClientFrame, Hello, ServerFrame};
use sdk_core::{
    Client, Config, ErrorCode, MutationId, MutationState, StatusWord, SubscribeOptions, Value,
};

use crate::raw::{Raw, hello, subscribe};
use crate::sdk::{World, rows, soon, tick};

async fn all_decided(client: &Client) {
    soon(async {
        while client.pending().await.unwrap().count() > 0 {
            tick().await;
        }
    })
    .await;
}

/// Waits until a statement can be run, because its table is here.
async fn until_written(client: &Client, sql: &str) {
    soon(async {
        while let Err(error) = client.execute(sql, &[]).await {
            assert_eq!(error.code(), ErrorCode::NotFound, "{error}");
            tick().await;
        }
    })
    .await;
}

/// Waits until a statement is refused on the device itself, and gives the error.
async fn until_refused(client: &Client, sql: &str) -> sdk_core::Error {
    soon(async {
        loop {
            match client.execute(sql, &[]).await {
                Err(error) => return error,
                Ok(_) => tick().await,
            }
        }
    })
    .await
}

/// A client that was connected once, and knows the tables.
async fn once_connected(world: &World) {
    let client = world.client("ann").await;
    until_written(&client, "DELETE FROM app.notes").await;
    soon(client.close()).await;
}

/// W1: nothing was ever subscribed to, and the device was offline since it was opened.
#[tokio::test]
async fn an_app_writes_offline_to_tables_that_it_never_subscribed_to() {
    let mut world = World::new();
    once_connected(&world).await;
    world.proxy.close();
    let client = world.client("ann").await;
    let note = "INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'offline')";
    let note = client.execute(note, &[]).await.unwrap();
    let post = "INSERT INTO app.board (id, body) VALUES (5, 'for all')";
    let post = client.execute(post, &[]).await.unwrap();
    let joined = "SELECT n.body, b.body FROM app.notes n, app.board b";
    assert_eq!(rows(&client, joined).await, ["offline for all"]);
    soon(client.close()).await;

    let client = world.client("ann").await;
    assert_eq!(rows(&client, joined).await, ["offline for all"], "after another restart");
    world.proxy.lead_to(&world.admin.address());
    all_decided(&client).await;
    for id in [note.id().unwrap(), post.id().unwrap()] {
        let mutation = client.mutation(id).await.unwrap();
        assert!(mutation.is_none_or(|it| matches!(it.state(), MutationState::Accepted { .. })));
    }
    assert_eq!(world.ann.rows("SELECT id, body FROM app.notes"), ["1 offline"]);
    assert_eq!(world.ann.rows("SELECT id, body FROM app.board"), ["5 for all"]);
    // Nothing subscribes to them, so they are not kept.
    soon(async {
        while !rows(&client, joined).await.is_empty() {
            tick().await;
        }
    })
    .await;
    world.server.take();
}

#[tokio::test]
async fn a_table_can_be_written_as_soon_as_it_was_created() {
    let mut world = World::new();
    let client = world.client("ann").await;
    until_written(&client, "DELETE FROM app.notes").await;
    world.admin.ok("CREATE USER TABLE app.later (id BIGINT PRIMARY KEY, body TEXT)");
    until_written(&client, "INSERT INTO app.later (id, body) VALUES (1, 'x')").await;
    all_decided(&client).await;
    assert_eq!(world.ann.rows("SELECT body FROM app.later"), ["x"]);
    // What nobody but services may read is not there (INV-7).
    world.admin.ok("CREATE SHARED TABLE app.hidden (id BIGINT PRIMARY KEY)");
    world.admin.ok("CREATE USER TABLE app.last (id BIGINT PRIMARY KEY)");
    until_written(&client, "INSERT INTO app.last VALUES (1)").await;
    let hidden = client.execute("INSERT INTO app.hidden VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(hidden.code(), ErrorCode::NotFound);
    world.server.take();
}

/// Q3: the device says at once what the server would say later.
#[tokio::test]
async fn what_a_user_may_not_write_any_more_is_refused_at_once() {
    let mut world = World::new();
    let client = world.client("ann").await;
    let insert = "INSERT INTO app.board (id, body) VALUES (1, 'mine') ON CONFLICT DO NOTHING";
    until_written(&client, insert).await;
    all_decided(&client).await;
    world.admin.ok("DROP TABLE app.board");
    let gone = until_refused(&client, insert).await;
    assert_eq!(gone.code(), ErrorCode::NotFound);
    assert!(gone.to_string().contains("app.board is not there any more"), "{gone}");
    // Another table of that name, which users only read.
    world.admin.ok("CREATE SHARED TABLE app.board (id BIGINT PRIMARY KEY, body TEXT) WITH (ACCESS_LEVEL = READ)");
    soon(async {
        while until_refused(&client, insert).await.code() != ErrorCode::Forbidden {
            tick().await;
        }
    })
    .await;
    let refused = client.execute(insert, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("app.board is not written by this user"), "{refused}");
    all_decided(&client).await;
    world.server.take();
}

/// The same table, for a service.
#[tokio::test]
async fn a_service_writes_what_users_only_read() {
    let mut world = World::new();
    world.admin.ok("CREATE SHARED TABLE app.news (id BIGINT PRIMARY KEY, body TEXT) WITH (ACCESS_LEVEL = READ)");
    world.admin.ok("CREATE SHARED TABLE app.secrets (id BIGINT PRIMARY KEY)");
    let token = world.home.client("robot", Role::Service).token().to_owned();
    let address = format!("ws://{}", world.proxy.address());
    let config = Config::new(address, "robot", world.replicas("robot"), move || {
        let token = token.clone();
        async move { Ok(token) }
    });
    let robot = Client::open(config).await.unwrap();
    until_written(&robot, "INSERT INTO app.news VALUES (1, 'hello')").await;
    until_written(&robot, "INSERT INTO app.secrets VALUES (1)").await;
    all_decided(&robot).await;
    assert_eq!(world.ann.rows("SELECT body FROM app.news"), ["hello"]);
    assert_eq!(world.admin.rows("SELECT id FROM app.secrets"), ["1"]);
    let client = world.client("ann").await;
    until_written(&client, "DELETE FROM app.notes").await;
    let refused = client.execute("DELETE FROM app.news", &[]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    world.server.take();
}

/// S1, S2: four versions later, with a hundred writes to five tables, of which most were never
/// subscribed to.
#[tokio::test]
async fn a_device_of_the_first_version_settles_at_the_fourth() {
    let mut world = World::new();
    world.admin.ok("CREATE USER TABLE app.doomed (id BIGINT PRIMARY KEY, body TEXT)");
    world.admin.ok("CREATE USER TABLE app.again (id BIGINT PRIMARY KEY, body TEXT)");
    let client = world.client("ann").await;
    until_written(&client, "DELETE FROM app.again").await;
    let notes = client.subscribe("SELECT * FROM app.notes", &[], SubscribeOptions::default());
    soon(notes.await.unwrap().ready()).await.unwrap();
    client.pause();
    let mut lost = Vec::new();
    for id in 1..=25 {
        for table in ["notes", "marks", "doomed", "again"] {
            let sql = match table {
                "marks" => "INSERT INTO app.marks VALUES ($1, 1)".to_owned(),
                _ => format!("INSERT INTO app.{table} (id, body) VALUES ($1, 'v1')"),
            };
            let done = client.execute(&sql, &[Value::Integer(id)]).await.unwrap();
            if matches!(table, "doomed" | "again") {
                lost.push(done.id().unwrap());
            }
        }
    }
    soon(client.close()).await;
    for sql in [
        "ALTER TABLE app.notes ADD COLUMN likes INT NOT NULL DEFAULT 5",
        "ALTER TABLE app.marks ADD COLUMN note TEXT DEFAULT 'none'",
        "ALTER TABLE app.notes DROP COLUMN extra",
        "CREATE USER TABLE app.later (id BIGINT PRIMARY KEY)",
        "DROP TABLE app.doomed",
        "DROP TABLE app.again",
        "CREATE USER TABLE app.again (id BIGINT PRIMARY KEY, other TEXT)",
    ] {
        world.admin.ok(sql);
    }
    // Her shard has followed by then. What it decides before a drop is accepted, and goes with the table.
    assert_eq!(world.ann.rows("SELECT other FROM app.again"), [""; 0]);
    let client = world.client("ann").await;
    all_decided(&client).await;
    assert_eq!(world.ann.rows("SELECT count(*), min(likes) FROM app.notes"), ["25 5"]);
    assert_eq!(world.ann.rows("SELECT count(*), min(note) FROM app.marks"), ["25 none"]);
    assert_eq!(world.ann.rows("SELECT count(*) FROM app.again"), ["0"]);
    all_mismatch(&client, lost).await;
    let later = [
        "INSERT INTO app.later VALUES (1)",
        "INSERT INTO app.again (id, other) VALUES (1, 'v4')",
        "UPDATE app.notes SET likes = likes + 1 WHERE id = 25",
        "INSERT INTO app.marks (room, note) VALUES (99, 'v4')",
    ];
    for sql in later {
        soon(async {
            while client.execute(sql, &[]).await.is_err() {
                tick().await
            }
        })
        .await;
    }
    let gone = client.execute("DELETE FROM app.doomed", &[]).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    all_decided(&client).await;
    assert_eq!(world.ann.rows("SELECT likes FROM app.notes WHERE id = 25"), ["6"]);
    assert_eq!(world.ann.rows("SELECT other FROM app.again"), ["v4"]);
    assert_eq!(world.ann.rows("SELECT note FROM app.marks WHERE room = 99"), ["v4"]);
    assert_eq!(world.ann.rows("SELECT id FROM app.later"), ["1"]);
    world.server.take();
}

/// Each of these was rejected because of its schema.
async fn all_mismatch(client: &Client, ids: Vec<MutationId>) {
    for id in ids {
        let rejected = client.mutation(id).await.unwrap().unwrap();
        let MutationState::Rejected { code, reason } = rejected.state() else {
            panic!("{:?}", rejected.state())
        };
        assert_eq!(code, ErrorCode::SchemaMismatch, "{reason}");
    }
}

async fn until_word(client: &Client, word: StatusWord) -> String {
    let mut statuses = client.statuses();
    soon(async {
        loop {
            let status = statuses.next().await.expect("the client lives");
            if status.word == word {
                return status.reason.map(|reason| reason.message).unwrap_or_default();
            }
        }
    })
    .await
}

/// S4: the code is too old for the server. It goes on by itself, and nothing is lost.
#[tokio::test]
async fn an_old_application_reads_and_writes_and_is_told_to_be_updated() {
    let mut world = World::with_settings("[live]\napp_version_min = 3\n");
    let config = |version| world.config("ann", "ann").with_app_version(version);
    world.ann.ok("INSERT INTO app.notes (id, body) VALUES (1, 'there')");
    let client = Client::open(config(3)).await.unwrap();
    let notes = client.subscribe("SELECT * FROM app.notes", &[], SubscribeOptions::default());
    soon(notes.await.unwrap().ready()).await.unwrap();
    soon(client.close()).await;

    let client = Client::open(config(2)).await.unwrap();
    let told = until_word(&client, StatusWord::UpdateRequired).await;
    assert!(told.contains("from version 3 on, and this one is version 2: update it"), "{told}");
    client.execute("INSERT INTO app.notes (id, body) VALUES (2, 'here')", &[]).await.unwrap();
    client.execute("INSERT INTO app.board (id, body) VALUES (2, 'here')", &[]).await.unwrap();
    assert_eq!(rows(&client, "SELECT id FROM app.notes ORDER BY id").await, ["1", "2"]);
    assert_eq!(client.pending().await.unwrap().count(), 2);
    soon(client.close()).await;
    let client = Client::open(world.config("ann", "ann")).await.unwrap();
    let told = until_word(&client, StatusWord::UpdateRequired).await;
    assert!(told.contains("this one does not say which it is"), "{told}");
    soon(client.close()).await;

    let client = Client::open(config(4)).await.unwrap();
    all_decided(&client).await;
    assert_eq!(world.ann.rows("SELECT id FROM app.notes ORDER BY id"), ["1", "2"]);
    assert_eq!(world.ann.rows("SELECT id FROM app.board"), ["2"]);
    world.server.take();
}

/// Frame by frame: behind `welcome` and before all else, unless it is known; once for each change.
#[tokio::test]
async fn the_tables_come_first_and_only_if_they_are_not_known() {
    let world = World::new();
    let mut raw = Raw::open(&world.ann).await;
    raw.load(subscribe(1, "SELECT * FROM app.notes")).await;
    let [told] = &raw.schemas[..] else { panic!("{:?}", raw.schemas) };
    assert!(told.end);
    let names: Vec<_> = told.tables.iter().map(|it| it.table.name.to_string()).collect();
    assert_eq!(
        names,
        ["app.notes", "app.marks", "app.board", "app.hints"],
        "and none of the server"
    );
    let known = told.clone();

    let mut again = Raw::connect(&world.ann.address()).await;
    let said = Hello { schema: Some(known.version), ..hello(world.ann.token()) };
    again.send(ClientFrame::Hello(said)).await;
    let ServerFrame::Welcome(_) = again.next().await else { panic!("no welcome") };
    again.load(subscribe(1, "SELECT * FROM app.notes")).await;
    assert!(again.schemas.is_empty(), "{:?}", again.schemas);

    // What the user may not read is no change.
    world.admin.ok("CREATE SHARED TABLE app.hidden (id BIGINT PRIMARY KEY)");
    world.admin.ok("ALTER TABLE app.marks ADD COLUMN note TEXT");
    world.ann.ok("INSERT INTO app.notes (id) VALUES (1)");
    for client in [&mut raw, &mut again] {
        let before = client.schemas.len();
        // What was told before a commit that came later is read with it.
        let ServerFrame::Delta(_) = client.next().await else { panic!("no delta") };
        let [told] = &client.schemas[before..] else { panic!("{:?}", client.schemas) };
        assert!(told.revision > known.revision && told.version != known.version);
        let marks = told.tables.iter().find(|it| it.table.name.to_string() == "app.marks").unwrap();
        assert_eq!((marks.table.version.0, marks.writable), (2, true));
    }
}
