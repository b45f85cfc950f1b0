//! Bytes to [`Frame`]: the only file that knows how headers nest. After it nobody looks at the
//! bytes to find out what they are.

use core::borrow::Borrow;

use bytemuck::Pod;

use crate::{
    family::{End, Family, V4, V6},
    flow::{FlowKey, plain},
    link::Link,
    packet::{MAX_OFFSET, Packet},
    room::Gist,
    verdict::Reason,
    wire::{
        Be16, Be32, Part, Ports,
        ethernet::Ethernet,
        ipv4::{FRAGMENT_OFFSET, Ipv4, MORE_FRAGMENTS},
        ipv6::{Extension, Fragment, Ipv6, extension},
        protocol,
        sctp::{self, Chunk, Sctp, event},
        tcp::{Tcp, flags},
        udp::Udp,
    },
};

/// How many IPv6 extension headers are looked through before the packet is left alone.
const MAX_EXTENSIONS: usize = 6;
/// Transport headers start no further into the packet than this: whoever sees their beginning sees
/// the whole. Otherwise a packet could turn out to be malformed when it is half rewritten.
const MAX_TRANSPORT: usize = MAX_OFFSET - size_of::<Tcp>();

/// What a packet is.
#[derive(Clone, Copy)]
pub enum Parsed<'a, F: Family> {
    /// A packet with a transport header that is balanced.
    Frame(Frame<'a, F>),
    /// A message of ICMP or ICMPv6.
    Icmp,
    /// A fragment other than the first of its datagram.
    LaterFragment,
    /// Something else.
    Other,
}

/// What the pipeline knows of a packet that is balanced.
#[derive(Clone, Copy)]
pub struct Frame<'a, F: Family> {
    /// The link header.
    pub link: Link,
    /// The packet's own addresses, ports and protocol.
    pub key: &'a FlowKey<F::Address>,
    /// Where the transport header starts.
    pub transport: usize,
    /// TCP flags; of SCTP the event that its first chunk means ([`sctp::event`]); else zero.
    pub flags: u8,
    /// Whether it is a fragment, and which: [`Gist::FIRST_FRAGMENT`], [`Gist::LATER_FRAGMENT`] or
    /// zero.
    pub fragment: u8,
    /// Length of IP header and payload, in bytes.
    pub length: usize,
}

impl<'a, F: Family> Frame<'a, F> {
    /// What it has besides its key and the link header, for a later stage.
    #[must_use]
    #[inline(always)]
    pub const fn gist(&self) -> Gist {
        Gist {
            transport: self.transport as u16,
            length: self.length as u16,
            flags: self.flags,
            marks: self.fragment,
            pad: 0,
        }
    }

    /// The frame of which an earlier stage has left this.
    #[must_use]
    #[inline(always)]
    pub const fn restore(link: Link, key: &'a FlowKey<F::Address>, gist: &Gist) -> Self {
        Self {
            link,
            key,
            transport: gist.transport as usize,
            flags: gist.flags,
            fragment: gist.marks & (Gist::FIRST_FRAGMENT | Gist::LATER_FRAGMENT),
            length: gist.length as usize,
        }
    }

    /// Whether other fragments of the datagram follow, and none came before.
    #[must_use]
    #[inline(always)]
    pub const fn is_first_fragment(&self) -> bool {
        self.fragment == Gist::FIRST_FRAGMENT
    }

