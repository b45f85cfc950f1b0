//! Two directors on the host: what one tells, the other learns.

use std::collections::BTreeMap;

use lb_common::{
    address::Address6,
    maps::{MethodKind, Persistence, SchedulerKind, Server, Service, Settings},
    record::{Outcome, Record},
    state::{State, ticks},
    testing::{
        BACK, FRONT, HostPacket, HostTables, PacketBuilder, Site, audit, balance, server, tcp, udp,
    },
    verdict::{Reason, Verdict},
    wire::{
        Be16,
        protocol::{TCP, UDP},
        tcp::flags::{ACK, FIN, SYN},
    },
};

const CLIENT: &str = "198.51.100.7:4321";
const SERVICE: &str = "192.0.2.10:80";
const SERVER: &str = "10.0.0.11:8080";

/// Both directors have the same site, and the same numbers for it.
fn site(protocol: u8, method: MethodKind, flags: u8) -> Site {
    let servers = [
        server(method, SERVER, 0x51).with(flags),
        server(method, "10.0.0.12:8080", 0x52).with(flags),
    ];
    Site::default()
        .service(protocol, SERVICE, SchedulerKind::TURNS, &servers)
        .settings(|settings| settings.flags |= Settings::SYNC)
}

fn pass(tables: &HostTables, interface: u32, packet: &PacketBuilder) -> Vec<u8> {
    let mut packet = HostPacket::new(&packet.build(), interface);
    let verdict = balance(&mut packet, tables);
    assert!(verdict.is_ok(), "{verdict:?}");
    packet.bytes().to_vec()
}

/// A connection is opened.
fn open(tables: &HostTables) {
    pass(tables, FRONT, &tcp(CLIENT, SERVICE).flags(SYN));
    let seen = if tables.servers[1].has(Server::SOURCE_NAT) {
        let flow = tables.v4.borrow();
        let way_back = flow.flows.keys().find(|key| key.source_port.get() == 8080);
        let port = way_back.map(|key| key.destination_port.get());
        format!("10.0.0.1:{}", port.unwrap_or_default())
    } else {
        CLIENT.to_owned()
    };
    pass(tables, BACK, &tcp(SERVER, &seen).flags(SYN | ACK));
    pass(tables, FRONT, &tcp(CLIENT, SERVICE).flags(ACK));
}

fn learn_all(tables: &HostTables, records: &[Record]) -> Vec<Outcome> {
    let learned = records
        .iter()
        .map(|record| tables.learn(&mut record.clone()));
    let learned = learned.collect();
    audit(tables);
    learned
}

/// Flows without what differs by nature: where the first packet came from, and when.
fn flows(tables: &HostTables) -> BTreeMap<String, String> {
    let v4 = tables.v4.borrow();
    let flows = v4.flows.iter().map(|(key, entry)| {
        let flow = entry.flow();
        (
            format!("{key:?}"),
            format!(
                "{:?} {} {:?} {:?} {:?}",
                flow.state, flow.server, flow.virtual_port, flow.client_address, flow.client_port
            ),
        )
    });
    flows.collect()
}

#[test]
fn a_flow_that_was_told_is_the_same_on_the_other_side() {
    let methods = [
        ("direct routing", MethodKind::DIRECT, 0),
        ("a tunnel", MethodKind::TUNNEL, 0),
        ("NAT", MethodKind::NAT, 0),
        ("full NAT", MethodKind::NAT, Server::SOURCE_NAT),
    ];
    for (name, method, flags) in methods {
        let site = site(TCP, method, flags);
        let (one, other) = (site.tables(), site.tables());
        if method == MethodKind::NAT {
            open(&one);
        } else {
            pass(&one, FRONT, &tcp(CLIENT, SERVICE).flags(SYN));
            assert_eq!(one.told.borrow().len(), 0, "{name}: half-open");
            pass(&one, FRONT, &tcp(CLIENT, SERVICE).flags(ACK));
        }
        let told = one.told.take();
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert_eq!(learn_all(&other, &told), [Outcome::LEARNED], "{name}");
        assert_eq!(flows(&other), flows(&one), "{name}");
        assert_eq!(*other.loads.borrow(), *one.loads.borrow(), "{name}");
        assert_eq!(other.v4.borrow().census, one.v4.borrow().census, "{name}");

        // Both forward alike from here on.
        let more = tcp(CLIENT, SERVICE).flags(ACK).payload(b"more");
        assert_eq!(
            pass(&other, FRONT, &more),
            pass(&one, FRONT, &more),
            "{name}"
        );

        // It closes, and is taken away.
        other.told.take();
        pass(&one, FRONT, &tcp(CLIENT, SERVICE).flags(FIN | ACK));
        let told = one.told.take();
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert_eq!(learn_all(&other, &told), [Outcome::RENEWED], "{name}");
        assert_eq!(flows(&other), flows(&one), "{name}");
        one.advance(ticks(300));
        one.sweep_all();
        let told = one.told.take();
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert!(told[0].has(Record::ENDED), "{name}");
        assert_eq!(learn_all(&other, &told), [Outcome::ENDED], "{name}");
        other.sweep_all();
        assert_eq!(flows(&other), BTreeMap::new(), "{name}");
        assert_eq!(learn_all(&other, &told), [Outcome::ABSENT], "{name}");
        audit(&one);
    }
}

