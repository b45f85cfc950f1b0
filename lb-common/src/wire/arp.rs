//! ARP for IPv4 on Ethernet (RFC 826).

use bytemuck::{Pod, Zeroable};

use super::{Be16, ethernet::Mac};

/// A message of ARP, 28 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Arp {
    /// The kind of link: 1 is Ethernet.
    pub hardware: Be16,
    /// The kind of address, as an EtherType.
    pub protocol: Be16,
    /// The lengths of the addresses, in bytes: 6 and 4.
    pub lengths: Be16,
    /// What is said.
    pub operation: Be16,
    /// Who says it.
    pub sender_mac: Mac,
    /// The sender's IPv4 address.
    pub sender: [u8; 4],
    /// Nothing, in a request.
    pub target_mac: Mac,
    /// Whose link address is asked for.
    pub target: [u8; 4],
}

impl Arp {
    /// In [`Arp::operation`]: a question.
    pub const REQUEST: Be16 = Be16::new(1);
}