    /// Whether it is a fragment other than the first: there is no transport header.
    #[must_use]
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        self.fragment == Gist::LATER_FRAGMENT
    }

    /// Whether the packet opens a connection.
    #[must_use]
    #[inline(always)]
    pub const fn is_opening(&self) -> bool {
        match self.key.protocol {
            protocol::TCP => {
                self.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
            }
            protocol::SCTP => self.flags == event::INIT,
            _ => false,
        }
    }

    /// Whether the packet begins a connection among other things that it says.
    #[must_use]
    #[inline(always)]
    pub const fn is_start(&self) -> bool {
        match self.key.protocol {
            protocol::TCP => self.flags & flags::SYN != 0,
            protocol::SCTP => self.flags == event::INIT,
            _ => false,
        }
    }

    /// Whether the packet is one of many in the midst of a connection, which says nothing of its
    /// beginning or end.
    #[must_use]
    #[inline(always)]
    pub const fn is_plain(&self) -> bool {
        match self.key.protocol {
            protocol::TCP => {
                self.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::ACK
            }
            protocol::SCTP => self.flags == event::DATA,
            _ => true,
        }
    }

    /// Whether the packet breaks a connection off.
    #[must_use]
    #[inline(always)]
    pub const fn is_end(&self) -> bool {
        match self.key.protocol {
            protocol::TCP => self.flags & flags::RST != 0,
            protocol::SCTP => self.flags == event::ABORT,
            _ => false,
        }
    }
}

/// The headers of a plain packet, for one look at all of them: untagged Ethernet, an IP header without
/// options or extensions, TCP or UDP. UDP is shorter than what stands here for TCP and begins like it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Plain<Header> {
    /// The link header.
    pub ethernet: Ethernet,
    /// The IP header.
    pub ip: Header,
    /// The transport header.
    pub tcp: Tcp,
}

plain! {
    Plain<Ipv4>: 54;
    Plain<Ipv6>: 74;
}

/// What stands behind the IP header and its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol.
    pub protocol: u8,
    /// Where it starts.
    pub at: usize,
    /// Where the IP packet ends.
    pub end: usize,
    /// Which part of a datagram this is.
    pub part: Part,
    /// Where the number of the datagram stands that this is a part of.
    pub number_at: usize,
}

/// Where a walk through extension headers has led, as a number that is handed from one function of
/// the kernel's program to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk(pub u64);

impl Walk {
    /// It led nowhere: the headers are malformed.
    pub const NOWHERE: Self = Self(u64::MAX);

    #[inline(always)]
    const fn to(protocol: u8, at: usize, part: Part, number_at: usize) -> Self {
        if at > MAX_OFFSET {
            return Self::NOWHERE;
        }
        Self(
            protocol as u64
                | (part.more as u64) << 8
                | (at as u64) << 16
                | (part.offset as u64) << 32
                | (number_at as u64 & MAX_OFFSET as u64) << 48,
        )
    }

    #[inline(always)]
    const fn transport(self, end: usize) -> Result<Transport, Reason> {
        if self.0 == Self::NOWHERE.0 {
            return Err(Reason::Malformed);
        }
        Ok(Transport {
            protocol: self.0 as u8,
            // The masks tell the verifier what `to` has seen to.
            at: (self.0 >> 16) as usize & MAX_OFFSET,
            end,
            part: Part {
                offset: (self.0 >> 32) as u16,
                more: self.0 & 0x100 != 0,
            },
            number_at: (self.0 >> 48) as usize & MAX_OFFSET,
        })
    }
}

/// Looks through the IPv6 extension headers from byte `at` on, the first of which is `protocol`.
#[inline(always)]
pub fn walk<P: Packet + ?Sized>(packet: &P, mut at: usize, mut protocol: u8) -> Walk {
    let (mut part, mut number_at) = (Part::WHOLE, 0);
    for _ in 0..=MAX_EXTENSIONS {
        match protocol {
            extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {
                let Some(header) = packet.header::<Extension>(at) else {
                    return Walk::NOWHERE;
                };
                protocol = header.next_header;
                at += 8 + (header.length as usize) * 8;
            }
            extension::FRAGMENT if number_at == 0 => {
                let Some(header) = packet.header::<Fragment>(at) else {
                    return Walk::NOWHERE;
                };
                part = header.part();
                protocol = header.next_header;
                number_at = at + core::mem::offset_of!(Fragment, identification);
                at += size_of::<Fragment>();
                if part.offset != 0 {
                    return Walk::to(protocol, at, part, number_at);
                }
            }
            extension::FRAGMENT => return Walk::NOWHERE,
            _ => return Walk::to(protocol, at, part, number_at),
        }
    }
    Walk::NOWHERE
}

