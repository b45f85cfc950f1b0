//! Names of hosts and services, as the C library finds them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    process::{Command, Stdio},
};

use crate::model::Protocol;

/// Names of hosts and services.
pub trait Names {
    /// The IPv4 address of a host.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;

    /// The port of a service such as `http`.
    fn port(&self, service: &str, protocol: Protocol) -> Option<u16>;

    /// The names of hosts, of those that have one.
    fn hosts(&self, addresses: &BTreeSet<IpAddr>) -> HashMap<IpAddr, String>;

    /// The name of the service at a port.
    fn service(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// No names at all: addresses and ports are numbers.
#[derive(Debug, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn address(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }

    fn hosts(&self, _: &BTreeSet<IpAddr>) -> HashMap<IpAddr, String> {
        HashMap::new()
    }

    fn service(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

/// The names that this machine knows.
#[derive(Debug, Default)]
pub struct SystemNames {
    services: std::sync::OnceLock<Services>,
}

/// Names of services, and their ports.
#[derive(Debug, Default)]
struct Services {
    ports: HashMap<(String, String), u16>,
    names: HashMap<(u16, String), String>,
}

impl Services {
    /// Reads `/etc/services`; of several lines for the same the first holds.
    fn parse(text: &str) -> Self {
        let mut services = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(at)) = (words.next(), words.next()) else {
                continue;
            };
            let Some((port, protocol)) = at.split_once('/') else {
                continue;
            };
            let Ok(port) = port.parse::<u16>() else {
                continue;
            };
            let names = &mut services.names;
            names
                .entry((port, protocol.to_owned()))
                .or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                let key = (name.to_owned(), protocol.to_owned());
                services.ports.entry(key).or_insert(port);
            }
        }
        services
    }
}

impl SystemNames {
    fn services(&self) -> &Services {
        self.services.get_or_init(|| {
            let text = fs::read("/etc/services").unwrap_or_default();
            Services::parse(&String::from_utf8_lossy(&text))
        })
    }
}

/// What `/etc/services` calls it.
fn key(protocol: Protocol) -> String {
    protocol.to_string().to_ascii_lowercase()
}

/// How many addresses one `getent` is asked for.
const AT_ONCE: usize = 500;

impl Names for SystemNames {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let mut found = (host, 0).to_socket_addrs().ok()?;
        found.find_map(|socket| match socket {
            SocketAddr::V4(socket) => Some(*socket.ip()),
            SocketAddr::V6(_) => None,
        })
    }

    fn port(&self, service: &str, protocol: Protocol) -> Option<u16> {
        let key = (service.to_owned(), key(protocol));
        self.services().ports.get(&key).copied()
    }

    /// Rust's library finds no names of addresses; `getent` of the C library does, by whatever
    /// nsswitch.conf says. Without it, addresses stay addresses.
    fn hosts(&self, addresses: &BTreeSet<IpAddr>) -> HashMap<IpAddr, String> {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let mut names = HashMap::new();
        for some in addresses.chunks(AT_ONCE) {
            let output = Command::new("getent")
                .arg("hosts")
                .args(some)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output();
            let Ok(output) = output else {
                break;
            };
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let mut words = line.split_ascii_whitespace();
                let address = words.next().and_then(|word| word.parse().ok());
                if let (Some(address), Some(name)) = (address, words.next()) {
                    names.entry(address).or_insert_with(|| name.to_owned());
                }
            }
        }
        names
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.services().names.get(&(port, key(protocol))).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_a_name_and_others() {
        let services = Services::parse(
            "# a comment\nhttp\t\t80/tcp\t\twww\t# WorldWideWeb\nwww 81/tcp\nsip 5060/udp\nodd 99\nbad x/tcp\n",
        );
        let port = |name: &str, protocol| {
            let key = (name.to_owned(), key(protocol));
            services.ports.get(&key).copied()
        };
        assert_eq!(port("http", Protocol::Tcp), Some(80));
        assert_eq!(port("www", Protocol::Tcp), Some(80));
        assert_eq!(port("http", Protocol::Udp), None);
        assert_eq!(port("sip", Protocol::Udp), Some(5060));
        let name = services.names.get(&(80, key(Protocol::Tcp)));
        assert_eq!(name.map(String::as_str), Some("http"));
    }
}
