//! Flows through their life, on tables of the host under a clock that the tests turn.

use std::collections::BTreeMap;

use lb_common::{
    age::Step,
    family::{V4, V6},
    flow::reply_key,
    lookup::TERM,
    maps::{
        Census, Load, MethodKind, NextHop, Persistence, RangeKey, SchedulerKind, Server, Service,
        Settings, Thresholds,
    },
    state::{DEFAULT_REUSE, Sight, State, ticks},
    tables::{Queue, Route},
    testing::{
        BACK, FRONT, HostPacket, HostTables, PacketBuilder, Site, balance, checksums, server,
        service_key, tcp, udp,
    },
    verdict::{Reason, Verdict},
    wire::{
        Be16,
        protocol::{TCP, UDP},
        tcp::flags::{ACK, FIN, RST, SYN},
    },
};

const CLIENT: &str = "198.51.100.7:4321";
const VIRTUAL: &str = "192.0.2.10:80";
const OTHER_VIRTUAL: &str = "192.0.2.11:80";
const REAL: &str = "10.0.0.11:8080";
const OTHER_REAL: &str = "10.0.0.12:8080";
const CLIENT6: &str = "[2001:db8:c::7]:4321";
const VIRTUAL6: &str = "[2001:db8:a::10]:80";
const REAL6: &str = "[fd00::11]:8080";

const FORWARDED: Result<Verdict, Reason> = Ok(Verdict::Redirect(BACK));
const REPLIED: Result<Verdict, Reason> = Ok(Verdict::Redirect(FRONT));

/// Who sends.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Client,
    RealServer,
}
use Sender::{Client, RealServer};

const METHODS: [MethodKind; 3] = [MethodKind::NAT, MethodKind::DIRECT, MethodKind::TUNNEL];

#[test]
fn a_connection_goes_through_its_states() {
    let handshake = [
        (Client, SYN, State::SYN_RECV),
        (RealServer, SYN | ACK, State::SYN_RECV),
        (Client, ACK, State::ESTABLISHED),
    ];
    type Row<'a> = (&'a str, &'a [(Sender, u8, State)]);
    let table: [Row; 6] = [
        (
            "data both ways",
            &[
                (Client, ACK, State::ESTABLISHED),
                (RealServer, ACK, State::ESTABLISHED),
            ],
        ),
        (
            "the client ends it",
            &[
                (Client, FIN | ACK, State::CLOSE_WAIT),
                (RealServer, ACK, State::CLOSE_WAIT),
                (RealServer, FIN | ACK, State::TIME_WAIT),
                (Client, ACK, State::TIME_WAIT),
            ],
        ),
        (
            "the server ends it",
            &[
                (RealServer, FIN | ACK, State::FIN_WAIT),
                (Client, ACK, State::FIN_WAIT),
                (Client, FIN | ACK, State::TIME_WAIT),
                (RealServer, ACK, State::TIME_WAIT),
            ],
        ),
        ("the client resets it", &[(Client, RST, State::CLOSE)]),
        ("the server resets it", &[(RealServer, RST, State::CLOSE)]),
        (
            "a SYN in the middle changes nothing",
            &[(Client, SYN, State::ESTABLISHED)],
        ),
    ];
    for (name, steps) in table {
        let tables = one(TCP, MethodKind::NAT);
        for (from, flags, state) in handshake.iter().chain(steps) {
            let (packet, expected) = match from {
                Client => (tcp(CLIENT, VIRTUAL), FORWARDED),
                RealServer => (tcp(REAL, CLIENT), REPLIED),
            };
            assert_eq!(send(&tables, &packet.flags(*flags)), expected, "{name}");
            assert_eq!(states(&tables), [*state], "{name}: {flags:#x}");
            assert_eq!(
                tables.loads.borrow()[&1],
                counted(&[*state]),
                "{name}: {flags:#x}"
            );
            check(&tables);
        }
        empties(&tables, name);
    }
}

/// Both ends send a SYN before they have seen the other's (RFC 9293 §3.5, figure 7).
#[test]
fn a_simultaneous_open_becomes_one_connection() {
    let steps = [
        (Client, SYN, State::SYN_RECV),
        (RealServer, SYN, State::SYN_RECV),
        (Client, SYN | ACK, State::SYN_RECV),
        (RealServer, SYN | ACK, State::SYN_RECV),
        (Client, ACK, State::ESTABLISHED),
        (RealServer, ACK, State::ESTABLISHED),
    ];
    for method in METHODS {
        let tables = one(TCP, method);
        for (from, flags, state) in steps {
            let (packet, expected) = match from {
                Client => (tcp(CLIENT, VIRTUAL), FORWARDED),
                RealServer if method == MethodKind::NAT => (tcp(REAL, CLIENT), REPLIED),
                // It is not seen here.
                RealServer => continue,
            };
            let found = send(&tables, &packet.flags(flags));
            assert_eq!(found, expected, "{method:?}: {flags:#x}");
            assert_eq!(states(&tables), [state], "{method:?}: {flags:#x}");
            check(&tables);
        }
        empties(&tables, "simultaneous open");
    }
}

#[test]
fn only_requests_are_seen_of_what_is_routed_or_tunnelled() {
    let steps = [
        (SYN, State::SYN_RECV),
        (ACK, State::ESTABLISHED),
        (FIN | ACK, State::FIN_WAIT),
        (ACK, State::FIN_WAIT),
        (RST, State::CLOSE),
    ];
    for method in [MethodKind::DIRECT, MethodKind::TUNNEL] {
        let tables = one(TCP, method);
        for (flags, state) in steps {
            let packet = tcp(CLIENT, VIRTUAL).flags(flags);
            assert_eq!(send(&tables, &packet), FORWARDED, "{method:?}");
            assert_eq!(states(&tables), [state], "{method:?}: {flags:#x}");
            check(&tables);
        }
        empties(&tables, "request only");
    }
}

