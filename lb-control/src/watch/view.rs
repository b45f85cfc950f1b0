//! Draws a model.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style as Look},
    text::{Line, Span},
};

use super::{
    model::{Mode, Model, Wish},
    rates::Counts,
    rows::{Row, troubled},
};
use crate::{
    control::order::Verb,
    status::{
        ServerState, StatusReport,
        columns::{Style, Tone},
    },
};

/// The table keeps so many lines before events get some.
const TABLE: u16 = 8;

/// Events get no more lines.
const EVENTS: u16 = 6;

const KEYS: &str =
    "q quit  ? help  / filter  s sort  Enter fold  d drain  u up  D down  a auto  r reload";

const HELP: &[&str] = &[
    "arrows, j, k    to another line (PageUp, PageDown, Home, End)",
    "Enter           shows or hides the servers of a service",
    "/               only what has a text in it; Esc ends that",
    "s               another order: file, name, conn/s, active, trouble",
    "d               drain: the server gets nothing new and finishes",
    "u               up: it gets connections whatever its checks say",
    "D               down: it leaves at once",
    "a               auto: its checks decide again",
    "r               the daemon reads lvs.cf again",
    "q, Ctrl-C       the end",
];

/// A column that is there if there is room.
struct Column {
    head: &'static str,
    width: u16,
    /// The lower, the sooner it has room.
    rank: u8,
}

const COLUMNS: [Column; 8] = [
    Column {
        head: "state",
        width: 8,
        rank: 0,
    },
    Column {
        head: "weight",
        width: 6,
        rank: 4,
    },
    Column {
        head: "active",
        width: 6,
        rank: 1,
    },
    Column {
        head: "inactive",
        width: 8,
        rank: 3,
    },
    Column {
        head: "conn/s",
        width: 6,
        rank: 2,
    },
    Column {
        head: "pkt/s",
        width: 6,
        rank: 5,
    },
    Column {
        head: "in B/s",
        width: 8,
        rank: 6,
    },
    Column {
        head: "out B/s",
        width: 8,
        rank: 7,
    },
];

/// The column of names is not narrower, if others can go.
const NAMES: u16 = 26;

/// Draws everything. The model remembers what part of the table is seen.
pub(super) fn draw(model: &mut Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    if model.mode == Mode::Help {
        help(frame, area);
        return;
    }
    let mut lines = Lines { frame, area };
    lines.put(0, head(model));
    let bottom = area.height.saturating_sub(1);
    lines.put(bottom, foot(model));
    let Some(report) = &model.report else {
        return;
    };
    // From the bottom: the foot, drops, events, what there is to say of the selected line.
    let mut room = area.height.saturating_sub(2);
    let mut below = bottom;
    let drops = drops_line(model, report);
    if let Some(line) = drops.filter(|_| room > TABLE) {
        below -= 1;
        room -= 1;
        lines.put(below, line);
    }
    let wanted = u16::try_from(model.events.len())
        .unwrap_or(EVENTS)
        .min(EVENTS);
    let shown = wanted.min(room.saturating_sub(TABLE + 1));
    if shown > 0 {
        below -= shown + 1;
        room -= shown + 1;
        lines.put(below, Line::styled("last events (UTC)", dim()));
        for (row, event) in (below + 1..).zip(model.events.iter().take(usize::from(shown))) {
            lines.put(
                row,
                Line::raw(format!("  {} {}", clock(event.at), event.text)),
            );
        }
    }
    if room > 4 {
        below -= 1;
        room -= 1;
        let rows = model.rows();
        let selected = rows.get(model.position(&rows));
        let text = selected.map(detail).unwrap_or_default();
        lines.put(below, Line::styled(text, dim()));
    }
    if room > 5 {
        lines.put(1, totals(model, report));
        table(model, &mut lines, 2, room - 1);
    } else {
        table(model, &mut lines, 1, room);
    }
}

/// The lines of the screen.
struct Lines<'a, 'f> {
    frame: &'a mut Frame<'f>,
    area: Rect,
}

impl Lines<'_, '_> {
    fn put(&mut self, row: u16, line: Line<'_>) {
        if row < self.area.height {
            let (x, y) = (self.area.x, self.area.y + row);
            self.frame
                .buffer_mut()
                .set_line(x, y, &line, self.area.width);
        }
    }

    fn mark(&mut self, row: u16) {
        if row < self.area.height {
            let area = Rect::new(self.area.x, self.area.y + row, self.area.width, 1);
            let look = Look::new().add_modifier(Modifier::REVERSED);
            self.frame.buffer_mut().set_style(area, look);
        }
    }
}

fn dim() -> Look {
    Look::new().add_modifier(Modifier::DIM)
}

