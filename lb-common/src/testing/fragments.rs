//! Rows of the packet table about fragments. What is to come out of a fragment is cut from what is to
//! come out of the whole packet.

use std::net::IpAddr;

use super::{
    BACK, FRONT, PacketBuilder, Site, sctp, server,
    table::{
        Case, Ends, FAMILIES, FROM_SERVER, TO_CLIENT, TO_SERVER, TUNNEL4, TUNNEL6, Told, V4, V6,
        error, packet, site, unchanged,
    },
    tcp, udp, verify,
};
use crate::{
    maps::{MethodKind, SchedulerKind, Server},
    verdict::{Reason, Verdict},
    wire::protocol::{ESP, SCTP, TCP, UDP},
};

/// Where the datagrams of these rows are cut: three fragments.
const CUTS: [usize; 2] = [400, 1200];
/// Their number.
const NUMBER: u32 = 0xbeef;
/// The only port of the pool of full NAT.
const POOL: u16 = 2000;

/// Cuts the IP packet of a frame into fragments, each of which but the first starts at one of
/// these offsets, multiples of eight. With IPv6 the fragment header stands behind hop-by-hop and
/// routing headers.
///
/// # Panics
/// If the frame holds no IP packet of that length.
#[must_use]
pub fn cut(frame: &[u8], number: u32, cuts: &[usize]) -> Vec<Vec<u8>> {
    let at = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    let is_v4 = frame[at] >> 4 == 4;
    let (header, end, next_at) = if is_v4 {
        let length = usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]));
        (at + usize::from(frame[at] & 0x0f) * 4, at + length, at + 9)
    } else {
        let length = usize::from(u16::from_be_bytes([frame[at + 4], frame[at + 5]]));
        let (mut header, mut next_at) = (at + 40, at + 6);
        while matches!(frame[next_at], 0 | 43) {
            next_at = header;
            header += 8 + usize::from(frame[header + 1]) * 8;
        }
        (header, at + 40 + length, next_at)
    };
    let data = &frame[header..end];
    let starts = [0].iter().chain(cuts);
    let ends = cuts.iter().copied().chain([data.len()]);
    let pieces = starts.zip(ends).map(|(start, end)| {
        let more = u16::from(end != data.len());
        let mut piece = frame[..header].to_vec();
        if is_v4 {
            let length = (header - at + end - start) as u16;
            piece[at + 2..at + 4].copy_from_slice(&length.to_be_bytes());
            piece[at + 4..at + 6].copy_from_slice(&(number as u16).to_be_bytes());
            let field = more << 13 | (*start / 8) as u16;
            piece[at + 6..at + 8].copy_from_slice(&field.to_be_bytes());
            piece[at + 10..at + 12].fill(0);
            let checksum = verify::sum(&piece[at..]).to_be_bytes();
            piece[at + 10..at + 12].copy_from_slice(&checksum);
        } else {
            let length = (header - at - 40 + 8 + end - start) as u16;
            piece[at + 4..at + 6].copy_from_slice(&length.to_be_bytes());
            piece[next_at] = 44;
            piece.extend([frame[next_at], 0]);
            piece.extend((*start as u16 | more).to_be_bytes());
            piece.extend(number.to_be_bytes());
        }
        piece.extend(&data[*start..end]);
        piece
    });
    pieces.collect()
}

