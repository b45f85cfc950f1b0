//! Checksums computed the long way, independently of what the data plane does.

use std::net::IpAddr;

/// The port of GUE (RFC 6335 registry), by which its packets are known here.
pub const GUE_PORT: u16 = 6080;

/// The internet checksum of `bytes`, byte by byte as RFC 1071 §4.1 has it.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut total: u32 = 0;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The CRC32c of `bytes`, bit by bit as RFC 9260 appendix A has it.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        remainder ^= u32::from(*byte);
        for _ in 0..8 {
            let carried = remainder & 1 == 1;
            remainder >>= 1;
            if carried {
                remainder ^= 0x82f6_3b78;
            }
        }
    }
    !remainder
}

/// What TCP and UDP checksums cover besides their own bytes.
pub(super) fn pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    length: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend([0, protocol]);
            bytes.extend((length as u16).to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend((length as u32).to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
        }
        _ => panic!("source and destination are of different families"),
    }
    bytes
}

/// Checks every checksum in a frame, tunnelled headers included.
///
/// # Errors
/// Which one is wrong.
///
/// # Panics
/// If the frame is shorter than its headers say.
pub fn checksums(frame: &[u8]) -> Result<(), String> {
    let (ethertype, at) = match &frame[12..14] {
        [0x81, 0x00] => (&frame[16..18], 18),
        other => (other, 14),
    };
    match ethertype {
        [0x08, 0x00] => ipv4(&frame[at..]),
        [0x86, 0xdd] => ipv6(&frame[at..]),
        _ => Ok(()),
    }
}

fn ipv4(bytes: &[u8]) -> Result<(), String> {
    let header = usize::from(bytes[0] & 0x0f) * 4;
    let end = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    if sum(&bytes[..header]) != 0 {
        return Err("IPv4 header checksum".to_owned());
    }
    if u16::from_be_bytes([bytes[6], bytes[7]]) & 0x3fff != 0 {
        // What a fragment's transport checksum covers is elsewhere.
        return Ok(());
    }
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap());
    transport(address(12), address(16), bytes[9], &bytes[header..end])
}

fn ipv6(bytes: &[u8]) -> Result<(), String> {
    let end = 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap());
    let (mut next, mut at) = (bytes[6], 40);
    while matches!(next, 0 | 43 | 60) {
        next = bytes[at];
        at += 8 + usize::from(bytes[at + 1]) * 8;
    }
    transport(address(8), address(24), next, &bytes[at..end])
}

fn transport(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    bytes: &[u8],
) -> Result<(), String> {
    match protocol {
        4 | 41 => return inner(protocol, bytes),
        1 | 6 | 58 => {}
        17 if bytes[2..4] == GUE_PORT.to_be_bytes() => inner(bytes[9], &bytes[12..])?,
        17 => {}
        47 => return gre(bytes),
        132 => return sctp(bytes),
        _ => return Ok(()),
    }
    if protocol == 17 && bytes[6..8] == [0, 0] {
        return Ok(());
    }
    let mut covered = if protocol == 1 {
        Vec::new()
    } else {
        pseudo_header(source, destination, protocol, bytes.len())
    };
    covered.extend(bytes);
    if sum(&covered) == 0 {
        Ok(())
    } else {
        Err(format!("checksum of protocol {protocol}"))
    }
}

fn gre(bytes: &[u8]) -> Result<(), String> {
    let has_checksum = bytes[0] & 0x80 != 0;
    if has_checksum && sum(bytes) != 0 {
        return Err("checksum of GRE".to_owned());
    }
    let packet = &bytes[if has_checksum { 8 } else { 4 }..];
    match bytes[2..4] {
        [0x08, 0x00] => inner(4, packet),
        [0x86, 0xdd] => inner(41, packet),
        _ => Err("what is in GRE".to_owned()),
    }
}

/// The packet in a tunnel.
fn inner(protocol: u8, bytes: &[u8]) -> Result<(), String> {
    match protocol {
        4 => ipv4(bytes),
        41 => ipv6(bytes),
        _ => Err(format!("protocol {protocol} in a tunnel")),
    }
}

fn sctp(bytes: &[u8]) -> Result<(), String> {
    let mut covered = bytes.to_vec();
    let found: Vec<u8> = covered.splice(8..12, [0; 4]).collect();
    if found == crc32c(&covered).to_le_bytes() {
        Ok(())
    } else {
        Err("checksum of SCTP".to_owned())
    }
}
