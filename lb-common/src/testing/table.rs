//! The packet table: what goes in, what comes out, written by hand. The same rows are run on the
//! host and in the kernel.

use super::{
    BACK, CLOSED, FRONT, FRONT_VLAN_ID, PROTOCOLS, PacketBuilder, Site, icmp, mac, server, tcp, udp,
};
use crate::{
    lease::Lease,
    maps::{MethodKind, NextHop, Refusal, SchedulerKind},
    tables::Route,
    verdict::{Reason, Verdict},
    wire::{
        protocol::{TCP, UDP},
        tcp::flags::{ACK, FIN, RST, SYN},
    },
};

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What the control plane wrote.
    pub site: Site,
    /// Packets that come first, with the interface that each comes in by.
    pub before: Vec<(u32, Vec<u8>)>,
    /// What the lease is when the packet comes; before that there is none.
    pub lease: Lease,
    /// The interface that the packet comes in by.
    pub interface: u32,
    /// The packet.
    pub input: Vec<u8>,
    /// What becomes of it.
    pub verdict: Result<Verdict, Reason>,
    /// Why it was answered instead of being forwarded.
    pub answered: Option<Reason>,
    /// Its bytes afterwards. Of no meaning for a packet that is dropped.
    pub output: Vec<u8>,
}

/// All rows.
#[must_use]
pub fn table() -> Vec<Case> {
    [
        requests(),
        replies(),
        tunnels(),
        super::tunnels::rows(),
        super::fragments::rows(),
        super::associations::rows(),
        super::full_nat::rows(),
        super::messages::rows(),
        super::leases::rows(),
        vlans(),
        odd_but_right(),
        not_ours(),
        refused(),
        malformed(),
        truncated(),
    ]
    .concat()
}

/// The addresses of one family.
pub(super) struct Ends {
    pub(super) family: &'static str,
    pub(super) client: &'static str,
    pub(super) virtual_server: &'static str,
    /// A second virtual address.
    pub(super) other_virtual_server: &'static str,
    /// A masqueraded real server, which has another port.
    pub(super) real_server: &'static str,
    /// A real server that has the virtual address too. Its own counts only behind a tunnel.
    pub(super) twin: &'static str,
    /// A client behind [`super::FRONT_VLAN`].
    pub(super) vlan_client: &'static str,
    /// A client whose gateway does not answer.
    pub(super) silent_client: &'static str,
    /// A client to whom there is no route.
    pub(super) lost_client: &'static str,
}

pub(super) const V4: Ends = Ends {
    family: "IPv4",
    client: "198.51.100.7:4321",
    virtual_server: "192.0.2.10:80",
    other_virtual_server: "192.0.2.11:80",
    real_server: "10.0.0.11:8080",
    twin: "10.0.0.12:80",
    vlan_client: "198.51.101.7:4321",
    silent_client: "203.0.113.7:4321",
    lost_client: "198.18.0.7:4321",
};
pub(super) const V6: Ends = Ends {
    family: "IPv6",
    client: "[2001:db8:c::7]:4321",
    virtual_server: "[2001:db8:a::10]:80",
    other_virtual_server: "[2001:db8:a::11]:80",
    real_server: "[fd00::11]:8080",
    twin: "[fd00::12]:80",
    vlan_client: "[2001:db8:d::7]:4321",
    silent_client: "[2001:db8:e::7]:4321",
    lost_client: "[2001:db8:f::7]:4321",
};
pub(super) const FAMILIES: [Ends; 2] = [V4, V6];

/// The outer addresses of tunnels to the twins.
pub(super) const TUNNEL4: (&str, &str) = ("10.0.0.1", "10.0.0.12");
pub(super) const TUNNEL6: (&str, &str) = ("fd00::1", "fd00::12");

/// From the router to the real server `mac(0x51)`.
pub(super) const TO_SERVER: ([u8; 6], [u8; 6]) = (mac(0x02), mac(0x51));
/// From that real server to the router.
pub(super) const FROM_SERVER: ([u8; 6], [u8; 6]) = (mac(0x51), mac(0x02));
/// From the router to the clients' gateway.
pub(super) const TO_CLIENT: ([u8; 6], [u8; 6]) = (mac(0x01), mac(0xc1));

/// A site with one service of the first virtual address.
pub(super) fn site(protocol: u8, ends: &Ends, method: MethodKind) -> Site {
    let address = if method == MethodKind::NAT {
        ends.real_server
    } else {
        ends.twin
    };
    Site::default().service(
        protocol,
        ends.virtual_server,
        SchedulerKind::TURNS,
        &[server(method, address, 0x51)],
    )
}

/// What a sender is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    /// Port unreachable.
    Unreachable,
    /// The largest packet that would have got through.
    TooBig(u16),
    /// Too many hops.
    TimeExceeded,
}

