use proptest::prelude::*;

use super::*;
use crate::said::{is_after, subscribed_table};

fn known() -> BTreeSet<String> {
    ["chat__messages", "chat__rooms", "other__messages"].map(str::to_owned).into()
}

/// What is said, and what SQLite is told.
const REWRITTEN: &[(&str, &str)] = &[
    ("SELECT * FROM chat.messages", "SELECT * FROM \"chat__messages\" AS \"messages\""),
    ("select * from CHAT.Messages;", "select * from \"chat__messages\" AS \"messages\";"),
    ("SELECT * FROM chat.messages m", "SELECT * FROM \"chat__messages\" m"),
    ("SELECT * FROM chat.messages AS m", "SELECT * FROM \"chat__messages\" AS m"),
    ("SELECT * FROM chat.messages \"m\"", "SELECT * FROM \"chat__messages\" \"m\""),
    (
        "SELECT messages.id FROM chat.messages WHERE chat.messages.id = $1",
        "SELECT messages.id FROM \"chat__messages\" AS \"messages\" WHERE \"messages\".id = ?1",
    ),
    (
        "SELECT * FROM chat.messages JOIN chat.rooms ON messages.room = rooms.id, other.messages o",
        "SELECT * FROM \"chat__messages\" AS \"messages\" JOIN \"chat__rooms\" AS \"rooms\" ON \
         messages.room = rooms.id, \"other__messages\" o",
    ),
    (
        "SELECT (SELECT count(*) FROM chat.messages WHERE room = r.id) FROM chat.rooms r",
        "SELECT (SELECT count(*) FROM \"chat__messages\" AS \"messages\" WHERE room = r.id) FROM \
         \"chat__rooms\" r",
    ),
    (
        "SELECT * FROM (chat.rooms, chat.messages)",
        "SELECT * FROM (\"chat__rooms\" AS \"rooms\", \"chat__messages\" AS \"messages\")",
    ),
    (
        "SELECT 1 WHERE 1 IN (SELECT id FROM \"chat\".\"messages\")",
        "SELECT 1 WHERE 1 IN (SELECT id FROM \"chat__messages\" AS \"messages\")",
    ),
    ("SELECT * FROM [chat] . `messages`", "SELECT * FROM \"chat__messages\" AS \"messages\""),
    (
        "SELECT * FROM chat /* a */ . -- b\n messages",
        "SELECT * FROM \"chat__messages\" AS \"messages\"",
    ),
    (
        "WITH x AS (SELECT * FROM chat.messages) SELECT * FROM x, chat.rooms",
        "WITH x AS (SELECT * FROM \"chat__messages\" AS \"messages\") SELECT * FROM x, \
         \"chat__rooms\" AS \"rooms\"",
    ),
    (
        "DELETE FROM chat.messages WHERE id = 1",
        "DELETE FROM \"chat__messages\" AS \"messages\" WHERE id = 1",
    ),
    (
        "INSERT INTO chat.messages SELECT * FROM chat.messages RETURNING id",
        "INSERT INTO \"chat__messages\" SELECT * FROM \"chat__messages\" RETURNING id",
    ),
    ("UPDATE chat.messages SET id = 2", "UPDATE \"chat__messages\" AS \"messages\" SET id = 2"),
    (
        "INSERT INTO chat.rooms DEFAULT VALUES",
        "INSERT INTO \"chat__rooms\" AS \"rooms\" DEFAULT VALUES",
    ),
    (
        "INSERT OR REPLACE INTO chat.rooms (a) WITH x AS (SELECT 1) SELECT * FROM x",
        "INSERT OR REPLACE INTO \"chat__rooms\" AS \"rooms\" (a) WITH x AS (SELECT 1) SELECT * FROM x",
    ),
    (
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE chat.rooms SET a = 1; END",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE \"chat__rooms\" SET a = 1; END",
    ),
    (
        "CREATE INDEX local ON chat.messages (room)",
        "CREATE INDEX local ON \"chat__messages\" (room)",
    ),
    (
        "SELECT coalesce(chat.messages.a, chat.messages.b) FROM chat.messages",
        "SELECT coalesce(\"messages\".a, \"messages\".b) FROM \"chat__messages\" AS \"messages\"",
    ),
    (
        "SELECT chat.rooms, other.x FROM chat.messages AS chat WHERE chat.rooms IN chat.rooms",
        "SELECT chat.rooms, other.x FROM \"chat__messages\" AS chat WHERE chat.rooms IN \
         \"chat__rooms\"",
    ),
    (
        "SELECT 1 FROM t chat JOIN chat.messages ON chat.rooms = 1",
        "SELECT 1 FROM t chat JOIN \"chat__messages\" AS \"messages\" ON chat.rooms = 1",
    ),
    (
        "SELECT a IS NOT DISTINCT FROM chat.rooms.b, chat.rooms.c FROM chat.rooms",
        "SELECT a IS NOT DISTINCT FROM \"rooms\".b, \"rooms\".c FROM \"chat__rooms\" AS \"rooms\"",
    ),
    (
        "CREATE TRIGGER t AFTER UPDATE OF a ON chat.rooms BEGIN SELECT 1; END",
        "CREATE TRIGGER t AFTER UPDATE OF a ON \"chat__rooms\" BEGIN SELECT 1; END",
    ),
    ("DROP TABLE IF EXISTS chat.rooms", "DROP TABLE IF EXISTS \"chat__rooms\""),
    (
        "UPDATE OR IGNORE chat.rooms SET a = 1",
        "UPDATE OR IGNORE \"chat__rooms\" AS \"rooms\" SET a = 1",
    ),
    (
        "SELECT * FROM chat.rooms UNION SELECT * FROM chat.messages ORDER BY 1",
        "SELECT * FROM \"chat__rooms\" AS \"rooms\" UNION SELECT * FROM \"chat__messages\" AS \
         \"messages\" ORDER BY 1",
    ),
];

