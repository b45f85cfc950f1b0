//! The record of what the kernel's IPVS chose, `tests/data/ipvs-schedulers.txt`, whose head tells how
//! it is written.

use std::net::SocketAddr;

/// One service from its beginning to its end.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) title: String,
    /// What it begins with.
    pub(crate) service: Service,
    /// What happens, with the number of the line.
    pub(crate) events: Vec<(usize, Event)>,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) protocol: String,
    /// `None` if packets are told by their mark.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) scheduler: String,
    pub(crate) flags: Vec<String>,
    /// Seconds, and which bits of the client's address count.
    pub(crate) persistence: Option<(u32, Option<String>)>,
    pub(crate) one_packet: bool,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A server joins, or changes.
    Server {
        name: String,
        /// Where it is, of one that joins.
        joins: Option<SocketAddr>,
        weight: u32,
        upper: u32,
        lower: u32,
    },
    Remove(String),
    Packet {
        kind: Kind,
        client: SocketAddr,
        to: Option<SocketAddr>,
        /// The server that gets it.
        server: Option<String>,
        /// The state of its connection then.
        state: Option<String>,
    },
    End {
        client: SocketAddr,
        to: Option<SocketAddr>,
    },
    Idle,
    Counts {
        name: String,
        active: u32,
        inactive: u32,
    },
    Setting {
        name: String,
        value: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    New,
    Again,
    Fin,
    Reset,
}

/// All histories of a record.
pub(crate) fn histories(record: &str) -> Vec<History> {
    let mut histories: Vec<History> = Vec::new();
    let mut title = None;
    for (line, text) in (1..).zip(record.lines()) {
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            [] | ["#", ..] => {}
            ["history", ..] => title = text.split_once(' ').map(|(_, title)| title.to_owned()),
            ["service", ref rest @ ..] => histories.push(History {
                title: title.take().expect("a title before the service"),
                service: service(rest),
                events: Vec::new(),
            }),
            _ => {
                let event = event(&words).unwrap_or_else(|| panic!("line {line}: {text}"));
                let history = histories.last_mut().expect("a service before its events");
                history.events.push((line, event));
            }
        }
    }
    histories
}

fn service(words: &[&str]) -> Service {
    let [protocol, address, scheduler, options @ ..] = words else {
        panic!("service {words:?}");
    };
    let after = |name| {
        let at = options.iter().position(|word| *word == name)?;
        options.get(at + 1).map(|word| (*word).to_owned())
    };
    let seconds = |text: String| text.parse().expect("seconds");
    Service {
        protocol: (*protocol).to_owned(),
        address: (*address != "mark").then(|| socket(address).expect("an address")),
        scheduler: (*scheduler).to_owned(),
        flags: after("flags")
            .map(|flags| flags.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        persistence: after("persistent").map(|text| (seconds(text), after("mask"))),
        one_packet: options.contains(&"ops"),
    }
}

fn event(words: &[&str]) -> Option<Event> {
    Some(match words {
        ["add", name, address, rest @ ..] => server(name, Some(socket(address)?), rest)?,
        ["set", name, rest @ ..] => server(name, None, rest)?,
        ["remove", name] => Event::Remove((*name).to_owned()),
        ["new", rest @ ..] => packet(Kind::New, rest)?,
        ["again", rest @ ..] => packet(Kind::Again, rest)?,
        ["fin", rest @ ..] => packet(Kind::Fin, rest)?,
        ["reset", rest @ ..] => packet(Kind::Reset, rest)?,
        ["end", rest @ ..] => {
            let (client, to, _) = ends(rest)?;
            Event::End { client, to }
        }
        ["idle"] => Event::Idle,
        ["counts", name, "active", active, "inactive", inactive] => Event::Counts {
            name: (*name).to_owned(),
            active: active.parse().ok()?,
            inactive: inactive.parse().ok()?,
        },
        ["sysctl", name, value] => Event::Setting {
            name: (*name).to_owned(),
            value: value.parse().ok()?,
        },
        _ => return None,
    })
}

fn server(name: &str, joins: Option<SocketAddr>, words: &[&str]) -> Option<Event> {
    let (weight, upper, lower) = match words {
        ["weight", weight] => (weight, &"0", &"0"),
        ["weight", weight, "upper", upper, "lower", lower] => (weight, upper, lower),
        _ => return None,
    };
    Some(Event::Server {
        name: name.to_owned(),
        joins,
        weight: weight.parse().ok()?,
        upper: upper.parse().ok()?,
        lower: lower.parse().ok()?,
    })
}

fn packet(kind: Kind, words: &[&str]) -> Option<Event> {
    let (client, to, rest) = ends(words)?;
    let (server, state) = match rest {
        ["->", "none", ..] => (None, None),
        ["->", name] => (Some(*name), None),
        ["->", name, state] => (Some(*name), Some(*state)),
        _ => return None,
    };
    Some(Event::Packet {
        kind,
        client,
        to,
        server: server.map(str::to_owned),
        state: state.map(str::to_owned),
    })
}

type Ends<'a, 'b> = (SocketAddr, Option<SocketAddr>, &'a [&'b str]);

fn ends<'a, 'b>(words: &'a [&'b str]) -> Option<Ends<'a, 'b>> {
    match words {
        [client, "to", to, rest @ ..] => Some((socket(client)?, Some(socket(to)?), rest)),
        [client, rest @ ..] => Some((socket(client)?, None, rest)),
        [] => None,
    }
}

fn socket(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}