/// A fragment inside a packet of IP in IP between these addresses.
fn inside(fragment: &[u8], ends: (&str, &str)) -> Vec<u8> {
    let (link, inner) = fragment.split_at(14);
    let is_v4 = inner[0] >> 4 == 4;
    let (service, hops, protocol) = if is_v4 {
        (inner[1], inner[8], 4)
    } else {
        (inner[0] << 4 | inner[1] >> 4, inner[7], 41)
    };
    let mut frame = link[..12].to_vec();
    let addresses: [IpAddr; 2] = [ends.0, ends.1].map(|end| end.parse().expect("an address"));
    match addresses {
        [IpAddr::V4(source), IpAddr::V4(destination)] => {
            let mut ip = vec![0x45, service];
            ip.extend(((20 + inner.len()) as u16).to_be_bytes());
            // As the inner packet, it has a number and may be cut; IPv6 has neither.
            ip.extend(if is_v4 {
                [inner[4], inner[5], 0, 0]
            } else {
                [0, 0, 0x40, 0]
            });
            ip.extend([hops, protocol, 0, 0]);
            ip.extend(source.octets());
            ip.extend(destination.octets());
            let checksum = verify::sum(&ip).to_be_bytes();
            ip[10..12].copy_from_slice(&checksum);
            frame.extend([0x08, 0x00]);
            frame.extend(ip);
        }
        [IpAddr::V6(source), IpAddr::V6(destination)] => {
            frame.extend([0x86, 0xdd, 0x60 | service >> 4, service << 4, 0, 0]);
            frame.extend((inner.len() as u16).to_be_bytes());
            frame.extend([protocol, hops]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => panic!("source and destination are of different families"),
    }
    frame.extend(inner);
    frame
}

/// All rows.
pub(super) fn rows() -> Vec<Case> {
    [
        requests(),
        replies(),
        full_nat(),
        extended(),
        early(),
        foreign(),
        refused(),
    ]
    .concat()
}

/// A packet with so much data that it has to be cut.
fn long(packet: &PacketBuilder) -> PacketBuilder {
    let data: Vec<u8> = (0..2000_u32).map(|i| (i * 7 + 1) as u8).collect();
    packet.clone().payload(&data)
}

/// Rows of fragments that all go the way of the first one.
fn together(
    name: &str,
    site: &Site,
    before: &[(u32, Vec<u8>)],
    interface: u32,
    verdict: Verdict,
    (inputs, outputs): (&[Vec<u8>], &[Vec<u8>]),
) -> Vec<Case> {
    let row = |what: &str, came: &[usize], index: usize| Case {
        before: before
            .iter()
            .cloned()
            .chain(came.iter().map(|index| (interface, inputs[*index].clone())))
            .collect(),
        interface,
        verdict: Ok(verdict),
        output: outputs[index].clone(),
        ..unchanged(
            format!("fragments, {name}: {what}"),
            site.clone(),
            inputs[index].clone(),
            Ok(verdict),
        )
    };
    vec![
        row("the first", &[], 0),
        row("one in the middle", &[0], 1),
        row("the last one", &[0, 1], 2),
        row("the last one before one in the middle", &[0], 2),
        row("the last one twice", &[0, 2], 2),
        row("the first one twice", &[0], 0),
    ]
}

fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        for (protocol, transport) in [(TCP, "TCP"), (UDP, "UDP")] {
            let input = long(&packet(protocol, ends.client, ends.virtual_server));
            let inputs = cut(&input.build(), NUMBER, &CUTS);
            let masqueraded = long(&packet(protocol, ends.client, ends.real_server));
            let mut row = |method, name: &str, output: &PacketBuilder| {
                let output = output.clone().macs(TO_SERVER).hops(63).build();
                cases.extend(together(
                    &format!("{name}, {}, {transport}", ends.family),
                    &site(protocol, &ends, method),
                    &[],
                    FRONT,
                    Verdict::Redirect(BACK),
                    (&inputs, &cut(&output, NUMBER, &CUTS)),
                ));
            };
            row(MethodKind::NAT, "NAT", &masqueraded);
            row(MethodKind::DIRECT, "direct routing", &input);
        }
        let input = long(&udp(ends.client, ends.virtual_server));
        for (outer, tunnel, twin) in [("IPv4", TUNNEL4, V4.twin), ("IPv6", TUNNEL6, V6.twin)] {
            let output = input.clone().macs(TO_SERVER).hops(63).build();
            let outputs: Vec<_> = cut(&output, NUMBER, &CUTS)
                .iter()
                .map(|fragment| inside(fragment, tunnel))
                .collect();
            cases.extend(together(
                &format!("tunnel, {} in {outer}", ends.family),
                &Site::default().service(
                    UDP,
                    ends.virtual_server,
                    SchedulerKind::TURNS,
                    &[server(MethodKind::TUNNEL, twin, 0x51)],
                ),
                &[],
                FRONT,
                Verdict::Redirect(BACK),
                (&cut(&input.build(), NUMBER, &CUTS), &outputs),
            ));
        }
        // Without ports. The UDP header is data to it.
        let (virtual_server, real_server) = if ends.family == "IPv4" {
            ("192.0.2.10:0", "10.0.0.11:0")
        } else {
            ("[2001:db8:a::10]:0", "[fd00::11]:0")
        };
        let encrypted = |destination: &str| {
            let packet = long(&udp(ends.client, destination)).unchecked(());
            move |dress: &dyn Fn(PacketBuilder) -> PacketBuilder| {
                let mut frame = dress(packet.clone()).build();
                frame[if ends.family == "IPv4" { 23 } else { 20 }] = ESP;
                cut(&frame, NUMBER, &CUTS)
            }
        };
        cases.extend(together(
            &format!("NAT, {}, ESP", ends.family),
            &Site::default().service(
                ESP,
                virtual_server,
                SchedulerKind::TURNS,
                &[server(MethodKind::NAT, real_server, 0x51)],
            ),
            &[],
            FRONT,
            Verdict::Redirect(BACK),
            (
                &encrypted(virtual_server)(&|packet| packet),
                &encrypted(real_server)(&|packet| packet.macs(TO_SERVER).hops(63)),
            ),
        ));
    }
    cases
}

