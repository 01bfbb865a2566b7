//! Two users of one server, by every way there is: nobody sees rows of another, or learns that
//! they are there (INV-7).

use e2e_harness::{Client, Failure, Home, Refusal, Role, Server};
use serde_json::json;

/// What stands only in Ann's rows, so that it can be looked for in all that Bob gets.
const SECRET: &str = "annsecret";

struct World {
    ann: Client,
    bob: Client,
    service: Client,
    admin: Client,
    _server: Server,
    // Read last: its log is checked when it is dropped.
    _home: Home,
}

const TABLES: [&str; 7] = [
    "CREATE NAMESPACE app",
    "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT NOT NULL, INDEX (body))",
    "CREATE STREAM TABLE app.events (id BIGINT PRIMARY KEY, body TEXT) WITH (TTL_SECONDS = 86400)",
    "CREATE SHARED TABLE app.secrets (id BIGINT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE SHARED TABLE app.news (id BIGINT PRIMARY KEY, body TEXT) WITH (ACCESS_LEVEL = READ)",
    "CREATE SHARED TABLE app.board (id BIGINT PRIMARY KEY, body TEXT) WITH (ACCESS_LEVEL = WRITE)",
    "CREATE SHARED TABLE app.wall (id BIGINT PRIMARY KEY, author TEXT, body TEXT) \
     WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = author)",
];

fn world() -> World {
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    for sql in TABLES {
        admin.ok(sql);
    }
    let (ann, bob) = (home.client("ann", Role::User), home.client("bob", Role::User));
    let service = home.client("batch", Role::Service);
    for id in 1..=3 {
        ann.ok(&format!("INSERT INTO app.notes VALUES ({id}, '{SECRET} note {id}')"));
        ann.ok(&format!("INSERT INTO app.events VALUES ({id}, '{SECRET} event {id}')"));
        service.ok(&format!("INSERT INTO app.secrets VALUES ({id}, '{SECRET} of the house {id}')"));
        service.ok(&format!("INSERT INTO app.news VALUES ({id}, 'news {id}')"));
    }
    bob.ok("INSERT INTO app.notes VALUES (1, 'bob one')");
    World { ann, bob, service, admin, _server: server, _home: home }
}

/// What Bob gets for a statement, which must have nothing of Ann's in it.
fn seen(client: &Client, sql: &str) -> Result<Vec<Vec<serde_json::Value>>, Refusal> {
    let answer = client.run(sql);
    assert!(!format!("{answer:?}").contains(SECRET), "{sql}: {answer:?}");
    match answer {
        Ok(answer) => Ok(answer.rows),
        Err(Failure::Refused(refusal)) => Err(refusal),
        Err(Failure::Unanswered(why)) => panic!("{sql}: {why}"),
    }
}

#[test]
fn rows_of_users_are_their_own() {
    let world = world();
    let World { ann, bob, .. } = &world;
    assert_eq!(bob.rows("SELECT id, body FROM app.notes"), ["1 bob one"]);
    assert_eq!(bob.rows("SELECT COUNT(*) FROM app.events"), ["0"]);
    assert_eq!(ann.rows("SELECT COUNT(*) FROM app.notes"), ["3"]);
    for sql in [
        "SELECT * FROM app.notes",
        "SELECT * FROM app.notes WHERE id = 2",
        "SELECT * FROM app.notes WHERE id IN (1, 2, 3)",
        "SELECT * FROM app.notes WHERE body = 'annsecret note 2'",
        "SELECT * FROM app.events",
        "SELECT COUNT(*) FROM app.notes WHERE body LIKE 'annsec%'",
    ] {
        // What was asked for may come back in no answer either, but for the statement's own error.
        let _ = seen(bob, sql);
    }
    for (sql, rows) in [
        ("UPDATE app.notes SET body = 'taken' WHERE id = 2", 0),
        ("UPDATE app.notes SET body = 'taken' WHERE id >= 2", 0),
        ("DELETE FROM app.notes WHERE id = 3", 0),
        ("DELETE FROM app.events", 0),
        ("INSERT INTO app.notes VALUES (2, 'bob two')", 1),
        ("INSERT INTO app.notes VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET body = 'bob 2'", 1),
    ] {
        assert_eq!(bob.ok(sql).rows_affected, Some(rows), "{sql}");
    }
    assert_eq!(
        ann.rows("SELECT id, body FROM app.notes ORDER BY id"),
        ["1 annsecret note 1", "2 annsecret note 2", "3 annsecret note 3"]
    );
    assert_eq!(ann.rows("SELECT COUNT(*) FROM app.events"), ["3"]);
}

