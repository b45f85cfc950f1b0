//! Full NAT: ports of the router's own, from their taking to their return.

use std::collections::BTreeSet;

use lb_common::{
    maps::{Load, MethodKind, SchedulerKind, Server},
    state::ticks,
    testing::{
        BACK, FRONT, HostPacket, HostTables, PacketBuilder, Site, balance, sctp, server, tcp, udp,
    },
    verdict::{Reason, Verdict},
    wire::{
        protocol::{SCTP, TCP, UDP},
        tcp::flags::{ACK, RST, SYN},
    },
};

const POOL_FIRST: u16 = 40_000;

/// Addresses of one family; `router` is what real servers see.
struct Ends {
    clients: [&'static str; 3],
    service: &'static str,
    router: &'static str,
    server: &'static str,
}

const FAMILIES: [Ends; 2] = [
    Ends {
        clients: [
            "198.51.100.7:4321",
            "198.51.100.8:4321",
            "198.51.100.9:4321",
        ],
        service: "192.0.2.10:80",
        router: "10.0.0.1",
        server: "10.0.0.11:8080",
    },
    Ends {
        clients: [
            "[2001:db8:c::7]:4321",
            "[2001:db8:c::8]:4321",
            "[2001:db8:c::9]:4321",
        ],
        service: "[2001:db8:a::10]:80",
        router: "[fd00::1]",
        server: "[fd00::11]:8080",
    },
];
const PROTOCOLS: [u8; 3] = [TCP, UDP, SCTP];

impl Ends {
    fn tables(&self, protocol: u8, pool_size: u16) -> HostTables {
        let servers = [server(MethodKind::NAT, self.server, 0x51).with(Server::SOURCE_NAT)];
        Site::default()
            .service(protocol, self.service, SchedulerKind::TURNS, &servers)
            .settings(|settings| {
                settings.pool_first = POOL_FIRST;
                settings.pool_size = pool_size;
            })
            .tables()
    }

    fn request(&self, protocol: u8, client: usize) -> PacketBuilder {
        first(protocol, self.clients[client], self.service)
    }

    /// The real server's answer to a router's port.
    fn reply(&self, protocol: u8, port: u16) -> PacketBuilder {
        first(protocol, self.server, &format!("{}:{port}", self.router)).flags(SYN | ACK)
    }
}

fn first(protocol: u8, source: &str, destination: &str) -> PacketBuilder {
    match protocol {
        TCP => tcp(source, destination).flags(SYN),
        UDP => udp(source, destination),
        _ => sctp(source, destination),
    }
}

/// What becomes of a packet, and its bytes from the IP header on.
fn send(
    tables: &HostTables,
    interface: u32,
    packet: &PacketBuilder,
) -> (Result<Verdict, Reason>, Vec<u8>) {
    let mut packet = HostPacket::new(&packet.build(), interface);
    let verdict = balance(&mut packet, tables);
    (verdict, packet.bytes()[14..].to_vec())
}

/// The source port of an IP packet without options.
fn source_port(packet: &[u8]) -> u16 {
    let at = if packet[0] >> 4 == 4 { 20 } else { 40 };
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// A request that must get through: the port that it got.
fn port_of(tables: &HostTables, request: &PacketBuilder) -> u16 {
    let (verdict, packet) = send(tables, FRONT, request);
    assert_eq!(verdict, Ok(Verdict::Redirect(BACK)));
    source_port(&packet)
}

#[test]
fn clients_with_the_same_port_get_ports_of_their_own_and_their_own_answers() {
    for ends in FAMILIES {
        for protocol in PROTOCOLS {
            let tables = ends.tables(protocol, 1000);
            let requests = [0, 1, 2].map(|client| ends.request(protocol, client));
            let ports = requests.each_ref().map(|request| port_of(&tables, request));
            assert_eq!(BTreeSet::from(ports).len(), 3, "{ports:?}");
            for (client, port) in ports.into_iter().enumerate() {
                assert!((POOL_FIRST..POOL_FIRST + 1000).contains(&port), "{port}");
                assert_eq!(port_of(&tables, &requests[client]), port, "it stays");
                let (verdict, packet) = send(&tables, BACK, &ends.reply(protocol, port));
                assert_eq!(verdict, Ok(Verdict::Redirect(FRONT)));
                let expected = first(protocol, ends.service, ends.clients[client])
                    .flags(SYN | ACK)
                    .hops(63);
                assert_eq!(packet, expected.build()[14..], "client {client}");
            }
        }
    }
}

#[test]
fn a_port_is_free_again_when_its_flow_has_ended() {
    for ends in FAMILIES {
        for protocol in PROTOCOLS {
            let tables = ends.tables(protocol, 1);
            let [early, late] = [0, 1].map(|client| ends.request(protocol, client));
            assert_eq!(port_of(&tables, &early), POOL_FIRST);
            let (verdict, _) = send(&tables, FRONT, &late);
            assert_eq!(verdict, Err(Reason::NoPort));
            tables.advance(ticks(1_000));
            tables.sweep_all();
            assert_eq!(port_of(&tables, &late), POOL_FIRST);
            let (verdict, _) = send(&tables, BACK, &ends.reply(protocol, POOL_FIRST));
            assert_eq!(verdict, Ok(Verdict::Redirect(FRONT)));
            tables.advance(ticks(1_000));
            tables.sweep_all();
            assert!(tables.v4.borrow().flows.is_empty());
            assert!(tables.v6.borrow().flows.is_empty());
            assert_eq!(tables.loads.borrow()[&1], Load::default());
        }
    }
}

#[test]
fn a_refused_flow_leaves_nothing_behind() {
    let ends = &FAMILIES[0];
    let tables = ends.tables(TCP, 0);
    let (verdict, _) = send(&tables, FRONT, &ends.request(TCP, 0));
    assert_eq!(verdict, Err(Reason::NoPort));
    assert!(tables.v4.borrow().flows.is_empty());
    assert!(tables.v4.borrow().half_open.is_empty());
    assert_eq!(
        tables.loads.borrow().get(&1).copied().unwrap_or_default(),
        Load::default()
    );
}

/// The client's reset gives the port back after the short time of a closed connection.
#[test]
fn a_reset_gives_the_port_back_soon() {
    let ends = &FAMILIES[0];
    let tables = ends.tables(TCP, 1);
    for flags in [SYN, ACK, RST] {
        let packet = ends.request(TCP, 0).flags(flags);
        assert_eq!(port_of(&tables, &packet), POOL_FIRST);
    }
    tables.advance(ticks(10));
    tables.sweep_all();
    assert_eq!(port_of(&tables, &ends.request(TCP, 1)), POOL_FIRST);
}

/// The same client comes again with the same port, after its connection was reset: the entry that
/// is replaced keeps no port.
#[test]
fn a_flow_that_begins_anew_gets_a_port_too() {
    let ends = &FAMILIES[0];
    let tables = ends.tables(TCP, 2);
    for _ in 0..10 {
        for flags in [SYN, ACK, RST] {
            port_of(&tables, &ends.request(TCP, 0).flags(flags));
        }
    }
    assert_eq!(tables.traffic.borrow()[&1].connections, 10);
    assert_eq!(tables.v4.borrow().flows.len(), 2, "one flow, one way back");
}
