//! Names that the system knows: hosts and services.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, ToSocketAddrs},
};

/// Whom to ask about names.
pub trait Names {
    /// The address of a host; IPv4 if it has both.
    fn host(&mut self, name: &str) -> Option<IpAddr>;
    /// The port of a service: that of TCP, for Piranha asked for TCP always, else that of UDP.
    fn service(&mut self, name: &str) -> Option<u16>;
}

/// The resolver of the system and /etc/services. Each name is asked for once, so that an
/// unreachable name server delays a file by its distinct names only.
#[derive(Debug, Default)]
pub struct SystemNames {
    hosts: HashMap<String, Option<IpAddr>>,
    services: Option<HashMap<String, u16>>,
}

impl Names for SystemNames {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        *self.hosts.entry(name.to_owned()).or_insert_with(|| {
            let found: Vec<IpAddr> = (name, 0)
                .to_socket_addrs()
                .ok()?
                .map(|socket| socket.ip())
                .collect();
            found
                .iter()
                .find(|ip| ip.is_ipv4())
                .or(found.first())
                .copied()
        })
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        let services = self.services.get_or_insert_with(|| {
            fs::read_to_string("/etc/services")
                .map_or_else(|_| HashMap::new(), |text| services(&text))
        });
        services.get(name).copied()
    }
}

/// `name port/protocol alias…` per line, `#` begins a comment.
fn services(text: &str) -> HashMap<String, u16> {
    let mut found = HashMap::new();
    for wanted in ["tcp", "udp"] {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(socket)) = (words.next(), words.next()) else {
                continue;
            };
            let Some((port, protocol)) = socket.split_once('/') else {
                continue;
            };
            let Ok(port) = port.parse() else { continue };
            if protocol == wanted {
                for name in std::iter::once(name).chain(words) {
                    found.entry(name.to_owned()).or_insert(port);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_name_and_alias() {
        let known = services(
            "# c\nhttp 80/tcp www # web\nsyslog\t514/udp\nshell 514/tcp cmd syslog\nx y\n",
        );
        let table = [
            ("http", Some(80)),
            ("www", Some(80)),
            ("syslog", Some(514)),
            ("web", None),
            ("x", None),
        ];
        for (name, port) in table {
            assert_eq!(known.get(name).copied(), port, "{name}");
        }
    }
}
