//! Rows of the packet table: messages of ICMP and ICMPv6.

use super::{
    BACK, FRONT, GUE_PORT, PacketBuilder, Site, icmp, sctp, server,
    table::{
        Case, Ends, FAMILIES, FROM_SERVER, TO_CLIENT, TO_SERVER, TUNNEL4, TUNNEL6, V4, V6,
        forwarded, packet, site, unchanged,
    },
};
use crate::{
    maps::{MethodKind, SchedulerKind, Server, Settings},
    verdict::{Reason, Verdict},
    wire::{
        Be16,
        protocol::{SCTP, TCP, UDP},
    },
};

/// The protocols that quotes are of.
const QUOTED: [(u8, &str); 3] = [(TCP, "TCP"), (UDP, "UDP"), (SCTP, "SCTP")];
/// How much of the quoted payload there is, in bytes: what RFC 792 promises, up to a byte before the
/// checksum of TCP, and all.
const LENGTHS: [(usize, &str); 3] = [
    (8, "the least quote"),
    (15, "a quote that ends anywhere"),
    (usize::MAX, "all is quoted"),
];
/// The only port of the pool of full NAT.
const POOL_PORT: u16 = 5_000;

/// All rows about control messages.
pub(super) fn rows() -> Vec<Case> {
    [
        echoes(),
        to_servers(),
        to_clients(),
        about_tunnels(),
        without_flow(),
        not_steered(),
    ]
    .concat()
}

/// What errors need besides, by family.
struct Errors {
    ends: &'static Ends,
    /// A router on the clients' side.
    outside: &'static str,
    /// A router on the servers' side.
    inside: &'static str,
    /// Our own address on the servers' side, as full NAT uses it.
    own: &'static str,
    /// Length of the IP header, in bytes.
    header: usize,
    /// Kind and code of "too big", and the MTU behind the checksum.
    too_big: (u8, u8),
    /// Kind and code of "host unreachable".
    unreachable: (u8, u8),
    /// Kind of "time exceeded".
    time_exceeded: u8,
    /// Kind of "parameter problem".
    parameter: u8,
    /// Kind of a redirect.
    redirect: u8,
    /// Kind of an echo request, and of its reply.
    echo: (u8, u8),
    /// Type of service of an error of ours.
    service: u8,
}

const ERRORS: [Errors; 2] = [
    Errors {
        ends: &V4,
        outside: "198.51.100.254:0",
        inside: "10.0.0.254:0",
        own: "10.0.0.1:5000",
        header: 20,
        too_big: (3, 4),
        unreachable: (3, 1),
        time_exceeded: 11,
        parameter: 12,
        redirect: 5,
        echo: (8, 0),
        service: 0xc0,
    },
    Errors {
        ends: &V6,
        outside: "[2001:db8:c::fe]:0",
        inside: "[fd00::fe]:0",
        own: "[fd00::1]:5000",
        header: 40,
        too_big: (2, 0),
        unreachable: (1, 3),
        time_exceeded: 3,
        parameter: 4,
        redirect: 137,
        echo: (128, 129),
        service: 0,
    },
];

impl Errors {
    /// An error of `from` to `to`, who has sent the packet that is quoted.
    fn error(&self, from: &str, to: &str, quote: &[u8]) -> PacketBuilder {
        icmp(from, to, self.too_big.0, self.too_big.1)
            .message_rest([0, 0, 5, 20])
            .payload(quote)
    }

    /// What an error quotes of a packet: its IP header and `length` bytes of what is behind.
    fn quote(&self, packet: &PacketBuilder, length: usize) -> Vec<u8> {
        let frame = packet.build();
        let end = frame.len().min((14 + self.header).saturating_add(length));
        frame[14..end].to_vec()
    }
}

/// A packet of a flow.
fn any(protocol: u8, source: &str, destination: &str) -> PacketBuilder {
    match protocol {
        // An odd number of bytes is quoted.
        TCP => packet(TCP, source, destination).payload(b"some data"),
        SCTP => sctp(source, destination),
        _ => packet(protocol, source, destination),
    }
}

