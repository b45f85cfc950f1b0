//! Rows for a director that has no right to steer: what belongs to services ends, or is left to the kernel.

use super::{
    BACK, FRONT, PROTOCOLS, Site,
    fragments::cut,
    icmp,
    table::{
        Case, Ends, FAMILIES, FROM_SERVER, TO_SERVER, arp, forwarded, packet, site, unchanged,
    },
    tcp, udp,
};
use crate::{
    lease::Lease,
    maps::MethodKind,
    verdict::{Reason, Verdict},
    wire::{
        protocol::{TCP, UDP},
        tcp::flags::{ACK, SYN},
    },
};

/// A lease that ran out in the first moment.
const OVER: Lease = Lease::until(0);
/// One that does not run out in the time of any test.
const LONG: Lease = Lease::until(u64::MAX);
/// The leases that hold back, and what becomes of a packet of a service.
const WITHHELD: [(Lease, &str, Reason); 2] = [
    (OVER, "its lease is over", Reason::LeaseOver),
    (Lease::STANDBY, "it stands by", Reason::Standby),
];

pub(super) fn rows() -> Vec<Case> {
    [steered(), withheld(), messages(), questions()].concat()
}

/// While the lease lasts all is as without a partner; the rest of the table has rows enough for that.
fn steered() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let input = packet(TCP, ends.client, ends.virtual_server);
        let output = packet(TCP, ends.client, ends.real_server)
            .macs(TO_SERVER)
            .hops(63);
        let more = |packet: &super::PacketBuilder| packet.clone().flags(ACK).payload(b"more");
        let site = || site(TCP, &ends, MethodKind::NAT);
        let name = |what: &str| format!("a lease that lasts, {}: {what}", ends.family);
        cases.push(forwarded(name("the first packet"), site(), &input, &output).with(LONG));
        cases.push(
            forwarded(name("of a flow"), site(), &more(&input), &more(&output))
                .after(&[(FRONT, &input)])
                .with(LONG),
        );
    }
    cases
}

fn withheld() -> Vec<Case> {
    let mut cases = Vec::new();
    for (lease, state, reason) in WITHHELD {
        for ends in FAMILIES {
            let row = |what: &str, site: Site, input: Vec<u8>, verdict| {
                let name = format!("{state}, {}: {what}", ends.family);
                unchanged(name, site, input, verdict).with(lease)
            };
            for (protocol, name) in PROTOCOLS {
                let first = packet(protocol, ends.client, ends.virtual_server);
                let more = first.clone().flags(ACK).payload(b"more");
                let reply = packet(protocol, ends.real_server, ends.client)
                    .macs(FROM_SERVER)
                    .flags(SYN | ACK);
                for (method, how) in [(MethodKind::NAT, "NAT"), (MethodKind::DIRECT, "routing")] {
                    let site = || site(protocol, &ends, method);
                    cases.push(row(
                        &format!("{how}, {name}, the first packet"),
                        site(),
                        first.build(),
                        Err(reason),
                    ));
                    cases.push(
                        row(
                            &format!("{how}, {name}, of a flow"),
                            site(),
                            more.build(),
                            Err(reason),
                        )
                        .after(&[(FRONT, &first)]),
                    );
                }
                cases.push(
                    row(
                        &format!("{name}, a reply"),
                        site(protocol, &ends, MethodKind::NAT),
                        reply.build(),
                        Err(Reason::LeaseOver),
                    )
                    .after(&[(FRONT, &first)])
                    .by(BACK, Err(Reason::LeaseOver)),
                );
                cases.push(
                    row(
                        &format!("{name}, what the real server sends to others"),
                        site(protocol, &ends, MethodKind::NAT),
                        reply.build(),
                        Ok(Verdict::Pass),
                    )
                    .by(BACK, Ok(Verdict::Pass)),
                );
            }
            let tagged = packet(TCP, ends.client, ends.virtual_server).vlan(20);
            cases.push(row(
                "a packet that is not like most",
                site(TCP, &ends, MethodKind::NAT),
                tagged.build(),
                Err(reason),
            ));
            cases.push(row(
                "a port of the address that no service has",
                site(UDP, &ends, MethodKind::NAT),
                tcp(ends.client, ends.virtual_server).flags(SYN).build(),
                Ok(Verdict::Pass),
            ));
            cases.push(row(
                "another's address",
                site(UDP, &ends, MethodKind::NAT),
                udp(ends.client, ends.other_virtual_server).build(),
                Ok(Verdict::Pass),
            ));
            let [first, later] = two_fragments(&ends);
            for (which, fragment) in [("the first", &first), ("a later", &later)] {
                cases.push(row(
                    &format!("{which} fragment"),
                    site(UDP, &ends, MethodKind::DIRECT),
                    fragment.clone(),
                    Err(reason),
                ));
            }
        }
    }
    cases
}