#[test]
fn replicated_tables_are_rewritten_and_nothing_else() {
    for (sql, expected) in REWRITTEN {
        assert_eq!(rewrite(sql, &known()), *expected, "{sql}");
    }
}

#[test]
fn what_is_not_a_name_of_a_replicated_table_stays_as_it_is() {
    for sql in [
        "SELECT 'chat.messages', 'it''s chat.messages'",
        "SELECT \"chat.messages\" FROM t",
        "SELECT 1 -- FROM chat.messages",
        "SELECT 1 /* FROM chat.messages",
        "SELECT * FROM main.chat.messages",
        "SELECT * FROM chat.drafts",
        "SELECT * FROM messages",
        "SELECT x'00' || X'ff', 1.5e-3, .5, 0x1f, ?, ?12, :name, @name, $name, a$1",
        "SELECT [chat.messages], `chat.messages`",
        "SELECT 'unfinished chat.messages",
        "SELECT \"unfinished chat.messages",
        "SELECT chat . ",
        "",
        "ünï.cödé",
    ] {
        assert_eq!(rewrite(sql, &known()), sql);
    }
}

#[test]
fn parameters_are_by_number() {
    assert_eq!(rewrite("SELECT $1, $12, '$1'", &known()), "SELECT ?1, ?12, '$1'");
}

proptest! {
    #[test]
    fn any_text_is_its_tokens(text in "[ -~\\n'\"`\\[\\]äx]{0,60}") {
        let joined: String = tokens(&text).iter().map(|token| token.text).collect();
        prop_assert_eq!(joined, text);
    }

    #[test]
    fn a_string_is_never_changed(text in ".{0,40}") {
        let sql = format!("SELECT '{}' FROM t", text.replace('\'', "''"));
        prop_assert_eq!(rewrite(&sql, &known()), sql);
    }

    #[test]
    fn rewriting_once_is_enough(parts in proptest::collection::vec(proptest::sample::select(vec![
        "SELECT", " ", "*", "FROM", "chat.messages", "chat.rooms", ",", "(", ")", "JOIN", "a", "AS",
        "'x'", "WHERE", "--\n", "\"q\"", ".", "1", "$1",
    ]), 0..20)) {
        let once = rewrite(&parts.concat(), &known());
        prop_assert_eq!(rewrite(&once, &known()), once);
    }
}

#[test]
fn a_subscription_says_its_table() {
    for (sql, expected) in [
        ("SELECT * FROM chat.messages WHERE a = 'FROM x.y'", Some("chat__messages")),
        ("select id from \"Chat\" . messages", Some("chat__messages")),
        ("SELECT * FROM messages", None),
        ("SELECT 'FROM a.b'", None),
        ("", None),
    ] {
        assert_eq!(subscribed_table(sql).as_deref(), expected, "{sql}");
    }
}

proptest! {
    /// Whatever is typed, and however it ends.
    #[test]
    fn any_text_is_rewritten_without_harm(
        parts in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "chat", ".", "messages", "\"", "`", "[", "]", "'", " FROM ", "é", "/*", "*/",
                    "--", "$", "1", "x'", ";", "(", ")", ",",
                ])
                .prop_map(str::to_owned),
                any::<String>(),
            ],
            0..12,
        )
    ) {
        let sql: String = parts.concat();
        rewrite(&sql, &known());
        subscribed_table(&sql);
        is_after(&sql);
        let whole: String = tokens(&sql).iter().map(|token| token.text).collect();
        prop_assert_eq!(whole, sql);
    }
}