/// The error about a packet of `source` to `destination`, which is this frame without a VLAN tag.
pub(super) fn error(source: &str, destination: &str, frame: &[u8], told: Told) -> PacketBuilder {
    let is_v4 = frame[12] == 0x08;
    let (kind, code, rest) = match (told, is_v4) {
        (Told::Unreachable, true) => (3, 3, 0),
        (Told::Unreachable, false) => (1, 4, 0),
        (Told::TooBig(mtu), true) => (3, 4, u32::from(mtu)),
        (Told::TooBig(mtu), false) => (2, 0, u32::from(mtu)),
        (Told::TimeExceeded, true) => (11, 0, 0),
        (Told::TimeExceeded, false) => (3, 0, 0),
    };
    let (service, quote) = if is_v4 { (0xc0, 548) } else { (0, 1232) };
    let ip = &frame[14..];
    icmp(destination, source, kind, code)
        .service(service)
        .message_rest(rest.to_be_bytes())
        .payload(&ip[..ip.len().min(quote)])
}

/// The first packet of a flow, or a datagram.
pub(super) fn packet(protocol: u8, source: &str, destination: &str) -> PacketBuilder {
    if protocol == TCP {
        tcp(source, destination).flags(SYN)
    } else {
        udp(source, destination)
    }
}

/// A row whose packet comes in by [`FRONT`] and leaves by [`BACK`].
pub(super) fn forwarded(
    name: impl Into<String>,
    site: Site,
    input: &PacketBuilder,
    output: &PacketBuilder,
) -> Case {
    Case {
        name: name.into(),
        site,
        before: Vec::new(),
        lease: Lease::NONE,
        interface: FRONT,
        input: input.build(),
        verdict: Ok(Verdict::Redirect(BACK)),
        answered: None,
        output: output.build(),
    }
}

/// A row whose packet comes in by [`FRONT`] and is not changed.
pub(super) fn unchanged(
    name: impl Into<String>,
    site: Site,
    input: Vec<u8>,
    verdict: Result<Verdict, Reason>,
) -> Case {
    Case {
        name: name.into(),
        site,
        before: Vec::new(),
        lease: Lease::NONE,
        interface: FRONT,
        output: input.clone(),
        input,
        verdict,
        answered: None,
    }
}

impl Case {
    /// After these packets.
    pub(super) fn after(self, before: &[(u32, &PacketBuilder)]) -> Self {
        let before = before
            .iter()
            .map(|(interface, packet)| (*interface, packet.build()))
            .collect();
        Self { before, ..self }
    }

    /// A packet that is refused for this reason, and becomes this answer to itself.
    pub(super) fn answered(self, reason: Reason, answer: &PacketBuilder) -> Self {
        Self {
            verdict: Ok(Verdict::Transmit),
            answered: Some(reason),
            output: answer.build(),
            ..self
        }
    }

    /// While this is the lease.
    pub(super) fn with(self, lease: Lease) -> Self {
        Self { lease, ..self }
    }

    /// A packet that comes in by `interface` and ends like this.
    pub(super) fn by(self, interface: u32, verdict: Result<Verdict, Reason>) -> Self {
        Self {
            interface,
            verdict,
            ..self
        }
    }
}

fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let family = ends.family;
        for (protocol, name) in PROTOCOLS {
            let input = packet(protocol, ends.client, ends.virtual_server);
            let masqueraded = packet(protocol, ends.client, ends.real_server)
                .macs(TO_SERVER)
                .hops(63);
            let routed = input.clone().macs(TO_SERVER).hops(63);
            cases.push(forwarded(
                format!("NAT, {family}, {name}: the first packet"),
                site(protocol, &ends, MethodKind::NAT),
                &input,
                &masqueraded,
            ));
            cases.push(forwarded(
                format!("direct routing, {family}, {name}: the first packet"),
                site(protocol, &ends, MethodKind::DIRECT),
                &input,
                &routed,
            ));
            // The second packet: of TCP with data, of UDP with an odd number of bytes.
            let more = |packet: &PacketBuilder| {
                packet
                    .clone()
                    .flags(ACK)
                    .payload(b"GET / HTTP/1.0\r\n\r\n?")
            };
            cases.push(
                forwarded(
                    format!("NAT, {family}, {name}: data of a known flow"),
                    site(protocol, &ends, MethodKind::NAT),
                    &more(&input),
                    &more(&masqueraded),
                )
                .after(&[(FRONT, &input)]),
            );
            cases.push(
                forwarded(
                    format!("direct routing, {family}, {name}: data of a known flow"),
                    site(protocol, &ends, MethodKind::DIRECT),
                    &more(&input),
                    &more(&routed),
                )
                .after(&[(FRONT, &input)]),
            );
        }
        let one_armed = Site::default().service(
            TCP,
            ends.virtual_server,
            SchedulerKind::TURNS,
            &[server(MethodKind::NAT, ends.real_server, 0x51).in_front()],
        );
        let input = packet(TCP, ends.client, ends.virtual_server);
        let output = packet(TCP, ends.client, ends.real_server)
            .macs((mac(0x01), mac(0x51)))
            .hops(63);
        cases.push(
            forwarded(
                format!("NAT, {family}: clients and servers share an interface"),
                one_armed,
                &input,
                &output,
            )
            .by(FRONT, Ok(Verdict::Transmit)),
        );
    }
    cases.push(forwarded(
        "NAT, IPv4, UDP without a checksum keeps none",
        site(UDP, &V4, MethodKind::NAT),
        &udp(V4.client, V4.virtual_server).unchecked(()),
        &udp(V4.client, V4.real_server)
            .unchecked(())
            .macs(TO_SERVER)
            .hops(63),
    ));
    cases
}