fn replies() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let reply = long(&udp(ends.real_server, ends.client)).macs(FROM_SERVER);
        let output = long(&udp(ends.virtual_server, ends.client))
            .macs(TO_CLIENT)
            .hops(63);
        cases.extend(together(
            &format!("NAT, {}, replies", ends.family),
            &site(UDP, &ends, MethodKind::NAT),
            &[(FRONT, udp(ends.client, ends.virtual_server).build())],
            BACK,
            Verdict::Redirect(FRONT),
            (
                &cut(&reply.build(), NUMBER, &CUTS),
                &cut(&output.build(), NUMBER, &CUTS),
            ),
        ));
    }
    cases
}

fn full_nat() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ends, own) in [(V4, "10.0.0.1:2000"), (V6, "[fd00::1]:2000")] {
        let site = Site::default()
            .service(
                UDP,
                ends.virtual_server,
                SchedulerKind::TURNS,
                &[server(MethodKind::NAT, ends.real_server, 0x51).with(Server::SOURCE_NAT)],
            )
            .settings(|settings| (settings.pool_first, settings.pool_size) = (POOL, 1));
        let request = udp(ends.client, ends.virtual_server);
        let cut = |packet: &PacketBuilder| cut(&long(packet).build(), NUMBER, &CUTS);
        cases.extend(together(
            &format!("full NAT, {}", ends.family),
            &site,
            &[],
            FRONT,
            Verdict::Redirect(BACK),
            (
                &cut(&request),
                &cut(&udp(own, ends.real_server).macs(TO_SERVER).hops(63)),
            ),
        ));
        cases.extend(together(
            &format!("full NAT, {}, replies", ends.family),
            &site,
            &[(FRONT, request.build())],
            BACK,
            Verdict::Redirect(FRONT),
            (
                &cut(&udp(ends.real_server, own).macs(FROM_SERVER)),
                &cut(&udp(ends.virtual_server, ends.client)
                    .macs(TO_CLIENT)
                    .hops(63)),
            ),
        ));
    }
    cases
}

/// With options and extension headers before the fragment header and behind it.
fn extended() -> Vec<Case> {
    let row = |name: &str, ends: &Ends, dress: &dyn Fn(PacketBuilder) -> PacketBuilder| {
        let input = dress(long(&udp(ends.client, ends.virtual_server)));
        let output = dress(long(&udp(ends.client, ends.real_server)))
            .macs(TO_SERVER)
            .hops(63);
        together(
            name,
            &site(UDP, ends, MethodKind::NAT),
            &[],
            FRONT,
            Verdict::Redirect(BACK),
            (
                &cut(&input.build(), NUMBER, &CUTS),
                &cut(&output.build(), NUMBER, &CUTS),
            ),
        )
    };
    let (before, behind) = ((0, vec![1, 4, 0, 0, 0, 0]), (60, vec![1, 4, 0, 0, 0, 0]));
    [
        row("IPv4 with options", &V4, &|packet| packet.options(&[1; 8])),
        row("IPv6 with hop-by-hop options", &V6, &|packet| {
            packet.extensions(std::slice::from_ref(&before))
        }),
        row("IPv6 with destination options", &V6, &|packet| {
            packet.extensions(std::slice::from_ref(&behind))
        }),
        row("IPv6 with both", &V6, &|packet| {
            packet.extensions(&[before.clone(), behind.clone()])
        }),
        row("in a VLAN", &V4, &|packet| packet.may_fragment(())),
    ]
    .concat()
}

fn early() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let request = long(&udp(ends.client, ends.virtual_server));
        let reply = long(&udp(ends.real_server, ends.client)).macs(FROM_SERVER);
        let fragments = cut(&request.build(), NUMBER, &CUTS);
        let row = |name: &str, before: &[&[u8]], input: &[u8]| Case {
            before: before.iter().map(|frame| (FRONT, frame.to_vec())).collect(),
            ..unchanged(
                format!("an early fragment, {}: {name}", ends.family),
                site(UDP, &ends, MethodKind::NAT),
                input.to_vec(),
                Ok(Verdict::Hold),
            )
        };
        cases.push(row("of a request", &[], &fragments[1]));
        cases.push(row("of a reply", &[], &cut(&reply.build(), 1, &CUTS)[2]));
        cases.push(row("after an early one", &[&fragments[2]], &fragments[1]));
        let first: &[&[u8]] = &[&fragments[0]];
        cases.push(row(
            "of another number",
            first,
            &cut(&request.build(), NUMBER + 1, &CUTS)[1],
        ));
        let others = long(&udp(ends.vlan_client, ends.virtual_server));
        cases.push(row(
            "of another client",
            first,
            &cut(&others.build(), NUMBER, &CUTS)[1],
        ));
        if ends.family == "IPv4" {
            let other = long(&tcp(ends.client, ends.virtual_server));
            cases.push(row(
                "of another protocol",
                first,
                &cut(&other.build(), NUMBER, &CUTS)[1],
            ));
        }
    }
    cases
}