fn bold() -> Look {
    Look::new().add_modifier(Modifier::BOLD)
}

fn toned(tone: Tone, model: &Model) -> Look {
    if !model.colour {
        return Look::new();
    }
    match tone {
        Tone::Good => Look::new().fg(Color::Green),
        Tone::Between => Look::new().fg(Color::Yellow),
        Tone::Bad => Look::new().fg(Color::Red),
        Tone::Faint => dim(),
    }
}

fn head(model: &Model) -> Line<'static> {
    let mut line = Line::styled("lb watch", bold());
    if let Some(why) = &model.gone {
        let text = format!("  {why}, trying again");
        line.push_span(Span::styled(text, toned(Tone::Bad, model)));
        return line;
    }
    let Some(report) = &model.report else {
        line.push_span(Span::raw("  waiting for the daemon"));
        return line;
    };
    let interfaces: Vec<_> = report
        .interfaces
        .iter()
        .map(|interface| format!("{} {}", interface.name, interface.mode))
        .collect();
    let style = Style::default();
    line.push_span(format!(
        "  {}  active  flows {} of {}  {}",
        clock(model.at),
        style.count(u64::from(report.flows.ipv4) + u64::from(report.flows.ipv6)),
        style.count(report.flows.capacity.into()),
        interfaces.join(", "),
    ));
    line
}

fn totals(model: &Model, report: &StatusReport) -> Line<'static> {
    let servers: usize = report.services.iter().map(|one| one.servers.len()).sum();
    let bad: usize = report.services.iter().map(troubled).sum();
    let mut text = format!("{} services, {servers} servers", report.services.len());
    if bad > 0 {
        text += &format!(", {bad} not well");
    }
    if let Some(sum) = model.rates.sum() {
        let style = Style::default();
        text += &format!(
            ": {} conn/s, {} pkt/s, {} in, {} out B/s",
            style.count(sum.connections),
            style.count(sum.packets),
            style.bytes(sum.bytes_in),
            style.bytes(sum.bytes_out),
        );
    }
    if !model.filter.is_empty() {
        text += &format!("  with “{}”", model.filter);
    }
    text += &format!("  by {}", model.sort.name());
    Line::raw(text)
}

/// Only what is seen is drawn.
fn table(model: &mut Model, lines: &mut Lines<'_, '_>, top: u16, height: u16) {
    let width = lines.area.width;
    let shown = columns(width);
    let used: u16 = shown.iter().map(|column| column.width + 1).sum();
    let names = width.saturating_sub(used);
    let mut heads = format!("{:<1$}", "service, server", usize::from(names));
    for column in &shown {
        heads += &format!(" {:>1$}", column.head, usize::from(column.width));
    }
    lines.put(top, Line::styled(heads, bold()));

    let seen = usize::from(height.saturating_sub(1));
    let rows = model.rows();
    let position = model.position(&rows);
    let last = rows.len().saturating_sub(seen);
    let first = if position < model.first {
        position
    } else if position >= model.first + seen {
        (position + 1).saturating_sub(seen)
    } else {
        model.first
    }
    .min(last);
    let visible = rows.iter().enumerate().skip(first).take(seen);
    for (row, (number, line)) in (top + 1..).zip(visible) {
        lines.put(row, drawn(model, line, &shown, names));
        if number == position {
            lines.mark(row);
        }
    }
    if rows.is_empty() && seen > 0 {
        let text = match model.filter.is_empty() {
            true => "there are no services",
            false => "nothing has this in it",
        };
        lines.put(top + 1, Line::styled(text, dim()));
    }
    (model.first, model.page) = (first, seen.max(1));
}

/// As many columns as there is room for beside names.
fn columns(width: u16) -> Vec<&'static Column> {
    let mut ranks = 0;
    let mut room = width.saturating_sub(NAMES);
    for rank in 0.. {
        match COLUMNS.iter().find(|column| column.rank == rank) {
            Some(column) if column.width < room => room -= column.width + 1,
            Some(_) | None => break,
        }
        ranks = rank + 1;
    }
    COLUMNS
        .iter()
        .filter(|column| column.rank < ranks)
        .collect()
}

