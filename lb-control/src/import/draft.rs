//! lvs.cf as it is going to be written, with what each line came from.

use std::fmt::{self, Write as _};

use super::{found::Setting, report::Place};

/// A file that is not printed yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What is said at the top.
    pub(super) notes: Vec<String>,
    /// Directives outside of blocks.
    pub(super) globals: Vec<Setting>,
    /// The `virtual` blocks.
    pub(super) services: Vec<Block>,
}

/// A `virtual` block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) notes: Vec<String>,
    pub(super) state: State,
    pub(super) settings: Vec<Setting>,
    pub(super) servers: Vec<ServerBlock>,
}

/// A `server` block.
#[derive(Debug)]
pub(super) struct ServerBlock {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) state: State,
    pub(super) settings: Vec<Setting>,
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is switched on.
    On,
    /// It is written with `active = 0`.
    Off,
    /// It is not written.
    Gone,
}

/// What a line of the text is; indices into the draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A comment, or nothing.
    Note,
    /// A directive outside of blocks.
    Global(usize),
    /// A line of a `virtual` block; which of its directives, if it is one.
    Service(usize, Option<usize>),
    /// A line of a `server` block.
    Server(usize, usize, Option<usize>),
}

impl Draft {
    /// The text, and what each of its lines is.
    pub(super) fn text(&self) -> (String, Vec<Origin>) {
        let mut page = Page::default();
        for note in &self.notes {
            page.note(note);
        }
        page.line(Origin::Note, format_args!(""));
        for (index, setting) in self.globals.iter().enumerate() {
            page.setting(0, Origin::Global(index), setting);
        }
        for (index, block) in self.services.iter().enumerate() {
            if block.state != State::Gone {
                page.service(index, block);
            }
        }
        (page.text, page.origins)
    }
}

#[derive(Default)]
struct Page {
    text: String,
    origins: Vec<Origin>,
}

impl Page {
    fn service(&mut self, index: usize, block: &Block) {
        let origin = Origin::Service(index, None);
        self.line(Origin::Note, format_args!(""));
        for note in &block.notes {
            self.note(note);
        }
        self.line(origin, format_args!("virtual {} {{", block.name));
        let active = u8::from(block.state == State::On);
        self.line(origin, format_args!("    active = {active}"));
        for (number, setting) in block.settings.iter().enumerate() {
            self.setting(4, Origin::Service(index, Some(number)), setting);
        }
        for (number, server) in block.servers.iter().enumerate() {
            if server.state != State::Gone {
                self.server(index, number, server);
            }
        }
        self.line(origin, format_args!("}}"));
    }

    fn server(&mut self, service: usize, number: usize, server: &ServerBlock) {
        let origin = Origin::Server(service, number, None);
        self.line(origin, format_args!("    server {} {{", server.name));
        let active = u8::from(server.state == State::On);
        self.line(origin, format_args!("        active = {active}"));
        for (index, setting) in server.settings.iter().enumerate() {
            self.setting(8, Origin::Server(service, number, Some(index)), setting);
        }
        self.line(origin, format_args!("    }}"));
    }

    fn setting(&mut self, indent: usize, origin: Origin, setting: &Setting) {
        let Setting { name, value, .. } = setting;
        self.line(origin, format_args!("{:indent$}{name} = {value}", ""));
    }

    fn note(&mut self, text: &str) {
        let text = format!("# {text}");
        self.line(Origin::Note, format_args!("{}", text.trim_end()));
    }

    /// What is said in one line stays in it, whatever the source had there.
    fn line(&mut self, origin: Origin, text: fmt::Arguments<'_>) {
        let start = self.text.len();
        // To write to a string cannot fail.
        let _ = write!(self.text, "{text}");
        let line = self.text.split_off(start);
        self.text.extend(line.chars().map(|c| match c.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => c,
        }));
        self.text.push('\n');
        self.origins.push(origin);
    }
}