fn replies() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        let family = ends.family;
        for (protocol, name) in PROTOCOLS {
            let site = site(protocol, &ends, MethodKind::NAT);
            let request = |client| packet(protocol, client, ends.virtual_server);
            let reply = |client| {
                packet(protocol, ends.real_server, client)
                    .flags(SYN | ACK)
                    .payload(b"an answer")
                    .macs(FROM_SERVER)
            };
            let masqueraded = |client| {
                packet(protocol, ends.virtual_server, client)
                    .flags(SYN | ACK)
                    .payload(b"an answer")
                    .hops(63)
            };
            let row = |name: &str, site: Site, client| {
                forwarded(
                    format!("NAT, {family}, {name}"),
                    site,
                    &reply(client),
                    &masqueraded(client).macs(TO_CLIENT),
                )
                .after(&[(FRONT, &request(client))])
                .by(BACK, Ok(Verdict::Redirect(FRONT)))
            };
            cases.push(row(&format!("{name}: a reply"), site.clone(), ends.client));
            cases.push(
                row(
                    &format!("{name}: a reply on the clients' interface"),
                    site.clone(),
                    ends.client,
                )
                .by(FRONT, Ok(Verdict::Transmit)),
            );
            let (interface, vlan) = (FRONT, FRONT_VLAN_ID as u16);
            cases.push(Case {
                output: masqueraded(ends.vlan_client)
                    .macs((mac(0x01), mac(0xc2)))
                    .vlan(vlan)
                    .build(),
                ..row(
                    &format!("{name}: a reply whose route is a VLAN interface"),
                    site.clone().route(Route::Via(NextHop {
                        interface,
                        vlan,
                        mac: mac(0xc2),
                        source_mac: mac(0x01),
                        mtu: 1_500,
                    })),
                    ends.vlan_client,
                )
            });
            cases.push(Case {
                before: vec![(
                    FRONT,
                    request(ends.silent_client)
                        .macs((mac(0xc7), mac(0x01)))
                        .vlan(0x2000 | 30)
                        .build(),
                )],
                output: masqueraded(ends.silent_client)
                    .macs((mac(0x01), mac(0xc7)))
                    .vlan(30)
                    .build(),
                ..row(
                    &format!("{name}: a reply takes the way of the request while ARP is silent"),
                    site.clone().route(Route::NoNeighbour),
                    ends.silent_client,
                )
            });
            cases.push(
                row(
                    &format!("{name}: a reply to a client without a route"),
                    site.clone().route(Route::None(Reason::NoRoute)),
                    ends.lost_client,
                )
                .by(BACK, Err(Reason::NoRoute)),
            );
            cases.push(
                row(
                    &format!("{name}: a reply where forwarding is off"),
                    site.clone().route(Route::None(Reason::ForwardingOff)),
                    ends.client,
                )
                .by(CLOSED, Err(Reason::ForwardingOff)),
            );
            let with = |input: PacketBuilder, name: &str, route, reason, told| {
                let answer = error(ends.real_server, ends.client, &input.build(), told);
                Case {
                    input: input.build(),
                    ..row(name, site.clone().route(route), ends.client)
                }
                .answered(reason, &answer.macs(TO_SERVER))
            };
            cases.push(with(
                reply(ends.client).payload(&[b'x'; 1600]),
                &format!("{name}: a reply larger than the MTU"),
                Route::TooBig(1500),
                Reason::TooBig,
                Told::TooBig(1500),
            ));
            cases.push(with(
                reply(ends.client).hops(1),
                &format!("{name}: a reply on its last hop"),
                site.route,
                Reason::HopLimit,
                Told::TimeExceeded,
            ));
        }
        // The same socket of the server talks to somebody else: no flow of ours.
        cases.push(
            unchanged(
                format!("NAT, {family}: a packet of a real server to no client of ours"),
                site(UDP, &ends, MethodKind::NAT),
                udp(ends.real_server, ends.vlan_client).build(),
                Ok(Verdict::Pass),
            )
            .after(&[(FRONT, &udp(ends.client, ends.virtual_server))]),
        );
        cases.push(
            unchanged(
                format!("NAT, {family}: the reply's way is taken by another virtual address"),
                Site::default()
                    .service(
                        TCP,
                        ends.virtual_server,
                        SchedulerKind::TURNS,
                        &[server(MethodKind::NAT, ends.real_server, 0x51)],
                    )
                    .service(
                        TCP,
                        ends.other_virtual_server,
                        SchedulerKind::TURNS,
                        &[server(MethodKind::NAT, ends.real_server, 0x51)],
                    ),
                packet(TCP, ends.client, ends.other_virtual_server).build(),
                Err(Reason::ReplyTaken),
            )
            .after(&[(FRONT, &packet(TCP, ends.client, ends.virtual_server))]),
        );
    }
    cases
}

