//! IPv4 (RFC 791).

use bytemuck::{Pod, Zeroable};

use super::Be16;
use crate::checksum::{Checksum, Sum};

/// "Don't fragment", in [`Ipv4::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments", in [`Ipv4::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset of this fragment in units of 8 bytes, in [`Ipv4::fragment`].
pub const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The fixed part of an IPv4 header, 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Ipv4 {
    /// Version (4 bits) and header length in 32-bit words (4 bits).
    pub version_length: u8,
    /// Differentiated services and ECN.
    pub service: u8,
    /// Length of header and payload, in bytes.
    pub total_length: Be16,
    /// Identification, for reassembly.
    pub identification: Be16,
    /// Flags (3 bits) and fragment offset in units of 8 bytes (13 bits).
    pub fragment: Be16,
    /// Hops that are left.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// Over this header.
    pub checksum: Checksum,
    /// Where the packet comes from.
    pub source: [u8; 4],
    /// Where it is going.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Length of the header with its options, in bytes: 20 to 60 if [`Self::is_valid`].
    #[must_use]
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        ((self.version_length & 0x0f) as usize) * 4
    }

    /// Version and lengths agree with each other.
    #[must_use]
    #[inline(always)]
    pub const fn is_valid(&self) -> bool {
        self.version_length >> 4 == 4
            && self.header_length() >= size_of::<Self>()
            && self.total_length.get() as usize >= self.header_length()
    }

    /// The checksum that a header without options ought to have.
    #[must_use]
    #[inline(always)]
    pub fn computed_checksum(&self) -> Checksum {
        let blank = Self {
            checksum: Checksum::default(),
            ..*self
        };
        Sum::default().plus(&blank).checksum()
    }
}
