//! Headers as they are on the wire: bytes, one file each.
//!
//! Every header here is made of bytes and lies at an even address: packets start at one, and all
//! headers have even lengths. That is said to the compiler (`align(2)`), for it copies two bytes at
//! a time then. No integer in network byte order ever has a name: [`Be16`] and [`Be32`] are bytes and
//! give their value in the order of the machine.

pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod udp;

use bytemuck::{Pod, Zeroable};

/// The protocol number of IP in IP (RFC 2003), of TCP, UDP and IPv6 in IP (RFC 2473).
pub mod protocol {
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
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

    /// The number whose bytes, read in the order of the machine, are `value`.
    #[must_use]
    #[inline(always)]
    pub const fn from_native(value: u16) -> Self {
        Self(value.to_ne_bytes())
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