#[test]
fn a_silent_flow_is_remembered_as_long_as_its_state_says() {
    let handshake = [SYN, ACK];
    let table: [(u8, &[u8], u32); 6] = [
        (TCP, &handshake[..1], 60),
        (TCP, &handshake, 900),
        (TCP, &[SYN, ACK, FIN | ACK], 120),
        (TCP, &[SYN, ACK, RST], 10),
        (UDP, &[0], 60),
        (UDP, &[0, 0], 300),
    ];
    for (protocol, segments, seconds) in table {
        let tables = one(protocol, MethodKind::DIRECT);
        for flags in segments {
            let packet = packet(protocol, CLIENT, VIRTUAL).flags(*flags);
            assert_eq!(send(&tables, &packet), FORWARDED);
        }
        tables.advance(ticks(seconds) - 1);
        tables.sweep_all();
        assert_eq!(states(&tables).len(), 1, "{segments:?}: too early");
        tables.advance(1);
        tables.sweep_all();
        assert_eq!(states(&tables).len(), 0, "{segments:?}: too late");
        assert_eq!(tables.loads.borrow()[&1], Load::default());
        check(&tables);
    }
}

#[test]
fn a_masqueraded_datagram_waits_for_its_answer() {
    let (request, reply) = (udp(CLIENT, VIRTUAL), udp(REAL, CLIENT));
    // What comes after the first request, and how long the last packet is remembered.
    let table: [(&[&PacketBuilder], State, u32); 4] = [
        (&[], State::UDP_ONCE, 60),
        (&[&request, &request], State::UDP_ONCE, 60),
        (&[&reply], State::UDP, 300),
        (&[&reply, &request], State::UDP, 300),
    ];
    for (number, (packets, state, seconds)) in table.into_iter().enumerate() {
        let tables = one(UDP, MethodKind::NAT);
        assert_eq!(send(&tables, &request), FORWARDED);
        for packet in packets {
            tables.advance(ticks(59));
            let verdict = send(&tables, packet);
            assert!(
                matches!(verdict, Ok(Verdict::Redirect(_))),
                "row {number}: {verdict:?}"
            );
        }
        assert_eq!(states(&tables), [state], "row {number}");
        tables.advance(ticks(seconds) - 1);
        tables.sweep_all();
        assert_eq!(states(&tables), [state], "row {number}: too early");
        tables.advance(1);
        tables.sweep_all();
        assert_eq!(states(&tables), [], "row {number}: too late");
        check(&tables);
    }
}

#[test]
fn packets_of_either_end_keep_a_flow() {
    let tables = one(UDP, MethodKind::NAT);
    let request = udp(CLIENT, VIRTUAL);
    let reply = udp(REAL, CLIENT);
    assert_eq!(send(&tables, &request), FORWARDED);
    assert_eq!(send(&tables, &reply), REPLIED);
    for _ in 0..5 {
        tables.advance(ticks(200));
        tables.sweep_all();
        assert_eq!(send(&tables, &reply), REPLIED);
        tables.advance(ticks(200));
        tables.sweep_all();
        assert_eq!(send(&tables, &request), FORWARDED);
    }
    assert_eq!(tables.traffic.borrow()[&1].connections, 1);
    empties(&tables, "UDP");
    // What the server still says belongs to nobody.
    assert_eq!(send(&tables, &reply), Ok(Verdict::Pass));
}

#[test]
fn the_way_of_replies_is_looked_up_once_a_second() {
    const OTHER_WAY: u32 = 7;
    type Row = (&'static str, u8, usize, u32, Result<Verdict, Reason>);
    let table: [Row; 6] = [
        ("in the midst of it", ACK, 0, TERM - 1, REPLIED),
        (
            "a second later",
            ACK,
            0,
            TERM,
            Ok(Verdict::Redirect(OTHER_WAY)),
        ),
        ("an end", FIN | ACK, 0, 1, Ok(Verdict::Redirect(OTHER_WAY))),
        ("a reset", RST, 0, 1, Ok(Verdict::Redirect(OTHER_WAY))),
        ("a SYN", SYN | ACK, 0, 1, Ok(Verdict::Redirect(OTHER_WAY))),
        (
            "a long one",
            ACK,
            1_500,
            1,
            Ok(Verdict::Redirect(OTHER_WAY)),
        ),
    ];
    for (name, flags, length, later, expected) in table {
        let mut tables = one(TCP, MethodKind::NAT);
        for (from, to, flags) in [
            (CLIENT, VIRTUAL, SYN),
            (REAL, CLIENT, SYN | ACK),
            (CLIENT, VIRTUAL, ACK),
            (REAL, CLIENT, ACK),
        ] {
            assert!(send(&tables, &tcp(from, to).flags(flags)).is_ok(), "{name}");
        }
        let Route::Via(hop) = tables.route else {
            panic!("the site has a route");
        };
        tables.route = Route::Via(NextHop {
            interface: OTHER_WAY,
            ..hop
        });
        tables.clock.set(tables.clock.get() + later);
        let reply = tcp(REAL, CLIENT).flags(flags).payload(&vec![0; length]);
        assert_eq!(send(&tables, &reply), expected, "{name}");
        check(&tables);
    }
}

/// Nothing that a client or a server can do within the second is missed.
#[test]
fn what_is_granted_to_a_way_back_ends_with_its_flow() {
    let mut tables = one(TCP, MethodKind::NAT);
    for (from, to, flags) in [
        (CLIENT, VIRTUAL, SYN),
        (REAL, CLIENT, SYN | ACK),
        (CLIENT, VIRTUAL, ACK),
        (REAL, CLIENT, ACK),
    ] {
        assert!(send(&tables, &tcp(from, to).flags(flags)).is_ok());
    }
    remove(&mut tables, 1);
    // The client learns at once, and the way back goes with its flow.
    assert_ne!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(ACK)), FORWARDED);
    empties(&tables, "after the removal");
    assert_eq!(
        send(&tables, &tcp(REAL, CLIENT).flags(ACK)),
        Ok(Verdict::Pass)
    );
}

