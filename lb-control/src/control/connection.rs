//! The flows that are remembered: the answer to `GET /v1/connections`, a line of JSON for each.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use lb_common::{state::State, wire::protocol};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    dataplane::connections::Entry,
    model::{Family, ServiceAddress, ServiceId},
};

/// A flow, or the memory of a client that stays with its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// `TCP`, `UDP`, `SCTP`, or `IP` for the clients of a group.
    pub protocol: String,
    /// Seconds until it is forgotten if nothing comes.
    pub expires: u32,
    /// Its state as IPVS calls it: `ESTABLISHED`, `UDP`, `NONE`, …
    pub state: String,
    /// The client; port 0 for one that stays.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub client: SocketAddr,
    /// What it talks to.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub address: SocketAddr,
    /// The real server that it got.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub server: SocketAddr,
    /// The service that it belongs to, if that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// It is no flow, but the memory of a client that stays.
    pub is_template: bool,
}

/// Whose real servers are, by id.
pub type Owners = HashMap<u32, (ServiceId, SocketAddr)>;

/// Which connections are asked for: the query of `GET /v1/connections`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Those of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// Those with such a real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, example = "10.0.0.11:80")]
    pub server: Option<Sockets>,
    /// Those of such clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, example = "198.51.100.0/24")]
    pub client: Option<Sockets>,
    /// Those of this protocol, as [`Connection::protocol`] says it; capitals do not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// No more than so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Only how many there are: the answer is one [`Count`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[param(required = false)]
    pub count: bool,
}

/// How many connections there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// So many.
    pub connections: u64,
}

/// One socket, or all of an address or a network: `192.0.2.7:80`, `192.0.2.7`, `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sockets {
    address: IpAddr,
    length: u8,
    port: Option<u16>,
}

/// A text is neither an address nor a network nor a socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not like 192.0.2.7, 192.0.2.7:80 or 192.0.2.0/24")]
pub struct NoSockets(String);

impl Sockets {
    /// Whether this is one of them.
    #[must_use]
    pub fn have(&self, socket: SocketAddr) -> bool {
        let is_port = self.port.is_none_or(|port| port == socket.port());
        is_port && first_bits(self.address, self.length) == first_bits(socket.ip(), self.length)
    }
}

/// An address as its family and so many bits.
fn first_bits(address: IpAddr, length: u8) -> (Family, u128) {
    let length = u32::from(length);
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits().checked_shr(32_u32.saturating_sub(length));
            (Family::Ipv4, bits.unwrap_or(0).into())
        }
        IpAddr::V6(address) => {
            let bits = address
                .to_bits()
                .checked_shr(128_u32.saturating_sub(length));
            (Family::Ipv6, bits.unwrap_or(0))
        }
    }
}

const fn longest(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Sockets {
    type Err = NoSockets;

    fn from_str(text: &str) -> Result<Self, NoSockets> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self {
                address: socket.ip(),
                length: longest(socket.ip()),
                port: Some(socket.port()),
            });
        }
        let wrong = || NoSockets(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length = match length {
            Some(length) => length.parse().map_err(|_| wrong())?,
            None => longest(address),
        };
        if length > longest(address) {
            return Err(wrong());
        }
        Ok(Self {
            address,
            length,
            port: None,
        })
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => write!(f, "{}/{}", self.address, self.length),
        }
    }
}

impl TryFrom<String> for Sockets {
    type Error = NoSockets;

    fn try_from(text: String) -> Result<Self, NoSockets> {
        text.parse()
    }
}

impl From<Sockets> for String {
    fn from(sockets: Sockets) -> Self {
        sockets.to_string()
    }
}

impl Wanted {
    /// What is told of an entry of a flow table, if it is asked for.
    #[must_use]
    pub fn pick(&self, entry: &Entry, owners: &Owners) -> Option<Connection> {
        if self.client.is_some_and(|client| !client.have(entry.client)) {
            return None;
        }
        let connection = Connection::of(entry, owners);
        let is_service = self.service.is_none() || self.service == connection.service;
        let is_server = self
            .server
            .is_none_or(|server| server.have(connection.server));
        let is_protocol = self
            .protocol
            .as_ref()
            .is_none_or(|protocol| protocol.eq_ignore_ascii_case(&connection.protocol));
        (is_service && is_server && is_protocol).then_some(connection)
    }
}

impl Connection {
    /// What an entry of a flow table says, as IPVS would. A real server that nobody knows any more is
    /// `0.0.0.0:0`.
    #[must_use]
    pub fn of(entry: &Entry, owners: &Owners) -> Self {
        let is_template = entry.state == State::TEMPLATE;
        let owner = owners.get(&entry.server);
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let mut connection = Self {
            protocol: protocol_name(entry.protocol).to_owned(),
            expires: entry.expires,
            state: entry.state.name().to_owned(),
            client: entry.client,
            address: entry.address,
            server: owner.map_or(nowhere, |(_, server)| *server),
            service: owner.map(|(service, _)| *service),
            is_template,
        };
        let server = &mut connection.server;
        match connection.service {
            // `ip_vs_sched_persist`: the mark stands where otherwise the address does, and there are no ports.
            Some(ServiceId::Mark { mark, family }) if is_template => {
                connection.address = SocketAddr::new(as_address(mark, family), 0);
                server.set_port(0);
            }
            Some(ServiceId::Address(key)) if is_template => {
                let ServiceAddress {
                    address,
                    port,
                    protocol,
                } = key;
                connection.protocol = protocol.to_string();
                connection.address = SocketAddr::new(address, port);
                if port == 0 || server.port() == 0 {
                    server.set_port(port);
                }
            }
            Some(_) if server.port() == 0 => server.set_port(entry.address.port()),
            Some(_) | None => {}
        }
        connection
    }
}

