//! What the header of a tunnel has to say about the packet inside.

use bytemuck::Pod;

use crate::{
    checksum::Sum,
    family::{End, Family},
    link::Link,
    packet::{MAX_SUM, Packet},
    parse::{Parse, Transport},
    verdict::Reason,
    wire::{Be16, Part, Ports, protocol, udp::Udp},
};

/// Longer packets than so many times [`MAX_SUM`] are not summed up: 10,240 bytes are more than the
/// longest frames of Ethernet have.
const MAX_PARTS: usize = 8;
/// Source ports of tunnels: the upper quarter, which is for such use (RFC 6335 §6).
const PORTS: u16 = 0xc000;

/// What was found out about a packet before it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inner {
    /// The sum over all its bytes, if that was wanted.
    pub(super) sum: Sum,
    /// The source port that tells its flow from others on the way.
    pub(super) port: Be16,
}

impl Default for Inner {
    #[inline(always)]
    fn default() -> Self {
        Self {
            sum: Sum::default(),
            port: Be16::new(PORTS),
        }
    }
}

impl Inner {
    /// Looks at a packet of family `F`, whose IPv4 header has a right checksum.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if it ends before its header says, or is longer than any is.
    #[inline(always)]
    pub(super) fn look<F: Parse, P: Packet>(
        packet: &P,
        link: &Link,
        is_summed: bool,
    ) -> Result<Self, Reason> {
        let transport = F::transport(packet, link.length)?;
        let mut inner = Self {
            port: port::<F, P>(packet, link, &transport).ok_or(Reason::Malformed)?,
            ..Self::default()
        };
        if is_summed {
            let sum = match sum_by_checksum::<F, P>(packet, link, &transport) {
                Some(sum) => Some(sum),
                None => sum_of_bytes(packet, link.length, transport.end),
            };
            inner.sum = sum.ok_or(Reason::Malformed)?;
        }
        Ok(inner)
    }
}

/// A port that is the same for all packets of a flow and differs between flows, so that routers and
/// network cards spread them. Fragments have no ports, and those of a datagram belong together.
#[inline(always)]
fn port<F: Parse, P: Packet>(packet: &P, link: &Link, transport: &Transport) -> Option<Be16> {
    let ip: &F::Header = packet.header(link.length)?;
    let mut hash = mixed(0, &F::address(ip, End::Source));
    hash = mixed(hash, &F::address(ip, End::Destination));
    if transport.part == Part::WHOLE && protocol::has_ports(transport.protocol) {
        hash = mixed(hash, packet.header::<Ports>(transport.at)?);
    }
    Some(Be16::new(PORTS | (hash >> 18) as u16))
}

/// Mixes a value of whole 32-bit words into a hash, whose upper bits are the good ones.
#[inline(always)]
fn mixed<T: Pod>(hash: u32, value: &T) -> u32 {
    // The golden ratio, as a fraction of 2^32.
    const FACTOR: u32 = 0x9e37_79b1;
    let mut hash = hash;
    for word in bytemuck::bytes_of(value).chunks_exact(4) {
        if let &[a, b, c, d] = word {
            hash = (hash ^ u32::from_le_bytes([a, b, c, d])).wrapping_mul(FACTOR);
            hash ^= hash >> 15;
        }
    }
    hash
}

/// The sum over the whole packet without a look at its data: the checksum of TCP or UDP makes that
/// of its segment the complement of that of the pseudo header, and an IPv4 header sums up to zero.
/// `None` if there is no such checksum, or what stands between the headers may change the
/// destination that it was made with.
#[inline(always)]
fn sum_by_checksum<F: Family, P: Packet>(
    packet: &P,
    link: &Link,
    transport: &Transport,
) -> Option<Sum> {
    if transport.part != Part::WHOLE || transport.at != link.length + size_of::<F::Header>() {
        return None;
    }
    let length = Be16::new((transport.end - transport.at) as u16);
    match transport.protocol {
        protocol::TCP => {}
        protocol::UDP => {
            let udp: &Udp = packet.header(transport.at)?;
            if udp.checksum.0.get() == 0 || udp.length != length {
                return None;
            }
        }
        _ => return None,
    }
    let ip: &F::Header = packet.header(link.length)?;
    let sum = Sum::default()
        .plus(ip)
        .minus(&F::address(ip, End::Source))
        .minus(&F::address(ip, End::Destination))
        .minus(&[0, transport.protocol])
        .minus(&length);
    Some(sum)
}

/// The sum over all bytes.
#[inline(always)]
fn sum_of_bytes<P: Packet>(packet: &P, mut at: usize, end: usize) -> Option<Sum> {
    let mut sum = Sum::default();
    for _ in 0..MAX_PARTS {
        let part = end.checked_sub(at)?.min(MAX_SUM);
        sum = sum.joined(packet.sum(at, part)?);
        at += part;
        if at == end {
            return Some(sum);
        }
    }
    None
}
