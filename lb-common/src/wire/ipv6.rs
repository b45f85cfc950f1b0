//! IPv6 (RFC 8200) and those extension headers that the data plane looks through.

use bytemuck::{Pod, Zeroable};

use super::{Be16, Be32, Part};

/// Next-header numbers of extension headers.
pub mod extension {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Destination options.
    pub const DESTINATION: u8 = 60;

    /// Whether there is something to look through.
    #[must_use]
    #[inline(always)]
    pub const fn is_walked(next_header: u8) -> bool {
        matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
    }
}

/// An IPv6 header, 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_label: Be32,
    /// Length of everything behind this header, in bytes.
    pub payload_length: Be16,
    /// What follows.
    pub next_header: u8,
    /// Hops that are left.
    pub hop_limit: u8,
    /// Where the packet comes from; see [`crate::address::Address6::from_halves`].
    pub source: [[u8; 8]; 2],
    /// Where it is going.
    pub destination: [[u8; 8]; 2],
}

/// The start of every extension header but the fragment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Extension {
    /// What follows.
    pub next_header: u8,
    /// Length in units of 8 bytes, the first 8 not counted.
    pub length: u8,
}

/// The fragment header (RFC 8200 §4.5), 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Fragment {
    /// What follows.
    pub next_header: u8,
    /// Zero.
    pub reserved: u8,
    /// Offset of this fragment in units of 8 bytes (13 bits), reserved (2 bits), more (1 bit).
    pub offset: Be16,
    /// What the fragments of a packet have in common.
    pub identification: Be32,
}

impl Fragment {
    /// Which part of a datagram this is.
    #[must_use]
    #[inline(always)]
    pub const fn part(&self) -> Part {
        let offset = self.offset.get();
        Part {
            offset: offset >> 3,
            more: offset & 1 != 0,
        }
    }
}
