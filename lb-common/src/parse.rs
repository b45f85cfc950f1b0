//! Bytes to [`Frame`]: the only file that knows how headers nest. After it nobody looks at the
//! bytes to find out what they are.

use crate::{
    family::{End, Family, V4, V6, is_fragment},
    flow::FlowKey,
    link::Link,
    packet::{MAX_OFFSET, Packet},
    verdict::Reason,
    wire::{
        Ports,
        ipv4::Ipv4,
        ipv6::{Extension, Ipv6, extension},
        protocol,
        tcp::{Tcp, flags},
        udp::Udp,
    },
};

/// How many IPv6 extension headers are looked through before the packet is left alone.
const MAX_EXTENSIONS: usize = 6;
/// Transport headers start no further into the packet than this: whoever sees their beginning sees
/// the whole. Otherwise a packet could turn out to be malformed when it is half rewritten.
const MAX_TRANSPORT: usize = MAX_OFFSET - size_of::<Tcp>();

/// What the pipeline knows of a TCP or UDP packet.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a, F: Family> {
    /// The link header.
    pub link: Link,
    /// The packet's own addresses, ports and protocol.
    pub key: &'a FlowKey<F::Address>,
    /// Where the transport header starts.
    pub transport: usize,
    /// TCP flags; zero for UDP.
    pub flags: u8,
    /// Length of IP header and payload, in bytes.
    pub length: usize,
}

impl<F: Family> Frame<'_, F> {
    /// Whether the packet opens a TCP connection.
    #[must_use]
    #[inline(always)]
    pub const fn is_opening(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
    }
}

/// Where the transport header is, and which one.
#[derive(Debug, Clone, Copy)]
pub struct Transport {
    protocol: u8,
    at: usize,
    /// Where the IP packet ends.
    end: usize,
}

/// An address family that can be parsed.
pub trait Parse: Family {
    /// Finds the transport header.
    ///
    /// # Errors
    /// Why the packet is none of ours.
    fn transport<P: Packet>(packet: &P, link: &Link) -> Result<Transport, Reason>;
}

/// Reads a packet of family `F`; `None` if it is neither TCP nor UDP. Its key is put into `key`.
///
/// # Errors
/// [`Reason::Malformed`] if lengths lie, [`Reason::Fragment`] for fragments.
#[inline(always)]
pub fn frame<'a, F: Parse, P: Packet>(
    packet: &P,
    link: Link,
    key: &'a mut FlowKey<F::Address>,
) -> Result<Option<Frame<'a, F>>, Reason> {
    let Transport { protocol, at, end } = F::transport(packet, &link)?;
    let (least, flags) = match protocol {
        protocol::TCP => {
            let tcp: &Tcp = packet.header(at).ok_or(Reason::Malformed)?;
            (size_of::<Tcp>(), tcp.flags)
        }
        protocol::UDP => (size_of::<Udp>(), 0),
        _ => return Ok(None),
    };
    if at + least > end || end > packet.length() || at > MAX_TRANSPORT {
        return Err(Reason::Malformed);
    }
    let ports: Ports = *packet.header(at).ok_or(Reason::Malformed)?;
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    *key = FlowKey::new(
        F::address(ip, End::Source),
        F::address(ip, End::Destination),
        ports.source,
        ports.destination,
        protocol,
    );
    Ok(Some(Frame {
        key,
        transport: at,
        flags,
        length: end - link.length,
        link,
    }))
}

impl Parse for V4 {
    #[inline(always)]
    fn transport<P: Packet>(packet: &P, link: &Link) -> Result<Transport, Reason> {
        let ip: &Ipv4 = packet.header(link.length).ok_or(Reason::Malformed)?;
        if !ip.is_valid() {
            return Err(Reason::Malformed);
        }
        if is_fragment(ip) {
            return Err(Reason::Fragment);
        }
        Ok(Transport {
            protocol: ip.protocol,
            at: link.length + ip.header_length(),
            end: link.length + V4::facts(ip).length,
        })
    }
}

impl Parse for V6 {
    #[inline(always)]
    fn transport<P: Packet>(packet: &P, link: &Link) -> Result<Transport, Reason> {
        let ip: &Ipv6 = packet.header(link.length).ok_or(Reason::Malformed)?;
        if ip.version_class_label.get() >> 28 != 6 {
            return Err(Reason::Malformed);
        }
        // An IPv4 address in disguise is none for the wire (RFC 4291 §2.5.5.2), and would be taken
        // for a virtual service of IPv4.
        if V6::address(ip, End::Destination).is_mapped() {
            return Err(Reason::Malformed);
        }
        let mut found = Transport {
            protocol: ip.next_header,
            at: link.length + size_of::<Ipv6>(),
            end: link.length + V6::facts(ip).length,
        };
        for _ in 0..=MAX_EXTENSIONS {
            match found.protocol {
                extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {}
                extension::FRAGMENT => return Err(Reason::Fragment),
                _ => return Ok(found),
            }
            let header: &Extension = packet.header(found.at).ok_or(Reason::Malformed)?;
            found.protocol = header.next_header;
            found.at += 8 + (header.length as usize) * 8;
        }
        Err(Reason::Malformed)
    }
}
