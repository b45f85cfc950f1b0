//! What a connection of IPVS is to us, and the other way round.

use std::net::SocketAddr;

use lb_common::{
    state::{DEFAULT_TIMEOUTS, State},
    wire::protocol,
};

use super::message::{Entry, flag, forward};
use crate::{
    control::connection::as_address,
    ids::Identity,
    model::{Family, Method, ServiceAddress, ServiceId},
    sync::{
        connection::{Connection, Key, Names},
        wire::{named, number},
    },
};

/// The port of FTP: its control connection has another than its data, so a client that stays does with all ports.
const FTP: u16 = 21;

/// How long a client stays if that is not said, in seconds: what `ip_vs_proc_conn` takes.
const TEMPLATE_TIMEOUT: u32 = 180;

/// A template that a flow of its client has used: `IP_VS_CTPL_S_ASSURED`.
const ASSURED: u16 = 1;

/// What IPVS is told of a flow; nothing if it has none such: full NAT, and servers of the other family.
#[must_use]
pub fn entry(connection: &Connection) -> Option<Entry> {
    let (service, mut server, method) = connection.server;
    if connection.translated.is_some() {
        return None;
    }
    let mut flags = match method {
        Method::Nat => forward::MASQUERADE,
        Method::Direct => forward::ROUTE | flag::NO_OUTPUT,
        Method::Tunnel => forward::TUNNEL | flag::NO_OUTPUT,
    };
    let mark = match service {
        ServiceId::Mark { mark, .. } => mark,
        ServiceId::Address(_) => 0,
    };
    let (protocol, client, address, state) = match connection.key {
        Key::Flow {
            protocol,
            client,
            address,
        } => {
            if server.port() == 0 {
                server.set_port(address.port());
            }
            if !connection.state.is_active() {
                flags |= flag::INACTIVE;
            }
            (
                protocol,
                client,
                address,
                told_state(protocol, connection.state),
            )
        }
        Key::Template { client, .. } => {
            // As conn_new does, with the flags of the server: no output is said of flows alone.
            flags = flags & flag::FORWARD | flag::TEMPLATE | flag::INACTIVE;
            if method != Method::Nat {
                flags |= flag::NO_OUTPUT;
            }
            let (protocol, address) = match service {
                ServiceId::Mark { mark, family } => {
                    server.set_port(0);
                    (0, SocketAddr::new(as_address(mark, family), 0))
                }
                ServiceId::Address(key) => {
                    let port = if key.port == FTP { 0 } else { key.port };
                    if port == 0 {
                        server.set_port(0);
                    } else if server.port() == 0 {
                        server.set_port(port);
                    }
                    (number(key.protocol), SocketAddr::new(key.address, port))
                }
            };
            (protocol, SocketAddr::new(client, 0), address, ASSURED)
        }
    };
    (server.is_ipv6() == client.is_ipv6()).then_some(Entry {
        protocol,
        client,
        address,
        server,
        flags,
        state,
        mark,
        timeout: connection.timeout,
    })
}

/// The number of a state in the table of its protocol; where there is no such table, the only one.
const fn told_state(protocol: u8, state: State) -> u16 {
    match protocol {
        protocol::TCP => state.0 as u16,
        protocol::SCTP => (state.0 - State::SCTP_NONE.0) as u16,
        _ => 0,
    }
}

/// The state with this number.
fn heard_state(protocol: u8, state: u16) -> Option<State> {
    let state = u32::from(state);
    match protocol {
        protocol::TCP => (state <= State::SYNACK.0).then_some(State(state)),
        protocol::SCTP => {
            let state = state + State::SCTP_NONE.0;
            (state <= State::SCTP_CLOSED.0).then_some(State(state))
        }
        protocol::UDP | protocol::AH | protocol::ESP => (state == 0).then_some(State::UDP),
        _ => None,
    }
}

/// Why nothing is made of a connection of IPVS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheeded {
    /// There is no such service or real server here.
    Unknown,
    /// It is what we have not: a protocol, a state, a client without a port, shifted sequence numbers.
    Unlike,
    /// It does not stand yet.
    HalfOpen,
}

