//! One server of a file, with what holds for it: to try how it would be checked.

use super::{
    document::{Document, Item, Server, Service},
    edit::{DirectivePath, Edit, Place, Which, edit_with},
    names::{Names, SystemNames},
    parse_with,
    source::Span,
};
use crate::{
    config::{Outcome, Severity},
    model::Site,
};

/// Why nothing can be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoExcerpt {
    /// The place is none of a server.
    #[error("`{0}` is no real server; it looks like virtual/web/server/one")]
    NoServer(String),
    /// There is no such block, or there are several.
    #[error("there is no {0}, or more than one")]
    NoBlock(String),
    /// What the file says of it cannot be used.
    #[error("{0}")]
    Errors(String),
}

/// The blocks of a place.
impl Document {
    /// The block of a service, if there is one and one only.
    #[must_use]
    pub fn service(&self, place: &Place) -> Option<&Service> {
        let (Place::Service(kind, which) | Place::Server(kind, which, _)) = place else {
            return None;
        };
        let all = self.services.iter().filter(|one| one.kind == *kind);
        meant(all, which, |one| &one.name.text)
    }

    /// The block of a server, if there is one and one only.
    #[must_use]
    pub fn server(&self, place: &Place) -> Option<&Server> {
        let Place::Server(_, _, which) = place else {
            return None;
        };
        meant(self.service(place)?.servers(), which, |one| &one.name.text)
    }
}

impl Service {
    /// Its `server` blocks.
    pub fn servers(&self) -> impl Iterator<Item = &Server> + Clone {
        self.items.iter().filter_map(|item| match item {
            Item::Server(server) => Some(server),
            Item::Directive(_) => None,
        })
    }
}

fn meant<'d, T>(
    all: impl Iterator<Item = &'d T>,
    which: &Which,
    name: impl Fn(&T) -> &str,
) -> Option<&'d T> {
    let mut called = all.filter(|one| which.name.as_deref().is_none_or(|it| it == name(one)));
    match which.nth {
        Some(nth) => called.nth(nth.checked_sub(1)?),
        None => called.next().filter(|_| called.next().is_none()),
    }
}

/// The site that has this one server only, which is switched on.
///
/// # Errors
/// If there is no such server, or what is said of it has errors.
pub fn excerpt(document: &Document, place: &Place) -> Result<Site, NoExcerpt> {
    excerpt_with(document, place, &mut SystemNames::default())
}

/// The same with another source of names.
///
/// # Errors
/// As there.
pub fn excerpt_with(
    document: &Document,
    place: &Place,
    names: &mut dyn Names,
) -> Result<Site, NoExcerpt> {
    let (Place::Server(kind, ..), Some(service), Some(server)) =
        (place, document.service(place), document.server(place))
    else {
        return Err(match place {
            Place::Server(..) => NoExcerpt::NoBlock(place.to_string()),
            Place::Global | Place::Service(..) => NoExcerpt::NoServer(place.to_string()),
        });
    };
    let others = document
        .services
        .iter()
        .filter(|one| !std::ptr::eq(*one, service));
    let their_servers = service.servers().filter(|one| !std::ptr::eq(*one, server));
    let mut cuts: Vec<Span> = others.map(|one| one.span).collect();
    cuts.extend(their_servers.map(|one| one.span));
    cuts.sort_unstable();
    let text = without(document.source.text(), &cuts);

    let first = || Which {
        name: None,
        nth: Some(1),
    };
    let switch_on = |place| Edit::Set {
        path: DirectivePath {
            place,
            directive: "active".to_owned(),
        },
        value: "1".into(),
    };
    let edits = [
        switch_on(Place::Service(*kind, first())),
        switch_on(Place::Server(*kind, first(), first())),
    ];
    let name = document.source.name();
    let outcome = match edit_with(name, text.as_bytes(), &edits, names) {
        Ok(edited) => edited.outcome,
        Err(refused) => {
            // What was wrong before is the better word.
            let outcome = parse_with(name, text.as_bytes(), names);
            if outcome.site.is_some() {
                return Err(NoExcerpt::Errors(refused.why.to_string()));
            }
            outcome
        }
    };
    match outcome.site {
        Some((_, site)) => Ok(site),
        None => Err(NoExcerpt::Errors(errors(&outcome))),
    }
}

fn errors(outcome: &Outcome) -> String {
    let errors = outcome.diagnostics.iter();
    let errors = errors.filter(|one| one.severity == Severity::Error);
    let told: Vec<_> = errors.map(|one| one.message.as_str()).collect();
    told.join("; ")
}

/// A text without some parts, which are in order and do not overlap.
fn without(text: &str, cuts: &[Span]) -> String {
    let mut rest = String::with_capacity(text.len());
    let mut from = 0;
    for cut in cuts {
        rest.push_str(text.get(from..cut.start).unwrap_or_default());
        from = cut.end;
    }
    rest.push_str(text.get(from..).unwrap_or_default());
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const FILE: &str = "primary = 10.0.0.250\nservice = lvs\n\
        virtual broken {\n active = 1\n address = 0.0.0.1 eth0:1\n port = 99999\n}\n\
        virtual web {\n active = 0\n address = 192.0.2.10 eth0:1\n port = 80\n check_port = 8080\n\
        server one {\n address = 10.0.0.1\n active = 1\n}\n\
        server two {\n address = 10.0.0.2\n active = 0\n port = 81\n}\n\
        server two {\n address = nowhere at all\n}\n}\n";

    #[test]
    fn one_server_is_tried_whatever_is_wrong_with_others() {
        let table = [
            ("virtual/web/server/one", Ok("10.0.0.1:80")),
            ("virtual/web/server/two#1", Ok("10.0.0.2:81")),
            ("virtual/web/server/#2", Ok("10.0.0.2:81")),
            (
                "virtual/web/server/two",
                Err("there is no virtual/web/server/two, or more than one"),
            ),
            (
                "virtual/web",
                Err("`virtual/web` is no real server; it looks like virtual/web/server/one"),
            ),
            ("virtual/web/server/#3", Err("unexpected arguments")),
        ];
        let document = parse("f", FILE.as_bytes()).document;
        for (place, expected) in table {
            let found = excerpt(&document, &place.parse().unwrap());
            match (found, expected) {
                (Ok(site), Ok(server)) => {
                    let servers = site.services.iter().flat_map(|one| one.servers.iter());
                    let sockets: Vec<_> = servers.map(|one| one.socket.to_string()).collect();
                    assert_eq!(sockets, [server], "{place}");
                }
                (Err(error), Err(text)) => {
                    assert!(error.to_string().contains(text), "{place}: {error}");
                }
                (found, _) => panic!("{place}: {found:?}"),
            }
        }
    }
}