#[test]
fn a_flow_that_nobody_swept_away_has_ended_all_the_same() {
    let tables = one(TCP, MethodKind::NAT);
    let of_client = |flags| tcp(CLIENT, VIRTUAL).flags(flags);
    let of_server = tcp(REAL, CLIENT);
    assert_eq!(send(&tables, &of_client(SYN)), FORWARDED);
    assert_eq!(send(&tables, &of_client(ACK)), FORWARDED);
    tables.advance(ticks(900));
    assert_eq!(send(&tables, &of_client(ACK)), Err(Reason::NoFlow));
    assert_eq!(send(&tables, &of_server), Ok(Verdict::Pass));
    assert_eq!(send(&tables, &of_client(SYN)), FORWARDED);
    assert_eq!(states(&tables), [State::SYN_RECV]);
    assert_eq!(tables.loads.borrow()[&1], counted(&[State::SYN_RECV]));
    check(&tables);
    empties(&tables, "TCP");
}

#[test]
fn a_port_that_is_used_again_starts_anew_where_ipvs_does() {
    // What comes before the SYN, in NAT; whether a new connection is scheduled.
    let table: [(&[(Sender, u8)], bool); 5] = [
        (&[(RealServer, FIN | ACK), (Client, FIN | ACK)], true),
        (&[(Client, RST)], true),
        (&[], false),
        (&[(Client, FIN | ACK)], false),
        (&[(RealServer, FIN | ACK)], false),
    ];
    for (steps, anew) in table {
        let tables = two_servers(TCP);
        for (from, flags) in [(Client, SYN), (Client, ACK)].iter().chain(steps) {
            let packet = match from {
                Client => tcp(CLIENT, VIRTUAL),
                RealServer => tcp(REAL, CLIENT),
            };
            let verdict = send(&tables, &packet.flags(*flags));
            assert!(matches!(verdict, Ok(Verdict::Redirect(_))), "{verdict:?}");
        }
        assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(SYN)), FORWARDED);
        let connections: Vec<u64> = [1, 2]
            .iter()
            .map(|id| {
                let traffic = tables.traffic.borrow();
                traffic.get(id).map_or(0, |traffic| traffic.connections)
            })
            .collect();
        // The turn is the second server's.
        let expected = if anew { [1, 1] } else { [1, 0] };
        assert_eq!(connections, expected, "after {steps:?}");
        check(&tables);
        // Only the server whose turn it is may answer.
        let of_first = send(&tables, &tcp(REAL, CLIENT).flags(SYN | ACK));
        assert_eq!(of_first == REPLIED, !anew, "after {steps:?}: {of_first:?}");
        empties(&tables, "reuse");
    }
}

#[test]
fn flows_of_a_removed_server_end() {
    for method in METHODS {
        // With another server in the ring.
        let mut tables = two_servers_by(UDP, method);
        assert_eq!(send(&tables, &udp(CLIENT, VIRTUAL)), FORWARDED);
        assert_eq!(tables.loads.borrow()[&1].inactive, 1);
        remove(&mut tables, 1);
        assert_eq!(send(&tables, &udp(CLIENT, VIRTUAL)), FORWARDED);
        assert_eq!(tables.loads.borrow()[&1].inactive, 0, "{method:?}");
        assert_eq!(tables.loads.borrow()[&2].inactive, 1, "{method:?}");
        check(&tables);
        empties(&tables, "UDP of a removed server");

        let mut tables = two_servers_by(TCP, method);
        for flags in [SYN, ACK] {
            assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(flags)), FORWARDED);
        }
        remove(&mut tables, 1);
        for flags in [ACK, FIN | ACK, RST] {
            let packet = tcp(CLIENT, VIRTUAL).flags(flags);
            assert_eq!(send(&tables, &packet), Err(Reason::NoFlow), "{method:?}");
        }
        assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(SYN)), FORWARDED);
        assert_eq!(tables.loads.borrow()[&1], Load::default(), "{method:?}");
        assert_eq!(tables.loads.borrow()[&2], counted(&[State::SYN_RECV]));
        check(&tables);
        empties(&tables, "TCP of a removed server");
    }
}

#[test]
fn the_sweeper_takes_flows_of_a_removed_server_at_once() {
    for method in METHODS {
        let mut tables = one(TCP, method);
        for flags in [SYN, ACK] {
            assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(flags)), FORWARDED);
        }
        tables.sweep_all();
        assert_eq!(states(&tables).len(), 1);
        remove(&mut tables, 1);
        tables.sweep_all();
        assert_empty(&tables, "removed");
    }
}

#[test]
fn a_flow_of_a_service_that_is_gone_lives_on_with_its_server() {
    let mut tables = one(TCP, MethodKind::NAT);
    assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(SYN)), FORWARDED);
    tables.services.clear();
    assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(ACK)), FORWARDED);
    assert_eq!(send(&tables, &tcp(REAL, CLIENT).flags(ACK)), REPLIED);
    remove(&mut tables, 1);
    let verdict = send(&tables, &tcp(CLIENT, VIRTUAL).flags(ACK));
    assert_eq!(verdict, Ok(Verdict::Pass));
    empties(&tables, "service gone");
}

