//! ICMP (RFC 792) and ICMPv6 (RFC 4443), whose messages have the same header.

use bytemuck::{Pod, Zeroable};

use super::Be32;
use crate::checksum::Checksum;

/// Kinds and codes of ICMP.
pub mod icmpv4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable. An error.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench, deprecated. An error.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect. An error.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded. An error.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem. An error.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Address mask reply: the last kind that Linux knows.
    pub const LAST_KNOWN: u8 = 18;

    /// Code of [`UNREACHABLE`]: the host does not answer.
    pub const HOST_UNREACHABLE: u8 = 1;
    /// Code of [`UNREACHABLE`]: nobody listens at the port.
    pub const PORT_UNREACHABLE: u8 = 3;
    /// Code of [`UNREACHABLE`]: larger than the next hop's MTU (RFC 1191), which stands in the
    /// last two bytes of the header.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

/// Kinds and codes of ICMPv6.
pub mod icmpv6 {
    /// Destination unreachable. An error.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big, for the MTU that is the rest of the header. An error.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded. An error.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem. An error.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// All kinds below are errors.
    pub const FIRST_INFORMATION: u8 = 128;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Neighbour solicitation (RFC 4861): a [`super::Solicitation`].
    pub const SOLICITATION: u8 = 135;
    /// Redirect (RFC 4861).
    pub const REDIRECT: u8 = 137;

    /// Code of [`UNREACHABLE`]: the host does not answer.
    pub const ADDRESS_UNREACHABLE: u8 = 3;
    /// Code of [`UNREACHABLE`]: nobody listens at the port.
    pub const PORT_UNREACHABLE: u8 = 4;
}

/// The header of a message, 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Icmp {
    /// What the message is ("type").
    pub kind: u8,
    /// Which one of this kind.
    pub code: u8,
    /// Over header and data, in ICMPv6 over the pseudo header too.
    pub checksum: Checksum,
    /// Depends on the kind: identifier and sequence number of an echo, the MTU that was exceeded.
    pub rest: Be32,
}

/// Who has this address? Without the options that may follow, 24 bytes (RFC 4861 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Solicitation {
    /// The header.
    pub icmp: Icmp,
    /// The address; see [`crate::address::Address6::from_halves`].
    pub target: [[u8; 8]; 2],
}
