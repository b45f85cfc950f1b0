//! The other side of the seam: packets in a `Vec`, tables in collections, time in a cell.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that is given nonsense has failed"
)]

mod builder;
mod site;
mod table;
mod tables;
mod verify;

pub use builder::{PacketBuilder, tcp, udp};
pub use site::{
    BACK, CLOSED, FRONT, FRONT_VLAN, FRONT_VLAN_ID, PROTOCOLS, Site, server, service_key,
};
pub use table::{Case, table};
pub use tables::{HostEntry, HostFlows, HostTables, mac};
pub use verify::checksums;

use bytemuck::{Pod, Zeroable};

use crate::{
    family::{Family, V4, V6},
    link::Link,
    packet::{MAX_OFFSET, Packet},
    pipeline,
    room::Room,
    verdict::{Reason, Verdict},
};

/// Room in front of a packet, in bytes: `XDP_PACKET_HEADROOM`.
pub const HEADROOM: usize = 256;

/// What becomes of a packet of either family: what the entry point in the kernel does.
///
/// # Errors
/// Why it is not steered.
pub fn balance(packet: &mut HostPacket, tables: &HostTables) -> Result<Verdict, Reason> {
    let link = Link::parse(packet)?;
    if link.ethertype == V4::ETHERTYPE {
        pipeline::process::<V4, _, _>(packet, tables, &mut Room::zeroed(), link)
    } else if link.ethertype == V6::ETHERTYPE {
        pipeline::process::<V6, _, _>(packet, tables, &mut Room::zeroed(), link)
    } else {
        Ok(Verdict::Pass)
    }
}

/// A packet in memory, with room in front as a driver leaves it.
#[derive(Debug, Clone)]
pub struct HostPacket {
    buffer: Vec<u8>,
    start: usize,
    interface: u32,
}

impl HostPacket {
    /// The packet with these bytes, received by `interface`.
    #[must_use]
    pub fn new(bytes: &[u8], interface: u32) -> Self {
        let mut buffer = vec![0xaa; HEADROOM];
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
            interface,
        }
    }

    /// Its bytes as they are now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn locate(&self, at: usize) -> Option<usize> {
        (at <= MAX_OFFSET).then_some(self.start + at)
    }
}

impl Packet for HostPacket {
    fn length(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn header<H: Pod>(&self, at: usize) -> Option<&H> {
        let at = self.locate(at)?;
        self.buffer
            .get(at..at + size_of::<H>())
            .and_then(|bytes| bytemuck::try_from_bytes(bytes).ok())
    }

    fn header_mut<H: Pod>(&mut self, at: usize) -> Option<&mut H> {
        let at = self.locate(at)?;
        self.buffer
            .get_mut(at..at + size_of::<H>())
            .and_then(|bytes| bytemuck::try_from_bytes_mut(bytes).ok())
    }

    fn push_front(&mut self, bytes: usize) -> Option<()> {
        self.start = self.start.checked_sub(bytes)?;
        Some(())
    }

    fn pop_front(&mut self, bytes: usize) -> Option<()> {
        (bytes <= self.length()).then(|| self.start += bytes)
    }
}
