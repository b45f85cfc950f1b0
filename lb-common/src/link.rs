//! The link header: Ethernet with at most one VLAN tag, read on arrival and written on departure.

use crate::{
    maps::NextHop,
    packet::Packet,
    verdict::{Reason, Verdict},
    wire::{
        Be16,
        ethernet::{Ethernet, VlanTag, ethertype},
    },
};

/// The VLAN id in the control field of a tag.
const VLAN_ID: u16 = 0x0fff;

/// The link header of a frame that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The VLAN tag's control field; zero without a tag.
    pub vlan: u16,
    /// What follows.
    pub ethertype: Be16,
    /// Length in bytes: where the network header starts.
    pub length: usize,
}

impl Link {
    /// Reads the link header.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if the frame is shorter.
    #[inline(always)]
    pub fn parse<P: Packet>(packet: &P) -> Result<Self, Reason> {
        let ethernet: &Ethernet = packet.header(0).ok_or(Reason::Malformed)?;
        let link = Self {
            vlan: 0,
            ethertype: ethernet.ethertype,
            length: size_of::<Ethernet>(),
        };
        if link.ethertype != ethertype::VLAN {
            return Ok(link);
        }
        let tag: &VlanTag = packet.header(link.length).ok_or(Reason::Malformed)?;
        Ok(Self {
            vlan: tag.control.get(),
            ethertype: tag.ethertype,
            length: link.length + size_of::<VlanTag>(),
        })
    }

    /// The way back to who sent the frame.
    #[inline(always)]
    pub fn way_back<P: Packet>(&self, packet: &P) -> Option<NextHop> {
        let ethernet: &Ethernet = packet.header(0)?;
        Some(NextHop {
            interface: packet.interface(),
            vlan: self.vlan & VLAN_ID,
            mac: ethernet.source,
            source_mac: ethernet.destination,
            mtu: 0,
        })
    }

    /// Turns this link header round, back to who sent the frame, and moves it ahead to leave `room`
    /// bytes of any content behind it. The VLAN tag is kept.
    ///
    /// Gives the offset of what follows the link header.
    ///
    /// # Errors
    /// [`Reason::NoHeadroom`] if the frame cannot grow; it is unchanged then.
    #[inline(always)]
    pub fn turn_round<P: Packet>(&self, packet: &mut P, room: usize) -> Result<usize, Reason> {
        let before: Ethernet = *packet.header(0).ok_or(Reason::Malformed)?;
        if room > 0 {
            packet.push_front(room).ok_or(Reason::NoHeadroom)?;
        }
        *packet.header_mut(0).ok_or(Reason::NoHeadroom)? = Ethernet {
            destination: before.source,
            source: before.destination,
            ethertype: before.ethertype,
        };
        if room > 0 && self.length > size_of::<Ethernet>() {
            *packet
                .header_mut(size_of::<Ethernet>())
                .ok_or(Reason::NoHeadroom)? = VlanTag {
                control: Be16::new(self.vlan),
                ethertype: self.ethertype,
            };
        }
        Ok(self.length)
    }

    /// Replaces this link header by that of `hop`, with `room` bytes of any content behind it for
    /// an outer header. The packet is moved at most once, and not at all in the usual case.
    ///
    /// Gives the offset of what follows the new link header.
    ///
    /// # Errors
    /// [`Reason::NoHeadroom`] if the frame cannot grow.
    #[inline(always)]
    pub fn replace<P: Packet>(
        &self,
        packet: &mut P,
        hop: &NextHop,
        ethertype: Be16,
        room: usize,
    ) -> Result<usize, Reason> {
        let tagged = hop.vlan != 0;
        let length = size_of::<Ethernet>() + if tagged { size_of::<VlanTag>() } else { 0 };
        let wanted = length + room;
        if wanted > self.length {
            packet
                .push_front(wanted - self.length)
                .ok_or(Reason::NoHeadroom)?;
        } else if wanted < self.length {
            packet
                .pop_front(self.length - wanted)
                .ok_or(Reason::Malformed)?;
        }
        *packet.header_mut(0).ok_or(Reason::Malformed)? = Ethernet {
            destination: hop.mac,
            source: hop.source_mac,
            ethertype: if tagged { ethertype::VLAN } else { ethertype },
        };
        if tagged {
            // The priority that the frame came with is kept.
            let control = (self.vlan & !VLAN_ID) | (hop.vlan & VLAN_ID);
            *packet
                .header_mut(size_of::<Ethernet>())
                .ok_or(Reason::Malformed)? = VlanTag {
                control: Be16::new(control),
                ethertype,
            };
        }
        Ok(length)
    }
}

/// Out by the interface of `hop`.
#[inline(always)]
pub fn departure<P: Packet>(packet: &P, hop: &NextHop) -> Verdict {
    if hop.interface == packet.interface() {
        Verdict::Transmit
    } else {
        Verdict::Redirect(hop.interface)
    }
}
