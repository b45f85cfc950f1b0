//! What stands between the IP headers of a tunnel: nothing, GRE, or UDP and GUE.

use std::net::IpAddr;

pub(super) const IPIP: i32 = 4;
pub(super) const UDP: i32 = 17;
pub(super) const IPV6: i32 = 41;
pub(super) const GRE: i32 = 47;
/// The UDP port of GUE.
pub const GUE_PORT: u16 = 6080;

/// What was in a tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unwrapped<'a> {
    /// The inner packet.
    pub(super) packet: &'a [u8],
    /// Whether there was a checksum in front of it, which was right.
    pub(super) is_checked: bool,
}

/// The packet in what stands behind an outer IP header that says `protocol`. Nothing if it is none of
/// a tunnel, or its checksum is wrong.
pub(super) fn unwrap(
    protocol: i32,
    (source, destination): (IpAddr, IpAddr),
    payload: &[u8],
) -> Option<Unwrapped<'_>> {
    match protocol {
        GRE => gre(payload),
        UDP => gue(payload, &octets(source), &octets(destination)),
        IPIP => bare(4, payload),
        IPV6 => bare(6, payload),
        _ => None,
    }
}

/// A packet of the IP version that the outer header says.
fn bare(version: u8, packet: &[u8]) -> Option<Unwrapped<'_>> {
    (packet.first()? >> 4 == version).then_some(Unwrapped {
        packet,
        is_checked: false,
    })
}

/// RFC 2784: without keys and sequence numbers.
fn gre(payload: &[u8]) -> Option<Unwrapped<'_>> {
    let [flags, version, kind @ ..] = *payload.first_chunk::<4>()?;
    let is_checked = flags & 0x80 != 0;
    let packet = payload.get(if is_checked { 8 } else { 4 }..)?;
    let is_known = flags & 0x7f == 0 && version == 0 && fits(u16::from_be_bytes(kind), packet);
    let is_right = !is_checked || sum(&[payload]) == 0xffff;
    (is_known && is_right).then_some(Unwrapped { packet, is_checked })
}

/// Whether the packet is of the family that this EtherType says.
fn fits(ethertype: u16, packet: &[u8]) -> bool {
    let version = packet.first().map(|byte| byte >> 4);
    match ethertype {
        0x0800 => version == Some(4),
        0x86dd => version == Some(6),
        _ => false,
    }
}

/// Variant 0 without optional fields. A UDP checksum of zero is none.
fn gue<'a>(payload: &'a [u8], source: &[u8], destination: &[u8]) -> Option<Unwrapped<'a>> {
    let [_, _, port @ .., l0, l1, c0, c1] = *payload.first_chunk::<8>()?;
    if port != GUE_PORT.to_be_bytes() || usize::from(u16::from_be_bytes([l0, l1])) != payload.len()
    {
        return None;
    }
    let [control, kind, flags @ ..] = *payload.get(8..)?.first_chunk::<4>()?;
    let packet = payload.get(12..)?;
    let version = packet.first()? >> 4;
    let is_known = matches!((kind, version), (4, 4) | (41, 6)) && control == 0 && flags == [0; 2];
    let is_checked = [c0, c1] != [0; 2];
    let pseudo = [0, 17, l0, l1];
    let is_right = !is_checked || sum(&[source, destination, &pseudo, payload]) == 0xffff;
    (is_known && is_right).then_some(Unwrapped { packet, is_checked })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The sum of RFC 1071 over parts of which all but the last have an even number of bytes: `0xffff` if
/// a checksum among them is right.
fn sum(parts: &[&[u8]]) -> u32 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: (IpAddr, IpAddr) = (
        IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
    );

    #[test]
    fn what_is_in_a_tunnel_comes_out() {
        let gue = [0xc0, 0, 0x17, 0xc0, 0, 14, 0, 0, 0, 4, 0, 0, 0x45, 7];
        type Row<'a> = (&'static str, i32, &'a [u8], Option<(usize, bool)>);
        let table: [Row<'_>; 13] = [
            ("bare", IPIP, &[0x45, 7], Some((0, false))),
            ("bare IPv6", IPV6, &[0x60, 7], Some((0, false))),
            ("IPv6 that is said to be IPv4", IPIP, &[0x60, 7], None),
            ("IPv4 that is said to be IPv6", IPV6, &[0x45, 7], None),
            ("GRE", GRE, &[0, 0, 8, 0, 0x45, 7], Some((4, false))),
            (
                "GRE with a checksum",
                GRE,
                &[0x80, 0, 8, 0, 0x32, 0xf8, 0, 0, 0x45, 7],
                Some((8, true)),
            ),
            (
                "GRE with a wrong one",
                GRE,
                &[0x80, 0, 8, 0, 0x32, 0xf9, 0, 0, 0x45, 7],
                None,
            ),
            ("GRE with a key", GRE, &[0x20, 0, 8, 0, 0x45, 7], None),
            ("GRE of the other family", GRE, &[0, 0, 8, 0, 0x60, 7], None),
            ("GUE", UDP, &gue, Some((12, false))),
            (
                "GUE with a wrong checksum",
                UDP,
                &[&gue[..6], &[0, 1], &gue[8..]].concat(),
                None,
            ),
            (
                "another port",
                UDP,
                &[&gue[..3], &[0xc1], &gue[4..]].concat(),
                None,
            ),
            ("too short", UDP, &gue[..13], None),
        ];
        for (name, protocol, payload, expected) in table {
            let expected = expected.map(|(at, is_checked)| Unwrapped {
                packet: &payload[at..],
                is_checked,
            });
            assert_eq!(unwrap(protocol, ENDS, payload), expected, "{name}");
        }
        // 0a00 + 0001 + 0a00 + 0002 + 0011 + 000e, and the header: c000 + 17c0 + 000e + 0004 + 4507.
        let sum: u32 = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 0x0011 + 0x000e;
        let sum = sum + 0xc000 + 0x17c0 + 0x000e + 0x0004 + 0x4507;
        let [c0, c1] = (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes();
        let payload = [&gue[..6], &[c0, c1], &gue[8..]].concat();
        let is_checked = unwrap(UDP, ENDS, &payload).map(|unwrapped| unwrapped.is_checked);
        assert_eq!(is_checked, Some(true));
    }
}
