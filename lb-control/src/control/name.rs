//! What people call services and real servers.
//!
//! A service is called by its name, by protocol, address and port (`tcp:192.0.2.10:80`, `udp:[2001:db8::1]:53`),
//! by its mark (`fwm:7`, of IPv6 `fwm6:7`), as [`ServiceId`] is written, or by `ADDRESS:PORT` if there is only
//! one such. A real server is called by its name, by `ADDRESS:PORT`, or by `ADDRESS` if there is only one such.
//! A name goes before an address.

use std::net::{IpAddr, SocketAddr};

use crate::model::{Family, Protocol, ServiceAddress, ServiceId};

/// Something that can be called.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it is known by.
    pub id: ServiceId,
    /// The first address and port that belong to it.
    pub first: Option<SocketAddr>,
}

/// A real server of a service.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Where it listens.
    pub socket: SocketAddr,
}

/// A service by its addresses, or by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// There can be one such only.
    Id(ServiceId),
    /// The protocol is not said.
    Socket(SocketAddr),
}

/// A name is that of nothing, or of more than one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; there {} {}", if known.len() == 1 { "is" } else { "are" }, list(known))]
pub struct Unknown {
    problem: String,
    known: Vec<String>,
}

/// No more are listed.
const MOST: usize = 20;

fn list(known: &[String]) -> String {
    match known.len() {
        0 => "none".to_owned(),
        1..=MOST => known.join(", "),
        more => format!("{}, and {} others", known[..MOST].join(", "), more - MOST),
    }
}

impl Written {
    /// Reads what is no name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self::Id(id));
        }
        if let Ok(socket) = text.parse() {
            return Some(Self::Socket(socket));
        }
        let (kind, what) = text.split_once(':')?;
        let mark = |family| {
            let mark = what.parse().ok().filter(|mark| *mark != 0)?;
            Some(Self::Id(ServiceId::Mark { mark, family }))
        };
        if kind.eq_ignore_ascii_case("fwm") {
            return mark(Family::Ipv4);
        }
        if kind.eq_ignore_ascii_case("fwm6") {
            return mark(Family::Ipv6);
        }
        let socket: SocketAddr = what.parse().ok()?;
        Some(Self::Id(ServiceId::Address(ServiceAddress {
            address: socket.ip(),
            port: socket.port(),
            protocol: with_ports(kind)?,
        })))
    }
}

/// A protocol that services can have.
fn with_ports(word: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| word.eq_ignore_ascii_case(&protocol.to_string()))
}

/// The service that is called like this.
///
/// # Errors
/// [`Unknown`] lists what there is.
pub fn service<'a, T>(
    wanted: &str,
    all: impl IntoIterator<Item = &'a T>,
    called: impl Fn(&T) -> Service<'_>,
) -> Result<&'a T, Unknown> {
    let written = Written::parse(wanted);
    one(
        "service",
        wanted,
        all,
        |it| called(it).name == wanted,
        |it| {
            let Service { id, first, .. } = called(it);
            match written {
                Some(Written::Id(wanted)) => wanted == id,
                Some(Written::Socket(wanted)) => first == Some(wanted),
                None => false,
            }
        },
        |it| {
            let Service { name, id, .. } = called(it);
            let id = id.to_string();
            if name == id {
                id
            } else {
                format!("{name} ({id})")
            }
        },
    )
}

/// The real server that is called like this.
///
/// # Errors
/// [`Unknown`] lists what there is.
pub fn server<'a, T>(
    wanted: &str,
    all: impl IntoIterator<Item = &'a T>,
    called: impl Fn(&T) -> Server<'_>,
) -> Result<&'a T, Unknown> {
    let socket = wanted.parse::<SocketAddr>().ok();
    let address = wanted.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>().ok();
    one(
        "real server",
        wanted,
        all,
        |it| called(it).name == wanted,
        |it| {
            let own = called(it).socket;
            socket == Some(own) || address == Some(own.ip())
        },
        |it| {
            let Server { name, socket } = called(it);
            let socket = socket.to_string();
            if name == socket {
                socket
            } else {
                format!("{name} ({socket})")
            }
        },
    )
}

/// The one that is called like this, or written like this.
fn one<'a, T>(
    kind: &str,
    wanted: &str,
    all: impl IntoIterator<Item = &'a T>,
    is_called: impl Fn(&T) -> bool,
    is_written: impl Fn(&T) -> bool,
    shown: impl Fn(&T) -> String,
) -> Result<&'a T, Unknown> {
    let all: Vec<_> = all.into_iter().collect();
    let filtered = |is: &dyn Fn(&T) -> bool| -> Vec<&'a T> {
        all.iter().filter(|it| is(it)).copied().collect()
    };
    let named = filtered(&is_called);
    let meant = if named.is_empty() {
        filtered(&is_written)
    } else {
        named
    };
    let problem = match meant[..] {
        [one] => return Ok(one),
        [] => format!("no {kind} is called “{wanted}”"),
        _ => format!("more than one {kind} is called “{wanted}”"),
    };
    let known = if meant.is_empty() { all } else { meant };
    Err(Unknown {
        problem,
        known: known.into_iter().map(shown).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_written_in_many_ways() {
        let table = [
            ("tcp:192.0.2.10:80", Some("TCP 192.0.2.10:80")),
            ("UDP:[2001:db8::1]:53", Some("UDP [2001:db8::1]:53")),
            ("sctp:192.0.2.10:0", Some("SCTP 192.0.2.10:0")),
            ("TCP 192.0.2.10:80", Some("TCP 192.0.2.10:80")),
            ("fwm:7", Some("FWM 7")),
            ("fwm6:7", Some("FWM 7 IPv6")),
            ("192.0.2.10:80", Some("192.0.2.10:80")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]:80")),
            ("fwm:0", None),
            ("fwm:", None),
            ("esp:192.0.2.10:0", None),
            ("tcp:192.0.2.10", None),
            ("tcp:2001:db8::1:80", None),
            ("tcp:192.0.2.10:65536", None),
            ("web", None),
            ("", None),
        ];
        for (text, expected) in table {
            let written = Written::parse(text).map(|written| match written {
                Written::Id(id) => id.to_string(),
                Written::Socket(socket) => socket.to_string(),
            });
            assert_eq!(written.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_long_list_is_cut() {
        fn called(name: &String) -> Server<'_> {
            let socket = ([10, 0, 0, 1], 80).into();
            Server { name, socket }
        }
        let all: Vec<_> = (0..25).map(|number| format!("web{number}")).collect();
        let unknown = server("x", &all, called).unwrap_err().to_string();
        assert!(
            unknown.contains("web19 (10.0.0.1:80), and 5 others"),
            "{unknown}"
        );
    }
}
