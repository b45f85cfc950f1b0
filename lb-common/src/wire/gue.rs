//! Generic UDP encapsulation, variant 0 (draft-ietf-intarea-gue): a header behind that of UDP.

use bytemuck::{Pod, Zeroable};

use super::Be16;

/// A GUE header without optional fields, 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Gue {
    /// Variant (2 bits), control message (1 bit), length of the optional fields in 32-bit words
    /// (5 bits): all zero.
    pub control: u8,
    /// The protocol number of what is inside.
    pub protocol: u8,
    /// Which optional fields there are: none.
    pub flags: Be16,
}

impl Gue {
    /// What stands in front of a packet of this protocol.
    #[must_use]
    #[inline(always)]
    pub const fn of(protocol: u8) -> Self {
        Self {
            control: 0,
            protocol,
            flags: Be16::new(0),
        }
    }
}
