//! Histories of fragments: every order, duplicates, what is forgotten and when there is no room.

use lb_common::{
    fragment::LIFETIME,
    maps::{MethodKind, SchedulerKind, Server},
    testing::{
        BACK, FRONT, HostPacket, HostTables, PacketBuilder, Site, balance, cut, server, udp,
    },
    verdict::{Reason, Verdict},
};

const FORWARDED: Result<Verdict, Reason> = Ok(Verdict::Redirect(BACK));
const HELD: Result<Verdict, Reason> = Ok(Verdict::Hold);

const FAMILIES: [[&str; 3]; 2] = [
    ["198.51.100.7:4321", "192.0.2.10:80", "10.0.0.11:8080"],
    [
        "[2001:db8:c::7]:4321",
        "[2001:db8:a::10]:80",
        "[fd00::11]:8080",
    ],
];

fn tables([_, service, real]: [&str; 3]) -> HostTables {
    Site::default()
        .service(
            17,
            service,
            SchedulerKind::TURNS,
            &[server(MethodKind::NAT, real, 0x51)],
        )
        .tables()
}

fn fragments(packet: &PacketBuilder, number: u32) -> Vec<Vec<u8>> {
    cut(
        &packet.clone().payload(&[b'x'; 2_000]).build(),
        number,
        &[400, 1_200],
    )
}

/// What becomes of a frame, and its bytes then.
fn send(tables: &HostTables, frame: &[u8]) -> (Result<Verdict, Reason>, Vec<u8>) {
    let mut packet = HostPacket::new(frame, FRONT);
    let verdict = balance(&mut packet, tables);
    (verdict, packet.bytes().to_vec())
}

/// Sends the frames, and those that are held again as the daemon does, once. What came out.
fn deliver(tables: &HostTables, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut out, mut held) = (Vec::new(), Vec::new());
    for frame in frames {
        match send(tables, frame) {
            (FORWARDED, bytes) => out.push(bytes),
            (verdict, _) => {
                assert_eq!(verdict, HELD);
                held.push(frame);
            }
        }
    }
    assert_eq!(tables.held.take().len(), held.len());
    for frame in held {
        let (verdict, bytes) = send(tables, frame);
        assert_eq!(verdict, FORWARDED);
        out.push(bytes);
    }
    out.sort();
    out
}

#[test]
fn all_arrive_in_whatever_order_they_come() {
    let orders: [&[usize]; 9] = [
        &[0, 1, 2],
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
        // Twice.
        &[2, 2, 0, 1],
        &[0, 1, 1, 2],
        &[1, 2, 0, 0],
    ];
    for ends in FAMILIES {
        let [client, service, real] = ends;
        let input = fragments(&udp(client, service), 7);
        let whole = udp(client, real)
            .macs(([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 0x51]))
            .hops(63);
        let output = fragments(&whole, 7);
        for order in orders {
            let tables = tables(ends);
            let frames: Vec<_> = order.iter().map(|index| input[*index].clone()).collect();
            let mut expected: Vec<_> = order.iter().map(|index| output[*index].clone()).collect();
            expected.sort();
            assert!(
                deliver(&tables, &frames) == expected,
                "{service}: {order:?}"
            );
        }
    }
}

/// Whoever puts them together decides what to make of it.
#[test]
fn fragments_that_overlap_all_arrive() {
    for ends in FAMILIES {
        let packet = udp(ends[0], ends[1]).payload(&[b'x'; 2_000]).build();
        let tables = tables(ends);
        let mut frames = cut(&packet, 7, &[400, 1_200]);
        frames.extend(cut(&packet, 7, &[800])[1..].to_vec());
        assert_eq!(deliver(&tables, &frames).len(), 4);
    }
}

#[test]
fn ways_are_forgotten() {
    for ends in FAMILIES {
        let frames = fragments(&udp(ends[0], ends[1]), 7);
        let tables = tables(ends);
        assert_eq!(send(&tables, &frames[0]).0, FORWARDED);
        tables.advance(LIFETIME - 1);
        assert_eq!(send(&tables, &frames[1]).0, FORWARDED);
        tables.advance(1);
        assert_eq!(
            send(&tables, &frames[2]).0,
            HELD,
            "its number may be another's"
        );
    }
}

#[test]
fn the_oldest_way_makes_room() {
    for ends in FAMILIES {
        let mut tables = tables(ends);
        tables.fragments = 2;
        let frames = |number| fragments(&udp(ends[0], ends[1]), number);
        for number in [1, 2, 3] {
            assert_eq!(send(&tables, &frames(number)[0]).0, FORWARDED);
            tables.advance(1);
        }
        assert_eq!(send(&tables, &frames(1)[1]).0, HELD);
        assert_eq!(send(&tables, &frames(2)[1]).0, FORWARDED);
        assert_eq!(send(&tables, &frames(3)[1]).0, FORWARDED);
    }
}

#[test]
fn without_room_an_early_fragment_is_dropped() {
    for ends in FAMILIES {
        let mut tables = tables(ends);
        tables.hands = 1;
        let frames = fragments(&udp(ends[0], ends[1]), 7);
        assert_eq!(send(&tables, &frames[1]).0, HELD);
        assert_eq!(send(&tables, &frames[2]).0, Err(Reason::EarlyFragment));
        assert_eq!(tables.events.borrow().get("held"), Some(&1));
        assert_eq!(tables.reasons.borrow().get("early-fragment"), Some(&1));
    }
}

#[test]
fn fragments_to_a_server_that_has_gone_are_dropped() {
    for ends in FAMILIES {
        let mut tables = tables(ends);
        let frames = fragments(&udp(ends[0], ends[1]), 7);
        assert_eq!(send(&tables, &frames[0]).0, FORWARDED);
        tables.servers[1].flags &= !Server::PRESENT;
        assert_eq!(send(&tables, &frames[1]).0, Err(Reason::ServerGone));
    }
}

/// Its packets are not changed, and the router puts them together itself.
#[test]
fn fragments_to_a_local_server_pass() {
    for ends in FAMILIES {
        let mut tables = tables(ends);
        tables.servers[1].method = MethodKind::LOCAL;
        for frame in fragments(&udp(ends[0], ends[1]), 7) {
            assert_eq!(send(&tables, &frame), (Ok(Verdict::Pass), frame));
        }
        assert_eq!(tables.traffic.borrow()[&1].packets_in, 3);
    }
}

#[test]
fn every_fragment_is_counted_and_the_flow_once() {
    for ends in FAMILIES {
        let tables = tables(ends);
        let frames = fragments(&udp(ends[0], ends[1]), 7);
        let bytes: usize = frames.iter().map(|frame| frame.len() - 14).sum();
        deliver(&tables, &frames);
        let traffic = tables.traffic.borrow()[&1];
        assert_eq!(
            (traffic.connections, traffic.packets_in, traffic.bytes_in),
            (1, 3, bytes as u64)
        );
    }
}

/// An "atomic" fragment (RFC 6946) has a fragment header and is a whole packet.
#[test]
fn a_fragment_that_is_the_whole_needs_no_way() {
    let ends = FAMILIES[1];
    let tables = tables(ends);
    let [frame] = &cut(&udp(ends[0], ends[1]).build(), 7, &[])[..] else {
        panic!("one fragment");
    };
    assert_eq!(send(&tables, frame).0, FORWARDED);
    assert!(tables.v6.borrow().fragments.is_empty());
}