#[test]
fn weight_zero_keeps_flows_and_starts_none() {
    let mut tables = one(TCP, MethodKind::NAT);
    assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(SYN)), FORWARDED);
    tables.servers[1].weight = 0;
    assert_eq!(send(&tables, &tcp(CLIENT, VIRTUAL).flags(ACK)), FORWARDED);
    let other = tcp("198.51.100.8:4321", VIRTUAL).flags(SYN);
    assert_eq!(send(&tables, &other), Ok(Verdict::Transmit));
    assert_eq!(tables.reasons.borrow()["no-server"], 1);
    empties(&tables, "weight 0");
}

#[test]
fn a_full_table_refuses_flows_and_recovers() {
    for (method, capacity, fit) in [
        (MethodKind::DIRECT, 2, 2),
        (MethodKind::NAT, 4, 2),
        // The last one finds room for itself and none for its way back.
        (MethodKind::NAT, 5, 2),
    ] {
        let mut tables = one(UDP, method);
        tables.settings.flows = capacity;
        tables.settings.half_open = capacity;
        let from = |host: usize| udp(&format!("198.51.100.{host}:4321"), VIRTUAL);
        for host in 1..=fit {
            assert_eq!(send(&tables, &from(host)), FORWARDED, "{method:?}");
            stand(&tables, &from(host), method);
        }
        for _ in 0..3 {
            let refused = send(&tables, &from(99));
            assert_eq!(refused, Err(Reason::FlowTableFull), "{method:?} {capacity}");
            check(&tables);
        }
        // Those that are in are served on.
        assert_eq!(send(&tables, &from(1)), FORWARDED);
        tables.advance(ticks(300));
        tables.sweep_all();
        assert_eq!(send(&tables, &from(99)), FORWARDED);
        check(&tables);
        empties(&tables, "full");
    }
}

/// Makes the flow of a datagram a standing one: by an answer where that is seen, else by another
/// datagram.
fn stand(tables: &HostTables, datagram: &PacketBuilder, method: MethodKind) {
    if method == MethodKind::NAT {
        let answer = datagram.clone().swapped(REAL);
        assert_eq!(send(tables, &answer), REPLIED);
    } else {
        assert_eq!(send(tables, datagram), FORWARDED);
    }
}

#[test]
fn half_open_flows_make_room_for_each_other_and_never_displace_a_standing_one() {
    for method in METHODS {
        for protocol in [TCP, UDP] {
            let mut tables = one(protocol, method);
            tables.settings.flows = 40;
            tables.settings.half_open = 20;
            let from = |host: u32, port: u32| {
                let [_, b, c, d] = host.to_be_bytes();
                packet(protocol, &format!("198.{b}.{c}.{d}:{port}"), VIRTUAL)
            };
            let standing = 5;
            for host in 1..=standing {
                assert_eq!(send(&tables, &from(host, 1)), FORWARDED);
                if protocol == TCP {
                    assert_eq!(send(&tables, &from(host, 1).flags(ACK)), FORWARDED);
                } else {
                    stand(&tables, &from(host, 1), method);
                }
            }
            let before = tables.v4.borrow().census.standing;
            for host in 0..5_000 {
                let verdict = send(&tables, &from(0x10_0000 + host, 2));
                assert_eq!(verdict, FORWARDED, "{method:?} {protocol} {host}");
                if host % 7 == 0 {
                    tables.advance(1);
                    let _ = tables.sweep::<V4>(Queue::HalfOpen);
                }
            }
            check(&tables);
            let census = tables.v4.borrow().census;
            assert_eq!(census.standing, before, "{method:?} {protocol}");
            assert!(census.half_open <= 20, "{census:?}");
            assert!(tables.events.borrow()["displaced"] > 4_900);
            for host in 1..=standing {
                assert_eq!(send(&tables, &from(host, 1).flags(ACK)), FORWARDED);
            }
            assert_eq!(tables.traffic.borrow()[&1].connections, 5_005);
            empties(&tables, "flood");
        }
    }
}

#[test]
fn hashing_schedulers_go_stateless_above_a_rate_of_new_flows() {
    for (method, is_stateless) in [(MethodKind::DIRECT, true), (MethodKind::NAT, false)] {
        let address = if method == MethodKind::NAT {
            REAL
        } else {
            "10.0.0.12:80"
        };
        let servers = [server(method, address, 0x51)];
        let mut tables = Site::default()
            .service(TCP, VIRTUAL, SchedulerKind::SOURCE_HASH, &servers)
            .settings(|settings| settings.stateless_above = 3)
            .tables();
        // A table of 256 buckets.
        tables.ring = vec![1; 256];
        tables
            .services
            .values_mut()
            .for_each(|service| service.slots = 256);
        let from = |port: u32| tcp(&format!("198.51.100.7:{port}"), VIRTUAL);
        for port in 1..=10 {
            assert_eq!(send(&tables, &from(port).flags(SYN)), FORWARDED);
        }
        let flows = states(&tables).len();
        assert_eq!(flows, if is_stateless { 3 } else { 10 }, "{method:?}");
        // What was not remembered goes on all the same.
        for port in 1..=10 {
            assert_eq!(send(&tables, &from(port).flags(ACK)), FORWARDED);
        }
        // In the next second flows are remembered again, from whatever segment on.
        tables.advance(1 << 10);
        assert_eq!(send(&tables, &from(9).flags(ACK)), FORWARDED);
        let flows = states(&tables).len();
        assert_eq!(flows, if is_stateless { 4 } else { 10 }, "{method:?}");
        empties(&tables, "stateless");
    }
}

