//! What is on the screen, and what keys do.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyEvent;
use sdk_core::{Status, StatusWord};

use super::*;
use crate::view::{Mention, Message, Room};

fn view() -> View {
    let message = |id: &str, author: &str, body: &str| Message {
        id: id.to_owned(),
        author: author.to_owned(),
        body: body.to_owned(),
        at: 1,
        is_waiting: false,
    };
    let room = |name: &str, unread| Room { name: name.to_owned(), seen: 0, unread };
    View {
        user: "alice".to_owned(),
        status: Status { word: StatusWord::Connected, reason: None },
        rooms: vec![room("harbour", 2), room("lobby", 0)],
        room: "lobby".to_owned(),
        messages: vec![
            message("1", "bob", "hello"),
            message("2", "alice", "a text that is too long for one line of this little screen"),
            Message { is_waiting: true, ..message("4", "alice", "later") },
        ],
        is_loading: false,
        typing: vec!["bob".to_owned()],
        mentions: vec![Mention {
            message: "3".to_owned(),
            room: "harbour".to_owned(),
            author: "bob".to_owned(),
            body: "@alice".to_owned(),
        }],
        draft: None,
        notices: Vec::new(),
    }
}

/// The lines of a small screen.
fn drawn(view: &View, screen: &mut Screen) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(60, 9)).unwrap();
    screen.see(view);
    terminal.draw(|frame| draw::draw(frame, view, screen)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..60).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..9).map(|y| line(y).trim_end().to_owned()).collect()
}

fn key(screen: &mut Screen, code: KeyCode) -> Wish {
    screen.event(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn enter(screen: &mut Screen, line: &str) -> Wish {
    for c in line.chars() {
        key(screen, KeyCode::Char(c));
    }
    key(screen, KeyCode::Enter)
}

#[test]
fn everything_is_on_the_screen() {
    let mut screen = Screen::default();
    let lines = drawn(&view(), &mut screen);
    let all = lines.join("\n");
    for text in [
        " tidewire chat  alice  connected  bob mentioned you in harbo",
        "> lobby",
        "  harbour 2",
        "bob: hello",
        "alice: a text that is too long for",
        "alice: later (waiting)",
        " bob is typing ",
    ] {
        assert!(all.contains(text), "no {text:?} in\n{all}");
    }
    assert_eq!(screen.above_end_max, 0);
}

#[test]
fn the_screen_goes_up_and_asks_for_older_messages_at_the_top() {
    let mut view = view();
    for number in 0..20 {
        let message = Message { body: format!("number {number}"), ..view.messages[0].clone() };
        let last = view.messages.len() - 1;
        view.messages.insert(last, message);
    }
    let mut screen = Screen::default();
    let bottom = drawn(&view, &mut screen).join("\n");
    assert!(bottom.contains("later") && !bottom.contains("number 0"), "{bottom}");
    assert_eq!(key(&mut screen, KeyCode::Up), Wish::Look);
    let above = drawn(&view, &mut screen).join("\n");
    assert!(above.contains("number 19") && !above.contains("later"), "{above}");
    while key(&mut screen, KeyCode::PageUp) == Wish::Look {}
    let top = drawn(&view, &mut screen).join("\n");
    assert!(top.contains("bob: hello"), "{top}");
    assert_eq!(key(&mut screen, KeyCode::PageUp), Wish::Older(OLDER));
    assert_eq!(key(&mut screen, KeyCode::PageDown), Wish::Look);
    assert!(screen.above_end < screen.above_end_max);
}

#[test]
fn what_is_written_is_kept_and_sent() {
    let mut screen = Screen::default();
    let mut view = View { draft: Some("not y".to_owned()), ..view() };
    assert!(drawn(&view, &mut screen).join("\n").contains("> not y"));
    assert_eq!(key(&mut screen, KeyCode::Char('e')), Wish::Write("not ye".to_owned()));
    assert_eq!(key(&mut screen, KeyCode::Char('ß')), Wish::Write("not yeß".to_owned()));
    assert_eq!(key(&mut screen, KeyCode::Left), Wish::Look);
    assert_eq!(key(&mut screen, KeyCode::Backspace), Wish::Write("not yß".to_owned()));
    // An older draft does not come back.
    drawn(&view, &mut screen);
    assert_eq!(key(&mut screen, KeyCode::Enter), Wish::Say("not yß".to_owned()));
    drawn(&view, &mut screen);
    assert_eq!(screen.input.value(), "");
    assert_eq!(enter(&mut screen, "/join harbour"), Wish::Join("harbour".to_owned()));
    // But in another room there is another one.
    view.room = "harbour".to_owned();
    drawn(&view, &mut screen);
    assert_eq!(screen.input.value(), "not y");
}

#[test]
fn a_wrong_command_can_be_mended() {
    let mut screen = Screen::default();
    drawn(&view(), &mut screen);
    assert_eq!(enter(&mut screen, "/jion x"), Wish::Look);
    let shown = drawn(&view(), &mut screen).join("\n");
    assert!(shown.contains("there is no /jion") && shown.contains("> /jion x"), "{shown}");
}

#[test]
fn tab_goes_around_the_rooms() {
    let mut screen = Screen::default();
    drawn(&view(), &mut screen);
    assert_eq!(key(&mut screen, KeyCode::Tab), Wish::Join("harbour".to_owned()));
    assert_eq!(key(&mut screen, KeyCode::BackTab), Wish::Join("harbour".to_owned()));
    assert_eq!(screen.event(&Event::Resize(1, 1)), Wish::Look);
    let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.event(&Event::Key(end)), Wish::Quit);
}

#[test]
fn the_smallest_screen_is_no_panic() {
    let mut screen = Screen::default();
    for (width, height) in [(1, 1), (3, 2), (21, 4), (200, 1)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        screen.see(&view());
        terminal.draw(|frame| draw::draw(frame, &view(), &mut screen)).unwrap();
    }
}
