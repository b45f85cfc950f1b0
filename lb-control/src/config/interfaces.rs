//! Whether the interfaces that a file names are there: what `lb check` looks at besides the file. To a file
//! for another machine it does not matter, so all of it is warnings.

use std::{collections::HashSet, fs, path::Path};

use super::{
    Outcome,
    diagnostic::Diagnostic,
    directives::{GlobalKey, ServiceKey},
    document::{Directive, Document, Item, Service},
    lexer::Word,
    numbers::strtol,
};

/// What becomes of packets that go to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none of this name.
    Absent,
    /// It is switched off.
    Down,
    /// It is switched on, and hears nothing of its other end.
    NoCarrier,
    /// It works.
    Up,
}

/// Whom to ask about interfaces.
pub trait Interfaces {
    /// How it is with the interface of this name.
    fn state(&mut self, name: &str) -> State;
}

/// The interfaces of this machine, or of the network namespace that /sys was mounted in.
#[derive(Debug, Default)]
pub struct SystemInterfaces;

impl Interfaces for SystemInterfaces {
    fn state(&mut self, name: &str) -> State {
        const IFF_UP: i64 = 1;
        let of_name = Path::new("/sys/class/net").join(name);
        let read = |file| fs::read_to_string(of_name.join(file)).ok();
        let Some(flags) = read("flags").and_then(|flags| strtol(flags.trim())) else {
            return State::Absent;
        };
        if flags & IFF_UP == 0 {
            return State::Down;
        }
        match read("carrier").as_deref().map(str::trim) {
            Some("0") => State::NoCarrier,
            Some(_) | None => State::Up,
        }
    }
}

/// Adds a warning for each interface that is named by what is in force, and is not there or does not work.
pub(super) fn look(outcome: &mut Outcome, interfaces: &mut dyn Interfaces) {
    let mut seen = HashSet::new();
    let mut warnings = Vec::new();
    for word in named(&outcome.document) {
        let name = word.text.split(':').next().unwrap_or_default();
        let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        if !is_name || !seen.insert(name) {
            continue;
        }
        let (message, help) = match interfaces.state(name) {
            State::Up => continue,
            State::Absent => (
                format!("there is no interface `{name}` here"),
                "`ip link` shows those that there are; fine if the file is for another machine",
            ),
            State::Down => (
                format!("interface `{name}` is down: nobody reaches what is on it"),
                "`ip link set up` switches it on",
            ),
            State::NoCarrier => (
                format!("interface `{name}` has no link: nobody reaches what is on it"),
                "is the cable in, and the other end on?",
            ),
        };
        warnings.push(Diagnostic::warning(word.span, message).help(help));
    }
    for warning in warnings {
        let said = &mut outcome.diagnostics;
        let at = said.partition_point(|one| one.span.start <= warning.span.start);
        said.insert(at, warning);
    }
}

/// The devices of what is in force.
fn named(document: &Document) -> impl Iterator<Item = &Word> {
    let routers = document.globals.iter();
    let devices = routers
        .filter(|one| one.key() == GlobalKey::NatRouter && one.sound)
        .map(Directive::second);
    let is_on = |service: &&Service| {
        let mut switches = directives(service).filter(|one| one.key() == ServiceKey::Active);
        switches
            .next_back()
            .is_some_and(|one| strtol(&one.value().text) == Some(1))
    };
    let services = document.services.iter().filter(is_on);
    let of_services = services.flat_map(|service| {
        directives(service)
            .filter(|one| one.key() == ServiceKey::Address && one.sound)
            .map(Directive::second)
    });
    devices.chain(of_services)
}

fn directives(service: &Service) -> impl DoubleEndedIterator<Item = &Directive<ServiceKey>> {
    service.items.iter().filter_map(|item| match item {
        Item::Directive(directive) => Some(directive),
        Item::Server(_) => None,
    })
}