#[test]
fn nothing_is_told_without_a_partner_and_what_nobody_reads_is_counted() {
    let mut tables = site(TCP, MethodKind::NAT, 0).tables();
    tables.ears = 1;
    open(&tables);
    assert_eq!(tables.told.borrow().len(), 1);
    pass(&tables, FRONT, &tcp(CLIENT, SERVICE).flags(FIN | ACK));
    assert_eq!(tables.told.borrow().len(), 1);
    assert_eq!(tables.events.borrow()["untold"], 1);

    let mut tables = site(TCP, MethodKind::NAT, 0).tables();
    tables.settings.flags = 0;
    open(&tables);
    assert_eq!(tables.told.borrow().len(), 0);
    assert!(tables.events.borrow().is_empty());
}

#[test]
fn datagrams_are_told_when_they_were_answered() {
    let tables = site(UDP, MethodKind::NAT, 0).tables();
    pass(&tables, FRONT, &udp(CLIENT, SERVICE));
    pass(&tables, FRONT, &udp(CLIENT, SERVICE));
    assert_eq!(tables.told.borrow().len(), 0);
    pass(&tables, BACK, &udp(SERVER, CLIENT));
    let told = tables.told.take();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].state, State::UDP);
    for _ in 0..5 {
        pass(&tables, FRONT, &udp(CLIENT, SERVICE));
        pass(&tables, BACK, &udp(SERVER, CLIENT));
    }
    assert_eq!(tables.told.borrow().len(), 0, "a flow that stands");
}

#[test]
fn clients_that_stay_are_told_and_stay_there_too() {
    let persistent = || {
        let mut site = site(TCP, MethodKind::DIRECT, 0)
            .services(|service| service.flags |= Service::PERSISTENT);
        let stays = Persistence {
            mask: Address6([0xff; 16]),
            timeout: ticks(300),
            pad: 0,
        };
        site.persistence.insert(0, stays);
        site
    };
    let (one, other) = (persistent().tables(), persistent().tables());
    pass(&one, FRONT, &tcp(CLIENT, SERVICE).flags(SYN));
    let told = one.told.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].state, told[0].protocol), (State::TEMPLATE, 0));
    // The other one's turn would be the same server: it has to be the second one's now.
    other.turns.borrow_mut().insert(0, 1);
    assert_eq!(learn_all(&other, &told), [Outcome::LEARNED]);
    pass(&other, FRONT, &tcp(CLIENT, SERVICE).flags(SYN));
    assert_eq!(other.loads.borrow()[&1].active, 1);
    assert_eq!(other.loads.borrow()[&1].persistent, 1);
    assert_eq!(learn_all(&other, &told), [Outcome::RENEWED]);

    // Its server changes.
    let moved = Record {
        server: 2,
        ..told[0]
    };
    assert_eq!(learn_all(&other, &[moved]), [Outcome::LEARNED]);
    assert_eq!(other.loads.borrow()[&1].persistent, 0);
    assert_eq!(other.loads.borrow()[&2].persistent, 1);
    let ended = Record {
        flags: Record::ENDED,
        ..moved
    };
    assert_eq!(learn_all(&other, &[told[0], ended]).len(), 2);

    let mut strange = told[0];
    strange.service = 7;
    assert_eq!(learn_all(&other, &[strange]), [Outcome::STRANGE]);
}

/// The record of a standing connection.
fn record() -> Record {
    let tables = site(TCP, MethodKind::NAT, 0).tables();
    open(&tables);
    tables.told.take()[0]
}

