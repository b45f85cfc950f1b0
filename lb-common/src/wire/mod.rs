//! Headers as they are on the wire: bytes, one file each.
//!
//! Every header here is made of bytes and lies at an even address: packets start at one, and all
//! headers have even lengths. That is said to the compiler (`align(2)`), for it copies two bytes at
//! a time then. No integer in network byte order ever has a name: [`Be16`] and [`Be32`] are bytes and
//! give their value in the order of the machine.

pub mod arp;
pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod tcp;
pub mod udp;

use bytemuck::{Pod, Zeroable};

/// Protocol numbers of IP: what follows its header.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// Generic routing encapsulation (RFC 2784).
    pub const GRE: u8 = 47;
    /// IPsec, encrypted (RFC 4303).
    pub const ESP: u8 = 50;
    /// IPsec, authenticated (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;

    /// Whether a transport header of this protocol, among those that are balanced, begins with
    /// ports.
    #[must_use]
    #[inline(always)]
    pub const fn has_ports(protocol: u8) -> bool {
        matches!(protocol, TCP | UDP | SCTP)
    }

    /// Whether it is that of control messages.
    #[must_use]
    #[inline(always)]
    pub const fn is_control(protocol: u8) -> bool {
        matches!(protocol, ICMP | ICMPV6)
    }
}

/// A 16-bit number in network byte order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Be16([u8; 2]);

impl Be16 {
    /// The bytes of `value`.
    #[must_use]
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be_bytes())
    }

    /// The bytes.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 2] {
        self.0
    }

    /// The number whose bytes, read in the order of the machine, are `value`.
    #[must_use]
    #[inline(always)]
    pub const fn from_native(value: u16) -> Self {
        Self(value.to_ne_bytes())
    }

    /// What [`Self::from_native`] made this of.
    #[must_use]
    #[inline(always)]
    pub const fn native(self) -> u16 {
        u16::from_ne_bytes(self.0)
    }

    /// The value in the order of the machine.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

/// A 32-bit number in network byte order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Be32([u8; 4]);

impl Be32 {
    /// The bytes of `value`.
    #[must_use]
    #[inline(always)]
    pub const fn new(value: u32) -> Self {
        Self(value.to_be_bytes())
    }

    /// The value in the order of the machine.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u32 {
        u32::from_be_bytes(self.0)
    }
}

/// The first four bytes of TCP, UDP and SCTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Ports {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
}

impl Ports {
    /// Those of a protocol without ports.
    pub const NONE: Self = Self {
        source: Be16::new(0),
        destination: Be16::new(0),
    };
}

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it belongs, in units of 8 bytes.
    pub offset: u16,
    /// Whether others follow.
    pub more: bool,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self {
        offset: 0,
        more: false,
    };
}
