use lb_common::{
    maps::MethodKind,
    testing::{GUE_PORT, PacketBuilder, checksums, icmp, mac, server, tcp, udp},
};

use super::*;

/// The director's own end of a check, its virtual address, and the real server, by family.
const ENDS: [(&str, &str, &str); 2] = [
    ("10.0.0.1:40000", "192.0.2.10:80", "10.0.0.12:80"),
    ("[fd00::1]:40000", "[2001:db8:a::10]:80", "[fd00::12]:80"),
];

/// The outer addresses of tunnels, by family of the server.
const TUNNELS: [(&str, &str); 2] = [("10.0.0.1", "10.0.0.12"), ("fd00::1", "fd00::12")];

/// From the director to the server.
const TO_SERVER: ([u8; 6], [u8; 6]) = (mac(0x02), mac(0x51));

fn by(method: MethodKind, address: &str, has_checksum: bool) -> Server {
    let flags = match has_checksum {
        true => Server::TUNNEL_CHECKSUM,
        false => 0,
    };
    Server {
        tunnel_port: Be16::new(GUE_PORT),
        ..server(method, address, 0x51).with(flags)
    }
}

/// As the kernel hands a packet to a card that is to complete its checksum.
fn unfinished(packet: &PacketBuilder) -> Vec<u8> {
    let mut frame = packet.build();
    let (protocol, at) = packet.transport_at();
    let at = at + if protocol == protocol::TCP { 16 } else { 6 };
    let read = read(&frame).unwrap();
    let pseudo = match packet.is_v6() {
        true => read.pseudo_header::<V6>(),
        false => read.pseudo_header::<V4>(),
    };
    let sum = !pseudo.unwrap().checksum().0.native();
    frame[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    frame
}

#[test]
fn a_check_goes_as_packets_of_clients_go() {
    for (source, vip, real) in ENDS {
        let inside = (INSIDE_MAC, INSIDE_MAC);
        for packet in [tcp(source, vip), udp(source, vip)] {
            let frame = unfinished(&packet.clone().macs(inside));
            let sent = |server: &Server| read(&frame).unwrap().outward(server).unwrap();
            let direct = packet.clone().macs(TO_SERVER);
            let case = format!("{source} {vip}");
            let server = by(MethodKind::DIRECT, real, false);
            assert_eq!(sent(&server), direct.build(), "{case} direct");

            // Either family in either.
            for ((_, _, real), ends) in ENDS.into_iter().zip(TUNNELS) {
                let tunnel = direct.clone().tunnel(ends);
                let server = by(MethodKind::TUNNEL, real, false);
                assert_eq!(sent(&server), tunnel.build(), "{case} IPIP {real}");
                for has_checksum in [false, true] {
                    let with = |packet: PacketBuilder| match has_checksum {
                        true => packet.tunnel_checksum(()),
                        false => packet,
                    };
                    let server = by(MethodKind::GRE, real, has_checksum);
                    let gre = with(tunnel.clone().gre(()));
                    assert_eq!(sent(&server), gre.build(), "{case} GRE {has_checksum}");

                    let server = by(MethodKind::GUE, real, has_checksum);
                    let frame = sent(&server);
                    // The port is one of many that are for this.
                    let outer = 14 + if real.starts_with('[') { 40 } else { 20 };
                    let port = u16::from_be_bytes([frame[outer], frame[outer + 1]]);
                    assert!(port >= 0xc000, "{port}");
                    let gue = with(tunnel.clone().gue((port, GUE_PORT)));
                    assert_eq!(frame, gue.build(), "{case} GUE {has_checksum}");
                }
            }
        }
    }
}

#[test]
fn a_vlan_has_its_tag() {
    let (source, vip, real) = ENDS[0];
    let mut server = by(MethodKind::DIRECT, real, false);
    server.hop.vlan = 20;
    let frame = read(&tcp(source, vip).build()).unwrap().outward(&server);
    let tagged = tcp(source, vip).macs(TO_SERVER).vlan(20);
    assert_eq!(frame.unwrap(), tagged.build());
}

#[test]
fn who_is_reached_in_no_such_way_gets_nothing() {
    let (source, vip, real) = ENDS[0];
    let mut unreachable = by(MethodKind::DIRECT, real, false);
    unreachable.hop = NextHop::NONE;
    for server in [
        by(MethodKind::NAT, real, false),
        by(MethodKind::LOCAL, real, false),
        unreachable,
    ] {
        let read = read(&tcp(source, vip).build()).unwrap();
        assert_eq!(read.outward(&server), None);
    }
}

#[test]
fn an_answer_comes_in_as_if_the_server_were_at_the_other_end_of_the_cable() {
    for (source, vip, _) in ENDS {
        for packet in [tcp(vip, source), udp(vip, source)] {
            let inside = packet.clone().macs((OUTSIDE_MAC, INSIDE_MAC)).build();
            let came = |frame: &[u8]| read(frame).unwrap().inward().unwrap();
            assert_eq!(came(&packet.build()), inside, "as it is");
            assert_eq!(came(&packet.clone().vlan(7).build()), inside, "tagged");
            assert_eq!(came(&unfinished(&packet)), inside, "unfinished");
            let mut padded = packet.build();
            padded.extend([0; 20]);
            assert_eq!(came(&padded), inside, "padded");
            // What was damaged is not mended.
            let mut damaged = packet.build();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            assert!(checksums(&came(&damaged)).is_err());
        }
        // Several that were put together to one: longer than any packet on the wire.
        let long = tcp(vip, source).payload(&[7; 60_000]);
        let inside = long.clone().macs((OUTSIDE_MAC, INSIDE_MAC)).build();
        let came = read(&unfinished(&long)).unwrap().inward().unwrap();
        assert_eq!(came, inside);
    }
}

#[test]
fn an_error_is_of_the_check_whose_packet_it_quotes() {
    for ((source, vip, _), (kind, code)) in ENDS.into_iter().zip([(3, 3), (1, 4)]) {
        for packet in [udp(source, vip), tcp(source, vip)] {
            let quote = packet.build()[14..].to_vec();
            for length in [quote.len(), quote.len() - 4] {
                let error = icmp(vip, source, kind, code).payload(&quote[..length]);
                let read = read(&error.build()).unwrap();
                assert!(read.is_quote);
                assert_eq!(read.parcel.source, source.parse().unwrap());
                assert_eq!(read.parcel.destination, vip.parse().unwrap());
                let inside = error.macs((OUTSIDE_MAC, INSIDE_MAC)).build();
                assert_eq!(read.inward().unwrap(), inside);
            }
        }
    }
}

#[test]
fn a_reset_is_the_end() {
    let (source, vip, _) = ENDS[0];
    for (flags, is_end) in [(0x02, false), (0x11, false), (0x04, true), (0x14, true)] {
        let read = read(&tcp(source, vip).flags(flags).build()).unwrap();
        assert_eq!(read.parcel.is_end, is_end, "{flags:#x}");
    }
}

#[test]
fn nothing_that_is_cut_off_or_no_packet_harms() {
    let server = by(MethodKind::GRE, ENDS[0].2, true);
    for (source, vip, _) in ENDS {
        let quote = udp(source, vip).build()[14..].to_vec();
        for packet in [
            tcp(source, vip),
            udp(source, vip),
            icmp(vip, source, 3, 3).payload(&quote),
        ] {
            let frame = packet.build();
            for length in 0..frame.len() {
                for value in [0, 0x45, 0x60, 0xff] {
                    let mut changed = frame.clone();
                    changed[length] = value;
                    for bytes in [&frame[..length], &changed] {
                        if let Some(read) = read(bytes) {
                            let _frame = read.inward();
                        }
                        if let Some(read) = read(bytes) {
                            let _frame = read.outward(&server);
                        }
                    }
                }
            }
        }
    }
}
