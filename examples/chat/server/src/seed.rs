//! A conversation that is there from the start, so that there is something to see: a service writes
//! it in the name of the people who talk.

use anyhow::Context;
use jiff::Timestamp;
use sdk_core::{Client, Value};

use crate::clock::since_1970;

/// Something that was said: so many minutes ago, where, by whom, what, and how many like it.
type Said = (u32, &'static str, &'static str, &'static str, u32);

/// Who has read up to how many minutes ago.
const READ: [(&str, u32); 2] = [("alice", 95), ("bob", 40)];

const MINUTE_MICROS: i64 = 60 * 1_000_000;

const SAID: [Said; 40] = [
    (2_890, "lobby", "carol", "Good morning! Is anybody else in the office?", 1),
    (2_887, "lobby", "dave", "Half of us are on the ferry.", 0),
    (2_884, "lobby", "alice", "The other half missed it.", 5),
    (2_860, "lobby", "bob", "I can see you from the pier. You are waving at the wrong boat.", 7),
    (2_801, "harbour", "dave", "The new pontoon is in. Pictures to follow.", 2),
    (2_795, "harbour", "erin", "Does it hold a crane?", 0),
    (2_790, "harbour", "dave", "It holds two people and a very small crane.", 3),
    (2_770, "harbour", "alice", "Then the small crane it is.", 1),
    (1_530, "lobby", "erin", "Lunch at one? The place by the lighthouse.", 2),
    (1_527, "lobby", "carol", "Yes. Twelve thirty if we want a table.", 0),
    (1_525, "lobby", "bob", "Twelve thirty.", 1),
    (1_441, "design", "carol", "First sketch of the timetable page is up.", 2),
    (1_436, "design", "alice", "I like the tide line along the top. Can it be thinner?", 1),
    (1_431, "design", "carol", "It can be anything you like until Friday.", 4),
    (1_420, "design", "erin", "How does it look at night?", 0),
    (1_405, "design", "carol", "Dark blue, with a moon in place of the sun. Try it.", 3),
    (1_398, "design", "bob", "The moon is very good.", 2),
    (1_300, "harbour", "bob", "Water is 40 cm above the forecast. Move the cars.", 1),
    (1_296, "harbour", "erin", "Moved mine. Dave, yours is the blue one?", 0),
    (1_290, "harbour", "dave", "It was on the hill all along.", 2),
    (300, "lobby", "dave", "The six o'clock is cancelled, they run at half past.", 1),
    (296, "lobby", "erin", "Thank you, I would have stood there in the rain.", 0),
    (290, "lobby", "alice", "Is there anything at all before half past?", 0),
    (288, "lobby", "dave", "A gull with strong opinions.", 8),
    (240, "design", "alice", "Should a message that waits look grey, or have a clock?", 0),
    (236, "design", "carol", "A clock. Grey looks like it is broken.", 3),
    (233, "design", "bob", "And a tick when it is there. Nothing for what others said.", 2),
    (230, "design", "alice", "Done. It is astonishing how little code that is.", 4),
    (120, "harbour", "erin", "Who has the key of the boat house?", 0),
    (118, "harbour", "dave", "It hangs where it always hangs.", 0),
    (117, "harbour", "erin", "It does not.", 1),
    (90, "harbour", "bob", "It is in my coat. My coat is on the other shore.", 6),
    (60, "lobby", "carol", "@alice the people from the port authority come at four.", 0),
    (58, "lobby", "carol", "They want to see it work without a network.", 1),
    (52, "lobby", "bob", "Then we meet them in the tunnel.", 5),
    (35, "design", "erin", "The timetable reads well on a phone now.", 1),
    (30, "lobby", "dave", "Coffee is on. There is cake from yesterday.", 2),
    (12, "lobby", "erin", "There was cake from yesterday.", 6),
    (6, "harbour", "dave", "The key has crossed. The boat house is open.", 2),
    (3, "lobby", "carol", "@bob can you bring the old phone along?", 0),
];

/// Writes the conversation, unless all of it is there.
///
/// # Errors
/// The server's.
pub(crate) async fn seed(service: &Client) -> anyhow::Result<()> {
    let last = id(SAID.len() - 1)?;
    let found = service.remote("SELECT id FROM chat.messages WHERE id = $1", &[last]).await?;
    if !found.rows.is_empty() {
        return Ok(());
    }
    let now = i64::try_from(since_1970().as_micros()).context("a clock of much later")?;
    let at = |minutes: u32| time(now - i64::from(minutes) * MINUTE_MICROS);
    for (place, (minutes, room, author, body, likes)) in SAID.into_iter().enumerate() {
        let is_new = SAID[..place].iter().all(|said| said.1 != room);
        let room = text(room)?;
        if is_new {
            let found = "INSERT INTO chat.rooms (name) VALUES ($1) ON CONFLICT DO NOTHING";
            as_user(service, author, found, std::slice::from_ref(&room)).await?;
        }
        // Each has the same key every time, so one that broke off goes on.
        let like = "INSERT INTO chat.likes (message, room, n) VALUES ($1, $2, $3)
                    ON CONFLICT DO NOTHING";
        service.remote(like, &[id(place)?, room.clone(), Value::Integer(likes.into())]).await?;
        let say = "INSERT INTO chat.messages (id, room, body, at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT DO NOTHING";
        as_user(service, author, say, &[id(place)?, room, text(body)?, at(minutes)?]).await?;
    }
    for (user, minutes) in READ {
        for room in ["lobby", "harbour", "design"] {
            let read = "INSERT INTO chat.read_marks (room, seen) VALUES ($1, $2)
                        ON CONFLICT DO NOTHING";
            as_user(service, user, read, &[text(room)?, at(minutes)?]).await?;
        }
    }
    Ok(())
}

async fn as_user(service: &Client, user: &str, sql: &str, params: &[Value]) -> anyhow::Result<()> {
    let sql = format!("EXECUTE AS USER '{user}' ({sql})");
    service.remote(&sql, params).await.with_context(|| sql.clone())?;
    Ok(())
}

/// The key of a message, of no meaning.
fn id(place: usize) -> anyhow::Result<Value> {
    text(&format!("01900000-0000-7000-8000-{place:012x}"))
}

fn time(micros: i64) -> anyhow::Result<Value> {
    text(&Timestamp::from_microsecond(micros)?.to_string())
}

fn text(text: &str) -> anyhow::Result<Value> {
    Ok(Value::text(text)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_conversation_goes_forward_in_time_and_somebody_is_mentioned() {
        assert!(SAID.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        let rooms: BTreeSet<&str> = SAID.iter().map(|said| said.1).collect();
        assert_eq!(rooms, BTreeSet::from(["design", "harbour", "lobby"]));
        assert!(SAID.iter().any(|said| said.3.contains("@alice")));
        assert!(SAID.iter().any(|said| said.4 > 0));
    }

    #[test]
    fn keys_are_uuids_and_times_are_text() {
        assert_eq!(id(39).unwrap(), text("01900000-0000-7000-8000-000000000027").unwrap());
        assert_eq!(time(1_500_000).unwrap(), text("1970-01-01T00:00:01.5Z").unwrap());
    }
}