fn drawn(model: &Model, row: &Row<'_>, columns: &[&Column], names: u16) -> Line<'static> {
    let style = Style::default();
    let rates = model.rates.of(&row.key());
    let rate = |of: fn(&Counts) -> u64, bytes: bool| match &rates {
        None => "-".to_owned(),
        Some(counts) if bytes => style.bytes(of(counts)),
        Some(counts) => style.count(of(counts)),
    };
    let servers = || {
        row.server
            .map_or(&row.service.servers[..], std::slice::from_ref)
            .iter()
    };
    let count = |number: u64| style.count(number);
    let (name, look) = match row.server {
        None => {
            let service = row.service;
            let fold = match model.folded.contains(&service.service) {
                true => '+',
                false => '-',
            };
            (
                format!(
                    "{fold} {} {} {}",
                    service.service, service.name, service.scheduler
                ),
                bold(),
            )
        }
        Some(server) => {
            let socket = std::net::SocketAddr::new(server.address, server.port);
            (format!("  {socket} {}", server.name), Look::new())
        }
    };
    let mut line = Line::default();
    line.push_span(Span::styled(fitted(&name, usize::from(names)), look));
    for column in columns {
        let width = usize::from(column.width);
        let mut look = look;
        let text = match (column.head, row.server) {
            ("state", Some(server)) => {
                look = toned(server.state.tone(), model);
                server.state.word().to_owned()
            }
            ("state", None) => {
                let up = servers()
                    .filter(|server| server.state == ServerState::Up)
                    .count();
                format!("{up}/{}", row.service.servers.len())
            }
            ("weight", _) => count(servers().map(|server| u64::from(server.weight)).sum()),
            ("active", _) => count(servers().map(|server| u64::from(server.active)).sum()),
            ("inactive", _) => count(servers().map(|server| u64::from(server.inactive)).sum()),
            ("conn/s", _) => rate(|counts| counts.connections, false),
            ("pkt/s", _) => rate(|counts| counts.packets, false),
            ("in B/s", _) => rate(|counts| counts.bytes_in, true),
            (_, _) => rate(|counts| counts.bytes_out, true),
        };
        line.push_span(Span::styled(format!(" {text:>width$}"), look));
    }
    line
}

/// A text of this width; what is cut off leaves a mark.
fn fitted(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// What there is to say of the selected line.
fn detail(row: &Row<'_>) -> String {
    let Some(server) = row.server else {
        let service = row.service;
        return match &service.sorry {
            Some(sorry) => format!("{}: {sorry}", service.name),
            None => format!("{}: {} conns", service.name, service.connections),
        };
    };
    let mut text = format!("{}: {} checks", server.name, server.checks);
    for note in server.notes() {
        text += &format!("; {note}");
    }
    if let (ServerState::Up, Some(error)) = (server.state, &server.last_error) {
        text += &format!("; last error: {error}");
    }
    text
}

/// What is not steered now comes first.
fn drops_line(model: &Model, report: &StatusReport) -> Option<Line<'static>> {
    if report.unsteered.is_empty() {
        return None;
    }
    let rate = |reason: &str| model.drops.get(reason).copied().unwrap_or(0);
    let mut counts: Vec<_> = report.unsteered.iter().collect();
    counts.sort_by_key(|count| std::cmp::Reverse((rate(&count.reason), count.packets)));
    let style = Style::default();
    let texts: Vec<_> = counts
        .iter()
        .map(|count| match rate(&count.reason) {
            0 => format!("{} {}", count.reason, style.count(count.packets)),
            rate => format!(
                "{} {} (+{}/s)",
                count.reason,
                style.count(count.packets),
                style.count(rate)
            ),
        })
        .collect();
    Some(Line::raw(format!("not steered: {}", texts.join(", "))))
}

fn foot(model: &Model) -> Line<'static> {
    match (&model.mode, &model.message) {
        (Mode::Filter, _) => Line::styled(format!("/{}_", model.filter), bold()),
        (Mode::Confirm(wish), _) => Line::styled(
            format!("{} (y/N)", question(wish)),
            toned(Tone::Between, model),
        ),
        (Mode::Keys | Mode::Help, Some(message)) => Line::raw(message.clone()),
        (Mode::Keys | Mode::Help, None) => Line::styled(KEYS, dim()),
    }
}

fn question(wish: &Wish) -> String {
    match wish {
        Wish::Quit => "The end?".to_owned(),
        Wish::Reload => "Read lvs.cf again?".to_owned(),
        Wish::Order(order) => {
            let (service, server) = (&order.service, &order.server);
            match order.verb {
                Verb::Drain => format!("Drain {server} of {service}?"),
                Verb::Up => format!("{server} of {service} up, whatever its checks say?"),
                Verb::Down => format!("{server} of {service} down at once?"),
                Verb::Auto => format!("Let the checks of {server} of {service} decide?"),
            }
        }
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let mut lines = Lines { frame, area };
    lines.put(0, Line::styled("lb watch: keys", bold()));
    for (row, text) in (2..).zip(HELP) {
        lines.put(row, Line::raw(format!("  {text}")));
    }
    lines.put(
        area.height.saturating_sub(1),
        Line::styled("any key goes back", dim()),
    );
}

/// The time of day, UTC.
fn clock(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs() % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests;
