//! TCP (RFC 9293).

use bytemuck::{Pod, Zeroable};

use super::{Be16, Be32, Ports};
use crate::checksum::Checksum;

/// The flags that the state table looks at, in [`Tcp::flags`].
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// The fixed part of a TCP header, 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Tcp {
    /// Source and destination port.
    pub ports: Ports,
    /// Sequence number.
    pub sequence: Be32,
    /// Acknowledgement number.
    pub acknowledgement: Be32,
    /// Header length in 32-bit words (4 bits), reserved.
    pub offset: u8,
    /// See [`flags`].
    pub flags: u8,
    /// Receive window.
    pub window: Be16,
    /// Over the pseudo header, header and data.
    pub checksum: Checksum,
    /// Urgent pointer.
    pub urgent: Be16,
}

impl Tcp {
    /// Length of the header with its options, in bytes: 0 to 60, and less than 20 is a lie.
    #[must_use]
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        ((self.offset >> 4) as usize) * 4
    }
}