/// What is none of ours, whole or in pieces.
fn foreign() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let (other_port, elsewhere) = if ends.family == "IPv4" {
            ("192.0.2.10:81", "192.0.2.77:80")
        } else {
            ("[2001:db8:a::10]:81", "[2001:db8:a::77]:80")
        };
        let row = |name: &str, packet: &PacketBuilder, came: &[usize], index: usize| {
            let fragments = cut(&long(packet).build(), NUMBER, &CUTS);
            Case {
                before: came
                    .iter()
                    .map(|index| (FRONT, fragments[*index].clone()))
                    .collect(),
                ..unchanged(
                    format!("a foreign fragment, {}: {name}", ends.family),
                    site(UDP, &ends, MethodKind::NAT),
                    fragments[index].clone(),
                    Ok(Verdict::Pass),
                )
            }
        };
        let to_port = udp(ends.client, other_port);
        cases.push(row("the first to another port", &to_port, &[], 0));
        cases.push(row("the second to another port", &to_port, &[0], 1));
        let to_address = udp(ends.client, elsewhere);
        cases.push(row("the first to another address", &to_address, &[], 0));
        cases.push(row("the last to another address", &to_address, &[], 2));
        let of_server = udp(ends.real_server, elsewhere).macs(FROM_SERVER);
        cases.push(row("of a real server", &of_server, &[0], 2));
        let mut ping = row("a long ping", &to_port, &[], 1);
        if ends.family == "IPv4" {
            let mut frame = long(&to_port).build();
            frame[23] = 1;
            ping.input = cut(&frame, NUMBER, &CUTS)[1].clone();
        } else {
            ping.input[14 + 40] = 58;
        }
        ping.output = ping.input.clone();
        cases.push(ping);
    }
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let family = ends.family;
        let segment = long(&packet(TCP, ends.client, ends.virtual_server));
        for offset in [8, 16] {
            cases.push(unchanged(
                format!("{family}: a fragment that overwrites byte {offset} of TCP's header"),
                site(TCP, &ends, MethodKind::NAT),
                cut(&segment.build(), NUMBER, &[offset])[1].clone(),
                Err(Reason::Fragment),
            ));
        }
        cases.push(unchanged(
            format!("{family}: a first fragment with half a header"),
            site(TCP, &ends, MethodKind::NAT),
            cut(&segment.build(), NUMBER, &[16])[0].clone(),
            Err(Reason::Malformed),
        ));
        let association = long(&sctp(ends.client, ends.virtual_server));
        cases.push(unchanged(
            format!("{family}: the first fragment of SCTP whose port has to change"),
            site(SCTP, &ends, MethodKind::NAT),
            cut(&association.build(), NUMBER, &CUTS)[0].clone(),
            Err(Reason::Fragment),
        ));
        for (hops, data, reason, told, name) in [
            (
                1,
                1600,
                Reason::HopLimit,
                Told::TimeExceeded,
                "on its last hop",
            ),
            (
                64,
                3000,
                Reason::TooBig,
                Told::TooBig(1500),
                "larger than the MTU",
            ),
        ] {
            let datagram = |hops| {
                udp(ends.client, ends.virtual_server)
                    .payload(&vec![b'x'; data])
                    .hops(hops)
            };
            let first = cut(&datagram(64).build(), NUMBER, &[1200])[0].clone();
            let last = cut(&datagram(hops).build(), NUMBER, &[1200])[1].clone();
            let case = Case {
                before: vec![(FRONT, first)],
                ..unchanged(
                    format!("{family}: a later fragment {name}"),
                    site(UDP, &ends, MethodKind::NAT),
                    last.clone(),
                    Err(Reason::Unanswered),
                )
            };
            // RFC 1122 §3.2.2 forbids an answer with IPv4, nothing does with IPv6.
            cases.push(if family == "IPv4" {
                Case {
                    answered: Some(reason),
                    ..case
                }
            } else {
                let answer = error(ends.client, ends.virtual_server, &last, told);
                case.answered(reason, &answer.macs(TO_CLIENT))
            });
        }
    }
    cases
}
