//! Rows of the packet table: tunnels with a header of their own between both IP headers.

use super::{
    FRONT, GUE_PORT, PacketBuilder, Site, sctp, server,
    table::{
        Case, Ends, FAMILIES, TO_CLIENT, TO_SERVER, TUNNEL4, TUNNEL6, Told, V4, V6, error,
        forwarded, packet, unchanged,
    },
};
use crate::{
    maps::{MethodKind, SchedulerKind, Server, Settings},
    verdict::Reason,
    wire::{
        Be16,
        protocol::{SCTP, TCP, UDP},
        tcp::flags::ACK,
    },
};

/// A kind of tunnel.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    method: MethodKind,
    has_checksum: bool,
    /// Length of what stands between the IP headers.
    shim: u16,
}

const KINDS: [Kind; 5] = [
    kind("IPIP", MethodKind::TUNNEL, false, 0),
    kind("GRE", MethodKind::GRE, false, 4),
    kind("GRE with checksums", MethodKind::GRE, true, 8),
    kind("GUE", MethodKind::GUE, false, 12),
    kind("GUE with checksums", MethodKind::GUE, true, 12),
];

const fn kind(name: &'static str, method: MethodKind, has_checksum: bool, shim: u16) -> Kind {
    Kind {
        name,
        method,
        has_checksum,
        shim,
    }
}

/// The family outside.
#[derive(Debug, Clone, Copy)]
struct Outer {
    family: &'static str,
    ends: (&'static str, &'static str),
    server: &'static str,
    header: u16,
}

const OUTERS: [Outer; 2] = [
    Outer {
        family: "IPv4",
        ends: TUNNEL4,
        server: V4.twin,
        header: 20,
    },
    Outer {
        family: "IPv6",
        ends: TUNNEL6,
        server: V6.twin,
        header: 40,
    },
];

pub(super) fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for outer in OUTERS {
            for ends in FAMILIES {
                let tunnel = Tunnel { kind, outer, ends };
                cases.extend(tunnel.payloads());
                cases.extend(tunnel.dresses());
                cases.extend(tunnel.vlans());
                cases.extend(tunnel.sizes());
            }
        }
    }
    cases
}

/// One family in another by one kind of tunnel.
struct Tunnel {
    kind: Kind,
    outer: Outer,
    ends: Ends,
}

impl Tunnel {
    fn name(&self, what: &str) -> String {
        let (kind, inner, outer) = (self.kind.name, self.ends.family, self.outer.family);
        format!("{kind}, {inner} in {outer}: {what}")
    }

    fn server(&self) -> Server {
        let flags = if self.kind.has_checksum {
            Server::TUNNEL_CHECKSUM
        } else {
            0
        };
        Server {
            tunnel_port: Be16::new(GUE_PORT),
            ..server(self.kind.method, self.outer.server, 0x51).with(flags)
        }
    }

    fn site(&self, protocol: u8) -> Site {
        Site::default().service(
            protocol,
            self.ends.virtual_server,
            SchedulerKind::TURNS,
            &[self.server()],
        )
    }

    fn packet(&self, protocol: u8) -> PacketBuilder {
        let (client, service) = (self.ends.client, self.ends.virtual_server);
        match protocol {
            SCTP => sctp(client, service),
            _ => packet(protocol, client, service),
        }
    }

    /// What comes out when this goes in.
    fn output(&self, input: &PacketBuilder) -> PacketBuilder {
        let output = input
            .clone()
            .macs(TO_SERVER)
            .hops(63)
            .tunnel(self.outer.ends);
        let output = match self.kind.method {
            MethodKind::GRE => output.gre(()),
            MethodKind::GUE => {
                let words = [self.ends.client, self.ends.virtual_server].map(split);
                output.gue((port(&words), GUE_PORT))
            }
            _ => output,
        };
        if self.kind.has_checksum {
            output.tunnel_checksum(())
        } else {
            output
        }
    }

    fn row(&self, what: &str, protocol: u8, input: &PacketBuilder) -> Case {
        forwarded(
            self.name(what),
            self.site(protocol),
            input,
            &self.output(input),
        )
    }