/// An address family that can be parsed.
pub trait Parse: Family {
    /// The protocol number of its ICMP.
    const ICMP: u8;

    /// The headers of a plain packet: [`Plain`] of its header.
    type Plain: Pod + Borrow<Plain<Self::Header>>;

    /// What follows the header if there are neither options nor extensions, and the packet is no fragment.
    fn plain(header: &Self::Header) -> Option<u8>;

    /// Finds what stands behind the IP header that starts at byte `at`.
    ///
    /// # Errors
    /// Why the packet is none of ours.
    fn transport<P: Packet>(packet: &P, at: usize) -> Result<Transport, Reason>;

    /// The number at [`Transport::number_at`].
    fn number<P: Packet>(packet: &P, at: usize) -> Option<u32>;
}

/// Reads a packet of family `F` if it is one like most: untagged, a whole datagram of TCP or UDP, without
/// IP options or extension headers. Its key is put into `key`. What [`frame`] would find out of it is the
/// same; here all offsets are constants, and so is all that follows from them.
#[inline(always)]
pub fn plain<'a, F: Parse, P: Packet>(
    packet: &P,
    key: &'a mut FlowKey<F::Address>,
) -> Option<Frame<'a, F>> {
    let head = packet.header::<F::Plain>(0)?.borrow();
    if head.ethernet.ethertype != F::ETHERTYPE {
        return None;
    }
    let (protocol, length) = (F::plain(&head.ip)?, F::facts(&head.ip).length);
    let (least, flags) = match protocol {
        protocol::TCP => (size_of::<Tcp>(), head.tcp.flags),
        protocol::UDP => (size_of::<Udp>(), 0),
        _ => return None,
    };
    let link = Link {
        vlan: 0,
        ethertype: F::ETHERTYPE,
        length: size_of::<Ethernet>(),
    };
    if length < size_of::<F::Header>() + least || link.length + length > packet.length() {
        return None;
    }
    *key = FlowKey::new(
        F::address(&head.ip, End::Source),
        F::address(&head.ip, End::Destination),
        head.tcp.ports.source,
        head.tcp.ports.destination,
        protocol,
    );
    Some(Frame {
        link,
        key,
        transport: link.length + size_of::<F::Header>(),
        flags,
        fragment: 0,
        length,
    })
}

/// Reads a packet of family `F`. Its key is put into `key`.
///
/// # Errors
/// [`Reason::Malformed`] if lengths lie, [`Reason::Martian`] for addresses that no packet may have.
#[inline(always)]
pub fn frame<'a, F: Parse, P: Packet>(
    packet: &P,
    link: Link,
    key: &'a mut FlowKey<F::Address>,
) -> Result<Parsed<'a, F>, Reason> {
    let Transport {
        protocol,
        at,
        end,
        part,
        ..
    } = F::transport(packet, link.length)?;
    if part.offset != 0 {
        return Ok(Parsed::LaterFragment);
    }
    let Some(least) = least_header(protocol) else {
        return Ok(if protocol == F::ICMP {
            Parsed::Icmp
        } else {
            Parsed::Other
        });
    };
    if at + least > end || end > packet.length() || at > MAX_TRANSPORT {
        return Err(Reason::Malformed);
    }
    let flags = match protocol {
        protocol::TCP => {
            let tcp: &Tcp = packet.header(at).ok_or(Reason::Malformed)?;
            tcp.flags
        }
        protocol::SCTP => sctp_event(packet, at, end)?,
        _ => 0,
    };
    let ports = if least == 0 {
        Ports::NONE
    } else {
        *packet.header(at).ok_or(Reason::Malformed)?
    };
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    *key = FlowKey::new(
        F::address(ip, End::Source),
        F::address(ip, End::Destination),
        ports.source,
        ports.destination,
        protocol,
    );
    Ok(Parsed::Frame(Frame {
        key,
        transport: at,
        flags,
        fragment: if part.more { Gist::FIRST_FRAGMENT } else { 0 },
        length: end - link.length,
        link,
    }))
}

