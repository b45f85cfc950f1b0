//! Packets, built from the outside in, every length and checksum filled in at the end.

use std::net::{IpAddr, SocketAddr};

use super::{mac, verify};
use crate::wire::{
    protocol,
    sctp::{self, chunk},
    tcp::flags,
};

/// A TCP, UDP, SCTP, ICMP or ICMPv6 packet to be built.
#[derive(Debug, Clone)]
pub struct PacketBuilder {
    destination_mac: [u8; 6],
    source_mac: [u8; 6],
    vlan: Option<u16>,
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
    flags: u8,
    chunks: Vec<u8>,
    hops: u8,
    service: u8,
    whole: bool,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
    udp_checksum: bool,
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    tcp_options: Vec<u8>,
    message: (u8, u8),
    message_rest: [u8; 4],
    outer: Option<(IpAddr, IpAddr)>,
    shim: Shim,
    shim_checksum: bool,
    outer_whole: bool,
}

/// What stands between the outer and the inner IP header.
#[derive(Debug, Clone, Copy)]
enum Shim {
    None,
    Gre,
    /// Source and destination port of UDP.
    Gue(u16, u16),
}

/// A TCP segment from the client's gateway to the router.
///
/// # Panics
/// If an address is none.
#[must_use]
pub fn tcp(source: &str, destination: &str) -> PacketBuilder {
    PacketBuilder {
        destination_mac: mac(0x01),
        source_mac: mac(0xc1),
        vlan: None,
        source: source.parse().expect("a source address with a port"),
        destination: destination
            .parse()
            .expect("a destination address with a port"),
        protocol: protocol::TCP,
        flags: flags::ACK,
        chunks: Vec::new(),
        hops: 64,
        service: 0,
        whole: true,
        options: Vec::new(),
        extensions: Vec::new(),
        payload: Vec::new(),
        udp_checksum: true,
        sequence: 0x0102_0304,
        acknowledgement: 0x0a0b_0c0d,
        window: 0xfaf0,
        tcp_options: Vec::new(),
        message: (0, 0),
        message_rest: [0; 4],
        outer: None,
        shim: Shim::None,
        shim_checksum: false,
        outer_whole: true,
    }
}

/// A UDP datagram from the client's gateway to the router.
///
/// # Panics
/// If an address is none.
#[must_use]
pub fn udp(source: &str, destination: &str) -> PacketBuilder {
    PacketBuilder {
        protocol: protocol::UDP,
        flags: 0,
        payload: b"a question".to_vec(),
        ..tcp(source, destination)
    }
}

/// An SCTP packet with an INIT from the client's gateway to the router.
///
/// # Panics
/// If an address is none.
#[must_use]
pub fn sctp(source: &str, destination: &str) -> PacketBuilder {
    PacketBuilder {
        protocol: protocol::SCTP,
        flags: 0,
        chunks: vec![chunk::INIT],
        // Its tag, receive window, numbers of streams and first sequence number.
        payload: vec![
            0x0d, 0x0c, 0x0b, 0x0a, 0, 1, 0, 0, 0, 10, 0, 10, 0x01, 0x02, 0x03, 0x04,
        ],
        ..tcp(source, destination)
    }
}

/// An ICMP or ICMPv6 message of this kind and code, without "don't fragment". The ports mean
/// nothing.
///
/// # Panics
/// If an address is none.
#[must_use]
pub fn icmp(source: &str, destination: &str, kind: u8, code: u8) -> PacketBuilder {
    let base = tcp(source, destination);
    PacketBuilder {
        protocol: if base.source.is_ipv4() {
            protocol::ICMP
        } else {
            protocol::ICMPV6
        },
        flags: 0,
        whole: false,
        message: (kind, code),
        ..base
    }
}

