//! IPv6 (RFC 8200) and those extension headers that the data plane looks through.

use bytemuck::{Pod, Zeroable};

use super::{Be16, Be32};

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
