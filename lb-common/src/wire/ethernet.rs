//! Ethernet and the VLAN tag of IEEE 802.1Q.

use bytemuck::{Pod, Zeroable};

use super::Be16;

/// A MAC address.
pub type Mac = [u8; 6];

/// In the first byte of a [`Mac`]: not one station, but a group or all of them.
pub const GROUP: u8 = 0x01;

/// EtherTypes that the data plane knows.
pub mod ethertype {
    use super::Be16;

    /// IPv4.
    pub const IPV4: Be16 = Be16::new(0x0800);
    /// ARP.
    pub const ARP: Be16 = Be16::new(0x0806);
    /// IPv6.
    pub const IPV6: Be16 = Be16::new(0x86dd);
    /// A customer VLAN tag follows (802.1Q).
    pub const VLAN: Be16 = Be16::new(0x8100);
}

/// An Ethernet header, 14 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Ethernet {
    /// Who gets the frame.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// What follows.
    pub ethertype: Be16,
}

/// A VLAN tag behind the EtherType that announces it, 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1 bit), VLAN id (12 bits).
    pub control: Be16,
    /// What follows.
    pub ethertype: Be16,
}