/// A mark as IPVS writes it in the place of an address: its bytes are the first of it.
pub(crate) fn as_address(mark: u32, family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(mark).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(u128::from(mark) << 96).into(),
    }
}

/// As IPVS calls it; `IP` for what it does not know.
const fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::SCTP => "SCTP",
        protocol::AH => "AH",
        protocol::ESP => "ESP",
        _ => "IP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners() -> Owners {
        let owner = |id: u32, service: &str, server: &str| {
            (id, (service.parse().unwrap(), server.parse().unwrap()))
        };
        HashMap::from([
            owner(1, "TCP 192.0.2.10:80", "10.0.0.1:8080"),
            owner(2, "FWM 7", "10.0.0.2:0"),
            owner(3, "FWM 7 IPv6", "[fd00::2]:0"),
            owner(4, "UDP 192.0.2.10:0", "10.0.0.4:0"),
        ])
    }

    fn entry(number: u8, client: &str, address: &str, state: State, server: u32) -> Entry {
        Entry {
            protocol: number,
            client: client.parse().unwrap(),
            address: address.parse().unwrap(),
            state,
            expires: 61,
            server,
        }
    }

    #[test]
    fn connections_are_told_as_ipvs_tells_them() {
        let (flow, stays) = (State::ESTABLISHED, State::TEMPLATE);
        let v4 = "198.51.100.7:4321";
        let table = [
            (
                "a flow",
                entry(protocol::TCP, v4, "192.0.2.10:80", flow, 1),
                "TCP ESTABLISHED 198.51.100.7:4321 192.0.2.10:80 10.0.0.1:8080 TCP 192.0.2.10:80",
            ),
            (
                "of a group: the server listens where the client asks",
                entry(protocol::UDP, v4, "192.0.2.11:53", State::UDP, 2),
                "UDP UDP 198.51.100.7:4321 192.0.2.11:53 10.0.0.2:53 FWM 7",
            ),
            (
                "a client that stays",
                entry(0, "198.51.100.0:0", "192.0.2.10:80", stays, 1),
                "TCP NONE 198.51.100.0:0 192.0.2.10:80 10.0.0.1:8080 TCP 192.0.2.10:80",
            ),
            (
                "with a group",
                entry(0, "198.51.100.0:0", "192.0.2.11:53", stays, 2),
                "IP NONE 198.51.100.0:0 0.0.0.7:0 10.0.0.2:0 FWM 7",
            ),
            (
                "with a group of IPv6",
                entry(0, "[2001:db8::]:0", "[2001:db8::10]:53", stays, 3),
                "IP NONE [2001:db8::]:0 [0:7::]:0 [fd00::2]:0 FWM 7 IPv6",
            ),
            (
                "with all ports",
                entry(0, "198.51.100.0:0", "192.0.2.10:99", stays, 4),
                "UDP NONE 198.51.100.0:0 192.0.2.10:0 10.0.0.4:0 UDP 192.0.2.10:0",
            ),
            (
                "of a server that is gone",
                entry(protocol::TCP, v4, "192.0.2.10:80", flow, 9),
                "TCP ESTABLISHED 198.51.100.7:4321 192.0.2.10:80 0.0.0.0:0 ",
            ),
        ];
        for (what, entry, expected) in table {
            let told = Connection::of(&entry, &owners());
            let service = told.service.map(|service| service.to_string());
            let text = format!(
                "{} {} {} {} {} {}",
                told.protocol,
                told.state,
                told.client,
                told.address,
                told.server,
                service.unwrap_or_default()
            );
            assert_eq!(text, expected, "{what}");
            assert_eq!(told.is_template, entry.protocol == 0, "{what}");
            assert_eq!(told.expires, 61, "{what}");
        }
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let entry = entry(
            protocol::TCP,
            "198.51.100.7:4321",
            "192.0.2.10:80",
            State::ESTABLISHED,
            1,
        );
        let table = [
            ("", true),
            ("service=TCP%20192.0.2.10:80", true),
            ("service=FWM%207", false),
            ("server=10.0.0.1", true),
            ("server=10.0.0.1:8080", true),
            ("server=10.0.0.1:80", false),
            ("server=[fd00::2]", false),
            ("client=198.51.100.0/24", true),
            ("client=198.51.101.0/24", false),
            ("client=0.0.0.0/0", true),
            ("client=::/0", false),
            ("client=198.51.100.7:4321&protocol=tcp", true),
            ("protocol=udp", false),
        ];
        for (query, expected) in table {
            let uri = format!("/?{query}").parse().unwrap();
            let wanted = axum::extract::Query::<Wanted>::try_from_uri(&uri).unwrap();
            assert_eq!(
                wanted.0.pick(&entry, &owners()).is_some(),
                expected,
                "{query}"
            );
        }
        for wrong in [
            "client=198.51.100.7/33",
            "client=web",
            "clients=::1",
            "limit=-1",
        ] {
            let uri = format!("/?{wrong}").parse().unwrap();
            assert!(
                axum::extract::Query::<Wanted>::try_from_uri(&uri).is_err(),
                "{wrong}"
            );
        }
    }
}