/// Full NAT with one port.
fn full_nat(protocol: u8, ends: &Ends) -> Site {
    Site::default()
        .service(
            protocol,
            ends.virtual_server,
            SchedulerKind::TURNS,
            &[server(MethodKind::NAT, ends.real_server, 0x51).with(Server::SOURCE_NAT)],
        )
        .settings(|settings| {
            settings.pool_first = POOL_PORT;
            settings.pool_size = 1;
        })
}

fn echoes() -> Vec<Case> {
    let mut cases = Vec::new();
    for errors in &ERRORS {
        let (ends, family) = (errors.ends, errors.ends.family);
        let ping = |to: &str| {
            icmp(ends.client, to, errors.echo.0, 0)
                .message_rest([1, 2, 0, 7])
                .payload(b"abcdefghi")
        };
        let pong = icmp(ends.virtual_server, ends.client, errors.echo.1, 0)
            .macs(TO_CLIENT)
            .message_rest([1, 2, 0, 7])
            .payload(b"abcdefghi");
        let site = || site(TCP, ends, MethodKind::NAT);
        cases.push(
            forwarded(
                format!("ICMP, {family}: an echo request to a virtual address"),
                site(),
                &ping(ends.virtual_server),
                &pong,
            )
            .by(FRONT, Ok(Verdict::Transmit)),
        );
        let pass = |name: &str, site: Site, input: PacketBuilder| {
            unchanged(
                format!("ICMP, {family}: {name}"),
                site,
                input.build(),
                Ok(Verdict::Pass),
            )
        };
        cases.push(pass(
            "an echo request to another address",
            site(),
            ping(ends.real_server),
        ));
        cases.push(pass(
            "more echo requests than are answered",
            site().settings(|settings| settings.answers = 0),
            ping(ends.virtual_server),
        ));
        cases.push(pass(
            "an echo request with a broken link address",
            site(),
            ping(ends.virtual_server).macs(([0xff; 6], TO_CLIENT.0)),
        ));
        cases.push(pass(
            "an echo reply",
            site(),
            icmp(ends.client, ends.virtual_server, errors.echo.1, 0).payload(b"abc"),
        ));
        cases.push(pass(
            "a redirect",
            site(),
            icmp(errors.outside, ends.virtual_server, errors.redirect, 0)
                .payload(&errors.quote(&any(TCP, ends.virtual_server, ends.client), 8)),
        ));
    }
    for (kind, name) in [
        (133, "a router solicitation"),
        (134, "a router advertisement"),
        (135, "a neighbour solicitation"),
        (136, "a neighbour advertisement"),
        (143, "a multicast listener report"),
    ] {
        cases.push(unchanged(
            format!("ICMP, IPv6: {name}"),
            site(TCP, &V6, MethodKind::NAT),
            icmp(V6.client, V6.virtual_server, kind, 0)
                .hops(255)
                .payload(&[0xfd; 24])
                .build(),
            Ok(Verdict::Pass),
        ));
    }
    cases
}