#[test]
fn a_client_stays_with_its_server() {
    let nat = |last: u8| server(MethodKind::NAT, &format!("10.0.0.{last}:8080"), last);
    let mut site = Site::default()
        .service(
            TCP,
            VIRTUAL,
            SchedulerKind::TURNS,
            &[nat(1), nat(2), nat(3)],
        )
        .services(|service| service.flags |= Service::PERSISTENT);
    let mask = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00".parse::<std::net::Ipv6Addr>();
    let persistence = Persistence {
        mask: mask.map(std::net::IpAddr::V6).expect("a mask").into(),
        timeout: ticks(300),
        pad: 0,
    };
    site.persistence.insert(0, persistence);
    let mut tables = site.tables();
    let connections = |tables: &HostTables| {
        let traffic = tables.traffic.borrow();
        [1, 2, 3].map(|id| traffic.get(&id).map_or(0, |traffic| traffic.connections))
    };
    let connect = |tables: &HostTables, client: &str| {
        let verdict = send(tables, &tcp(client, VIRTUAL).flags(SYN));
        assert_eq!(verdict, FORWARDED, "{client}");
    };
    // A network of 256 clients is one.
    for client in ["198.51.100.7:1", "198.51.100.7:2", "198.51.100.200:1"] {
        connect(&tables, client);
    }
    assert_eq!(connections(&tables), [3, 0, 0]);
    connect(&tables, "198.51.101.7:1");
    assert_eq!(connections(&tables), [3, 1, 0]);
    assert_eq!(tables.loads.borrow()[&1].persistent, 1);
    check(&tables);
    // Flows keep the template alive for longer than its time.
    for _ in 0..10 {
        tables.advance(ticks(50));
        assert_eq!(
            send(&tables, &tcp("198.51.100.7:1", VIRTUAL).flags(ACK)),
            FORWARDED
        );
        tables.sweep_all();
    }
    connect(&tables, "198.51.100.7:3");
    assert_eq!(connections(&tables), [4, 1, 0]);
    // A server of weight 0 loses its clients, by default.
    tables.servers[1].weight = 0;
    connect(&tables, "198.51.100.7:4");
    assert_eq!(connections(&tables), [4, 1, 1]);
    tables.servers[1].weight = 1;
    connect(&tables, "198.51.100.7:5");
    assert_eq!(connections(&tables), [4, 1, 2], "it has moved");
    tables.settings.flags = Settings::KEEP_TEMPLATES;
    tables.servers[3].weight = 0;
    connect(&tables, "198.51.100.7:6");
    assert_eq!(connections(&tables), [4, 1, 3], "as IPVS has it");
    check(&tables);
    // Without flows the client is free after its time.
    tables.advance(ticks(1_000));
    tables.sweep_all();
    assert_empty(&tables, "persistence");
}

#[test]
fn an_overloaded_server_gets_no_more_until_it_is_relieved() {
    let limited = server(MethodKind::DIRECT, "10.0.0.12:80", 0x51).with(Server::LIMITED);
    let mut site = Site::default().service(TCP, VIRTUAL, SchedulerKind::TURNS, &[limited]);
    let thresholds = Thresholds { upper: 3, lower: 2 };
    site.thresholds.insert(1, thresholds);
    let tables = site.tables();
    let from = |port: u32| tcp(&format!("198.51.100.7:{port}"), VIRTUAL);
    for port in 1..=3 {
        for flags in [SYN, ACK] {
            assert_eq!(send(&tables, &from(port).flags(flags)), FORWARDED);
        }
    }
    assert_eq!(tables.loads.borrow()[&1].overloaded, 1);
    let refused = || {
        tables
            .reasons
            .borrow()
            .get("no-server")
            .copied()
            .unwrap_or(0)
    };
    let _ = send(&tables, &from(4).flags(SYN));
    assert_eq!(refused(), 1);
    // Two are left: not fewer than two.
    for (port, ends) in [(1, false), (2, true)] {
        assert_eq!(send(&tables, &from(port).flags(RST)), FORWARDED);
        tables.advance(ticks(10));
        tables.sweep_all();
        let overloaded = tables.loads.borrow()[&1].overloaded;
        assert_eq!(overloaded == 0, ends, "after flow {port}");
    }
    assert_eq!(send(&tables, &from(4).flags(SYN)), FORWARDED);
    check(&tables);
    empties(&tables, "thresholds");
}

#[test]
fn a_range_of_ports_is_one_service_and_a_single_port_goes_before_it() {
    let service = |id, ring| Service {
        id,
        ring,
        slots: 1,
        ..bytemuck::Zeroable::zeroed()
    };
    let real = |last: u8| server(MethodKind::NAT, &format!("10.0.0.{last}:0"), last);
    let mut site = Site::default().service(UDP, "192.0.2.10:53", SchedulerKind::TURNS, &[real(1)]);
    for (id, last) in [(1, 2), (2, 3)] {
        site.ring.push(site.servers.len() as u32);
        site.servers.push(Server {
            service: id,
            ..real(last)
        });
    }
    let range = |port: u16, free: u32| {
        let key = RangeKey {
            port: Be16::new(port),
            ..RangeKey::of(&service_key(UDP, "192.0.2.10:0"))
        };
        (key, RangeKey::BITS - free)
    };
    site.ranges.insert(range(0, 16), service(1, 1));
    site.ranges.insert(range(1024, 8), service(2, 2));
    site.settings.flags |= Settings::RANGES;
    let tables = site.tables();
    for (port, id) in [
        (53, 1),
        (54, 2),
        (1023, 2),
        (1024, 3),
        (1279, 3),
        (1280, 2),
        (65_535, 2),
    ] {
        let datagram = udp(CLIENT, &format!("192.0.2.10:{port}"));
        let mut sent = HostPacket::new(&datagram.build(), FRONT);
        assert_eq!(balance(&mut sent, &tables), FORWARDED);
        let kept = datagram.to(&format!("10.0.0.{id}:{port}"));
        assert_eq!(sent.bytes()[30..38], kept.build()[30..38], "port {port}");
        let answer = udp(&format!("10.0.0.{id}:{port}"), CLIENT);
        assert_eq!(send(&tables, &answer), REPLIED, "port {port}");
    }
    assert_eq!(
        send(&tables, &tcp(CLIENT, "192.0.2.10:54").flags(SYN)),
        Ok(Verdict::Pass)
    );
    assert_eq!(
        send(&tables, &udp(CLIENT, "192.0.2.11:54")),
        Ok(Verdict::Pass)
    );
    check(&tables);
    empties(&tables, "ranges");
}

