//! What errors of IPv4 and of IPv6 differ in.

use crate::{
    address::Address6,
    answer::Answering,
    checksum::Checksum,
    family::{V4, V6},
    packet::Packet,
    parse::Parse,
    wire::{
        Be16, Be32,
        icmp::{Icmp, Solicitation, icmpv4, icmpv6},
    },
};

/// What an error says about a tunnel, as far as it matters to who sends through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Packets larger than so many bytes, IP header included, do not get through.
    TooBig(u32),
    /// Nothing does.
    Unreachable,
}

/// An address family whose errors are read.
pub trait Quoting: Parse + Answering {
    /// The error: this host cannot be reached.
    const HOST_UNREACHABLE: Icmp;

    /// Whether a message of this kind tells the sender of the packet that it quotes what became of
    /// it. Redirects are for routers' neighbours, and pass.
    fn is_quoting(kind: u8) -> bool;
    /// What an error means to a tunnel; `None` if it is a matter of its two ends.
    fn trouble(message: &Icmp) -> Option<Trouble>;
    /// How much of the packet a message quotes, in bytes, if it says so: something else may follow
    /// then (RFC 4884).
    fn quoted_length(message: &Icmp) -> Option<usize>;
    /// Whose link address a message at byte `at` asks for; `None` if it does not.
    fn solicited<P: Packet>(packet: &P, at: usize) -> Option<Address6>;
}

const fn unreachable(kind: u8, code: u8) -> Icmp {
    Icmp {
        kind,
        code,
        checksum: Checksum(Be16::new(0)),
        rest: Be32::new(0),
    }
}

impl Quoting for V4 {
    const HOST_UNREACHABLE: Icmp = unreachable(icmpv4::UNREACHABLE, icmpv4::HOST_UNREACHABLE);

    #[inline(always)]
    fn is_quoting(kind: u8) -> bool {
        matches!(
            kind,
            icmpv4::UNREACHABLE
                | icmpv4::SOURCE_QUENCH
                | icmpv4::TIME_EXCEEDED
                | icmpv4::PARAMETER_PROBLEM
        )
    }

    #[inline(always)]
    fn trouble(message: &Icmp) -> Option<Trouble> {
        match (message.kind, message.code) {
            (icmpv4::UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED) => {
                // Routers older than RFC 1191 do not say how much; so much every host takes.
                let mtu = match message.rest.get() & 0xffff {
                    0 => 576,
                    mtu => mtu,
                };
                Some(Trouble::TooBig(mtu))
            }
            (icmpv4::UNREACHABLE | icmpv4::TIME_EXCEEDED, _) => Some(Trouble::Unreachable),
            _ => None,
        }
    }

    #[inline(always)]
    fn quoted_length(message: &Icmp) -> Option<usize> {
        let words = (message.rest.get() >> 16 & 0xff) as usize;
        (words != 0).then_some(words * 4)
    }

    /// IPv4 has ARP for that.
    #[inline(always)]
    fn solicited<P: Packet>(_packet: &P, _at: usize) -> Option<Address6> {
        None
    }
}

impl Quoting for V6 {
    const HOST_UNREACHABLE: Icmp = unreachable(icmpv6::UNREACHABLE, icmpv6::ADDRESS_UNREACHABLE);

    #[inline(always)]
    fn is_quoting(kind: u8) -> bool {
        matches!(
            kind,
            icmpv6::UNREACHABLE
                | icmpv6::PACKET_TOO_BIG
                | icmpv6::TIME_EXCEEDED
                | icmpv6::PARAMETER_PROBLEM
        )
    }

    #[inline(always)]
    fn trouble(message: &Icmp) -> Option<Trouble> {
        match message.kind {
            icmpv6::PACKET_TOO_BIG => Some(Trouble::TooBig(message.rest.get())),
            icmpv6::UNREACHABLE | icmpv6::TIME_EXCEEDED => Some(Trouble::Unreachable),
            _ => None,
        }
    }

    #[inline(always)]
    fn quoted_length(message: &Icmp) -> Option<usize> {
        let words = (message.rest.get() >> 24) as usize;
        (message.kind != icmpv6::PACKET_TOO_BIG && words != 0).then_some(words * 8)
    }

    #[inline(always)]
    fn solicited<P: Packet>(packet: &P, at: usize) -> Option<Address6> {
        let Solicitation { icmp, target } = packet.header(at)?;
        (icmp.kind == icmpv6::SOLICITATION).then(|| Address6::from_halves(*target))
    }
}