/// About what was sent to a client: to the real server.
fn to_servers() -> Vec<Case> {
    let mut cases = Vec::new();
    for errors in &ERRORS {
        let ends = errors.ends;
        for (protocol, transport) in QUOTED {
            for (length, what) in LENGTHS {
                let input = errors.error(
                    errors.outside,
                    ends.virtual_server,
                    &errors.quote(&any(protocol, ends.virtual_server, ends.client), length),
                );
                let row = |method: &str, site: Site, output: PacketBuilder| {
                    forwarded(
                        format!(
                            "ICMP to a server, {method}, {}, {transport}: {what}",
                            ends.family
                        ),
                        site,
                        &input,
                        &output.macs(TO_SERVER).hops(63),
                    )
                    .after(&[(FRONT, &any(protocol, ends.client, ends.virtual_server))])
                };
                let to_server = |client: &str| {
                    errors.error(
                        errors.outside,
                        ends.real_server,
                        &errors.quote(&any(protocol, ends.real_server, client), length),
                    )
                };
                cases.push(row(
                    "NAT",
                    site(protocol, ends, MethodKind::NAT),
                    to_server(ends.client),
                ));
                cases.push(row(
                    "full NAT",
                    full_nat(protocol, ends),
                    to_server(errors.own),
                ));
                cases.push(row(
                    "direct routing",
                    site(protocol, ends, MethodKind::DIRECT),
                    input.clone(),
                ));
                let tunnel = if ends.family == "IPv4" {
                    TUNNEL4
                } else {
                    TUNNEL6
                };
                cases.push(row(
                    "tunnel",
                    site(protocol, ends, MethodKind::TUNNEL),
                    input.clone().tunnel(tunnel),
                ));
            }
        }
        // Every kind that quotes.
        for kind in [errors.unreachable.0, errors.time_exceeded, errors.parameter] {
            let error = |to: &str| {
                icmp(errors.outside, to, kind, 1)
                    .payload(&errors.quote(&any(TCP, to, ends.client), 8))
            };
            cases.push(
                forwarded(
                    format!("ICMP to a server, NAT, {}: kind {kind}", ends.family),
                    site(TCP, ends, MethodKind::NAT),
                    &error(ends.virtual_server),
                    &error(ends.real_server).macs(TO_SERVER).hops(63),
                )
                .after(&[(FRONT, &any(TCP, ends.client, ends.virtual_server))]),
            );
        }
        // As long as a frame can be: more than is summed up.
        let long = |from: &str| any(UDP, from, ends.client).payload(&[0x5a; 1400]);
        let error = |to: &str| errors.error(errors.outside, to, &errors.quote(&long(to), 1390));
        cases.push(
            forwarded(
                format!("ICMP to a server, NAT, {}: a long quote", ends.family),
                site(UDP, ends, MethodKind::NAT),
                &error(ends.virtual_server),
                &error(ends.real_server).macs(TO_SERVER).hops(63),
            )
            .after(&[(FRONT, &any(UDP, ends.client, ends.virtual_server))]),
        );
        cases.push(
            forwarded(
                format!("ICMP to a server, NAT, {}: in a VLAN", ends.family),
                site(UDP, ends, MethodKind::NAT),
                &error(ends.virtual_server).vlan(20),
                &error(ends.real_server).macs(TO_SERVER).hops(63),
            )
            .after(&[(FRONT, &any(UDP, ends.client, ends.virtual_server))]),
        );
    }
    // IPv4 options before the message, and in the quote.
    let quoted = |from: &str| any(TCP, from, V4.client).options(&[1; 12]).build()[14..].to_vec();
    let error = |to: &str| {
        ERRORS[0]
            .error(ERRORS[0].outside, to, &quoted(to))
            .options(&[1; 8])
    };
    cases.push(
        forwarded(
            "ICMP to a server, NAT, IPv4: options",
            site(TCP, &V4, MethodKind::NAT),
            &error(V4.virtual_server),
            &error(V4.real_server).macs(TO_SERVER).hops(63),
        )
        .after(&[(FRONT, &any(TCP, V4.client, V4.virtual_server))]),
    );
    // Extension headers before the message, and in the quote.
    let options = [(60, vec![1, 4, 0, 0, 0, 0])];
    let quoted = |from: &str| any(TCP, from, V6.client).extensions(&options).build()[14..].to_vec();
    let error = |to: &str| {
        ERRORS[1]
            .error(ERRORS[1].outside, to, &quoted(to))
            .extensions(&options)
    };
    cases.push(
        forwarded(
            "ICMP to a server, NAT, IPv6: extension headers",
            site(TCP, &V6, MethodKind::NAT),
            &error(V6.virtual_server),
            &error(V6.real_server).macs(TO_SERVER).hops(63),
        )
        .after(&[(FRONT, &any(TCP, V6.client, V6.virtual_server))]),
    );
    cases
}