fn tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for ends in FAMILIES {
        for (outer, tunnel, twin) in [("IPv4", TUNNEL4, V4.twin), ("IPv6", TUNNEL6, V6.twin)] {
            for (protocol, name) in PROTOCOLS {
                let site = Site::default().service(
                    protocol,
                    ends.virtual_server,
                    SchedulerKind::TURNS,
                    &[server(MethodKind::TUNNEL, twin, 0x51)],
                );
                let input = packet(protocol, ends.client, ends.virtual_server);
                let row = |what: &str, input: PacketBuilder| {
                    let output = input.clone().macs(TO_SERVER).hops(63).tunnel(tunnel);
                    let name = format!("tunnel, {} in {outer}, {name}: {what}", ends.family);
                    forwarded(name, site.clone(), &input, &output)
                };
                cases.push(row("the first packet", input.clone()));
                cases.push(
                    row(
                        "data of a known flow",
                        input.clone().flags(ACK).payload(b"some more"),
                    )
                    .after(&[(FRONT, &input)]),
                );
                cases.push(row(
                    "the type of service is the inner one's",
                    input.clone().service(0xb9),
                ));
                if ends.family == "IPv4" {
                    cases.push(row(
                        "may be cut where the inner packet may",
                        input.clone().may_fragment(()),
                    ));
                    cases.push(row(
                        "IPv4 options stay inside",
                        input.options(&[1, 1, 1, 0]),
                    ));
                } else {
                    cases.push(row(
                        "extension headers stay inside",
                        input.extensions(&[(60, vec![1, 4, 0, 0, 0, 0])]),
                    ));
                }
            }
        }
    }
    cases
}

fn vlans() -> Vec<Case> {
    // Priority 5, drop eligible.
    const PRIORITY: u16 = 0xb000;
    let mut cases = Vec::new();
    let table: [(&str, Option<u16>, u16, Option<u16>); 6] = [
        ("the same VLAN", Some(20), 20, Some(20)),
        ("another VLAN", Some(20), 30, Some(30)),
        ("into a VLAN", None, 30, Some(30)),
        ("out of a VLAN", Some(20), 0, None),
        (
            "the priority is kept",
            Some(PRIORITY | 20),
            30,
            Some(PRIORITY | 30),
        ),
        (
            "a priority without a VLAN",
            Some(PRIORITY),
            4094,
            Some(PRIORITY | 4094),
        ),
    ];
    for ends in FAMILIES {
        for (name, came, vlan, goes) in table {
            for (method, method_name) in [
                (MethodKind::NAT, "NAT"),
                (MethodKind::DIRECT, "direct routing"),
                (MethodKind::TUNNEL, "tunnel"),
            ] {
                let tagged = |packet: PacketBuilder, tag| match tag {
                    Some(control) => packet.vlan(control),
                    None => packet,
                };
                let mut site = site(UDP, &ends, method);
                for server in &mut site.servers {
                    server.hop.vlan = vlan;
                }
                let input = udp(ends.client, ends.virtual_server);
                let output = match method {
                    MethodKind::NAT => udp(ends.client, ends.real_server),
                    MethodKind::TUNNEL if ends.family == "IPv4" => input.clone().tunnel(TUNNEL4),
                    MethodKind::TUNNEL => input.clone().tunnel(TUNNEL6),
                    _ => input.clone(),
                };
                cases.push(forwarded(
                    format!("{name}, {method_name}, {}", ends.family),
                    site,
                    &tagged(input, came),
                    &tagged(output.macs(TO_SERVER).hops(63), goes),
                ));
            }
        }
        let reply = |packet: PacketBuilder| packet.macs(FROM_SERVER).vlan(PRIORITY | 40);
        cases.push(
            forwarded(
                format!("out of a VLAN, NAT, {}: a reply", ends.family),
                site(UDP, &ends, MethodKind::NAT),
                &reply(udp(ends.real_server, ends.client)),
                &udp(ends.virtual_server, ends.client)
                    .macs(TO_CLIENT)
                    .hops(63),
            )
            .after(&[(FRONT, &udp(ends.client, ends.virtual_server))])
            .by(BACK, Ok(Verdict::Redirect(FRONT))),
        );
    }
    cases
}