macro_rules! with {
    ($($(#[doc = $doc:literal])+ $name:ident($argument:ident: $type:ty) { $($field:ident: $value:expr),+ })+) => {
        impl PacketBuilder {
            $(
                $(#[doc = $doc])+
                #[must_use]
                pub fn $name(self, $argument: $type) -> Self {
                    Self { $($field: $value,)+ ..self }
                }
            )+
        }
    };
}

with! {
    /// With these TCP flags.
    flags(flags: u8) { flags: flags }
    /// With a chunk of this type (SCTP), whose value is the payload.
    chunk(kind: u8) { chunks: vec![kind] }
    /// With chunks of these types (SCTP). The value of the first one is the payload, the others
    /// have none.
    chunks(kinds: &[u8]) { chunks: kinds.to_vec() }
    /// From this MAC address to that.
    macs(macs: ([u8; 6], [u8; 6])) { source_mac: macs.0, destination_mac: macs.1 }
    /// With a VLAN tag.
    vlan(control: u16) { vlan: Some(control) }
    /// With this TTL or hop limit.
    hops(hops: u8) { hops: hops }
    /// With this type of service or traffic class.
    service(service: u8) { service: service }
    /// Without "don't fragment".
    may_fragment(_yes: ()) { whole: false }
    /// With "don't fragment".
    whole(_yes: ()) { whole: true }
    /// From this address and port.
    from(source: &str) { source: source.parse().expect("a source address with a port") }
    /// To this address and port.
    to(destination: &str) {
        destination: destination.parse().expect("a destination address with a port")
    }
    /// With IPv4 options, a multiple of four bytes.
    options(options: &[u8]) { options: options.to_vec() }
    /// With IPv6 extension headers: number and body (the two first bytes left out).
    extensions(extensions: &[(u8, Vec<u8>)]) { extensions: extensions.to_vec() }
    /// With this payload.
    payload(payload: &[u8]) { payload: payload.to_vec() }
    /// With this sequence number, of TCP.
    sequence(number: u32) { sequence: number }
    /// With this acknowledgement number, of TCP.
    acknowledgement(number: u32) { acknowledgement: number }
    /// With this window, of TCP.
    window(bytes: u16) { window: bytes }
    /// With TCP options, a multiple of four bytes.
    tcp_options(options: &[u8]) { tcp_options: options.to_vec() }
    /// With this behind the checksum of a control message: identifier and sequence number, or MTU.
    message_rest(rest: [u8; 4]) { message_rest: rest }
    /// UDP without a checksum.
    unchecked(_yes: ()) { udp_checksum: false }
    /// Inside another packet from here to there.
    tunnel(ends: (&str, &str)) {
        outer: Some((ends.0.parse().expect("an address"), ends.1.parse().expect("an address")))
    }
    /// In a tunnel with a GRE header.
    gre(_yes: ()) { shim: Shim::Gre }
    /// In a tunnel with UDP and GUE headers, from this port to that.
    gue(ports: (u16, u16)) { shim: Shim::Gue(ports.0, ports.1) }
    /// In a tunnel whose UDP or GRE header has a checksum.
    tunnel_checksum(_yes: ()) { shim_checksum: true }
    /// In a tunnel that may be cut.
    cut_tunnel(_yes: ()) { outer_whole: false }
}

impl PacketBuilder {
    /// To where it came from, from this address and port.
    ///
    /// # Panics
    /// If `source` is no address with a port.
    #[must_use]
    pub fn swapped(self, source: &str) -> Self {
        Self {
            destination: self.source,
            ..self.from(source)
        }
    }

    /// Whether it is a packet of IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// The bytes of the frame.
    ///
    /// # Panics
    /// If source and destination are of different families.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (mut ethertype, mut bytes) = self.network();
        if let Some((source, destination)) = self.outer {
            (ethertype, bytes) = self.wrapped(source, destination, ethertype, &bytes);
        }
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        if let Some(control) = self.vlan {
            frame.extend(0x8100_u16.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(bytes);
        frame
    }

    /// What is in the IP packet, and where in the frame its header starts.
    #[must_use]
    pub fn transport_at(&self) -> (u8, usize) {
        let link = if self.vlan.is_some() { 18 } else { 14 };
        let network = if self.source.is_ipv4() {
            20 + self.options.len()
        } else {
            let behind = self.extensions.iter().map(|(_, body)| body.len() + 2);
            40 + behind.sum::<usize>()
        };
        (self.protocol, link + network)
    }

    fn network(&self) -> (u16, Vec<u8>) {
        let transport = self.transport();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + self.options.len();
                let mut ip = vec![0x40 | (header / 4) as u8, self.service];
                ip.extend(((header + transport.len()) as u16).to_be_bytes());
                ip.extend([0, 0]);
                ip.extend(if self.whole { [0x40, 0] } else { [0, 0] });
                ip.extend([self.hops, self.protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&self.options);
                let checksum = verify::sum(&ip).to_be_bytes();
                ip[10..12].copy_from_slice(&checksum);
                ip.extend(transport);
                (0x0800, ip)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut behind = Vec::new();
                let mut next: Vec<u8> = self
                    .extensions
                    .iter()
                    .skip(1)
                    .map(|(number, _)| *number)
                    .collect();
                next.push(self.protocol);
                for ((_, body), next) in self.extensions.iter().zip(&next) {
                    behind.extend([*next, ((body.len() + 2) / 8 - 1) as u8]);
                    behind.extend(body);
                }
                behind.extend(transport);
                let first = self
                    .extensions
                    .first()
                    .map_or(self.protocol, |(number, _)| *number);
                let mut ip = vec![0x60 | self.service >> 4, self.service << 4, 0, 0];
                ip.extend((behind.len() as u16).to_be_bytes());
                ip.extend([first, self.hops]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(behind);
                (0x86dd, ip)
            }
            _ => panic!("source and destination are of different families"),
        }
    }

    fn wrapped(
        &self,
        source: IpAddr,
        destination: IpAddr,
        inner: u16,
        bytes: &[u8],
    ) -> (u16, Vec<u8>) {
        let protocol = if inner == 0x0800 {
            protocol::IPIP
        } else {
            protocol::IPV6
        };
        let (protocol, bytes) = match self.shim {
            Shim::None => (protocol, bytes.to_vec()),
            Shim::Gre => (protocol::GRE, self.in_gre(inner, bytes)),
            Shim::Gue(from, to) => {
                let headers = self.in_gue((source, from), (destination, to), protocol, bytes);
                (protocol::UDP, headers)
            }
        };
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut ip = vec![0x45, self.service];
                ip.extend(((20 + bytes.len()) as u16).to_be_bytes());
                ip.extend([0, 0]);
                let whole = self.outer_whole && (self.whole || inner != 0x0800);
                ip.extend(if whole { [0x40, 0] } else { [0, 0] });
                ip.extend([self.hops, protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                let checksum = verify::sum(&ip).to_be_bytes();
                ip[10..12].copy_from_slice(&checksum);
                ip.extend(bytes);
                (0x0800, ip)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut ip = vec![0x60 | self.service >> 4, self.service << 4, 0, 0];
                ip.extend((bytes.len() as u16).to_be_bytes());
                ip.extend([protocol, self.hops]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(bytes);
                (0x86dd, ip)
            }
            _ => panic!("source and destination are of different families"),
        }
    }

    fn in_gre(&self, inner: u16, bytes: &[u8]) -> Vec<u8> {
        let mut gre = vec![if self.shim_checksum { 0x80 } else { 0 }, 0];
        gre.extend(inner.to_be_bytes());
        if self.shim_checksum {
            gre.extend([0; 4]);
        }
        gre.extend(bytes);
        if self.shim_checksum {
            let checksum = verify::sum(&gre).to_be_bytes();
            gre[4..6].copy_from_slice(&checksum);
        }
        gre
    }

    fn in_gue(
        &self,
        (source, from): (IpAddr, u16),
        (destination, to): (IpAddr, u16),
        protocol: u8,
        bytes: &[u8],
    ) -> Vec<u8> {
        let mut udp: Vec<u8> = [from, to].iter().flat_map(|p| p.to_be_bytes()).collect();
        let length = 8 + 4 + bytes.len();
        udp.extend((length as u16).to_be_bytes());
        udp.extend([0, 0, 0, protocol, 0, 0]);
        udp.extend(bytes);
        if self.shim_checksum {
            let mut covered = verify::pseudo_header(source, destination, 17, length);
            covered.extend(&udp);
            let checksum = verify::sum(&covered).to_be_bytes();
            udp[6..8].copy_from_slice(&checksum);
        }
        udp
    }

    fn transport(&self) -> Vec<u8> {
        let (mut bytes, at) = match self.protocol {
            protocol::SCTP => return self.sctp(),
            protocol::TCP => (self.tcp_header(), Some(16)),
            protocol::UDP => (self.udp_header(), self.udp_checksum.then_some(6)),
            _ => (self.message_header(), Some(2)),
        };
        bytes.extend(&self.payload);
        if let Some(at) = at {
            // Only the checksum of ICMP for IPv4 is without a pseudo header.
            let mut covered = if self.protocol == protocol::ICMP {
                Vec::new()
            } else {
                verify::pseudo_header(
                    self.source.ip(),
                    self.destination.ip(),
                    self.protocol,
                    bytes.len(),
                )
            };
            covered.extend(&bytes);
            let mut checksum = verify::sum(&covered);
            if checksum == 0 && self.protocol == protocol::UDP {
                checksum = 0xffff;
            }
            bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes
    }

    /// All of an SCTP packet.
    fn sctp(&self) -> Vec<u8> {
        let mut bytes = self.ports();
        // An INIT does not know the other end's tag yet.
        let is_opening = self.chunks.first() == Some(&chunk::INIT);
        let tag: u32 = if is_opening { 0 } else { 0x0a0b_0c0d };
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0; 4]);
        let mut value = self.payload.as_slice();
        for kind in &self.chunks {
            bytes.extend([*kind, 0]);
            bytes.extend(((size_of::<sctp::Chunk>() + value.len()) as u16).to_be_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            value = &[];
        }
        let checksum = verify::crc32c(&bytes).to_le_bytes();
        bytes[8..12].copy_from_slice(&checksum);
        bytes
    }

    fn tcp_header(&self) -> Vec<u8> {
        let words = (20 + self.tcp_options.len()) / 4;
        let mut bytes = self.ports();
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend([(words << 4) as u8, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(&self.tcp_options);
        bytes
    }

    fn udp_header(&self) -> Vec<u8> {
        let mut bytes = self.ports();
        bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn ports(&self) -> Vec<u8> {
        [self.source, self.destination]
            .iter()
            .flat_map(|end| end.port().to_be_bytes())
            .collect()
    }

    fn message_header(&self) -> Vec<u8> {
        let mut bytes = vec![self.message.0, self.message.1, 0, 0];
        bytes.extend(self.message_rest);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "198.51.100.7:4321";
    const VIRTUAL: &str = "192.0.2.10:80";

    #[test]
    fn an_init_is_what_rfc_9260_says() {
        let frame = sctp(CLIENT, VIRTUAL).build();
        assert_eq!(frame[23], 132, "protocol");
        let expected = [
            0x10, 0xe1, 0, 80, // ports
            0, 0, 0, 0, // no tag
            0x61, 0x8c, 0xab, 0x76, // checksum
            1, 0, 0, 20, // INIT
            0x0d, 0x0c, 0x0b, 0x0a, 0, 1, 0, 0, 0, 10, 0, 10, 1, 2, 3, 4,
        ];
        assert_eq!(frame[34..], expected);
    }

    #[test]
    fn chunks_are_padded_and_follow_each_other() {
        let packet = sctp(CLIENT, VIRTUAL)
            .chunks(&[chunk::COOKIE_ECHO, chunk::ABORT])
            .payload(b"baker");
        let expected = [
            10, 0, 0, 9, b'b', b'a', b'k', b'e', b'r', 0, 0, 0, // COOKIE ECHO
            6, 0, 0, 4, // ABORT
        ];
        let frame = packet.build();
        assert_eq!(frame[38..42], [0x0a, 0x0b, 0x0c, 0x0d], "tag");
        assert_eq!(frame[46..], expected);
        assert_eq!(verify::checksums(&frame), Ok(()));
        assert_eq!(packet.chunk(chunk::DATA).build()[46], chunk::DATA);
    }

    #[test]
    fn every_bit_of_a_packet_is_under_its_checksum() {
        let packets = [
            tcp(CLIENT, VIRTUAL).payload(b"odd"),
            udp(CLIENT, VIRTUAL),
            sctp(CLIENT, VIRTUAL),
            sctp("[2001:db8::7]:4321", "[2001:db8::10]:80").chunk(chunk::DATA),
        ];
        for packet in packets {
            let frame = packet.build();
            assert_eq!(verify::checksums(&frame), Ok(()), "{packet:?}");
            let ip = if frame[12] == 8 { 20 } else { 40 };
            for bit in (14 + ip) * 8..frame.len() * 8 {
                let mut wrong = frame.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    verify::checksums(&wrong).is_err(),
                    "bit {bit} of {packet:?}"
                );
            }
        }
    }
}