/// About what was sent to a masqueraded real server: to the client.
fn to_clients() -> Vec<Case> {
    let mut cases = Vec::new();
    for errors in &ERRORS {
        let ends = errors.ends;
        for (protocol, transport) in QUOTED {
            for (length, what) in LENGTHS {
                let output = errors
                    .error(
                        ends.virtual_server,
                        ends.client,
                        &errors.quote(&any(protocol, ends.client, ends.virtual_server), length),
                    )
                    .macs(TO_CLIENT)
                    .hops(63);
                for (method, site, seen) in [
                    ("NAT", site(protocol, ends, MethodKind::NAT), ends.client),
                    ("full NAT", full_nat(protocol, ends), errors.own),
                ] {
                    for from in [errors.inside, ends.real_server] {
                        let input = errors
                            .error(
                                from,
                                seen,
                                &errors.quote(&any(protocol, seen, ends.real_server), length),
                            )
                            .macs(FROM_SERVER);
                        let name = format!(
                            "ICMP to a client, {method}, {}, {transport}, from {from}: {what}",
                            ends.family
                        );
                        cases.push(
                            forwarded(name, site.clone(), &input, &output)
                                .after(&[(FRONT, &any(protocol, ends.client, ends.virtual_server))])
                                .by(BACK, Ok(Verdict::Redirect(FRONT))),
                        );
                    }
                }
            }
        }
    }
    cases
}

/// Every kind of tunnel: its method, flags, and how much stands behind the outer IP header.
const TUNNELS: [(&str, MethodKind, u8, usize); 4] = [
    ("IP", MethodKind::TUNNEL, 0, 0),
    ("GRE", MethodKind::GRE, 0, 4),
    (
        "GRE with a checksum",
        MethodKind::GRE,
        Server::TUNNEL_CHECKSUM,
        8,
    ),
    ("GUE", MethodKind::GUE, 0, 12),
];

fn about_tunnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for inner in &ERRORS {
        for (outer, tunnel, twin) in [
            (&ERRORS[0], TUNNEL4, V4.twin),
            (&ERRORS[1], TUNNEL6, V6.twin),
        ] {
            for (kind, method, flags, shim) in TUNNELS {
                let ends = inner.ends;
                let mut real = server(method, twin, 0x51).with(flags);
                real.tunnel_port = Be16::new(GUE_PORT);
                let site = Site::default().service(
                    TCP,
                    ends.virtual_server,
                    SchedulerKind::TURNS,
                    &[real],
                );
                let request = any(TCP, ends.client, ends.virtual_server);
                let sent = request.clone().hops(63);
                let wrapped = match method {
                    MethodKind::GRE => sent.clone().gre(()),
                    MethodKind::GUE => sent.clone().gue((49_152, GUE_PORT)),
                    _ => sent.clone(),
                };
                let wrapped = if flags == 0 {
                    wrapped
                } else {
                    wrapped.tunnel_checksum(())
                }
                .tunnel(tunnel);
                let around = outer.header + shim;
                let own = format!(
                    "{}:0",
                    if outer.header == 20 {
                        "10.0.0.1"
                    } else {
                        "[fd00::1]"
                    }
                );
                let row = |name: &str, input: PacketBuilder, output: PacketBuilder| {
                    let input = input.macs(FROM_SERVER);
                    let output = output.macs(TO_CLIENT).service(inner.service);
                    forwarded(
                        format!(
                            "ICMP about a tunnel, {} in {}, {kind}: {name}",
                            ends.family, outer.ends.family
                        ),
                        site.clone(),
                        &input,
                        &output,
                    )
                    .after(&[(FRONT, &request)])
                    .by(BACK, Ok(Verdict::Redirect(FRONT)))
                };
                for (length, what) in [
                    (shim + inner.header + 8, "the least quote"),
                    (usize::MAX, "all is quoted"),
                ] {
                    let quote = outer.quote(&wrapped, length);
                    let again = &quote[around..];
                    let error = |kind: (u8, u8), mtu: u16| {
                        let [high, low] = mtu.to_be_bytes();
                        icmp(outer.inside, &own, kind.0, kind.1)
                            .message_rest([0, 0, high, low])
                            .payload(&quote)
                    };
                    let told = |kind: (u8, u8), mtu: u16| {
                        let [high, low] = mtu.to_be_bytes();
                        icmp(ends.virtual_server, ends.client, kind.0, kind.1)
                            .message_rest([0, 0, high, low])
                            .payload(again)
                    };
                    cases.push(row(
                        &format!("too big, {what}"),
                        error(outer.too_big, 1400),
                        told(inner.too_big, 1400 - around as u16),
                    ));
                    cases.push(row(
                        &format!("unreachable, {what}"),
                        error(outer.unreachable, 0),
                        told(inner.unreachable, 0),
                    ));
                    cases.push(row(
                        &format!("time exceeded, {what}"),
                        error((outer.time_exceeded, 0), 0),
                        told(inner.unreachable, 0),
                    ));
                }
                let quote = outer.quote(&wrapped, usize::MAX);
                let too_short = outer.quote(&wrapped, 8.min(shim + inner.header));
                let refused = |name: &str, input: PacketBuilder, reason: Reason| {
                    let input = input.macs(FROM_SERVER);
                    let case = row(name, input.clone(), input);
                    Case {
                        output: case.input.clone(),
                        verdict: Err(reason),
                        ..case
                    }
                };
                let mut short = refused(
                    "too short a quote",
                    outer.error(outer.inside, &own, &too_short),
                    Reason::UnknownError,
                );
                // Of eight bytes of UDP nobody can tell that it is a tunnel.
                if method == MethodKind::GUE {
                    short.verdict = Ok(Verdict::Pass);
                }
                cases.push(short);
                cases.push(refused(
                    "to another server",
                    outer.error(
                        outer.inside,
                        &own,
                        &outer.quote(
                            &wrapped.clone().tunnel((
                                tunnel.0,
                                outer.inside.trim_end_matches(":0").trim_matches(['[', ']']),
                            )),
                            usize::MAX,
                        ),
                    ),
                    Reason::UnknownError,
                ));
                cases.push(refused(
                    "a matter of the tunnel's ends",
                    icmp(outer.inside, &own, outer.parameter, 0).payload(&quote),
                    Reason::UnknownError,
                ));
            }
        }
    }
    cases
}

