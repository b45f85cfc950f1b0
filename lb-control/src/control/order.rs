//! What an operator says of a real server: `lb server`.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::name;
pub use super::name::Unknown;
use crate::{
    model::{RealServer, Site, VirtualService},
    state::ServerKey,
};

/// What is to become of which real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// What is to become of it.
    pub verb: Verb,
    /// The service: by its name, by `ADDRESS:PORT`, or as `tcp:ADDRESS:PORT` or `fwm:MARK`.
    pub service: String,
    /// The real server: by its name, or by `ADDRESS` or `ADDRESS:PORT`.
    pub server: String,
    /// For how long it may finish, in seconds, if not for as long as lvs.cf says.
    pub deadline: Option<u32>,
}

/// What is to become of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Drain, Self::Up, Self::Down, Self::Auto];
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// What became of it, for the operator to read.
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)
    }
}

impl Order {
    /// Whom the order means.
    ///
    /// # Errors
    /// [`Unknown`] lists what there is.
    pub fn find(&self, site: &Site) -> Result<ServerKey, Unknown> {
        let services = site.services.iter().map(|service| &**service);
        let service = name::service(&self.service, services, VirtualService::called)?;
        let server = name::server(&self.server, &service.servers, RealServer::called)?;
        Ok((service.key, server.socket))
    }
}

impl VirtualService {
    /// What people call it.
    #[must_use]
    pub fn called(&self) -> name::Service<'_> {
        let first = self.selectors.first();
        name::Service {
            name: &self.name,
            id: self.key,
            first: first.map(|selector| SocketAddr::new(selector.address, selector.first)),
        }
    }
}

impl RealServer {
    /// What people call it.
    #[must_use]
    pub fn called(&self) -> name::Server<'_> {
        name::Server {
            name: &self.name,
            socket: self.socket,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

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
        let probe = Probe::new(
            Check::Talk {
                send: None,
                expect: None,
            },
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
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
            ("udp:192.0.2.10:53", "rs1", Ok("10.0.0.1:53")),
            ("TCP 192.0.2.10:53", "a", Ok("10.0.0.3:53")),
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