/// What a connection of IPVS is here. As IPVS does, the service is looked for by mark, else by address and port, else
/// by address alone, and the method is that of the server here.
///
/// # Errors
/// If nothing is made of it.
pub fn connection(entry: &Entry, names: &Names) -> Result<Connection, Unheeded> {
    let is_template = entry.flags & flag::TEMPLATE != 0;
    if entry.flags & (flag::SEQUENCES | flag::NO_CLIENT_PORT) != 0 && !is_template {
        return Err(Unheeded::Unlike);
    }
    let server = find(entry, names).ok_or(Unheeded::Unknown)?;
    let (key, state) = if is_template {
        let key = Key::Template {
            service: server.0,
            client: entry.client.ip(),
        };
        (key, State::TEMPLATE)
    } else {
        let state = heard_state(entry.protocol, entry.state).ok_or(Unheeded::Unlike)?;
        let key = Key::Flow {
            protocol: entry.protocol,
            client: entry.client,
            address: entry.address,
        };
        (key, state)
    };
    let timeout = match entry.timeout {
        0 if is_template => TEMPLATE_TIMEOUT,
        0 => DEFAULT_TIMEOUTS
            .get(state.0 as usize)
            .copied()
            .unwrap_or(TEMPLATE_TIMEOUT),
        seconds => seconds,
    };
    let connection = Connection {
        key,
        server,
        state,
        timeout,
        left: timeout,
        translated: None,
    };
    if connection.is_worth_telling() {
        Ok(connection)
    } else {
        Err(Unheeded::HalfOpen)
    }
}

