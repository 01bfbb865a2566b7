//! Draws a view.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use sdk_core::StatusWord;

use super::Screen;
use crate::view::{HELP, Message, View};

const ROOMS_WIDTH: u16 = 20;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View, screen: &mut Screen) {
    let [top, middle, input, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [rooms, messages] =
        Layout::horizontal([Constraint::Length(ROOMS_WIDTH), Constraint::Min(10)]).areas(middle);
    frame.render_widget(title(view), top);
    frame.render_widget(room_list(view), rooms);
    draw_messages(frame, messages, view, screen);
    draw_input(frame, input, screen);
    let told = screen.complaint.as_ref().or(view.notices.last());
    let told = told.map_or_else(
        || Line::from(format!("Tab: next room  PgUp: older  {HELP}")).dim(),
        |told| Line::from(told.clone()).yellow(),
    );
    frame.render_widget(told, bottom);
}

fn title(view: &View) -> Line<'_> {
    let colour = match view.status.word {
        StatusWord::Connected => Color::Green,
        StatusWord::Connecting | StatusWord::Behind => Color::Yellow,
        _ => Color::Red,
    };
    let mut parts = vec![
        Span::from(" tidewire chat  ").bold(),
        Span::from(&*view.user),
        Span::from("  "),
        Span::styled(view.status.word.to_string(), Style::new().fg(colour).bold()),
    ];
    if let Some(reason) = &view.status.reason {
        parts.push(Span::from(format!("  {}", reason.message)).dim());
    } else if let Some(mention) = view.mentions.last() {
        let (author, room, body) = (&mention.author, &mention.room, &mention.body);
        parts.push(Span::from(format!("  {author} mentioned you in {room}: {body}")).magenta());
    }
    Line::from(parts)
}

fn room_list(view: &View) -> Paragraph<'_> {
    let lines: Vec<Line<'_>> = view
        .rooms
        .iter()
        .map(|room| {
            if room.name == view.room {
                Line::from(format!("> {}", room.name)).bold()
            } else if room.unread > 0 {
                Line::from(format!("  {} {}", room.name, room.unread)).yellow()
            } else {
                Line::from(format!("  {}", room.name))
            }
        })
        .collect();
    Paragraph::new(lines).block(Block::bordered().title(" rooms "))
}

fn draw_messages(frame: &mut Frame<'_>, area: Rect, view: &View, screen: &mut Screen) {
    let mut block = Block::bordered().title(format!(" {} ", view.room));
    if view.is_loading {
        block = block.title(Line::from(" loading ").right_aligned());
    }
    if !view.typing.is_empty() {
        let are = if view.typing.len() == 1 { "is" } else { "are" };
        let typing = format!(" {} {are} typing ", view.typing.join(", "));
        block = block.title_bottom(typing);
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let (width, height) = (usize::from(inner.width.max(1)), usize::from(inner.height));
    let lines = message_lines(view, width);
    screen.above_end_max = lines.len().saturating_sub(height);
    screen.above_end = screen.above_end.min(screen.above_end_max);
    let first = screen.above_end_max - screen.above_end;
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    frame.render_widget(Paragraph::new(shown), inner);
}

/// All messages of the room as lines of a width.
fn message_lines(view: &View, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for Message { author, body, is_waiting, .. } in &view.messages {
        let name = format!("{author}: ");
        let waits = if *is_waiting { " (waiting)" } else { "" };
        let text = format!("{name}{body}{waits}");
        for (place, part) in textwrap::wrap(&text, width).into_iter().enumerate() {
            let line = match part.strip_prefix(&*name).filter(|_| place == 0) {
                Some(rest) => {
                    let colour = if *author == view.user { Color::Cyan } else { Color::Blue };
                    let author = Span::styled(name.clone(), Style::new().fg(colour).bold());
                    Line::from(vec![author, Span::from(rest.to_owned())])
                }
                None => Line::from(part.into_owned()),
            };
            lines.push(if *is_waiting { line.dim() } else { line });
        }
    }
    lines
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let prompt = 2;
    let width = usize::from(area.width.saturating_sub(prompt + 1).max(1));
    let hidden = screen.input.visual_scroll(width);
    let line = Paragraph::new(screen.input.value()).scroll((0, cells(hidden)));
    frame.render_widget(Span::from("> ").bold(), area);
    let rest = Rect {
        x: area.x + prompt.min(area.width),
        width: area.width.saturating_sub(prompt),
        ..area
    };
    frame.render_widget(line, rest);
    let cursor = screen.input.visual_cursor().saturating_sub(hidden);
    frame.set_cursor_position(Position::new(rest.x + cells(cursor), rest.y));
}

/// A number of cells of a screen, which has no more than it can count.
fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