/// Packets that are seldom seen and nevertheless right.
fn odd_but_right() -> Vec<Case> {
    let mut cases = Vec::new();
    let row = |name: &str, ends: &Ends, dress: &dyn Fn(PacketBuilder) -> PacketBuilder| {
        let mut rows = Vec::new();
        for (protocol, transport) in PROTOCOLS {
            rows.push(forwarded(
                format!("{name}, {transport}"),
                site(protocol, ends, MethodKind::NAT),
                &dress(packet(protocol, ends.client, ends.virtual_server)),
                &dress(packet(protocol, ends.client, ends.real_server))
                    .macs(TO_SERVER)
                    .hops(63),
            ));
        }
        rows
    };
    let options = |length: usize| move |packet: PacketBuilder| packet.options(&vec![1; length]);
    cases.extend(row("IPv4 with options", &V4, &options(4)));
    cases.extend(row("IPv4 with as many options as fit", &V4, &options(40)));
    cases.extend(row("IPv4 that may be cut", &V4, &|packet| {
        packet.may_fragment(())
    }));
    // Hop-by-hop, routing and destination options; a body is 6 bytes or 8 more.
    let extensions = [
        (0, vec![1, 4, 0, 0, 0, 0]),
        (43, vec![4, 0, 0, 0, 0, 0]),
        (60, [vec![1, 12], vec![0; 12]].concat()),
    ];
    for count in 1..=extensions.len() {
        cases.extend(row(
            &format!("IPv6 with {count} extension headers"),
            &V6,
            &|packet| packet.extensions(&extensions[..count]),
        ));
    }
    cases.extend(row("IPv6 with six extension headers", &V6, &|packet| {
        packet.extensions(&many_extensions(6))
    }));
    // The transport header starts at byte 14 + 40 + 432 = 486 of at most 491.
    cases.extend(row(
        "IPv6 with an extension header that is as long as can be",
        &V6,
        &|packet| packet.extensions(&[(60, vec![0; 430])]),
    ));
    for ends in FAMILIES {
        cases.extend(row(
            &format!("{} on its last hop but one", ends.family),
            &ends,
            &|packet| packet.hops(2),
        ));
        // `row` sets the hops of the output to 63.
        for case in cases.iter_mut().rev().take(2) {
            let protocol = if case.name.ends_with("TCP") { TCP } else { UDP };
            case.output = packet(protocol, ends.client, ends.real_server)
                .macs(TO_SERVER)
                .hops(1)
                .build();
        }
        // Short frames are padded to 60 bytes, and some drivers hand more over.
        let mut padded = forwarded(
            format!("{} with bytes behind its end", ends.family),
            site(UDP, &ends, MethodKind::NAT),
            &udp(ends.client, ends.virtual_server).payload(b"?"),
            &udp(ends.client, ends.real_server)
                .payload(b"?")
                .macs(TO_SERVER)
                .hops(63),
        );
        padded.input.extend([0xee; 17]);
        padded.output.extend([0xee; 17]);
        cases.push(padded);
        // A server whose MTU is not known: the sender of the frame will have to find out.
        let mut unlimited = forwarded(
            format!("{} to a server whose MTU is not known", ends.family),
            site(UDP, &ends, MethodKind::NAT),
            &udp(ends.client, ends.virtual_server),
            &udp(ends.client, ends.real_server).macs(TO_SERVER).hops(63),
        );
        for server in &mut unlimited.site.servers {
            server.hop.mtu = 0;
        }
        cases.push(unlimited);
        // With 10 bytes of payload: 20 or 40 of IP, 8 of UDP, 20 or 40 of the outer header.
        let exact = if ends.family == "IPv4" { 58 } else { 98 };
        for (mtu, is_too_big) in [(exact, false), (exact - 1, true)] {
            let mut case = forwarded(
                format!("{} in a tunnel, where {mtu} bytes fit", ends.family),
                site(UDP, &ends, MethodKind::TUNNEL),
                &udp(ends.client, ends.virtual_server),
                &udp(ends.client, ends.virtual_server)
                    .macs(TO_SERVER)
                    .hops(63)
                    .tunnel(if ends.family == "IPv4" {
                        TUNNEL4
                    } else {
                        TUNNEL6
                    }),
            );
            for server in &mut case.site.servers {
                server.hop.mtu = mtu;
            }
            if is_too_big {
                // Nobody is told to send less than every link takes.
                let fits = if ends.family == "IPv4" { 68 } else { 1280 };
                let (client, service) = (ends.client, ends.virtual_server);
                let answer = error(client, service, &case.input, Told::TooBig(fits));
                case = case.answered(Reason::TooBig, &answer.macs(TO_CLIENT));
            }
            cases.push(case);
        }
    }
    cases
}

