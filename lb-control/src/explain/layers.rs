//! A frame layer by layer, for people to read and to compare.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_common::wire::{ipv6::extension, protocol};

use super::tuple::flag_letters;

/// A frame, layer by layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    /// The link header's fields.
    pub link: Vec<Field>,
    /// What the frame holds, the innermost packet last; empty if it is none of IP.
    pub packets: Vec<Layer>,
    /// What it holds if it is none of IP, or where it could be read no further.
    pub rest: Option<String>,
}

/// A packet of IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What it is, in a few words: `tcp 198.51.100.7:4321 > 192.0.2.10:80`.
    pub summary: String,
    /// The protocol that it carries.
    pub protocol: u8,
    /// Whether it is a fragment other than the first.
    pub is_later_fragment: bool,
    /// Its fields.
    pub fields: Vec<Field>,
    /// Its length in bytes.
    pub length: usize,
}

/// A field, by the name that people give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

impl Layers {
    /// Reads a frame. UDP to the port `gue` is a tunnel of GUE.
    #[must_use]
    pub fn of(frame: &[u8], gue: Option<u16>) -> Self {
        let mut layers = Self {
            link: Vec::new(),
            packets: Vec::new(),
            rest: None,
        };
        if layers.read(frame, gue).is_none() && layers.rest.is_none() {
            layers.rest = Some("headers that end early".to_owned());
        }
        layers
    }

    /// The innermost packet.
    #[must_use]
    pub fn inner(&self) -> Option<&Layer> {
        self.packets.last()
    }

    /// The packets round it.
    #[must_use]
    pub fn outer(&self) -> &[Layer] {
        self.packets.split_last().map_or(&[], |(_, outer)| outer)
    }

    fn read(&mut self, frame: &[u8], gue: Option<u16>) -> Option<()> {
        let mut ethertype = half(frame, 12)?;
        self.link
            .push(field("destination MAC", mac(frame.get(..6)?)));
        self.link.push(field("source MAC", mac(frame.get(6..12)?)));
        let mut at = 14;
        if ethertype == 0x8100 {
            let tag = half(frame, 14)? & 0xfff;
            self.link.push(field("VLAN", tag));
            ethertype = half(frame, 16)?;
            at = 18;
        }
        let mut version = match ethertype {
            0x0800 => 4,
            0x86dd => 6,
            0x0806 => {
                self.rest = Some("ARP".to_owned());
                return None;
            }
            _ => {
                self.rest = Some(format!("EtherType 0x{ethertype:04x}"));
                return None;
            }
        };
        // No more headers are round each other than this.
        for _ in 0..4 {
            let bytes = frame.get(at..)?;
            let (layer, behind) = match version {
                4 => ipv4(bytes)?,
                _ => ipv6(bytes)?,
            };
            let carried = bytes.get(behind..).unwrap_or_default();
            let inside = match layer.protocol {
                _ if layer.is_later_fragment => None,
                protocol::IPIP => Some((4, 0)),
                protocol::IPV6 => Some((6, 0)),
                protocol::GRE => gre(carried),
                protocol::UDP if gue.is_some() && gue == half(carried, 2) => Some((
                    if carried.get(9) == Some(&protocol::IPV6) {
                        6
                    } else {
                        4
                    },
                    12 + usize::from(carried.get(8)? & 0x1f) * 4,
                )),
                _ => None,
            };
            self.packets.push(layer);
            let Some((next, length)) = inside else {
                return Some(());
            };
            version = next;
            at += behind + length;
        }
        Some(())
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for vlan in self.link.iter().filter(|field| field.name == "VLAN") {
            write!(f, "VLAN {}, ", vlan.value)?;
        }
        for outer in self.outer() {
            write!(f, "{}, round ", outer.summary)?;
        }
        match (self.inner(), &self.rest) {
            (Some(inner), _) => {
                f.write_str(&inner.summary)?;
                for name in ["flags", "TTL", "hop limit"] {
                    for field in inner.fields.iter().filter(|field| field.name == name) {
                        write!(f, ", {name} {}", field.value)?;
                    }
                }
                write!(f, ", {} bytes", inner.length)
            }
            (None, Some(rest)) => f.write_str(rest),
            (None, None) => f.write_str("nothing"),
        }
    }
}

fn ipv4(bytes: &[u8]) -> Option<(Layer, usize)> {
    let header = bytes.get(..20)?;
    let source: [u8; 4] = header.get(12..16)?.try_into().ok()?;
    let destination: [u8; 4] = header.get(16..20)?.try_into().ok()?;
    let fragment = half(header, 6)?;
    let behind = usize::from(header[0] & 0x0f) * 4;
    let layer = layer(
        Ipv4Addr::from(source).into(),
        Ipv4Addr::from(destination).into(),
        header[9],
        fragment & 0x1fff,
        vec![
            field("TTL", header[8]),
            field("DSCP and ECN", format!("0x{:02x}", header[1])),
        ],
        bytes.get(behind..).unwrap_or_default(),
        usize::from(half(header, 2)?),
    );
    Some((layer, behind))
}