#[test]
fn joins_subqueries_and_sets_read_own_rows_alone() {
    let world = world();
    for (sql, rows) in [
        ("SELECT COUNT(*) FROM app.notes a JOIN app.notes b ON a.id = b.id", 1),
        ("SELECT COUNT(*) FROM app.notes a CROSS JOIN app.events b", 0),
        (
            "SELECT COUNT(*) FROM (SELECT id FROM app.notes UNION ALL SELECT id FROM app.events) x",
            1,
        ),
        (
            "SELECT COUNT(*) FROM app.news n WHERE EXISTS (SELECT 1 FROM app.notes o WHERE o.id = n.id)",
            1,
        ),
        ("SELECT COUNT(*) FROM app.news WHERE id IN (SELECT id FROM app.notes)", 1),
        ("WITH n AS (SELECT * FROM app.notes) SELECT COUNT(*) FROM n", 1),
        (
            "SELECT COUNT(*) FROM app.news LEFT JOIN app.events ON news.id = events.id WHERE events.id IS NOT NULL",
            0,
        ),
    ] {
        let seen = seen(&world.bob, sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        assert_eq!(seen, [[json!(rows.to_string())]], "{sql}");
    }
    // A table that may not be read is not there either, wherever it is named.
    for sql in [
        "SELECT COUNT(*) FROM app.notes JOIN app.secrets ON notes.id = secrets.id",
        "SELECT id FROM app.notes WHERE id IN (SELECT id FROM app.secrets)",
        "SELECT id FROM app.notes UNION SELECT id FROM app.secrets",
        "WITH s AS (SELECT * FROM app.secrets) SELECT 1",
        "INSERT INTO app.notes SELECT id, body FROM app.secrets",
    ] {
        let code = seen(&world.bob, sql).unwrap_err().code;
        assert!(code == "not_found" || code == "unsupported", "{sql}: {code}");
    }
}

#[test]
fn a_table_that_may_not_be_read_is_told_like_one_that_is_not_there() {
    let world = world();
    for sql in [
        "SELECT * FROM app.TABLE",
        "SELECT nothing FROM app.TABLE",
        "INSERT INTO app.TABLE VALUES (1, 'x')",
        "INSERT INTO app.TABLE (nothing) VALUES (1)",
        "UPDATE app.TABLE SET body = 'x'",
        "UPDATE app.TABLE SET nothing = 1 WHERE id = 1",
        "DELETE FROM app.TABLE WHERE id = 1",
    ] {
        let ask = |table: &str| {
            let refusal = seen(&world.bob, &sql.replace("TABLE", table)).unwrap_err();
            (refusal.status, refusal.code, refusal.message.replace(table, "TABLE"))
        };
        assert_eq!(ask("secrets"), ask("nothing"), "{sql}");
        assert_eq!(ask("secrets").1, "not_found", "{sql}");
    }
    let names = world.bob.rows("SELECT name FROM system.tables");
    assert!(
        names.contains(&"news".to_owned()) && !names.contains(&"secrets".to_owned()),
        "{names:?}"
    );
    let columns = world.bob.rows("SELECT table_name FROM system.columns");
    assert!(!columns.contains(&"secrets".to_owned()), "{columns:?}");
}

#[test]
fn what_is_shared_is_read_and_written_as_its_table_says() {
    let world = world();
    let World { ann, bob, service, .. } = &world;
    assert_eq!(bob.rows("SELECT COUNT(*) FROM app.news"), ["3"]);
    for sql in [
        "INSERT INTO app.news VALUES (9, 'x')",
        "UPDATE app.news SET body = 'x' WHERE id = 1",
        "DELETE FROM app.news",
        "CREATE NAMESPACE bobs",
        "CREATE USER TABLE app.bobs (id INT PRIMARY KEY)",
        "DROP TABLE app.notes",
        "INSERT INTO system.namespaces (name) VALUES ('bobs')",
    ] {
        bob.refused(sql, "forbidden");
    }
    ann.ok("INSERT INTO app.board VALUES (1, 'from ann')");
    assert_eq!(
        bob.ok("UPDATE app.board SET body = 'from bob' WHERE id = 1").rows_affected,
        Some(1)
    );
    assert_eq!(service.rows("SELECT body FROM app.board"), ["from bob"]);

    ann.ok("INSERT INTO app.wall (id, body) VALUES (1, 'by ann')");
    bob.ok("INSERT INTO app.wall (id, body) VALUES (2, 'by bob')");
    for sql in [
        "INSERT INTO app.wall VALUES (3, 'ann', 'forged')",
        "UPDATE app.wall SET body = 'x' WHERE id = 1",
        "UPDATE app.wall SET author = 'ann' WHERE id = 2",
        "DELETE FROM app.wall WHERE id = 1",
        "INSERT INTO app.wall VALUES (1, 'bob', 'x') ON CONFLICT (id) DO UPDATE SET body = 'x'",
    ] {
        bob.refused(sql, "forbidden");
    }
    assert_eq!(
        service.rows("SELECT id, author, body FROM app.wall ORDER BY id"),
        ["1 ann by ann", "2 bob by bob"]
    );
}

#[test]
fn errors_show_no_values_of_anybody() {
    let world = world();
    let World { ann, bob, service, .. } = &world;
    // The value is the asker's own, or another's: it is in no sentence.
    for (client, sql, code) in [
        (ann, "INSERT INTO app.notes VALUES (1, 'annsecret again')", "constraint"),
        (ann, "INSERT INTO app.notes VALUES (7, NULL)", "constraint"),
        (bob, "INSERT INTO app.notes VALUES (1, 'x')", "constraint"),
        (service, "INSERT INTO app.secrets VALUES (1, 'x')", "constraint"),
        (bob, "EXECUTE AS USER 'ann' SELECT * FROM app.notes", "forbidden"),
        (bob, "EXECUTE AS USER 'ann' DELETE FROM app.notes", "forbidden"),
        (bob, "EXECUTE AS USER 'nobody' SELECT * FROM app.notes", "forbidden"),
    ] {
        let refusal = seen(client, sql).unwrap_err();
        assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
    }
    // Whether a key is taken in another's partition makes no difference.
    let taken = bob.ok("INSERT INTO app.notes VALUES (3, 'x')");
    let free = bob.ok("INSERT INTO app.notes VALUES (4, 'x')");
    assert_eq!(taken.rows_affected, free.rows_affected);
    let ask = |user: &str| {
        let sql = format!("EXECUTE AS USER '{user}' SELECT * FROM app.notes");
        bob.refused(&sql, "forbidden").message
    };
    assert_eq!(ask("ann"), ask("nobody"));
}

#[test]
fn who_acts_for_a_user_acts_as_that_user() {
    let world = world();
    let World { service, admin, bob, .. } = &world;
    for client in [service, admin] {
        let sql = "EXECUTE AS USER 'ann' SELECT COUNT(*) FROM app.notes";
        assert_eq!(client.rows(sql), ["3"]);
        client.refused("EXECUTE AS USER 'ann' SELECT * FROM app.secrets", "not_found");
        client.refused("EXECUTE AS USER 'ann' CREATE NAMESPACE x", "forbidden");
        // Their own partitions are others than Ann's.
        assert_eq!(client.rows("SELECT COUNT(*) FROM app.notes"), ["0"]);
    }
    assert_eq!(service.rows("SELECT COUNT(*) FROM app.secrets"), ["3"]);
    service.refused("CREATE NAMESPACE x", "forbidden");
    assert_eq!(bob.rows("SELECT COUNT(*) FROM app.notes"), ["1"]);
}

#[test]
fn a_request_id_is_of_one_user() {
    let world = world();
    let World { ann, bob, .. } = &world;
    let id = "0123456789abcdef0123456789abcdef";
    let sql = "INSERT INTO app.notes VALUES (10, 'same')";
    let first = ann.request(id, sql, &[]).unwrap();
    let other = bob.request(id, sql, &[]).unwrap();
    assert_eq!((first.rows_affected, other.rows_affected), (Some(1), Some(1)));
    assert_ne!(first.positions, other.positions);
    // Also in a lane that both write.
    let sql = "INSERT INTO app.board VALUES ($1, 'x')";
    let id = "0123456789abcdef0123456789abcd00";
    ann.request(id, sql, &[json!(20)]).unwrap();
    bob.request(id, sql, &[json!(21)]).unwrap();
    assert_eq!(ann.rows("SELECT COUNT(*) FROM app.board"), ["2"]);
}

#[test]
fn positions_name_lanes_that_the_asker_wrote() {
    let world = world();
    for (client, sql, lane) in [
        (&world.ann, "INSERT INTO app.notes VALUES (30, 'x')", "user/ann"),
        (&world.bob, "INSERT INTO app.notes VALUES (30, 'x')", "user/bob"),
        (&world.bob, "INSERT INTO app.board VALUES (30, 'x')", "shared/app"),
    ] {
        let positions = client.ok(sql).positions;
        assert_eq!(positions.len(), 1, "{sql}");
        assert_eq!(positions[0]["lane"], lane, "{sql}");
    }
}

#[test]
fn a_token_that_is_none_gets_nothing() {
    let world = world();
    let token = world.ann.token().to_owned();
    let changed = |place: usize| {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let other = if parts[place].starts_with('A') { "B" } else { "A" };
        parts[place].replace_range(..1, other);
        parts.join(".")
    };
    let cut = &token[..token.len() - 4];
    for wrong in ["", "x", "a.b.c", cut, &changed(0), &changed(1), &changed(2)] {
        let nobody = world.ann.with_token(wrong);
        let refusal = nobody.refused("SELECT * FROM app.notes", "needs_auth");
        assert_eq!(refusal.status, 401, "{refusal:?}");
        assert!(wrong.is_empty() || !refusal.message.contains(wrong) || wrong == "x");
    }
}