fn not_ours() -> Vec<Case> {
    let pass = |name: &str, input: Vec<u8>| {
        let site = site(UDP, &V4, MethodKind::NAT);
        unchanged(name, site, input, Ok(Verdict::Pass))
    };
    let mut cases = vec![
        pass("ARP", arp()),
        pass(
            "ARP in a VLAN",
            [&arp()[..12], &[0x81, 0, 0, 20], &arp()[12..]].concat(),
        ),
        pass(
            "two VLAN tags",
            edited(
                &udp(V4.client, V4.virtual_server).vlan(20),
                &[(16, 0x81), (17, 0)],
            ),
        ),
        pass(
            "the service's address, another port",
            udp(V4.client, "192.0.2.10:81").build(),
        ),
        pass(
            "the service's port, another address",
            udp(V4.client, "192.0.2.12:80").build(),
        ),
        pass(
            "the service's address and port, another protocol",
            tcp(V4.client, V4.virtual_server).flags(SYN).build(),
        ),
        pass(
            "ICMP to the service's address",
            edited(&udp(V4.client, V4.virtual_server), &[(23, 1)]),
        ),
        pass(
            "SCTP to the service's address",
            edited(&udp(V4.client, V4.virtual_server), &[(23, 132)]),
        ),
        // A virtual service of IPv4 is kept under its mapped address, which is no address for the
        // wire (RFC 4291 §2.5.5.2): an IPv6 packet to it is not for the service.
        unchanged(
            "IPv6 to the mapped address of an IPv4 service",
            site(UDP, &V4, MethodKind::NAT),
            udp(V6.client, "[::ffff:192.0.2.10]:80").build(),
            Err(Reason::Malformed),
        ),
    ];
    cases.push(unchanged(
        "ICMPv6 to the service's address",
        site(UDP, &V6, MethodKind::NAT),
        edited(&udp(V6.client, V6.virtual_server), &[(20, 58)]),
        Ok(Verdict::Pass),
    ));
    cases
}

