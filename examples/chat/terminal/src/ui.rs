//! The chat in a terminal.
//!
//! ```text
//!  tidewire chat   alice   connected                      bob mentioned you in harbour
//! ┌ rooms ──┐┌ lobby ───────────────────────────────────────────────────────────────┐
//! │> lobby  ││ bob: hello                                                           │
//! │  harb 2 ││ alice: hello bob                                                     │
//! └─────────┘└ bob is typing ───────────────────────────────────────────────────────┘
//!  what is written
//! ```

mod draw;

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

use crate::view::{Face, OLDER, View, Wish};

/// Lines that a page key moves by, less than a screen.
const PAGE_LINES: usize = 10;

pub(crate) struct Ui {
    terminal: DefaultTerminal,
    events: mpsc::UnboundedReceiver<Event>,
    screen: Screen,
}

/// What is on the screen and is no matter of the chat.
#[derive(Debug, Default)]
struct Screen {
    input: Input,
    /// The room whose draft was taken.
    room: String,
    /// The user has written in it, so a draft from elsewhere does not replace what he wrote.
    is_touched: bool,
    /// How many lines the screen is above the last message.
    above_end: usize,
    /// How far it can be, as it was last drawn.
    above_end_max: usize,
    /// The rooms, as they were last drawn.
    rooms: Vec<String>,
    /// What is wrong with what was entered.
    complaint: Option<String>,
}

impl Ui {
    /// Takes the terminal. It is given back when this is dropped, also by a panic.
    pub(crate) fn start() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let (event, events) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while let Ok(read) = event::read() {
                if event.send(read).is_err() {
                    return;
                }
            }
        });
        Ok(Self { terminal, events, screen: Screen::default() })
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Face for Ui {
    async fn wish(&mut self) -> Option<Wish> {
        let event = self.events.recv().await?;
        Some(self.screen.event(&event))
    }

    fn show(&mut self, view: &View) -> io::Result<()> {
        self.screen.see(view);
        self.terminal.draw(|frame| draw::draw(frame, view, &mut self.screen)).map(drop)
    }

    /// It shows them all the time.
    fn show_all(&mut self, _: &View) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// Takes over what concerns the line that is written.
    fn see(&mut self, view: &View) {
        if self.room != view.room {
            let room = view.room.clone();
            *self = Self { room, ..Self::default() };
        }
        if let Some(draft) = view.draft.as_ref().filter(|_| !self.is_touched) {
            self.is_touched = true;
            self.input = Input::new(draft.clone());
        }
        self.rooms = view.rooms.iter().map(|room| room.name.clone()).collect();
    }

    fn event(&mut self, event: &Event) -> Wish {
        let Event::Key(key) = event else { return Wish::Look };
        if key.kind == KeyEventKind::Release {
            return Wish::Look;
        }
        match (key.code, key.modifiers) {
            (KeyCode::Char('c' | 'd'), KeyModifiers::CONTROL) => Wish::Quit,
            (KeyCode::Enter, _) => self.enter(),
            (KeyCode::PageUp | KeyCode::Up, _) => {
                let lines = if key.code == KeyCode::Up { 1 } else { PAGE_LINES };
                let is_at_top = self.above_end >= self.above_end_max;
                self.above_end = (self.above_end + lines).min(self.above_end_max);
                if is_at_top { Wish::Older(OLDER) } else { Wish::Look }
            }
            (KeyCode::PageDown | KeyCode::Down, _) => {
                let lines = if key.code == KeyCode::Down { 1 } else { PAGE_LINES };
                self.above_end = self.above_end.saturating_sub(lines);
                Wish::Look
            }
            (KeyCode::Tab, _) => self.neighbour(1),
            (KeyCode::BackTab, _) => self.neighbour(self.rooms.len().saturating_sub(1)),
            _ => self.edit(event),
        }
    }

    fn enter(&mut self) -> Wish {
        let line = self.input.value_and_reset();
        (self.is_touched, self.above_end, self.complaint) = (true, 0, None);
        Wish::parse(&line).unwrap_or_else(|complaint| {
            self.complaint = Some(complaint);
            // So that it can be mended.
            self.input = Input::new(line);
            Wish::Look
        })
    }

    /// The room that comes so many places after this one.
    fn neighbour(&self, places: usize) -> Wish {
        let here = self.rooms.iter().position(|room| *room == self.room).unwrap_or(0);
        let there = (here + places).checked_rem(self.rooms.len());
        let room = there.and_then(|there| self.rooms.get(there));
        room.filter(|room| **room != self.room).map_or(Wish::Look, |room| Wish::Join(room.clone()))
    }

    fn edit(&mut self, event: &Event) -> Wish {
        let request = to_input_request(event).or_else(|| typed(event));
        let changed = request.and_then(|request| self.input.handle(request));
        if !changed.is_some_and(|changed| changed.value) {
            return Wish::Look;
        }
        self.is_touched = true;
        // A command is nothing to keep or to tell others of.
        let line = if self.input.value().starts_with('/') { "" } else { self.input.value() };
        Wish::Write(line.to_owned())
    }
}

/// A character that was entered with keys that mean nothing else, such as those of AltGr.
fn typed(event: &Event) -> Option<InputRequest> {
    let Event::Key(key) = event else { return None };
    let KeyCode::Char(c) = key.code else { return None };
    (!key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::META))
        .then_some(InputRequest::InsertChar(c))
}

#[cfg(test)]
mod tests;