/// What is not remembered can be chosen again.
fn without_flow() -> Vec<Case> {
    let mut cases = Vec::new();
    for errors in &ERRORS {
        let ends = errors.ends;
        for (protocol, transport) in QUOTED {
            let error = |to: &str| {
                errors.error(
                    errors.outside,
                    to,
                    &errors.quote(&any(protocol, to, ends.client), 8),
                )
            };
            let input = error(ends.virtual_server);
            let with = |scheduler, method, address, flags| {
                Site::default().service(
                    protocol,
                    ends.virtual_server,
                    scheduler,
                    &[server(method, address, 0x51).with(flags)],
                )
            };
            let schedule = |settings: &mut Settings| settings.flags |= Settings::SCHEDULE_ICMP;
            let name =
                |what: &str| format!("ICMP without a flow, {}, {transport}: {what}", ends.family);
            cases.push(forwarded(
                name("a hashing scheduler"),
                with(SchedulerKind::SOURCE_HASH, MethodKind::DIRECT, ends.twin, 0),
                &input,
                &input.clone().macs(TO_SERVER).hops(63),
            ));
            cases.push(forwarded(
                name("schedule_icmp"),
                with(SchedulerKind::TURNS, MethodKind::NAT, ends.real_server, 0).settings(schedule),
                &input,
                &error(ends.real_server).macs(TO_SERVER).hops(63),
            ));
            cases.push(unchanged(
                name("schedule_icmp and full NAT"),
                with(
                    SchedulerKind::TURNS,
                    MethodKind::NAT,
                    ends.real_server,
                    Server::SOURCE_NAT,
                )
                .settings(schedule),
                input.build(),
                Err(Reason::UnknownError),
            ));
            cases.push(unchanged(
                name("another scheduler"),
                with(SchedulerKind::TURNS, MethodKind::DIRECT, ends.twin, 0),
                input.build(),
                Err(Reason::UnknownError),
            ));
        }
    }
    cases
}

