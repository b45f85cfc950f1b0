//! What an operator says of a real server: `lb server`.

use std::{fmt, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    model::{RealServer, Selector, Site, VirtualService},
    state::ServerKey,
};

/// What is to become of which real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What is to become of it.
    pub verb: Verb,
    /// The service, by its name or by `ADDRESS:PORT`.
    pub service: String,
    /// The real server, by its name or by `ADDRESS` or `ADDRESS:PORT`.
    pub server: String,
    /// For how long it may finish, in seconds, if not for as long as lvs.cf says.
    pub deadline: Option<u32>,
}

/// What is to become of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It gets nothing new and leaves when it has finished.
    Drain,
    /// It gets connections, whatever its nanny says.
    Up,
    /// It leaves at once, whatever its nanny says.
    Down,
    /// Its nanny decides again.
    Auto,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Up => "up",
            Self::Down => "down",
            Self::Auto => "auto",
        })
    }
}

/// What the daemon says to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What became of it, for the operator to read.
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)
    }
}

/// An order names something that there is not, or more than one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; there {} {}", if known.len() == 1 { "is" } else { "are" }, list(known))]
pub struct Unknown {
    problem: String,
    known: Vec<String>,
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    }
}

impl Order {
    /// Whom the order means.
    ///
    /// # Errors
    /// [`Unknown`] lists what there is.
    pub fn find(&self, site: &Site) -> Result<ServerKey, Unknown> {
        let service = one(
            "service",
            &self.service,
            &site.services,
            |service: &Arc<VirtualService>| {
                let socket = |selector: &Selector| {
                    SocketAddr::new(selector.address, selector.first).to_string()
                };
                let mut addresses = vec![service.key.to_string()];
                addresses.extend(service.selectors.first().map(socket));
                (service.name.clone(), addresses)
            },
            |service| format!("{} ({})", service.name, service.key),
        )?;
        let server = one(
            "real server",
            &self.server,
            &service.servers,
            |server: &RealServer| {
                let socket = server.socket;
                let addresses = vec![socket.to_string(), socket.ip().to_string()];
                (server.name.clone(), addresses)
            },
            |server| format!("{} ({})", server.name, server.socket),
        )?;
        Ok((service.key, server.socket))
    }
}

/// The one that is called like this. A name goes before an address.
fn one<'a, T>(
    kind: &str,
    wanted: &str,
    all: &'a [T],
    called: impl Fn(&T) -> (String, Vec<String>),
    shown: impl Fn(&T) -> String,
) -> Result<&'a T, Unknown> {
    let named: Vec<&T> = all.iter().filter(|one| called(one).0 == wanted).collect();
    let meant = if named.is_empty() {
        // Addresses are compared as they are written by us: `[fd00:0::1]:80` is `[fd00::1]:80`.
        let wanted = wanted
            .parse::<SocketAddr>()
            .map(|socket| socket.to_string())
            .or_else(|_| {
                let address = wanted.trim_start_matches('[').trim_end_matches(']');
                address
                    .parse::<std::net::IpAddr>()
                    .map(|address| address.to_string())
            });
        let is_meant = |one: &&T| {
            wanted
                .as_ref()
                .is_ok_and(|text| called(one).1.contains(text))
        };
        all.iter().filter(is_meant).collect()
    } else {
        named
    };
    let problem = match meant[..] {
        [one] => return Ok(one),
        [] => format!("no {kind} is called “{wanted}”"),
        _ => format!("more than one {kind} is called “{wanted}”"),
    };
    let known = if meant.is_empty() {
        all.iter().map(shown).collect()
    } else {
        meant.into_iter().map(shown).collect()
    };
    Err(Unknown { problem, known })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Check, Forwarding, Probe, Protocol, Scheduler, ServiceAddress};

    fn service(
        name: &str,
        port: u16,
        protocol: Protocol,
        servers: &[(&str, &str)],
    ) -> Arc<VirtualService> {
        let key = ServiceAddress {
            address: [192, 0, 2, 10].into(),
            port,
            protocol,
        };
        let probe = Probe {
            check: Check::Talk {
                send: None,
                expect: None,
            },
            interval: Duration::from_secs(1),
            reentry: Duration::from_secs(1),
        };
        Arc::new(VirtualService {
            servers: servers
                .iter()
                .map(|(name, socket)| {
                    RealServer::new(name, socket.parse().unwrap(), Forwarding::Nat, 1)
                })
                .collect(),
            ..VirtualService::new(name, key, Scheduler::Rr, probe)
        })
    }

    #[test]
    fn servers_are_found_by_name_and_address() {
        let site = Site {
            services: vec![
                service(
                    "web",
                    80,
                    Protocol::Tcp,
                    &[
                        ("rs1", "10.0.0.1:8080"),
                        ("rs2", "10.0.0.2:8080"),
                        ("rs6", "[fd00::1]:80"),
                    ],
                ),
                service("dns", 53, Protocol::Udp, &[("rs1", "10.0.0.1:53")]),
                service(
                    "dns-tcp",
                    53,
                    Protocol::Tcp,
                    &[("a", "10.0.0.3:53"), ("b", "10.0.0.3:54")],
                ),
            ],
            ..Site::default()
        };
        let table = [
            ("web", "rs2", Ok("10.0.0.2:8080")),
            ("192.0.2.10:80", "10.0.0.1", Ok("10.0.0.1:8080")),
            ("web", "10.0.0.1:8080", Ok("10.0.0.1:8080")),
            ("web", "fd00:0::1", Ok("[fd00::1]:80")),
            ("web", "[fd00::1]:80", Ok("[fd00::1]:80")),
            (
                "wep",
                "rs1",
                Err(
                    "no service is called “wep”; there are web (TCP 192.0.2.10:80), \
                     dns (UDP 192.0.2.10:53), dns-tcp (TCP 192.0.2.10:53)",
                ),
            ),
            (
                "192.0.2.10:53",
                "rs1",
                Err(
                    "more than one service is called “192.0.2.10:53”; there are \
                     dns (UDP 192.0.2.10:53), dns-tcp (TCP 192.0.2.10:53)",
                ),
            ),
            (
                "dns",
                "10.0.0.1:54",
                Err("no real server is called “10.0.0.1:54”; there is rs1 (10.0.0.1:53)"),
            ),
            (
                "dns-tcp",
                "10.0.0.3",
                Err("more than one real server is called “10.0.0.3”; there are \
                     a (10.0.0.3:53), b (10.0.0.3:54)"),
            ),
        ];
        for (service, server, expected) in table {
            let order = Order {
                verb: Verb::Up,
                service: service.to_owned(),
                server: server.to_owned(),
                deadline: None,
            };
            let found = order.find(&site).map(|(_, socket)| socket.to_string());
            assert_eq!(
                found.map_err(|unknown| unknown.to_string()),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{service} {server}"
            );
        }
    }
}
