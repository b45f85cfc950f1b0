//! What `lb watch` knows, and what keys do.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    rates::{Key, Rates},
    rows::{Row, Sort, rows},
};
use crate::{
    control::order::{Order, Verb},
    model::ServiceId,
    status::{ServerState, StatusReport},
};

/// How many events are remembered.
const EVENTS: usize = 100;

/// How far a page is, in lines, before anything was drawn.
const PAGE: usize = 10;

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// From the terminal.
    Event(Event),
    /// The daemon answered, or why it did not; at this time since 1970.
    Answer {
        /// How things are.
        report: Result<Box<StatusReport>, String>,
        /// When.
        at: Duration,
    },
    /// What became of a wish.
    Done(Result<String, String>),
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The end.
    Quit,
    /// Of a real server.
    Order(Order),
    /// The daemon is to read lvs.cf again.
    Reload,
}

/// What the last line of the screen is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// For keys.
    #[default]
    Keys,
    /// For the text that lines have to have in them.
    Filter,
    /// For yes or no.
    Confirm(Wish),
    /// The whole screen says which keys there are.
    Help,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happened {
    /// Since 1970.
    pub(super) at: Duration,
    pub(super) text: String,
}

/// What is known and what is selected.
#[derive(Debug)]
pub struct Model {
    pub(super) colour: bool,
    /// How things are, or were when the daemon last answered.
    pub(super) report: Option<Box<StatusReport>>,
    /// When it last answered, since 1970.
    pub(super) at: Duration,
    /// Why it does not answer.
    pub(super) gone: Option<String>,
    pub(super) rates: Rates,
    /// How many packets were not steered in a second, by reason.
    pub(super) drops: HashMap<String, u64>,
    pub(super) events: VecDeque<Happened>,
    pub(super) folded: HashSet<ServiceId>,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) selected: Option<Key>,
    /// The first line that is shown.
    pub(super) first: usize,
    /// How many lines were shown last.
    pub(super) page: usize,
    pub(super) mode: Mode,
    /// What is to be said, until the next key.
    pub(super) message: Option<String>,
}

