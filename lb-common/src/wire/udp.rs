//! UDP (RFC 768).

use bytemuck::{Pod, Zeroable};

use super::{Be16, Ports};
use crate::checksum::Checksum;

/// A UDP header, 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Udp {
    /// Source and destination port.
    pub ports: Ports,
    /// Length of header and data, in bytes.
    pub length: Be16,
    /// Over the pseudo header, header and data; zero: none was made.
    pub checksum: Checksum,
}