fn ipv6(bytes: &[u8]) -> Option<(Layer, usize)> {
    let header = bytes.get(..40)?;
    let source: [u8; 16] = header.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = header.get(24..40)?.try_into().ok()?;
    let (mut protocol, mut behind, mut fragment) = (header[6], 40, 0);
    while extension::is_walked(protocol) && fragment == 0 {
        let Some([next, length]) = bytes.get(behind..behind + 2) else {
            break;
        };
        if protocol == extension::FRAGMENT {
            fragment = half(bytes, behind + 2)? >> 3;
            behind += 8;
        } else {
            behind += 8 + usize::from(*length) * 8;
        }
        protocol = *next;
    }
    let layer = layer(
        Ipv6Addr::from(source).into(),
        Ipv6Addr::from(destination).into(),
        protocol,
        fragment,
        vec![
            field("hop limit", header[7]),
            field(
                "DSCP and ECN",
                format!("0x{:02x}", header[0] << 4 | header[1] >> 4),
            ),
        ],
        bytes.get(behind..).unwrap_or_default(),
        40 + usize::from(half(header, 4)?),
    );
    Some((layer, behind))
}

fn layer(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    fragment: u16,
    mut fields: Vec<Field>,
    carried: &[u8],
    length: usize,
) -> Layer {
    fields.insert(0, field("source", source));
    fields.insert(1, field("destination", destination));
    let ports = (half(carried, 0), half(carried, 2));
    let name = protocol_name(protocol);
    let summary = match ports {
        _ if fragment != 0 => {
            format!(
                "{name} {source} > {destination}, fragment from byte {}",
                u32::from(fragment) * 8
            )
        }
        (Some(from), Some(to)) if protocol::has_ports(protocol) => {
            fields.insert(1, field("source port", from));
            fields.insert(3, field("destination port", to));
            let socket = |address, port| std::net::SocketAddr::new(address, port);
            format!(
                "{name} {} > {}",
                socket(source, from),
                socket(destination, to)
            )
        }
        (Some(kind), _) if matches!(protocol, protocol::ICMP | protocol::ICMPV6) => {
            format!(
                "{name} {source} > {destination}, type {} code {}",
                kind >> 8,
                kind & 0xff
            )
        }
        _ => format!("{name} {source} > {destination}"),
    };
    if protocol == protocol::TCP
        && fragment == 0
        && let Some(flags) = carried.get(13)
    {
        fields.push(field("flags", flag_letters(*flags)));
    }
    Layer {
        summary,
        protocol,
        is_later_fragment: fragment != 0,
        fields,
        length,
    }
}

/// The version of IP inside a GRE header and that header's length.
fn gre(bytes: &[u8]) -> Option<(u8, usize)> {
    let checksum = if bytes.first()? & 0x80 != 0 { 4 } else { 0 };
    match half(bytes, 2)? {
        0x0800 => Some((4, 4 + checksum)),
        0x86dd => Some((6, 4 + checksum)),
        _ => None,
    }
}

/// What people call a protocol.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::IPIP => "ipv4 in ip".to_owned(),
        protocol::IPV6 => "ipv6 in ip".to_owned(),
        protocol::GRE => "gre".to_owned(),
        protocol::AH => "ah".to_owned(),
        protocol::ESP => "esp".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// A MAC address as people write it.
pub(super) fn mac(bytes: &[u8]) -> String {
    let octets: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    octets.join(":")
}

fn field(name: &'static str, value: impl ToString) -> Field {
    Field {
        name,
        value: value.to_string(),
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let [high, low] = bytes.get(at..at + 2)? else {
        return None;
    };
    Some(u16::from_be_bytes([*high, *low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::tuple::Tuple;

    /// A frame round this one.
    fn wrapped(frame: &[u8], protocol: u8, shim: &[u8]) -> Vec<u8> {
        let inner = &frame[14..];
        let length = (20 + shim.len() + inner.len()) as u16;
        let mut outer = frame[..14].to_vec();
        outer.extend([0x45, 0]);
        outer.extend(length.to_be_bytes());
        outer.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 11]);
        outer.extend(shim);
        outer.extend(inner);
        outer
    }

    #[test]
    fn tunnels_are_looked_into() {
        let frame = Tuple::parse("tcp 198.51.100.7:4321 192.0.2.10:80")
            .unwrap()
            .frame([2, 0, 0, 0, 0, 1]);
        let inner = "tcp 198.51.100.7:4321 > 192.0.2.10:80, flags S, TTL 64, 40 bytes";
        let gue_header = [0, 99, 0x17, 0xc0, 0, 0, 0, 0, 0, 4, 0, 0];
        let table: [(u8, &[u8], &str); 3] = [
            (4, &[], "ipv4 in ip 10.0.0.1 > 10.0.0.11"),
            (47, &[0, 0, 8, 0], "gre 10.0.0.1 > 10.0.0.11"),
            (17, &gue_header, "udp 10.0.0.1:99 > 10.0.0.11:6080"),
        ];
        for (protocol, shim, outer) in table {
            let layers = Layers::of(&wrapped(&frame, protocol, shim), Some(6080));
            assert_eq!(layers.to_string(), format!("{outer}, round {inner}"));
        }
    }

    #[test]
    fn any_bytes_can_be_read() {
        let frame = Tuple::parse("tcp [2001:db8::7]:1 [2001:db8::10]:80")
            .unwrap()
            .frame([2, 0, 0, 0, 0, 1]);
        for length in 0..frame.len() {
            assert!(!Layers::of(&frame[..length], None).to_string().is_empty());
        }
        assert_eq!(
            Layers::of(&frame[..20], None).to_string(),
            "headers that end early"
        );
        let mut arp = frame;
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(Layers::of(&arp, None).to_string(), "ARP");
    }
}
