//! Rows of the packet table: full NAT, where real servers see the router as their client.

use super::{
    BACK, FRONT, PacketBuilder, Site, sctp, server,
    table::{
        Case, Ends, FAMILIES, FROM_SERVER, TO_CLIENT, TO_SERVER, V4, forwarded, packet, unchanged,
    },
};
use crate::{
    maps::{MethodKind, SchedulerKind, Server},
    verdict::{Reason, Verdict},
    wire::{
        protocol::{SCTP, TCP, UDP},
        tcp::flags::{ACK, SYN},
    },
};

/// The only port of the pool, so that chance has no choice.
const PORT: u16 = 40_000;

const PROTOCOLS: [(u8, &str); 3] = [(TCP, "TCP"), (UDP, "UDP"), (SCTP, "SCTP")];

pub(super) fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        for (protocol, transport) in PROTOCOLS {
            cases.extend(there_and_back(&ends, protocol, transport));
            cases.extend(exhausted(&ends, protocol, transport));
        }
    }
    cases
}

/// What real servers see as their client.
fn router(ends: &Ends) -> String {
    if ends.family == V4.family {
        format!("10.0.0.1:{PORT}")
    } else {
        format!("[fd00::1]:{PORT}")
    }
}

fn site(ends: &Ends, protocol: u8, pool_size: u16) -> Site {
    let servers = [server(MethodKind::NAT, ends.real_server, 0x51).with(Server::SOURCE_NAT)];
    Site::default()
        .service(
            protocol,
            ends.virtual_server,
            SchedulerKind::TURNS,
            &servers,
        )
        .settings(|settings| {
            settings.pool_first = PORT;
            settings.pool_size = pool_size;
        })
}

fn from_to(protocol: u8, source: &str, destination: &str) -> PacketBuilder {
    match protocol {
        SCTP => sctp(source, destination),
        _ => packet(protocol, source, destination),
    }
}

fn there_and_back(ends: &Ends, protocol: u8, transport: &str) -> Vec<Case> {
    let (client, service) = (ends.client, ends.virtual_server);
    let (router, real_server) = (router(ends), ends.real_server);
    let name = |what: &str| format!("full NAT, {}, {transport}: {what}", ends.family);
    let site = site(ends, protocol, 1);
    let first = from_to(protocol, client, service);
    let request = |input: &PacketBuilder, what: &str| {
        let output = input.clone().from(&router).to(real_server);
        forwarded(
            name(what),
            site.clone(),
            input,
            &output.macs(TO_SERVER).hops(63),
        )
    };
    let reply = |input: &PacketBuilder, what: &str| {
        let output = input.clone().from(service).to(client);
        let input = input.clone().macs(FROM_SERVER);
        forwarded(
            name(what),
            site.clone(),
            &input,
            &output.macs(TO_CLIENT).hops(63),
        )
        .after(&[(FRONT, &first)])
        .by(BACK, Ok(Verdict::Redirect(FRONT)))
    };
    let data = |packet: &PacketBuilder| {
        let packet = packet.clone().flags(ACK);
        packet.chunk(0).payload(b"an odd number of bytes.")
    };
    let answer = from_to(protocol, real_server, &router).flags(SYN | ACK);
    vec![
        request(&first, "the first packet"),
        request(&data(&first), "data of a known flow").after(&[(FRONT, &first)]),
        reply(&answer, "the first reply"),
        reply(&data(&answer), "a reply with data"),
        unchanged(
            name("what the real server sends to another port is not ours"),
            site.clone(),
            data(&answer).to(&router.replace("40000", "40001")).build(),
            Ok(Verdict::Pass),
        )
        .after(&[(FRONT, &first)])
        .by(BACK, Ok(Verdict::Pass)),
    ]
}

fn exhausted(ends: &Ends, protocol: u8, transport: &str) -> Vec<Case> {
    let name = |what: &str| format!("full NAT, {}, {transport}: {what}", ends.family);
    let (first, second) = (ends.client, ends.vlan_client);
    let request = |client| from_to(protocol, client, ends.virtual_server);
    vec![
        unchanged(
            name("another client with the same port, and no port is left"),
            site(ends, protocol, 1),
            request(second).build(),
            Err(Reason::NoPort),
        )
        .after(&[(FRONT, &request(first))]),
        unchanged(
            name("a pool without ports"),
            site(ends, protocol, 0),
            request(first).build(),
            Err(Reason::NoPort),
        ),
    ]
}