/// Right packets to a service that are not steered.
fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ends, source, name) in [
        (&V4, "0.0.0.0:4321", "this host"),
        (&V4, "127.0.0.1:4321", "loopback"),
        (&V4, "224.0.0.1:4321", "multicast"),
        (&V4, "255.255.255.255:4321", "everybody"),
        (&V4, "192.0.2.10:80", "the virtual address"),
        (&V6, "[::]:4321", "nowhere"),
        (&V6, "[::1]:4321", "loopback"),
        (&V6, "[::ffff:198.51.100.7]:4321", "IPv4 in disguise"),
        (&V6, "[ff02::1]:4321", "multicast"),
        (&V6, "[2001:db8:a::10]:80", "the virtual address"),
    ] {
        for (protocol, transport) in [(TCP, "TCP"), (UDP, "UDP")] {
            for method in [MethodKind::NAT, MethodKind::DIRECT, MethodKind::TUNNEL] {
                let frame = match protocol {
                    TCP => tcp(source, ends.virtual_server).flags(SYN).build(),
                    _ => udp(source, ends.virtual_server).build(),
                };
                cases.push(unchanged(
                    format!(
                        "martian {transport} from {name}, {}, {method:?}",
                        ends.family
                    ),
                    site(protocol, ends, method),
                    frame,
                    Err(Reason::Martian),
                ));
            }
        }
    }
    for ends in FAMILIES {
        let family = ends.family;
        for (flags, name) in [
            (ACK, "an acknowledgement"),
            (FIN | ACK, "the end"),
            (RST, "a reset"),
            (SYN | ACK, "a SYN that answers"),
            (SYN | FIN, "SYN and FIN"),
            (SYN | RST, "SYN and RST"),
            (0, "no flag"),
            (0xff, "every flag"),
        ] {
            for method in [MethodKind::NAT, MethodKind::DIRECT] {
                cases.push(unchanged(
                    format!("{family}, TCP, method {}: {name} without a flow", method.0),
                    site(TCP, &ends, method),
                    tcp(ends.client, ends.virtual_server).flags(flags).build(),
                    Err(Reason::NoFlow),
                ));
            }
        }
        for (protocol, transport) in PROTOCOLS {
            let input = packet(protocol, ends.client, ends.virtual_server);
            let told = |told| {
                error(ends.client, ends.virtual_server, &input.build(), told).macs(TO_CLIENT)
            };
            let unreachable = told(Told::Unreachable);
            let reset = tcp(ends.virtual_server, ends.client)
                .flags(RST | ACK)
                .sequence(0)
                .acknowledgement(0x0102_0305)
                .window(0)
                .macs(TO_CLIENT);
            let by_default = if protocol == TCP {
                &reset
            } else {
                &unreachable
            };
            for scheduler in 0..=SchedulerKind::LOCALITY_SET.0 {
                let weightless = [server(MethodKind::NAT, ends.real_server, 0x51).weight(0)];
                for (servers, name) in [
                    (&[][..], "a service without servers"),
                    (&weightless, "a service whose server has weight 0"),
                ] {
                    let site = Site::default().service(
                        protocol,
                        ends.virtual_server,
                        SchedulerKind(scheduler),
                        servers,
                    );
                    let name = format!("{family}, {transport}, scheduler {scheduler}: {name}");
                    let row = unchanged(name, site, input.build(), Err(Reason::NoServer));
                    cases.push(row.answered(Reason::NoServer, by_default));
                }
            }
            let refusing = |refusal| {
                Site::default()
                    .service(protocol, ends.virtual_server, SchedulerKind::TURNS, &[])
                    .services(|service| service.refusal = refusal)
            };
            let name = |policy| format!("{family}, {transport}: without servers, {policy}");
            cases.push(
                unchanged(
                    name("unreachable"),
                    refusing(Refusal::UNREACHABLE),
                    input.build(),
                    Err(Reason::NoServer),
                )
                .answered(Reason::NoServer, &unreachable),
            );
            cases.push(Case {
                answered: Some(Reason::NoServer),
                ..unchanged(
                    name("silence"),
                    refusing(Refusal::SILENCE),
                    input.build(),
                    Err(Reason::Unanswered),
                )
            });
            cases.push(Case {
                answered: Some(Reason::NoServer),
                ..unchanged(
                    name("no answers left in this second"),
                    refusing(Refusal::RESET).settings(|settings| settings.answers = 0),
                    input.build(),
                    Err(Reason::Unanswered),
                )
            });
            for (method, method_name) in [
                (MethodKind::NAT, "NAT"),
                (MethodKind::DIRECT, "direct routing"),
                (MethodKind::TUNNEL, "tunnel"),
            ] {
                let site = site(protocol, &ends, method);
                let what = format!("{method_name}, {family}, {transport}");
                let answered = |name: String, input: &PacketBuilder, reason, told| {
                    let frame = input.build();
                    let answer = error(ends.client, ends.virtual_server, &frame, told);
                    unchanged(name, site.clone(), frame, Err(reason))
                        .answered(reason, &answer.macs(TO_CLIENT))
                };
                for hops in [0, 1] {
                    cases.push(answered(
                        format!("{what}: {hops} hops left"),
                        &input.clone().hops(hops),
                        Reason::HopLimit,
                        Told::TimeExceeded,
                    ));
                }
                let outer = match (method, family) {
                    (MethodKind::TUNNEL, "IPv4") => 20,
                    (MethodKind::TUNNEL, _) => 40,
                    _ => 0,
                };
                cases.push(answered(
                    format!("{what}: too big"),
                    &input.clone().payload(&[b'x'; 1500]),
                    Reason::TooBig,
                    Told::TooBig(1500 - outer),
                ));
                let mut lost = site;
                for server in &mut lost.servers {
                    server.hop = NextHop {
                        interface: 0,
                        ..server.hop
                    };
                }
                cases.push(unchanged(
                    format!("{what}: the way to the server is not known"),
                    lost,
                    input.build(),
                    Err(Reason::NextHopUnknown),
                ));
            }
        }
    }
    cases
}