/// How much of the transport header has to be in the packet, in bytes; `None` if packets of this
/// protocol are not balanced.
#[must_use]
#[inline(always)]
pub const fn least_header(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(size_of::<Tcp>()),
        protocol::SCTP => Some(size_of::<Sctp>() + size_of::<Chunk>()),
        protocol::UDP => Some(size_of::<Udp>()),
        protocol::AH | protocol::ESP => Some(0),
        _ => None,
    }
}

/// What an SCTP packet means to the state of its association.
#[inline(always)]
fn sctp_event<P: Packet>(packet: &P, at: usize, end: usize) -> Result<u8, Reason> {
    let first_at = at + size_of::<Sctp>();
    let first: &Chunk = packet.header(first_at).ok_or(Reason::Malformed)?;
    let second_at = first_at + first.stride().unwrap_or(usize::MAX / 2);
    let second = if second_at + size_of::<Chunk>() <= end {
        packet.byte(second_at)
    } else {
        None
    };
    Ok(sctp::event(first.kind, second))
}

impl Parse for V4 {
    const ICMP: u8 = protocol::ICMP;

    type Plain = Plain<Ipv4>;

    #[inline(always)]
    fn plain(header: &Ipv4) -> Option<u8> {
        let is_whole = header.fragment.get() & (FRAGMENT_OFFSET | MORE_FRAGMENTS) == 0;
        (header.version_length == 0x45 && is_whole).then_some(header.protocol)
    }

    #[inline(always)]
    fn transport<P: Packet>(packet: &P, at: usize) -> Result<Transport, Reason> {
        let ip: &Ipv4 = packet.header(at).ok_or(Reason::Malformed)?;
        if !ip.is_valid() {
            return Err(Reason::Malformed);
        }
        let fragment = ip.fragment.get();
        Ok(Transport {
            protocol: ip.protocol,
            at: at + ip.header_length(),
            end: at + V4::facts(ip).length,
            part: Part {
                offset: fragment & FRAGMENT_OFFSET,
                more: fragment & MORE_FRAGMENTS != 0,
            },
            number_at: at + core::mem::offset_of!(Ipv4, identification),
        })
    }

    #[inline(always)]
    fn number<P: Packet>(packet: &P, at: usize) -> Option<u32> {
        packet.header(at).map(|number: &Be16| number.get() as u32)
    }
}

impl Parse for V6 {
    const ICMP: u8 = protocol::ICMPV6;

    type Plain = Plain<Ipv6>;

    #[inline(always)]
    fn plain(header: &Ipv6) -> Option<u8> {
        let is_proper = header.version_class_label.get() >> 28 == 6
            && !V6::address(header, End::Destination).is_mapped();
        is_proper.then_some(header.next_header)
    }

    #[inline(always)]
    fn transport<P: Packet>(packet: &P, at: usize) -> Result<Transport, Reason> {
        let ip: &Ipv6 = packet.header(at).ok_or(Reason::Malformed)?;
        if ip.version_class_label.get() >> 28 != 6 {
            return Err(Reason::Malformed);
        }
        // An IPv4 address in disguise is none for the wire (RFC 4291 §2.5.5.2), and would be taken
        // for a virtual service of IPv4.
        if V6::address(ip, End::Destination).is_mapped() {
            return Err(Reason::Malformed);
        }
        let end = at + V6::facts(ip).length;
        let (protocol, at) = (ip.next_header, at + size_of::<Ipv6>());
        if extension::is_walked(protocol) {
            return packet.walk(at, protocol).transport(end);
        }
        Ok(Transport {
            protocol,
            at,
            end,
            part: Part::WHOLE,
            number_at: 0,
        })
    }

    #[inline(always)]
    fn number<P: Packet>(packet: &P, at: usize) -> Option<u32> {
        packet.header(at).map(|number: &Be32| number.get())
    }
}