/// The two fragments of a datagram to the service.
fn two_fragments(ends: &Ends) -> [Vec<u8>; 2] {
    let datagram = udp(ends.client, ends.virtual_server).payload(&[7; 64]);
    let datagram = if ends.family == "IPv4" {
        datagram.may_fragment(())
    } else {
        datagram
    };
    let fragments = cut(&datagram.build(), 7, &[32]);
    fragments.try_into().expect("two fragments")
}

fn messages() -> Vec<Case> {
    let mut cases = Vec::new();
    for (lease, state, reason) in WITHHELD {
        for ends in FAMILIES {
            let row = |what: &str, input: Vec<u8>, verdict| {
                let name = format!("{state}, {}: {what}", ends.family);
                unchanged(name, site(TCP, &ends, MethodKind::NAT), input, verdict).with(lease)
            };
            let (echo, unreachable) = if ends.family == "IPv4" {
                ((8, 0), (3, 3))
            } else {
                ((128, 0), (1, 4))
            };
            let ping = |to: &str| {
                icmp(ends.client, to, echo.0, echo.1)
                    .payload(b"ping")
                    .build()
            };
            cases.push(row(
                "a ping of the service",
                ping(ends.virtual_server),
                Err(reason),
            ));
            cases.push(row(
                "a ping of another",
                ping(ends.other_virtual_server),
                Ok(Verdict::Pass),
            ));
            let reply = tcp(ends.virtual_server, ends.client).flags(ACK).build();
            let error = icmp(
                ends.client,
                ends.virtual_server,
                unreachable.0,
                unreachable.1,
            )
            .payload(&reply[14..]);
            cases.push(row("an error to the service", error.build(), Err(reason)));
        }
    }
    cases
}

/// Who asks for the link address of a service.
fn questions() -> Vec<Case> {
    let [v4, v6] = FAMILIES;
    let solicitation = |target: [u8; 16]| {
        // To the group of those whose address ends like this one.
        let [.., a, b, c] = target;
        let group = format!("[ff02::1:ff{a:02x}:{b:02x}{c:02x}]:0");
        icmp("[fe80::c1]:0", &group, 135, 0)
            .hops(255)
            .payload(&[&target[..], &[1, 1, 2, 0, 0, 0, 0, 0xc1]].concat())
            .build()
    };
    let ours = [
        0x20, 0x01, 0x0d, 0xb8, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut others = ours;
    others[15] = 0x99;
    let advertisement = {
        let mut frame = solicitation(ours);
        frame[54] = 136;
        frame
    };
    let edited = |edits: &[(usize, u8)]| {
        let mut frame = arp();
        for (at, byte) in edits {
            frame[*at] = *byte;
        }
        frame
    };
    let in_a_vlan = [&arp()[..12], &[0x81, 0, 0, 20], &arp()[12..]].concat();
    // What is asked, whether it is for the address of a service.
    let table: [(&str, &Ends, Vec<u8>, bool); 9] = [
        ("ARP", &v4, arp(), true),
        ("ARP in a VLAN", &v4, in_a_vlan, true),
        ("ARP for another address", &v4, edited(&[(41, 99)]), false),
        ("an answer of ARP", &v4, edited(&[(21, 2)]), false),
        (
            "ARP for another kind of address",
            &v4,
            edited(&[(16, 0x86), (17, 0xdd)]),
            false,
        ),
        ("ARP that ends early", &v4, arp()[..40].to_vec(), false),
        ("a neighbour solicitation", &v6, solicitation(ours), true),
        (
            "a solicitation for another address",
            &v6,
            solicitation(others),
            false,
        ),
        ("a neighbour advertisement", &v6, advertisement, false),
    ];
    let leases = [
        (Lease::NONE, "without a partner"),
        (LONG, "while the lease lasts"),
        (Lease::STANDBY, "it stands by"),
        (OVER, "its lease is over"),
    ];
    let mut cases = Vec::new();
    for (what, ends, input, is_ours) in table {
        for (lease, state) in leases {
            let verdict = if is_ours && lease == OVER {
                Err(Reason::LeaseOver)
            } else {
                Ok(Verdict::Pass)
            };
            let site = site(TCP, ends, MethodKind::NAT);
            let name = format!("{state}: {what}");
            cases.push(unchanged(name, site, input.clone(), verdict).with(lease));
        }
    }
    cases
}