/// Headers that lie. The kernel's stack gets to see them as they are.
fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    // Ethernet: 14 bytes. IPv4: total length at 16, 20 bytes. UDP: 8 and 10 bytes.
    let v4 = |name: &str, protocol: u8, edits: &[(usize, u8)]| {
        unchanged(
            format!("malformed IPv4: {name}"),
            site(protocol, &V4, MethodKind::NAT),
            edited(&packet(protocol, V4.client, V4.virtual_server), edits),
            Err(Reason::Malformed),
        )
    };
    cases.extend([
        v4("one byte longer than the frame", UDP, &[(17, 39)]),
        v4("as long as can be", UDP, &[(16, 0xff), (17, 0xff)]),
        v4("length 0", UDP, &[(17, 0)]),
        v4("shorter than its header", UDP, &[(17, 19)]),
        v4("no transport header", UDP, &[(17, 20)]),
        v4("half a UDP header", UDP, &[(17, 27)]),
        v4("half a TCP header", TCP, &[(17, 39)]),
        v4("header length 0", UDP, &[(14, 0x40)]),
        v4("header length 16", UDP, &[(14, 0x44)]),
        v4("header longer than the packet", UDP, &[(14, 0x4f)]),
        v4("version 6", UDP, &[(14, 0x65)]),
        v4("version 0", UDP, &[(14, 0x05)]),
    ]);
    // IPv6: payload length at 18, next header at 20, 40 bytes.
    let v6 = |name: &str, packet: &PacketBuilder, edits: &[(usize, u8)]| {
        unchanged(
            format!("malformed IPv6: {name}"),
            site(UDP, &V6, MethodKind::NAT).service(
                TCP,
                V6.virtual_server,
                SchedulerKind::TURNS,
                &[server(MethodKind::NAT, V6.real_server, 0x51)],
            ),
            edited(packet, edits),
            Err(Reason::Malformed),
        )
    };
    let datagram = udp(V6.client, V6.virtual_server);
    let segment = tcp(V6.client, V6.virtual_server).flags(SYN);
    let options =
        |packet: &PacketBuilder, bytes| packet.clone().extensions(&[(60, vec![0; bytes])]);
    cases.extend([
        v6("one byte longer than the frame", &datagram, &[(19, 19)]),
        v6("as long as can be", &datagram, &[(18, 0xff), (19, 0xff)]),
        v6("length 0", &datagram, &[(19, 0)]),
        v6("half a UDP header", &datagram, &[(19, 7)]),
        v6("half a TCP header", &segment, &[(19, 19)]),
        v6("version 4", &datagram, &[(14, 0x40)]),
        v6("version 0", &datagram, &[(14, 0)]),
        v6(
            "an extension header that reaches behind the packet",
            &options(&datagram, 6),
            &[(55, 2)],
        ),
        v6(
            "an extension header that reaches behind the frame",
            &options(&datagram, 6),
            &[(55, 0xff)],
        ),
        v6(
            "seven extension headers",
            &datagram.clone().extensions(&many_extensions(7)),
            &[],
        ),
        v6(
            "extension headers without an end",
            &datagram.clone().extensions(&many_extensions(20)),
            &[],
        ),
        v6(
            "UDP further behind than is looked",
            &options(&datagram, 438),
            &[],
        ),
        v6(
            "TCP further behind than is looked",
            &options(&segment, 438),
            &[],
        ),
        // Ports could be read there and the checksum could not.
        v6("UDP at the end of sight", &options(&datagram, 454), &[]),
        v6("TCP at the end of sight", &options(&segment, 454), &[]),
        v6("UDP out of sight", &options(&datagram, 462), &[]),
        v6("a megabyte of options", &options(&segment, 2046), &[]),
    ]);
    cases
}

/// Frames that end anywhere.
fn truncated() -> Vec<Case> {
    let mut cases = Vec::new();
    let frames = [
        ("IPv4, UDP", V4, UDP, udp(V4.client, V4.virtual_server)),
        (
            "IPv4 with options in a VLAN, TCP",
            V4,
            TCP,
            packet(TCP, V4.client, V4.virtual_server)
                .options(&[1; 8])
                .vlan(20),
        ),
        (
            "IPv6 with extension headers, TCP",
            V6,
            TCP,
            packet(TCP, V6.client, V6.virtual_server).extensions(&many_extensions(2)),
        ),
        (
            "IPv6 in a VLAN, UDP",
            V6,
            UDP,
            udp(V6.client, V6.virtual_server).vlan(20),
        ),
    ];
    for (name, ends, protocol, packet) in frames {
        let whole = packet.build();
        // The kernel hands over no frame without an Ethernet header.
        for length in 14..whole.len() {
            cases.push(unchanged(
                format!("{name}, cut after {length} bytes of {}", whole.len()),
                site(protocol, &ends, MethodKind::NAT),
                whole[..length].to_vec(),
                Err(Reason::Malformed),
            ));
        }
    }
    cases
}

/// Extension headers of destination options, 8 bytes each.
fn many_extensions(count: usize) -> Vec<(u8, Vec<u8>)> {
    vec![(60, vec![1, 4, 0, 0, 0, 0]); count]
}

/// The bytes of a packet, some of them changed.
fn edited(packet: &PacketBuilder, edits: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = packet.build();
    for (at, byte) in edits {
        bytes[*at] = *byte;
    }
    bytes
}

/// Who has 192.0.2.10?
pub(super) fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac(0xc1));
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(mac(0xc1));
    frame.extend([198, 51, 100, 7]);
    frame.extend([0; 6]);
    frame.extend([192, 0, 2, 10]);
    frame
}