impl Model {
    /// Nothing is known.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self {
            colour,
            report: None,
            at: Duration::ZERO,
            gone: None,
            rates: Rates::default(),
            drops: HashMap::new(),
            events: VecDeque::new(),
            folded: HashSet::new(),
            filter: String::new(),
            sort: Sort::default(),
            selected: None,
            first: 0,
            page: PAGE,
            mode: Mode::default(),
            message: None,
        }
    }

    /// Takes in what comes. What is to be done, if anything.
    pub fn take(&mut self, input: Input) -> Option<Wish> {
        match input {
            Input::Answer { report, at } => {
                match report {
                    Ok(report) => self.answered(report, at),
                    Err(why) => self.unanswered(why, at),
                }
                None
            }
            Input::Done(Ok(text)) | Input::Done(Err(text)) => {
                self.message = Some(text);
                None
            }
            Input::Event(Event::Key(key)) if key.kind != KeyEventKind::Release => self.key(key),
            // A changed size is drawn, as everything is.
            Input::Event(_) => None,
        }
    }

    fn answered(&mut self, report: Box<StatusReport>, at: Duration) {
        self.rates.add(&report, at);
        if self.gone.take().is_some() {
            self.happened(at, "the daemon answers again".to_owned());
        }
        if let Some(before) = self.report.take() {
            for text in changes(&before, &report) {
                self.happened(at, text);
            }
            self.drops = report.drops_since(&before, at.saturating_sub(self.at));
        }
        self.report = Some(report);
        self.at = at;
    }

    fn unanswered(&mut self, why: String, at: Duration) {
        if self.gone.is_none() && self.report.is_some() {
            self.happened(at, "the daemon does not answer".to_owned());
        }
        self.gone = Some(why);
        self.rates.forget();
        self.drops.clear();
    }

    fn happened(&mut self, at: Duration, text: String) {
        self.events.push_front(Happened { at, text });
        self.events.truncate(EVENTS);
    }

    /// All lines of the table.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        match &self.report {
            Some(report) => rows(report, &self.rates, &self.filter, &self.folded, self.sort),
            None => Vec::new(),
        }
    }

    /// Which line is selected.
    pub(super) fn position(&self, rows: &[Row<'_>]) -> usize {
        let at = |key: &Key| rows.iter().position(|row| row.key() == *key);
        // A server that is folded away leaves its service selected.
        self.selected
            .and_then(|key| at(&key).or_else(|| at(&(key.0, None))))
            .unwrap_or(0)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "there are more keys than we have uses for"
    )]
    fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Wish::Quit);
        }
        self.message = None;
        match std::mem::take(&mut self.mode) {
            Mode::Keys => self.command(key.code),
            Mode::Help => None,
            Mode::Filter => {
                self.typed(key.code);
                None
            }
            Mode::Confirm(wish) => match key.code {
                KeyCode::Char('y' | 'Y') => Some(wish),
                _ => {
                    self.message = Some("nothing was changed".to_owned());
                    None
                }
            },
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "there are more keys than we have uses for"
    )]
    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.filter.clear();
                return;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        self.mode = Mode::Filter;
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "there are more keys than we have uses for"
    )]
    fn command(&mut self, code: KeyCode) -> Option<Wish> {
        let page = isize::try_from(self.page).unwrap_or(isize::MAX);
        match code {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::PageDown => self.go(page),
            KeyCode::PageUp => self.go(-page),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Enter => self.fold(),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('d') => self.order(Verb::Drain),
            KeyCode::Char('u') => self.order(Verb::Up),
            KeyCode::Char('D') => self.order(Verb::Down),
            KeyCode::Char('a') => self.order(Verb::Auto),
            KeyCode::Char('r') => self.mode = Mode::Confirm(Wish::Reload),
            _ => {}
        }
        None
    }

    fn go(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = self.position(&rows).saturating_add_signed(by).min(last);
        self.selected = rows.get(to).map(Row::key);
    }

    fn fold(&mut self) {
        let rows = self.rows();
        let Some((service, _)) = rows.get(self.position(&rows)).map(Row::key) else {
            return;
        };
        if !self.folded.remove(&service) {
            self.folded.insert(service);
        }
        self.selected = Some((service, None));
    }

    fn order(&mut self, verb: Verb) {
        let rows = self.rows();
        let row = rows.get(self.position(&rows));
        let Some((service, (_, Some(server)))) = row.map(|row| (row.service, row.key())) else {
            self.message = Some("select a server first".to_owned());
            return;
        };
        self.mode = Mode::Confirm(Wish::Order(Order {
            verb,
            service: service.name.clone(),
            server: server.to_string(),
            deadline: None,
        }));
    }
}

/// What is not as it was.
fn changes(before: &StatusReport, now: &StatusReport) -> Vec<String> {
    let states = |report: &StatusReport| -> HashMap<Key, ServerState> {
        let services = report.services.iter();
        let states = services.flat_map(|service| {
            service.servers.iter().map(|server| {
                let socket = SocketAddr::new(server.address, server.port);
                ((service.service, Some(socket)), server.state)
            })
        });
        states.collect()
    };
    let old = states(before);
    let mut changes = Vec::new();
    for service in &now.services {
        for server in &service.servers {
            let socket = SocketAddr::new(server.address, server.port);
            let state = server.state;
            let was = old.get(&(service.service, Some(socket)));
            if was == Some(&state) {
                continue;
            }
            let (name, server_name) = (&service.name, &server.name);
            let why = match state {
                ServerState::Down | ServerState::Quiesced => {
                    let why = server.unreachable.as_ref().or(server.last_error.as_ref());
                    why.map_or(String::new(), |why| format!(": {why}"))
                }
                ServerState::Up
                | ServerState::Draining
                | ServerState::Drained
                | ServerState::Unknown => String::new(),
            };
            changes.push(match was {
                Some(was) => format!("{name} {server_name} {socket}: {was} → {state}{why}"),
                None => format!("{name} {server_name} {socket}: new, {state}{why}"),
            });
        }
    }
    let new = states(now);
    for service in &before.services {
        for server in &service.servers {
            let socket = SocketAddr::new(server.address, server.port);
            if !new.contains_key(&(service.service, Some(socket))) {
                changes.push(format!("{} {} {socket}: gone", service.name, server.name));
            }
        }
    }
    changes
}