fn not_steered() -> Vec<Case> {
    let mut cases = Vec::new();
    for (errors, ends) in ERRORS.iter().zip(FAMILIES) {
        let quoted = any(TCP, ends.virtual_server, ends.client);
        let quote = errors.quote(&quoted, usize::MAX);
        let row = |name: &str, input: PacketBuilder, verdict| {
            unchanged(
                format!("ICMP that is not steered, {}: {name}", ends.family),
                site(TCP, &ends, MethodKind::NAT),
                input.build(),
                verdict,
            )
            .after(&[(FRONT, &any(TCP, ends.client, ends.virtual_server))])
        };
        let error = |quote: &[u8]| errors.error(errors.outside, ends.virtual_server, quote);
        let unknown = Err(Reason::UnknownError);
        let icmp_at = 14 + errors.header;
        cases.push(row(
            "to another address",
            errors.error(
                errors.outside,
                ends.real_server,
                &errors.quote(&any(TCP, ends.real_server, ends.silent_client), 8),
            ),
            Ok(Verdict::Pass),
        ));
        cases.push(row(
            "about another client",
            error(&errors.quote(&any(TCP, ends.virtual_server, ends.silent_client), 8)),
            unknown,
        ));
        cases.push(row(
            "to another address than the quoted source",
            errors.error(errors.outside, ends.other_virtual_server, &quote),
            Ok(Verdict::Pass),
        ));
        cases.push(row(
            "about another protocol",
            error(&errors.quote(&any(UDP, ends.virtual_server, ends.client), 8)),
            unknown,
        ));
        cases.push(row(
            "about an echo reply",
            error(&errors.quote(
                &icmp(ends.virtual_server, ends.client, errors.echo.1, 0).payload(b"abcdefgh"),
                usize::MAX,
            )),
            unknown,
        ));
        cases.push(row(
            "about an error",
            error(&errors.quote(
                &errors.error(ends.virtual_server, ends.client, &quote),
                usize::MAX,
            )),
            unknown,
        ));
        cases.push(row(
            "less than 8 bytes quoted",
            error(&quote[..errors.header + 7]),
            unknown,
        ));
        cases.push(row(
            "half an IP header quoted",
            error(&quote[..errors.header - 1]),
            Err(Reason::Malformed),
        ));
        cases.push(row("nothing quoted", error(&[]), Err(Reason::Malformed)));
        let mut other_version = quote.clone();
        other_version[0] ^= 0x20;
        cases.push(row(
            "another version quoted",
            error(&other_version),
            Err(Reason::Malformed),
        ));
        cases.push(row(
            "from the virtual address itself",
            errors.error(ends.virtual_server, ends.virtual_server, &quote),
            Err(Reason::Martian),
        ));
        let nobody = if errors.header == 20 {
            "127.0.0.1:0"
        } else {
            "[ff02::1]:0"
        };
        cases.push(row(
            "from nobody",
            errors.error(nobody, ends.virtual_server, &quote),
            Err(Reason::Martian),
        ));
        cases.push(Case {
            answered: Some(Reason::HopLimit),
            ..row(
                "on its last hop",
                error(&quote).hops(1),
                Err(Reason::Unanswered),
            )
        });
        let mut broken = row("a broken checksum", error(&quote), Err(Reason::BadChecksum));
        broken.input[icmp_at + 2] ^= 1;
        cases.push(broken);
        let mut short = row("no header", error(&quote), Err(Reason::Malformed));
        short.input.truncate(icmp_at + 7);
        short.output = short.input.clone();
        cases.push(short);
    }
    // The second part of a datagram is quoted.
    let mut later = any(TCP, V4.virtual_server, V4.client).build()[14..].to_vec();
    later[7] = 9;
    cases.push(unchanged(
        "ICMP that is not steered, IPv4: a fragment is quoted",
        site(TCP, &V4, MethodKind::NAT),
        ERRORS[0]
            .error(ERRORS[0].outside, V4.virtual_server, &later)
            .build(),
        Err(Reason::UnknownError),
    ));
    cases
}
