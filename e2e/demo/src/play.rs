//! The demo without a terminal: a conversation, and what each of the two has of it at the end.

use e2e_harness::{Chat, ChatCommand, Home, chat};

use crate::{Outcome, set_up};

/// What is said, in the order in which it arrives.
const SAID: [(&str, &str); 7] = [
    ("alice", "hello bob"),
    ("bob", "hello alice"),
    ("bob", "are you still there?"),
    ("alice", "@bob the ferry leaves at six"),
    ("alice", "from the north pier"),
    ("bob", "I was in the tunnel"),
    ("alice", "see you at the pier"),
];

pub(crate) fn play() -> Outcome {
    let home = Home::new();
    let server = home.start();
    home.keep_port();
    let address = home.admin().address();
    println!("A server runs at http://{address}, on an empty directory. Alice and Bob chat.\n");
    let _notifier = set_up(&home, &address)?;
    let open = |user: &'static str| {
        let (data, folder) = (home.data(), home.folder("chat"));
        Chat::spawn(chat(ChatCommand::Open, user, &address, &data, &folder), move |line| {
            if line.starts_with(['[', '*']) {
                println!("    {user:>5} sees   {line}");
            }
        })
    };
    let (mut alice, mut bob) = (open("alice"), open("bob"));
    for chat in [&mut alice, &mut bob] {
        chat.until("* connected");
    }
    let [hello, back, still, ferry, pier, tunnel, see] = SAID.map(|(_, body)| body);
    say(&mut alice, hello, &mut bob);
    say(&mut bob, back, &mut alice);
    arrives(&mut bob, "bob", back);

    println!("\nThe server is killed with kill -9. Bob says something all the same.\n");
    server.kill9();
    bob.until("* offline");
    bob.enter(still);
    check("bob, without a server,", &bob.messages(), 2)?;
    let server = home.start();
    println!("\nThe server has started again.\n");
    arrives(&mut alice, "bob", still);
    arrives(&mut bob, "bob", still);

    through_a_tunnel(&mut alice, &mut bob, [ferry, pier, tunnel])?;

    println!("\nThe chat of Alice is killed with kill -9, and opened again.\n");
    alice.kill9();
    let mut alice = open("alice");
    check("alice, right after the start,", &after_start(&mut alice), 6)?;
    say(&mut alice, see, &mut bob);
    arrives(&mut alice, "alice", see);

    for (name, chat) in [("alice", &mut alice), ("bob", &mut bob)] {
        let messages = chat.messages();
        println!("\nThe replica of {name} has:");
        for message in &messages {
            println!("    {message}");
        }
        check(name, &messages, SAID.len())?;
    }
    println!("\nEach has every message once, in the same order.");
    alice.leave();
    bob.leave();
    let ended = server.term();
    if ended.code != Some(0) {
        return Err(format!("the server did not stop: {}", ended.told).into());
    }
    println!("Asked to stop, the server has stopped.");
    Ok(())
}

/// Bob is without a network for a while, and both go on.
fn through_a_tunnel(alice: &mut Chat, bob: &mut Chat, [ferry, pier, tunnel]: [&str; 3]) -> Outcome {
    println!("\nBob goes through a tunnel. What he has is there.\n");
    bob.enter("/offline");
    bob.until("* paused");
    for body in [ferry, pier] {
        alice.enter(body);
        arrives(alice, "alice", body);
    }
    bob.enter(tunnel);
    check("bob, in the tunnel,", &bob.messages(), 3)?;
    println!("\nHe comes out of it.\n");
    bob.enter("/online");
    arrives(bob, "alice", pier);
    bob.until("* alice mentioned you in lobby");
    arrives(alice, "bob", tunnel);
    Ok(())
}

/// One says something, and the other sees it.
fn say(one: &mut Chat, body: &str, other: &mut Chat) {
    one.enter(body);
    let author = if SAID.contains(&("alice", body)) { "alice" } else { "bob" };
    arrives(other, author, body);
}

fn arrives(chat: &mut Chat, author: &str, body: &str) {
    chat.until(&format!("[lobby] {author}: {body}"));
}

/// What a chat has when it has just begun.
fn after_start(chat: &mut Chat) -> Vec<String> {
    chat.until("[lobby] bob: I was in the tunnel");
    chat.messages()
}

/// Somebody has the first so many messages, each once.
fn check(who: &str, messages: &[String], count: usize) -> Outcome {
    let expected: Vec<String> =
        SAID[..count].iter().map(|(author, body)| format!("[lobby] {author}: {body}")).collect();
    if messages == expected {
        return Ok(());
    }
    Err(format!("{who} has {messages:#?} and not {expected:#?}").into())
}
