//! Packets, built from the outside in, every length and checksum filled in at the end.

use std::net::{IpAddr, SocketAddr};

use super::{mac, verify};
use crate::wire::{protocol, tcp::flags};

/// A TCP or UDP packet to be built.
#[derive(Debug, Clone)]
pub struct PacketBuilder {
    destination_mac: [u8; 6],
    source_mac: [u8; 6],
    vlan: Option<u16>,
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
    flags: u8,
    hops: u8,
    service: u8,
    whole: bool,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
    udp_checksum: bool,
    outer: Option<(IpAddr, IpAddr)>,
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
        hops: 64,
        service: 0,
        whole: true,
        options: Vec::new(),
        extensions: Vec::new(),
        payload: Vec::new(),
        udp_checksum: true,
        outer: None,
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
    /// With IPv4 options, a multiple of four bytes.
    options(options: &[u8]) { options: options.to_vec() }
    /// With IPv6 extension headers: number and body (the two first bytes left out).
    extensions(extensions: &[(u8, Vec<u8>)]) { extensions: extensions.to_vec() }
    /// With this payload.
    payload(payload: &[u8]) { payload: payload.to_vec() }
    /// UDP without a checksum.
    unchecked(_yes: ()) { udp_checksum: false }
    /// Inside another packet from here to there.
    tunnel(ends: (&str, &str)) {
        outer: Some((ends.0.parse().expect("an address"), ends.1.parse().expect("an address")))
    }
}

impl PacketBuilder {
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
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut ip = vec![0x45, self.service];
                ip.extend(((20 + bytes.len()) as u16).to_be_bytes());
                ip.extend([0, 0]);
                ip.extend(if self.whole || inner != 0x0800 {
                    [0x40, 0]
                } else {
                    [0, 0]
                });
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

    fn transport(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.source.port().to_be_bytes());
        bytes.extend(self.destination.port().to_be_bytes());
        let at = if self.protocol == protocol::TCP {
            bytes.extend(0x0102_0304_u32.to_be_bytes());
            bytes.extend(0x0a0b_0c0d_u32.to_be_bytes());
            bytes.extend([0x50, self.flags, 0xfa, 0xf0, 0, 0, 0, 0]);
            16
        } else {
            bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
            bytes.extend([0, 0]);
            6
        };
        bytes.extend(&self.payload);
        if self.protocol == protocol::TCP || self.udp_checksum {
            let mut covered = verify::pseudo_header(
                self.source.ip(),
                self.destination.ip(),
                self.protocol,
                bytes.len(),
            );
            covered.extend(&bytes);
            let mut checksum = verify::sum(&covered);
            if checksum == 0 && self.protocol == protocol::UDP {
                checksum = 0xffff;
            }
            bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes
    }
}
