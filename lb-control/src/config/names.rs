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
    /// The port of a service of TCP.
    fn tcp_service(&mut self, name: &str) -> Option<u16> {
        self.service(name)
    }
}

/// The resolver of the system and /etc/services. Each name is asked for once, so that an
/// unreachable name server delays a file by its distinct names only.
#[derive(Debug, Default)]
pub struct SystemNames {
    hosts: HashMap<String, Option<IpAddr>>,
    services: Option<Services>,
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
        let Services { tcp, udp } = self.services();
        tcp.get(name).or_else(|| udp.get(name)).copied()
    }

    fn tcp_service(&mut self, name: &str) -> Option<u16> {
        self.services().tcp.get(name).copied()
    }
}

/// Somebody who asks nobody, for those who must not: every host has an address, for each name another. Whoever makes
/// something of the file has it checked again by somebody who may ask.
#[derive(Debug, Default)]
pub struct Trust {
    hosts: HashMap<String, IpAddr>,
    system: SystemNames,
}

impl Names for Trust {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        // Class E is nobody's, so it is in no file.
        let next = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        let next = IpAddr::from((0xf000_0001_u32.saturating_add(next)).to_be_bytes());
        Some(*self.hosts.entry(name.to_owned()).or_insert(next))
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        self.system.service(name)
    }

    fn tcp_service(&mut self, name: &str) -> Option<u16> {
        self.system.tcp_service(name)
    }
}

impl SystemNames {
    fn services(&mut self) -> &Services {
        self.services.get_or_insert_with(|| {
            let text = fs::read_to_string("/etc/services");
            text.as_deref().map(Services::read).unwrap_or_default()
        })
    }
}

/// Ports by name and alias.
#[derive(Debug, Default)]
struct Services {
    tcp: HashMap<String, u16>,
    udp: HashMap<String, u16>,
}

impl Services {
    /// `name port/protocol alias…` per line, `#` begins a comment.
    fn read(text: &str) -> Self {
        let mut services = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(socket)) = (words.next(), words.next()) else {
                continue;
            };
            let found = match socket.split_once('/') {
                Some((port, "tcp")) => port.parse().map(|port| (port, &mut services.tcp)),
                Some((port, "udp")) => port.parse().map(|port| (port, &mut services.udp)),
                Some(_) | None => continue,
            };
            let Ok((port, of_protocol)) = found else {
                continue;
            };
            for name in std::iter::once(name).chain(words) {
                of_protocol.entry(name.to_owned()).or_insert(port);
            }
        }
        services
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_name_and_alias() {
        let known =
            Services::read("# c\nhttp 80/tcp www # web\nsyslog\t514/udp\nshell 514/tcp cmd\nx y\n");
        let table = [
            ("http", Some(80), None),
            ("www", Some(80), None),
            ("cmd", Some(514), None),
            ("syslog", None, Some(514)),
            ("web", None, None),
            ("x", None, None),
        ];
        for (name, tcp, udp) in table {
            assert_eq!(known.tcp.get(name).copied(), tcp, "{name}");
            assert_eq!(known.udp.get(name).copied(), udp, "{name}");
        }
    }
}
