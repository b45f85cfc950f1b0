//! SCTP associations through their life: packets in, states out.

use lb_common::{
    maps::{Load, MethodKind, SchedulerKind},
    state::{State, ticks},
    testing::{BACK, FRONT, HostPacket, HostTables, Site, balance, checksums, sctp, server},
    verdict::{Reason, Verdict},
    wire::{
        protocol::SCTP,
        sctp::chunk::{
            ABORT, COOKIE_ACK, COOKIE_ECHO, DATA, INIT, INIT_ACK, SACK, SHUTDOWN, SHUTDOWN_ACK,
            SHUTDOWN_COMPLETE,
        },
    },
};

const CLIENT: &str = "198.51.100.7:4321";
const VIRTUAL: &str = "192.0.2.10:80";
const REAL: &str = "10.0.0.11:8080";

/// Who sends.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Client,
    RealServer,
}
use Sender::{Client, RealServer};

type Steps<'a> = &'a [(Sender, u8, State)];

const HANDSHAKE: Steps<'_> = &[
    (Client, INIT, State::SCTP_INIT1),
    (RealServer, INIT_ACK, State::SCTP_COOKIE_SENT),
    (Client, COOKIE_ECHO, State::SCTP_COOKIE_REPLIED),
    (RealServer, COOKIE_ACK, State::SCTP_ESTABLISHED),
    (Client, DATA, State::SCTP_ESTABLISHED),
    (RealServer, SACK, State::SCTP_ESTABLISHED),
];

fn tables(method: MethodKind) -> HostTables {
    Site::default()
        .service(
            SCTP,
            VIRTUAL,
            SchedulerKind::TURNS,
            &[server(method, REAL, 0x51)],
        )
        .tables()
}

/// Sends a packet with this chunk, which must get through whole.
fn send(tables: &HostTables, sender: Sender, kind: u8) {
    let (packet, interface, expected) = match sender {
        Client => (sctp(CLIENT, VIRTUAL), FRONT, BACK),
        RealServer => (sctp(REAL, CLIENT), BACK, FRONT),
    };
    let bytes = packet.chunk(kind).build();
    let mut packet = HostPacket::new(&bytes, interface);
    let verdict = balance(&mut packet, tables);
    assert_eq!(verdict, Ok(Verdict::Redirect(expected)), "chunk {kind}");
    checksums(packet.bytes()).unwrap_or_else(|wrong| panic!("chunk {kind}: {wrong}"));
}

fn state(tables: &HostTables) -> Vec<State> {
    let flows = &tables.v4.borrow().flows;
    let states = flows.values().map(|entry| entry.flow().state);
    states.filter(|state| *state != State::REPLY).collect()
}

fn go_through(tables: &HostTables, name: &str, steps: Steps<'_>) {
    for (sender, kind, expected) in steps {
        send(tables, *sender, *kind);
        assert_eq!(state(tables), [*expected], "{name}: chunk {kind}");
        let load = tables.loads.borrow()[&1];
        let is_active = *expected == State::SCTP_ESTABLISHED;
        assert_eq!(load.active, u32::from(is_active), "{name}: {load:?}");
        assert_eq!(load.inactive, u32::from(!is_active), "{name}: {load:?}");
    }
}

/// After enough time the sweeper leaves nothing.
fn empties(tables: &HostTables, name: &str) {
    tables.advance(ticks(1_000));
    tables.sweep_all();
    assert!(tables.v4.borrow().flows.is_empty(), "{name}");
    assert_eq!(tables.loads.borrow()[&1], Load::default(), "{name}");
}

#[test]
fn an_association_goes_through_its_states() {
    let table: [(&str, Steps<'_>); 4] = [
        (
            "the client ends it",
            &[
                (Client, SHUTDOWN, State::SCTP_SHUTDOWN_RECEIVED),
                (RealServer, SHUTDOWN_ACK, State::SCTP_SHUTDOWN_ACK_SENT),
                (Client, SHUTDOWN_COMPLETE, State::SCTP_CLOSED),
            ],
        ),
        (
            "the server ends it",
            &[
                (RealServer, SHUTDOWN, State::SCTP_SHUTDOWN_SENT),
                (Client, SHUTDOWN_ACK, State::SCTP_CLOSED),
                (RealServer, SHUTDOWN_COMPLETE, State::SCTP_CLOSED),
            ],
        ),
        (
            "the client breaks it off",
            &[(Client, ABORT, State::SCTP_CLOSED)],
        ),
        (
            "the server breaks it off",
            &[(RealServer, ABORT, State::SCTP_CLOSED)],
        ),
    ];
    for (name, end) in table {
        let tables = tables(MethodKind::NAT);
        go_through(&tables, name, HANDSHAKE);
        go_through(&tables, name, end);
        assert_eq!(tables.traffic.borrow()[&1].connections, 1, "{name}");
        empties(&tables, name);
    }
}

#[test]
fn only_requests_are_seen_of_what_is_routed_or_tunnelled() {
    let steps: Steps<'_> = &[
        (Client, INIT, State::SCTP_INIT1),
        (Client, COOKIE_ECHO, State::SCTP_ESTABLISHED),
        (Client, DATA, State::SCTP_ESTABLISHED),
        (Client, SHUTDOWN, State::SCTP_SHUTDOWN_RECEIVED),
        (Client, SHUTDOWN_COMPLETE, State::SCTP_CLOSED),
    ];
    for method in [
        MethodKind::DIRECT,
        MethodKind::TUNNEL,
        MethodKind::GRE,
        MethodKind::GUE,
    ] {
        let tables = tables(method);
        go_through(&tables, &format!("method {}", method.0), steps);
        empties(&tables, "request only");
    }
}

#[test]
fn a_new_association_begins_where_one_has_ended() {
    let tables = tables(MethodKind::NAT);
    go_through(&tables, "the first", HANDSHAKE);
    send(&tables, Client, ABORT);
    go_through(&tables, "the second", HANDSHAKE);
    assert_eq!(tables.traffic.borrow()[&1].connections, 2);
    empties(&tables, "both");
}

#[test]
fn what_comes_late_belongs_to_nobody() {
    let tables = tables(MethodKind::NAT);
    go_through(&tables, "before", HANDSHAKE);
    empties(&tables, "before");
    let late = sctp(CLIENT, VIRTUAL).chunk(DATA).build();
    let verdict = balance(&mut HostPacket::new(&late, FRONT), &tables);
    assert_eq!(verdict, Err(Reason::NoFlow));
}
