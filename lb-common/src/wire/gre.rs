//! Generic routing encapsulation (RFC 2784).

use bytemuck::{Pod, Zeroable};

use super::Be16;
use crate::checksum::Checksum;

/// In [`Gre::flags`]: a [`GreChecksum`] follows.
pub const HAS_CHECKSUM: u16 = 0x8000;

/// The part of a GRE header that is always there, 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Gre {
    /// [`HAS_CHECKSUM`], and zeros.
    pub flags: Be16,
    /// The EtherType of what is inside.
    pub protocol: Be16,
}

/// The part that is there if the flag says so, 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct GreChecksum {
    /// Over the whole GRE header and what is inside.
    pub checksum: Checksum,
    /// Zero.
    pub reserved: Be16,
}