fn find(entry: &Entry, names: &Names) -> Option<Identity> {
    let family = Family::of(entry.address.ip());
    let by_mark = (entry.mark != 0).then_some(ServiceId::Mark {
        mark: entry.mark,
        family,
    });
    let by_port = |port| {
        Some(ServiceId::Address(ServiceAddress {
            address: entry.address.ip(),
            port,
            protocol: named(entry.protocol)?,
        }))
    };
    // The template of a service of FTP has no port.
    let services = [
        by_mark,
        by_port(entry.address.port()),
        by_port(0),
        by_port(FTP),
    ];
    let of_entry = match entry.flags & flag::FORWARD {
        forward::ROUTE => Method::Direct,
        forward::TUNNEL => Method::Tunnel,
        _ => Method::Nat,
    };
    let methods = [of_entry, Method::Nat, Method::Direct, Method::Tunnel];
    services.into_iter().flatten().find_map(|service| {
        let implied = match service {
            ServiceId::Address(key) => key.port,
            ServiceId::Mark { .. } => 0,
        };
        let ports = [entry.server.port(), 0, implied];
        ports.into_iter().find_map(|port| {
            let socket = SocketAddr::new(entry.server.ip(), port);
            methods
                .into_iter()
                .map(|method| (service, socket, method))
                .find(|identity| names.server(identity).is_some())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::ipvs::message::{self, tests::golden};

    /// The services of the director whose messages were recorded.
    fn names() -> Names {
        let identity = |service: &str, server: &str, method| {
            let service: ServiceId = service.parse().unwrap();
            (service, server.parse().unwrap(), method)
        };
        let all = [
            identity("TCP 192.0.2.10:80", "10.2.0.2:8080", Method::Nat),
            identity("TCP 192.0.2.10:81", "10.2.0.2:81", Method::Nat),
            identity("UDP 192.0.2.10:53", "10.2.0.2:53", Method::Nat),
            identity("TCP [2001:db8::10]:80", "[fd02::2]:8080", Method::Nat),
            identity("TCP 192.0.2.10:82", "10.2.0.2:82", Method::Direct),
            identity("FWM 7", "10.2.0.2:0", Method::Nat),
            identity("TCP 192.0.2.11:0", "10.2.0.2:0", Method::Tunnel),
            identity("TCP 192.0.2.12:21", "10.2.0.2:21", Method::Nat),
            identity("SCTP 192.0.2.10:9", "10.2.0.2:9", Method::Nat),
        ];
        let numbered = all.into_iter().zip(1..);
        Names::new(1, numbered, [])
    }

    /// What the kernel says of a flow is what we would say of it.
    #[test]
    fn the_kernels_connections_are_ours_and_back() {
        let mut seen = std::collections::BTreeSet::new();
        for bytes in golden() {
            let (entries, end) = message::decode(21, &bytes).unwrap();
            assert_eq!(end, Ok(()));
            for one in entries {
                let ours = connection(&one, &names()).unwrap();
                let mut again = entry(&ours).unwrap();
                if one.flags & flag::TEMPLATE != 0 {
                    // One that no flow has used yet is told too; ours have always been used.
                    again.state = one.state;
                }
                assert_eq!(again, one, "{ours:?}");
                seen.insert(format!(
                    "{:?} {:?} {:?}",
                    ours.key,
                    ours.state.name(),
                    ours.server.2
                ));
            }
        }
        assert!(seen.len() >= 10, "{seen:#?}");
    }

    /// What Linux 6.1 was sent as one datagram, in a director with these services and `--start-daemon backup --syncid
    /// 21`; `ipvsadm -Lnc` then had all ten, with these states, times and servers, and `ipvsadm -Ln` counted them as
    /// active and inactive where they belong.
    #[test]
    fn what_the_kernel_has_believed_is_what_we_say() {
        const BELIEVED: &str = "\
         001501940a01000000060024000000000001a02900501f9000000000000003840a010001c000020a0a020002\
         00060024000000830001a02a0052005200000000000003840a010001c000020a0a0200020006002400000082\
         0001a02b0053005300000000000003840a010001c000020a0a02000200060024000001000005a02c00501f90\
         00000000000000780a010001c000020a0a02000200110024000001000000a02d00350035000000000000012c\
         0a010001c000020a0a02000200840024000000000008a02e0009000900000000000003840a010001c000020a\
         0a02000200060024000011000001000000510051000000000000012c0a010000c000020a0a02000200000024\
         000011000001000000000000000000070000003c0a010000000000070a02000200060024000000000001a02f\
         005a005a00000007000003840a010001c000020b0a02000201060048000000000001a03000501f9000000000\
         00000384fd01000000000000000000000000000120010db8000000000000000000000010fd02000000000000\
         0000000000000002";
        let connection = |key, service: &str, server: &str, method, state, timeout| Connection {
            key,
            server: (service.parse().unwrap(), server.parse().unwrap(), method),
            state,
            timeout,
            left: timeout,
            translated: None,
        };
        let flow = |protocol, client: &str, address: &str| Key::Flow {
            protocol,
            client: client.parse().unwrap(),
            address: address.parse().unwrap(),
        };
        let stays = |service: &str| Key::Template {
            service: service.parse().unwrap(),
            client: [10, 1, 0, 0].into(),
        };
        let (tcp, nat) = (protocol::TCP, Method::Nat);
        let stands = State::ESTABLISHED;
        let web = "TCP 192.0.2.10:80";
        let told = [
            connection(
                flow(tcp, "10.1.0.1:41001", "192.0.2.10:80"),
                web,
                "10.2.0.2:8080",
                nat,
                stands,
                900,
            ),
            connection(
                flow(tcp, "10.1.0.1:41002", "192.0.2.10:82"),
                "TCP 192.0.2.10:82",
                "10.2.0.2:82",
                Method::Direct,
                stands,
                900,
            ),
            connection(
                flow(tcp, "10.1.0.1:41003", "192.0.2.10:83"),
                "TCP 192.0.2.10:83",
                "10.2.0.2:83",
                Method::Tunnel,
                stands,
                900,
            ),
            connection(
                flow(tcp, "10.1.0.1:41004", "192.0.2.10:80"),
                web,
                "10.2.0.2:8080",
                nat,
                State::TIME_WAIT,
                120,
            ),
            connection(
                flow(protocol::UDP, "10.1.0.1:41005", "192.0.2.10:53"),
                "UDP 192.0.2.10:53",
                "10.2.0.2:53",
                nat,
                State::UDP,
                300,
            ),
            connection(
                flow(protocol::SCTP, "10.1.0.1:41006", "192.0.2.10:9"),
                "SCTP 192.0.2.10:9",
                "10.2.0.2:9",
                nat,
                State::SCTP_ESTABLISHED,
                900,
            ),
            connection(
                stays("TCP 192.0.2.10:81"),
                "TCP 192.0.2.10:81",
                "10.2.0.2:81",
                nat,
                State::TEMPLATE,
                300,
            ),
            connection(
                stays("FWM 7"),
                "FWM 7",
                "10.2.0.2:0",
                nat,
                State::TEMPLATE,
                60,
            ),
            connection(
                flow(tcp, "10.1.0.1:41007", "192.0.2.11:90"),
                "FWM 7",
                "10.2.0.2:0",
                nat,
                stands,
                900,
            ),
            connection(
                flow(tcp, "[fd01::1]:41008", "[2001:db8::10]:80"),
                "TCP [2001:db8::10]:80",
                "[fd02::2]:8080",
                nat,
                stands,
                900,
            ),
        ];
        let entries: Vec<_> = told.iter().filter_map(entry).collect();
        let hex: String = message::encode(21, &entries)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, BELIEVED);
    }

    #[test]
    fn what_cannot_be_is_not_heeded() {
        let base = Entry {
            protocol: protocol::TCP,
            client: "10.1.0.1:4000".parse().unwrap(),
            address: "192.0.2.10:80".parse().unwrap(),
            server: "10.2.0.2:8080".parse().unwrap(),
            flags: 0,
            state: 1,
            mark: 0,
            timeout: 0,
        };
        let socket = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let table = [
            (
                "as it is, by version 0",
                base,
                Ok((State::ESTABLISHED, 900)),
            ),
            (
                "another server",
                Entry {
                    server: socket("10.2.0.3:8080"),
                    ..base
                },
                Err(Unheeded::Unknown),
            ),
            (
                "another service",
                Entry {
                    address: socket("192.0.2.10:99"),
                    ..base
                },
                Err(Unheeded::Unknown),
            ),
            (
                "no such state",
                Entry { state: 11, ..base },
                Err(Unheeded::Unlike),
            ),
            (
                "not yet",
                Entry {
                    state: State::SYN_RECV.0 as u16,
                    ..base
                },
                Err(Unheeded::HalfOpen),
            ),
            (
                "shifted",
                Entry {
                    flags: 0x200,
                    ..base
                },
                Err(Unheeded::Unlike),
            ),
            (
                "without a port",
                Entry {
                    flags: flag::NO_CLIENT_PORT,
                    ..base
                },
                Err(Unheeded::Unlike),
            ),
            (
                "all ports",
                Entry {
                    address: socket("192.0.2.11:99"),
                    server: socket("10.2.0.2:99"),
                    ..base
                },
                Ok((State::ESTABLISHED, 900)),
            ),
            (
                "a mark",
                Entry {
                    address: socket("192.0.2.77:99"),
                    server: socket("10.2.0.2:99"),
                    mark: 7,
                    timeout: 5,
                    ..base
                },
                Ok((State::ESTABLISHED, 5)),
            ),
            (
                "a client that stays with FTP",
                Entry {
                    address: socket("192.0.2.12:0"),
                    server: socket("10.2.0.2:0"),
                    flags: flag::TEMPLATE,
                    ..base
                },
                Ok((State::TEMPLATE, 180)),
            ),
            (
                "SCTP",
                Entry {
                    protocol: protocol::SCTP,
                    address: socket("192.0.2.10:9"),
                    server: socket("10.2.0.2:9"),
                    state: 8,
                    ..base
                },
                Ok((State::SCTP_ESTABLISHED, 900)),
            ),
        ];
        for (what, one, expected) in table {
            let found = connection(&one, &names()).map(|it| (it.state, it.timeout));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn what_ipvs_has_not_is_not_told() {
        let ours = crate::sync::connection::testing::flow(1, State::ESTABLISHED);
        assert!(entry(&ours).is_some());
        let full = Connection {
            translated: Some("10.0.0.254:2000".parse().unwrap()),
            ..ours
        };
        assert_eq!(entry(&full), None);
        let other_family = Connection {
            server: (
                ours.server.0,
                "[fd00::1]:80".parse().unwrap(),
                Method::Tunnel,
            ),
            ..ours
        };
        assert_eq!(entry(&other_family), None);
        let stays = Connection {
            key: Key::Template {
                service: "FWM 7".parse().unwrap(),
                client: "10.1.0.0".parse().unwrap(),
            },
            server: (
                "FWM 7".parse().unwrap(),
                "10.2.0.2:0".parse().unwrap(),
                Method::Direct,
            ),
            state: State::TEMPLATE,
            ..ours
        };
        let told = entry(&stays).unwrap();
        assert_eq!(told.address, "0.0.0.7:0".parse().unwrap());
        assert_eq!((told.protocol, told.mark, told.flags), (0, 7, 0x1183));
        let known = Names::new(1, [(stays.server, 1)], []);
        let heard = connection(&told, &known).unwrap();
        assert_eq!((heard.key, heard.server), (stays.key, stays.server));
    }
}