#[test]
fn every_datagram_is_scheduled_by_itself_where_the_service_says_so() {
    let real = |last: u8| server(MethodKind::DIRECT, &format!("10.0.0.{last}:80"), last);
    let tables = Site::default()
        .service(UDP, VIRTUAL, SchedulerKind::TURNS, &[real(1), real(2)])
        .services(|service| service.flags |= Service::ONE_PACKET)
        .tables();
    for _ in 0..6 {
        assert_eq!(send(&tables, &udp(CLIENT, VIRTUAL)), FORWARDED);
    }
    let packets = |id| tables.traffic.borrow()[&id].packets_in;
    assert_eq!((packets(1), packets(2)), (3, 3));
    assert_empty(&tables, "one packet");
}

#[test]
fn settings_of_ipvs_mean_what_they_mean_there() {
    // sloppy_tcp: any segment but a reset begins a flow.
    let tables = one(TCP, MethodKind::NAT);
    let ack = tcp(CLIENT, VIRTUAL).flags(ACK);
    assert_eq!(send(&tables, &ack), Err(Reason::NoFlow));
    let mut tables = one(TCP, MethodKind::NAT);
    tables.settings.flags = Settings::SLOPPY_TCP;
    assert_eq!(
        send(&tables, &tcp(CLIENT, VIRTUAL).flags(RST)),
        Err(Reason::NoFlow)
    );
    assert_eq!(send(&tables, &ack), FORWARDED);
    assert_eq!(tables.loads.borrow()[&1].active, 1, "it is taken to stand");

    // expire_nodest_conn = 0: silence until the server is back.
    tables.settings.flags = Settings::KEEP_FLOWS;
    tables.servers[1].flags &= !Server::PRESENT;
    assert_eq!(send(&tables, &ack), Err(Reason::ServerGone));
    tables.sweep_all();
    assert_eq!(send(&tables, &ack), Err(Reason::ServerGone));
    tables.servers[1].flags |= Server::PRESENT;
    assert_eq!(send(&tables, &ack), FORWARDED);

    // An opening does not go to a server of weight 0, where others may be had.
    tables.settings.flags = 0;
    tables.servers[1].weight = 0;
    assert_eq!(
        send(&tables, &tcp(CLIENT, VIRTUAL).flags(SYN)),
        Ok(Verdict::Transmit)
    );
    assert_eq!(tables.reasons.borrow()["no-server"], 1);
    check(&tables);
    empties(&tables, "settings");
}

#[test]
fn two_services_share_a_real_server_and_not_a_way_back() {
    for protocol in [TCP, UDP] {
        let site = [VIRTUAL, OTHER_VIRTUAL]
            .iter()
            .fold(Site::default(), |site, address| {
                site.service(
                    protocol,
                    address,
                    SchedulerKind::TURNS,
                    &[server(MethodKind::NAT, REAL, 0x51)],
                )
            });
        let tables = site.tables();
        let first = packet(protocol, CLIENT, VIRTUAL);
        let second = packet(protocol, CLIENT, OTHER_VIRTUAL);
        assert_eq!(send(&tables, &first), FORWARDED);
        // More than one in the same moment: none may slip through.
        for _ in 0..3 {
            assert_eq!(send(&tables, &second), Err(Reason::ReplyTaken));
            check(&tables);
        }
        // Another port of the client is no problem.
        let other = packet(protocol, "198.51.100.7:4322", OTHER_VIRTUAL);
        assert_eq!(send(&tables, &other), FORWARDED);
        check(&tables);
        // Once the first flow is over, the way back is free, even if nobody swept.
        tables.advance(ticks(300));
        assert_eq!(send(&tables, &second), FORWARDED);
        check(&tables);
        let mut reply = HostPacket::new(&packet(protocol, REAL, CLIENT).build(), BACK);
        assert_eq!(balance(&mut reply, &tables), REPLIED);
        let expected = packet(protocol, OTHER_VIRTUAL, CLIENT).hops(63).build();
        assert_eq!(reply.bytes()[14..], expected[14..]);
        empties(&tables, "shared server");
    }
}

#[test]
fn a_real_server_is_a_client_of_its_own_service() {
    let tables = one(TCP, MethodKind::NAT);
    // The server connects to the service and gets itself, with the same port on both sides.
    let itself = send(&tables, &tcp(REAL, VIRTUAL).flags(SYN));
    assert_eq!(itself, Ok(Verdict::Transmit));
    check(&tables);
    empties(&tables, "itself");
}