    /// Packets with checksums of their own and without.
    fn payloads(&self) -> Vec<Case> {
        let [tcp, udp, sctp] = [TCP, UDP, SCTP].map(|protocol| self.packet(protocol));
        let data = tcp.clone().flags(ACK).payload(b"an odd number of bytes.");
        let long = |packet: &PacketBuilder, length| packet.clone().payload(&vec![0xa5; length]);
        vec![
            self.row("the first segment of TCP", TCP, &tcp),
            self.row("data of TCP", TCP, &data).after(&[(FRONT, &tcp)]),
            self.row("a datagram", UDP, &udp),
            self.row("an empty datagram", UDP, &udp.clone().payload(b"")),
            self.row(
                "a datagram without a checksum",
                UDP,
                &udp.clone().unchecked(()),
            ),
            // 1,280 bytes are summed up at once.
            self.row(
                "a long datagram without a checksum",
                UDP,
                &long(&udp, 1395).unchecked(()),
            ),
            self.row("SCTP", SCTP, &sctp),
            self.row("a long packet of SCTP", SCTP, &long(&sctp, 1280)),
        ]
    }

    /// Headers that are not the usual ones.
    fn dresses(&self) -> Vec<Case> {
        let udp = self.packet(UDP);
        let mut cases = vec![self.row(
            "the type of service is the inner one's",
            UDP,
            &udp.clone().service(0xb9),
        )];
        let cut = self.row("may be cut if the director says so", UDP, &udp);
        cases.push(Case {
            site: cut
                .site
                .settings(|settings| settings.flags |= Settings::CUT_TUNNELS),
            output: self.output(&udp).cut_tunnel(()).build(),
            ..cut
        });
        if self.ends.family == "IPv4" {
            cases.push(self.row(
                "may be cut where the inner packet may",
                UDP,
                &udp.clone().may_fragment(()),
            ));
            cases.push(self.row("IPv4 options", UDP, &udp.options(&[1, 1, 1, 0])));
        } else {
            let extension = (60, vec![1, 4, 0, 0, 0, 0]);
            cases.push(self.row("extension headers", UDP, &udp.extensions(&[extension])));
        }
        cases
    }

    fn vlans(&self) -> Vec<Case> {
        let (from, to) = (20, 30);
        let mut cases = Vec::new();
        for (name, came, goes) in [
            ("into a VLAN", None, Some(to)),
            ("out of a VLAN", Some(from), None),
            ("another VLAN", Some(from), Some(to)),
        ] {
            let tagged = |packet: PacketBuilder, tag: Option<u16>| match tag {
                Some(tag) => packet.vlan(tag),
                None => packet,
            };
            let input = tagged(self.packet(UDP), came);
            let mut case = self.row(name, UDP, &input);
            for server in &mut case.site.servers {
                server.hop.vlan = goes.unwrap_or(0);
            }
            let untagged = self.output(&self.packet(UDP));
            case.output = tagged(untagged, goes).build();
            cases.push(case);
        }
        cases
    }

    /// Packets that just fit, and larger ones.
    fn sizes(&self) -> Vec<Case> {
        let added = self.outer.header + self.kind.shim;
        let input = self.packet(UDP).payload(&[b'x'; 1300]);
        let length = input.build().len() as u16 - 14;
        let mtu = |case: Case, mtu| {
            let mut case = case;
            for server in &mut case.site.servers {
                server.hop.mtu = mtu;
            }
            case
        };
        let fits = self.row("as large as the link takes", UDP, &input);
        let told = |input: &PacketBuilder, limit, what: &str| {
            let (client, service) = (self.ends.client, self.ends.virtual_server);
            let frame = input.build();
            let answer = error(client, service, &frame, Told::TooBig(limit));
            unchanged(self.name(what), self.site(UDP), frame, Err(Reason::TooBig))
                .answered(Reason::TooBig, &answer.macs(TO_CLIENT))
        };
        let too_big = told(&input, length - 1, "larger than the link takes");
        let mut cases = vec![mtu(fits, length + added), mtu(too_big, length + added - 1)];
        if self.ends.family == "IPv6" {
            let what = "nobody is told to send less than the least of IPv6";
            cases.push(mtu(told(&input, 1280, what), 1290));
        }
        cases
    }
}

/// The bytes of an address, and a port.
fn split(end: &str) -> (Vec<u8>, u16) {
    let end: std::net::SocketAddr = end.parse().expect("an address with a port");
    let bytes = match end.ip() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    (bytes, end.port())
}

/// The source port of a GUE tunnel: the hash of both addresses, then both ports, by words of four
/// bytes in the order of the machine that has the lowest first.
fn port([(source, from), (destination, to)]: &[(Vec<u8>, u16); 2]) -> u16 {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let bytes = [source.as_slice(), destination, &ports].concat();
    let hash = bytes.chunks(4).fold(0_u32, |hash, word| {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        let product = (hash ^ word).wrapping_mul(0x9e37_79b1);
        product ^ product >> 15
    });
    (49_152 + (hash >> 18)) as u16
}
