//! What answers of IPv4 and of IPv6 differ in.

use super::Question;
use crate::{
    address::{Address4, Address6},
    checksum::{Checksum, Sum},
    family::{Family, V4, V6},
    packet::Packet,
    verdict::Reason,
    wire::{
        Be16, Be32,
        icmp::{Icmp, icmpv4, icmpv6},
        ipv4::{FRAGMENT_OFFSET, Ipv4, MORE_FRAGMENTS},
        ipv6::{Fragment, Ipv6, extension},
        protocol,
    },
};

/// An address family whose packets can be answered.
pub trait Answering: Family {
    /// The protocol number of its control messages.
    const ICMP: u8;
    /// So much of a packet is quoted by an error, IP header included, in bytes.
    const MAX_QUOTE: usize;
    /// Kind of an echo request.
    const ECHO_REQUEST: u8;
    /// Kind of an echo reply.
    const ECHO_REPLY: u8;
    /// The error: nobody listens at this port.
    const PORT_UNREACHABLE: Icmp;
    /// The error: the packet was on its way for too long.
    const TIME_EXCEEDED: Icmp;

    /// The error: the packet is larger than `mtu` bytes.
    fn too_big(mtu: u16) -> Icmp;
    /// Whether the header says that this is no fragment. It always does so for IPv6.
    fn is_whole(header: &Self::Header) -> bool;
    /// The protocol in the packet and where its header is, a fragment header looked through.
    ///
    /// # Errors
    /// [`Reason::Unanswered`] for a fragment other than the first.
    fn first_part<P: Packet>(packet: &P, question: &Question) -> Result<(u8, usize), Reason>;
    /// Whether there is no error about a control message of this kind.
    fn is_error(kind: u8) -> bool;
    /// The type of service of an error about a packet that has `service`.
    fn error_service(service: u8) -> u8;
    /// The sum over the pseudo header of a transport protocol.
    fn pseudo_header(ends: [&Self::Address; 2], protocol: u8, length: usize) -> Sum;
    /// What the checksum of a control message covers besides the message.
    fn beside_message(ends: [&Self::Address; 2], length: usize) -> Sum;
}

/// A control message without data.
const fn message(kind: u8, code: u8, rest: u32) -> Icmp {
    Icmp {
        kind,
        code,
        checksum: Checksum(Be16::new(0)),
        rest: Be32::new(rest),
    }
}

impl Answering for V4 {
    const ICMP: u8 = protocol::ICMP;
    /// The answer has 576 bytes at most (RFC 1812 §4.3.2.3).
    const MAX_QUOTE: usize = 576 - size_of::<Ipv4>() - size_of::<Icmp>();
    const ECHO_REQUEST: u8 = icmpv4::ECHO_REQUEST;
    const ECHO_REPLY: u8 = icmpv4::ECHO_REPLY;
    const PORT_UNREACHABLE: Icmp = message(icmpv4::UNREACHABLE, icmpv4::PORT_UNREACHABLE, 0);
    const TIME_EXCEEDED: Icmp = message(icmpv4::TIME_EXCEEDED, 0, 0);

    #[inline(always)]
    fn too_big(mtu: u16) -> Icmp {
        message(
            icmpv4::UNREACHABLE,
            icmpv4::FRAGMENTATION_NEEDED,
            mtu as u32,
        )
    }

    #[inline(always)]
    fn is_whole(header: &Ipv4) -> bool {
        header.fragment.get() & (FRAGMENT_OFFSET | MORE_FRAGMENTS) == 0
    }

    #[inline(always)]
    fn first_part<P: Packet>(packet: &P, question: &Question) -> Result<(u8, usize), Reason> {
        let ip: &Ipv4 = packet
            .header(question.link.length)
            .ok_or(Reason::Malformed)?;
        if ip.fragment.get() & FRAGMENT_OFFSET != 0 {
            return Err(Reason::Unanswered);
        }
        Ok((question.protocol, question.transport))
    }

    /// As Linux has it, also kinds that nobody knows.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(
            kind,
            icmpv4::UNREACHABLE
                | icmpv4::SOURCE_QUENCH
                | icmpv4::REDIRECT
                | icmpv4::TIME_EXCEEDED
                | icmpv4::PARAMETER_PROBLEM
        ) || kind > icmpv4::LAST_KNOWN
    }

    /// Precedence "internetwork control", the packet's own delay, throughput and reliability
    /// (RFC 1812 §4.3.2.5).
    #[inline(always)]
    fn error_service(service: u8) -> u8 {
        0xc0 | (service & 0x1c)
    }

    #[inline(always)]
    fn pseudo_header(ends: [&Address4; 2], protocol: u8, length: usize) -> Sum {
        Sum::default()
            .plus(ends[0])
            .plus(ends[1])
            .plus(&[0, protocol])
            .plus(&Be16::new(length as u16))
    }

    /// Nothing (RFC 792).
    #[inline(always)]
    fn beside_message(_ends: [&Address4; 2], _length: usize) -> Sum {
        Sum::default()
    }
}

impl Answering for V6 {
    const ICMP: u8 = protocol::ICMPV6;
    /// The answer fits the least MTU (RFC 4443 §2.4 c).
    const MAX_QUOTE: usize = 1280 - size_of::<Ipv6>() - size_of::<Icmp>();
    const ECHO_REQUEST: u8 = icmpv6::ECHO_REQUEST;
    const ECHO_REPLY: u8 = icmpv6::ECHO_REPLY;
    const PORT_UNREACHABLE: Icmp = message(icmpv6::UNREACHABLE, icmpv6::PORT_UNREACHABLE, 0);
    const TIME_EXCEEDED: Icmp = message(icmpv6::TIME_EXCEEDED, 0, 0);

    #[inline(always)]
    fn too_big(mtu: u16) -> Icmp {
        message(icmpv6::PACKET_TOO_BIG, 0, mtu as u32)
    }

    #[inline(always)]
    fn is_whole(_header: &Ipv6) -> bool {
        true
    }

    #[inline(always)]
    fn first_part<P: Packet>(packet: &P, question: &Question) -> Result<(u8, usize), Reason> {
        if question.protocol != extension::FRAGMENT {
            return Ok((question.protocol, question.transport));
        }
        let fragment: &Fragment = packet.header(question.transport).ok_or(Reason::Malformed)?;
        if fragment.part().offset != 0 {
            return Err(Reason::Unanswered);
        }
        Ok((
            fragment.next_header,
            question.transport + size_of::<Fragment>(),
        ))
    }

    /// Also redirects (RFC 4443 §2.4 e.2).
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        kind < icmpv6::FIRST_INFORMATION || kind == icmpv6::REDIRECT
    }

    #[inline(always)]
    fn error_service(_service: u8) -> u8 {
        0
    }

    #[inline(always)]
    fn pseudo_header(ends: [&Address6; 2], protocol: u8, length: usize) -> Sum {
        Sum::default()
            .plus(ends[0])
            .plus(ends[1])
            .plus(&Be32::new(length as u32))
            .plus(&[0, protocol])
    }

    #[inline(always)]
    fn beside_message(ends: [&Address6; 2], length: usize) -> Sum {
        Self::pseudo_header(ends, Self::ICMP, length)
    }
}