#[test]
fn families_and_protocols_do_not_meet() {
    let nat = |address| [server(MethodKind::NAT, address, 0x51)];
    let turns = SchedulerKind::TURNS;
    let tables = Site::default()
        .service(TCP, VIRTUAL, turns, &nat(REAL))
        .service(UDP, VIRTUAL, turns, &nat(REAL))
        .service(TCP, VIRTUAL6, turns, &nat(REAL6))
        .service(UDP, VIRTUAL6, turns, &nat(REAL6))
        .tables();
    for (client, service) in [(CLIENT, VIRTUAL), (CLIENT6, VIRTUAL6)] {
        for protocol in [TCP, UDP] {
            assert_eq!(send(&tables, &packet(protocol, client, service)), FORWARDED);
        }
    }
    for id in 1..=4 {
        assert_eq!(tables.traffic.borrow()[&id].connections, 1);
        let load = tables.loads.borrow()[&id];
        assert_eq!(load.active + load.inactive, 1);
    }
    check(&tables);
    empties(&tables, "families");
}

#[test]
fn bytes_and_packets_are_counted_without_the_link_header() {
    let tables = one(UDP, MethodKind::NAT);
    // 20 of IP, 8 of UDP and 10 of payload; padding and VLAN tag do not count.
    assert_eq!(send(&tables, &udp(CLIENT, VIRTUAL).vlan(20)), FORWARDED);
    let mut padded = udp(REAL, CLIENT).build();
    padded.extend([0; 10]);
    let mut reply = HostPacket::new(&padded, BACK);
    assert_eq!(balance(&mut reply, &tables), REPLIED);
    let traffic = tables.traffic.borrow()[&1];
    assert_eq!(
        (traffic.packets_in, traffic.bytes_in),
        (1, 38),
        "{traffic:?}"
    );
    assert_eq!(
        (traffic.packets_out, traffic.bytes_out),
        (1, 38),
        "{traffic:?}"
    );
}

/// Thousands of packets, ticks and steps of the sweeper in an order that nobody thought of.
#[test]
fn counts_stay_true_whatever_comes() {
    for seed in 1..=25 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut tables = crowd(&mut random);
        for step in 0..1_500 {
            match random.below(100) {
                0..=79 => {
                    let packet = random_packet(&mut random);
                    let mut packet = HostPacket::new(&packet.build(), FRONT);
                    if let Ok(Verdict::Transmit | Verdict::Redirect(_)) =
                        balance(&mut packet, &tables)
                    {
                        checksums(packet.bytes()).expect("checksums stay right");
                    }
                }
                // Most of them less than a tick: packets of the same moment are special.
                80..=93 => tables.advance(random.below(3) as u32),
                94 => tables.advance(ticks(random.below(70) as u32)),
                95 => tables.advance(ticks(random.below(1000) as u32)),
                96 => {
                    let id = 1 + random.below(tables.servers.len() as u64 - 1) as usize;
                    tables.servers[id].flags ^= Server::PRESENT;
                }
                _ => {
                    let queue = [Queue::HalfOpen, Queue::Standing][random.below(2) as usize];
                    let _ = tables.sweep::<V4>(queue);
                }
            }
            if let Err(wrong) = invariants(&tables) {
                panic!("seed {seed}, step {step}: {wrong}");
            }
        }
        empties(&tables, &format!("seed {seed}"));
    }
}

/// Four services of both protocols that share real servers, and a table that fills up.
fn crowd(random: &mut Random) -> HostTables {
    let schedulers = [
        SchedulerKind::TURNS,
        SchedulerKind::LEAST_LOADED,
        SchedulerKind::SOURCE_HASH,
    ];
    let mut site = Site::default();
    for (index, virtual_server) in [VIRTUAL, OTHER_VIRTUAL].iter().enumerate() {
        for protocol in [TCP, UDP] {
            let method = if random.below(4) == 0 {
                METHODS[1 + random.below(2) as usize]
            } else {
                MethodKind::NAT
            };
            site = site.service(
                protocol,
                virtual_server,
                schedulers[(index + random.below(3) as usize) % 3],
                &[
                    server(method, REAL, 0x51).weight(1 + random.below(3) as u16),
                    server(method, OTHER_REAL, 0x52),
                ],
            );
        }
    }
    HostTables {
        capacity: 24 + random.below(40) as usize,
        ..site.tables()
    }
}

