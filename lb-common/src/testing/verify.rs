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

/// Checks every checksum in a frame, tunnelled headers included. Of fragments only those of IPv4
/// headers.
///
/// # Errors
/// Which one is wrong, or that the frame is shorter than its headers say.
pub fn checksums(frame: &[u8]) -> Result<(), String> {
    let at = match slice(frame, 12..14)? {
        [0x81, 0x00] => 18,
        _ => 14,
    };
    match slice(frame, at - 2..at)? {
        [0x08, 0x00] => ipv4(slice(frame, at..frame.len())?),
        [0x86, 0xdd] => ipv6(slice(frame, at..frame.len())?),
        _ => Ok(()),
    }
}

fn slice(bytes: &[u8], range: std::ops::Range<usize>) -> Result<&[u8], String> {
    bytes
        .get(range.clone())
        .ok_or_else(|| format!("it ends before {range:?}"))
}

fn number(bytes: &[u8], at: usize) -> Result<usize, String> {
    let pair = slice(bytes, at..at + 2)?;
    Ok(usize::from(pair[0]) << 8 | usize::from(pair[1]))
}

fn address<const LENGTH: usize>(bytes: &[u8], at: usize) -> Result<IpAddr, String>
where
    IpAddr: From<[u8; LENGTH]>,
{
    let address = slice(bytes, at..at + LENGTH)?;
    Ok(<[u8; LENGTH]>::try_from(address).unwrap().into())
}

fn ipv4(bytes: &[u8]) -> Result<(), String> {
    let header = usize::from(slice(bytes, 0..20)?[0] & 0x0f) * 4;
    let end = number(bytes, 2)?;
    if sum(slice(bytes, 0..header)?) != 0 {
        return Err("IPv4 header checksum".to_owned());
    }
    if number(bytes, 6)? & 0x3fff != 0 {
        // What a fragment's transport checksum covers is elsewhere.
        return Ok(());
    }
    let ends = [address::<4>(bytes, 12)?, address::<4>(bytes, 16)?];
    transport(ends, bytes[9], slice(bytes, header..end)?)
}

fn ipv6(bytes: &[u8]) -> Result<(), String> {
    let end = 40 + number(bytes, 4)?;
    let ends = [address::<16>(bytes, 8)?, address::<16>(bytes, 24)?];
    let (mut next, mut at) = (bytes[6], 40);
    while matches!(next, 0 | 43 | 60) {
        let header = slice(bytes, at..at + 2)?;
        next = header[0];
        at += 8 + usize::from(header[1]) * 8;
    }
    if next == 44 {
        return Ok(());
    }
    transport(ends, next, slice(bytes, at..end)?)
}

fn transport(ends: [IpAddr; 2], protocol: u8, bytes: &[u8]) -> Result<(), String> {
    match protocol {
        4 | 41 => return inner(protocol, bytes),
        1 | 6 | 58 => {}
        17 if number(bytes, 2)? == usize::from(GUE_PORT) => {
            inner(slice(bytes, 9..10)?[0], slice(bytes, 12..bytes.len())?)?;
        }
        17 => {}
        47 => return gre(bytes),
        132 => return sctp(bytes),
        _ => return Ok(()),
    }
    if protocol == 17 && number(bytes, 6)? == 0 {
        return Ok(());
    }
    let mut covered = if protocol == 1 {
        Vec::new()
    } else {
        pseudo_header(ends[0], ends[1], protocol, bytes.len())
    };
    covered.extend(bytes);
    if sum(&covered) == 0 {
        Ok(())
    } else {
        Err(format!("checksum of protocol {protocol}"))
    }
}

fn gre(bytes: &[u8]) -> Result<(), String> {
    let has_checksum = slice(bytes, 0..8)?[0] & 0x80 != 0;
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
    slice(bytes, 0..12)?;
    let mut covered = bytes.to_vec();
    let found: Vec<u8> = covered.splice(8..12, [0; 4]).collect();
    if found == crc32c(&covered).to_le_bytes() {
        Ok(())
    } else {
        Err("checksum of SCTP".to_owned())
    }
}