#[test]
fn what_cannot_be_learned_is_said() {
    let record = record();
    let nat = || site(TCP, MethodKind::NAT, 0).tables();
    let table: [(&str, Record, Outcome); 8] = [
        ("as it is", record, Outcome::LEARNED),
        (
            "no such server",
            Record {
                server: 9,
                ..record
            },
            Outcome::STRANGE,
        ),
        (
            "no server",
            Record {
                server: 0,
                ..record
            },
            Outcome::STRANGE,
        ),
        (
            "a way back",
            Record {
                state: State::REPLY,
                ..record
            },
            Outcome::MALFORMED,
        ),
        (
            "retired",
            Record {
                state: State::RETIRED,
                ..record
            },
            Outcome::MALFORMED,
        ),
        (
            "no state",
            Record {
                state: State(99),
                ..record
            },
            Outcome::MALFORMED,
        ),
        (
            "a template with a protocol",
            Record {
                state: State::TEMPLATE,
                ..record
            },
            Outcome::MALFORMED,
        ),
        (
            "a flow without one",
            Record {
                protocol: 0,
                ..record
            },
            Outcome::MALFORMED,
        ),
    ];
    for (name, record, expected) in table {
        assert_eq!(learn_all(&nat(), &[record]), [expected], "{name}");
    }

    let mut full = nat();
    full.settings.flows = 1;
    assert_eq!(
        learn_all(&full, &[record]),
        [Outcome::FULL],
        "by the settings"
    );
    let mut full = nat();
    full.capacity = 1;
    assert_eq!(learn_all(&full, &[record]), [Outcome::FULL], "by the table");
    assert_eq!(flows(&full), BTreeMap::new());

    // The same socket by another virtual address of the same server.
    let tables = nat();
    let second = Record {
        address: Address6::from(std::net::IpAddr::from([192, 0, 2, 11])),
        ..record
    };
    assert_eq!(
        learn_all(&tables, &[record, second]),
        [Outcome::LEARNED, Outcome::TAKEN]
    );
    assert_eq!(tables.v4.borrow().flows.len(), 2);

    // The key of a way back that is needed.
    let crossed = Record {
        client: Address6::from(std::net::IpAddr::from([10, 0, 0, 11])),
        client_port: Be16::new(8080),
        address: record.client,
        port: record.client_port,
        ..record
    };
    assert_eq!(learn_all(&tables, &[crossed]), [Outcome::TAKEN]);
    assert_eq!(tables.v4.borrow().flows.len(), 2);

    // Another server: the flow begins anew there.
    let other = Record {
        server: 2,
        ..record
    };
    assert_eq!(learn_all(&tables, &[other]), [Outcome::LEARNED]);
    assert_eq!(tables.loads.borrow()[&1].active, 0);
    assert_eq!(tables.loads.borrow()[&2].active, 1);
    let ended = Record {
        flags: Record::ENDED,
        ..record
    };
    assert_eq!(
        learn_all(&tables, &[ended]),
        [Outcome::ABSENT],
        "another's end"
    );
    assert_eq!(tables.v4.borrow().flows.len(), 2);
}

#[test]
fn a_flow_that_is_told_again_lives_on_and_one_that_is_not_ends() {
    let record = record();
    let tables = site(TCP, MethodKind::NAT, 0).tables();
    let half = tables.settings.timeouts[State::ESTABLISHED.0 as usize] / 2;
    let _ = tables.learn(&mut record.clone());
    for _ in 0..4 {
        tables.advance(half);
        tables.sweep_all();
        assert_eq!(tables.learn(&mut record.clone()), Outcome::RENEWED);
    }
    // What is older than what is known changes nothing.
    let mut older = Record {
        silent: half,
        state: State::FIN_WAIT,
        ..record
    };
    assert_eq!(tables.learn(&mut older), Outcome::RENEWED);
    assert_eq!(tables.loads.borrow()[&1].active, 1);
    // Time that passed at the partner has passed.
    let mut silent = Record {
        silent: half,
        ..record
    };
    tables.advance(half + 1);
    assert_eq!(tables.learn(&mut silent), Outcome::RENEWED);
    tables.advance(half);
    tables.sweep_all();
    audit(&tables);
    assert_eq!(flows(&tables), BTreeMap::new());
}

/// Nobody saw its first packet, so its way back is the kernel's business alone.
#[test]
fn a_reply_of_a_flow_that_was_learned_needs_a_neighbour() {
    use lb_common::tables::Route;
    let mut tables = site(TCP, MethodKind::NAT, 0).tables();
    let _ = tables.learn(&mut record());
    let reply = || HostPacket::new(&tcp(SERVER, CLIENT).flags(ACK).build(), BACK);
    let known = core::mem::replace(&mut tables.route, Route::NoNeighbour);
    assert_eq!(balance(&mut reply(), &tables), Err(Reason::NextHopUnknown));
    tables.route = known;
    assert!(matches!(
        balance(&mut reply(), &tables),
        Ok(Verdict::Redirect(_))
    ));
    // From here on it is known.
    tables.route = Route::NoNeighbour;
    tables.advance(ticks(2));
    assert!(matches!(
        balance(&mut reply(), &tables),
        Ok(Verdict::Redirect(_))
    ));
}

#[test]
fn a_port_of_full_nat_is_taken_out_of_the_pool() {
    let site = site(TCP, MethodKind::NAT, Server::SOURCE_NAT).settings(|settings| {
        settings.pool_first = 2_000;
        settings.pool_size = 1;
    });
    let (one, other) = (site.tables(), site.tables());
    open(&one);
    let told = one.told.take();
    assert_eq!(told[0].source_port, Be16::new(2_000));
    assert_eq!(learn_all(&other, &told), [Outcome::LEARNED]);
    // To the same real server another client finds none.
    let mut packet = HostPacket::new(&tcp("198.51.100.8:1", SERVICE).flags(SYN).build(), FRONT);
    assert_eq!(balance(&mut packet, &other), Err(Reason::NoPort));
}