/// A packet of one of a few clients or servers, with any flags.
fn random_packet(random: &mut Random) -> PacketBuilder {
    let client = format!(
        "198.51.100.{}:{}",
        1 + random.below(3),
        4000 + random.below(4)
    );
    let (source, destination) = match random.below(3) {
        0 => (
            [REAL, OTHER_REAL][random.below(2) as usize].to_owned(),
            client,
        ),
        _ => (
            client,
            [VIRTUAL, OTHER_VIRTUAL][random.below(2) as usize].to_owned(),
        ),
    };
    if random.below(3) == 0 {
        return udp(&source, &destination);
    }
    let flags = [
        SYN,
        SYN,
        SYN,
        ACK,
        ACK,
        ACK,
        FIN | ACK,
        FIN | ACK,
        RST,
        SYN | ACK,
        0,
        random.below(256) as u8,
    ];
    tcp(&source, &destination).flags(flags[random.below(flags.len() as u64) as usize])
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// One service with one server.
fn one(protocol: u8, method: MethodKind) -> HostTables {
    Site::default()
        .service(
            protocol,
            VIRTUAL,
            SchedulerKind::TURNS,
            &[server(method, REAL, 0x51)],
        )
        .tables()
}

fn two_servers(protocol: u8) -> HostTables {
    two_servers_by(protocol, MethodKind::NAT)
}

/// One service whose servers take turns.
fn two_servers_by(protocol: u8, method: MethodKind) -> HostTables {
    let servers = [server(method, REAL, 0x51), server(method, OTHER_REAL, 0x52)];
    Site::default()
        .service(protocol, VIRTUAL, SchedulerKind::TURNS, &servers)
        .tables()
}

/// The first packet of a flow.
fn packet(protocol: u8, source: &str, destination: &str) -> PacketBuilder {
    if protocol == TCP {
        tcp(source, destination).flags(SYN)
    } else {
        udp(source, destination)
    }
}

fn send(tables: &HostTables, packet: &PacketBuilder) -> Result<Verdict, Reason> {
    let bytes = packet.build();
    // Packets of real servers come from 10.0.0.0/8 or fd00::/8.
    let interface = match bytes[12..] {
        [0x08, 0, _, ..] if bytes[26] == 10 => BACK,
        [0x86, 0xdd, ..] if bytes[22] == 0xfd => BACK,
        _ => FRONT,
    };
    balance(&mut HostPacket::new(&bytes, interface), tables)
}

/// As the control plane does it: out of the rings first, then not present any more.
fn remove(tables: &mut HostTables, id: usize) {
    tables.servers[id].flags &= !Server::PRESENT;
    for service in tables.services.values_mut() {
        let first = service.ring as usize;
        let slots = &mut tables.ring[first..first + service.slots as usize];
        let rest: Vec<u32> = slots
            .iter()
            .copied()
            .filter(|slot| *slot as usize != id)
            .collect();
        service.slots = rest.len() as u32;
        slots[..rest.len()].copy_from_slice(&rest);
    }
}

/// The states of all flows of IPv4.
fn states(tables: &HostTables) -> Vec<State> {
    tables
        .v4
        .borrow()
        .flows
        .values()
        .map(|entry| entry.flow().state)
        .filter(|state| *state != State::REPLY)
        .collect()
}

/// The load that flows in these states are.
fn counted(states: &[State]) -> Load {
    let active = states.iter().filter(|state| state.is_active()).count() as u32;
    Load {
        active,
        inactive: states.len() as u32 - active,
        closing: states.iter().filter(|state| state.is_closing()).count() as u32,
        ..Load::default()
    }
}

fn check(tables: &HostTables) {
    if let Err(wrong) = invariants(tables) {
        panic!("{wrong}");
    }
}

/// What holds between any two packets (of IPv4).
fn invariants(tables: &HostTables) -> Result<(), String> {
    let table = tables.v4.borrow();
    let mut loads: BTreeMap<u32, Vec<State>> = BTreeMap::new();
    let mut templates: BTreeMap<u32, u32> = BTreeMap::new();
    let mut queued: BTreeMap<_, u32> = BTreeMap::new();
    for key in table.half_open.iter().chain(&table.standing) {
        *queued.entry(*key).or_default() += 1;
    }
    for (key, entry) in &table.flows {
        let flow = entry.flow();
        match flow.state {
            State::REPLY => {
                // It belongs to a flow that is there.
                let request = flow.request_key(key.protocol);
                let owner = table.flows.get(&request).map(|entry| entry.flow());
                if owner.is_none_or(|owner| owner.server != flow.server) {
                    return Err(format!("a way back without a flow: {key:?}"));
                }
                continue;
            }
            State::RETIRED => return Err(format!("retired and still there: {key:?}")),
            State::TEMPLATE => {
                *templates.entry(flow.server).or_default() += 1;
                continue;
            }
            _ => loads.entry(flow.server).or_default().push(flow.state),
        }
        if queued.get(key) != Some(&1) {
            return Err(format!("queued {:?} times: {key:?}", queued.get(key)));
        }
        let server = tables.servers[flow.server as usize];
        let is_over = flow.state.can_start_anew(DEFAULT_REUSE, Sight::Request)
            || flow.is_expired(tables.clock.get());
        if !server.is_masqueraded() || is_over {
            continue;
        }
        let way_back = reply_key::<V4>(&server, key, flow.client_address, flow.client_port);
        let is_there = table.flows.get(&way_back).is_some_and(|entry| {
            let reply = entry.flow();
            reply.state == State::REPLY
                && reply.server == flow.server
                && reply.virtual_address == key.destination
                && reply.virtual_port == key.destination_port
        });
        if !is_there {
            return Err(format!("no way back: {key:?} {flow:?}"));
        }
    }
    for (id, load) in tables.loads.borrow().iter() {
        let states = loads.remove(id).unwrap_or_default();
        let expected = Load {
            persistent: templates.get(id).copied().unwrap_or_default(),
            overloaded: load.overloaded,
            ..counted(&states)
        };
        // IPv6 is looked at by `empties` only.
        if tables.v6.borrow().flows.is_empty() && *load != expected {
            return Err(format!("server {id}: {load:?} and {states:?}"));
        }
    }
    if loads.is_empty() {
        Ok(())
    } else {
        Err(format!("not counted: {loads:?}"))
    }
}

/// After enough time the sweeper leaves nothing.
fn empties(tables: &HostTables, name: &str) {
    tables.advance(ticks(1_000));
    tables.sweep_all();
    assert_empty(tables, name);
}

fn assert_empty(tables: &HostTables, name: &str) {
    assert!(tables.v4.borrow().flows.is_empty(), "{name}: {tables:?}");
    assert!(tables.v6.borrow().flows.is_empty(), "{name}: {tables:?}");
    for queue in [Queue::HalfOpen, Queue::Standing] {
        assert_eq!(tables.sweep::<V4>(queue), Step::Idle, "{name}");
        assert_eq!(tables.sweep::<V6>(queue), Step::Idle, "{name}");
    }
    assert_eq!(tables.v4.borrow().census, Census::default(), "{name}");
    assert_eq!(tables.v6.borrow().census, Census::default(), "{name}");
    for (id, load) in tables.loads.borrow().iter() {
        assert_eq!(*load, Load::default(), "{name}: server {id}");
    }
}
