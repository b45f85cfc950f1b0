//! The other side of the seam: packets in a `Vec`, tables in collections, time in a cell.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that is given nonsense has failed"
)]

mod builder;
mod tables;
mod verify;

pub use builder::{PacketBuilder, tcp, udp};
pub use tables::{HostTables, mac};
pub use verify::checksums;

use bytemuck::Pod;

use crate::packet::Packet;

/// Room in front of a packet, in bytes: `XDP_PACKET_HEADROOM`.
pub const HEADROOM: usize = 256;

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
}

impl Packet for HostPacket {
    fn length(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn header<H: Pod>(&self, at: usize) -> Option<&H> {
        let at = self.start + at;
        self.buffer
            .get(at..at + size_of::<H>())
            .map(bytemuck::from_bytes)
    }

    fn header_mut<H: Pod>(&mut self, at: usize) -> Option<&mut H> {
        let at = self.start + at;
        self.buffer
            .get_mut(at..at + size_of::<H>())
            .map(bytemuck::from_bytes_mut)
    }

    fn push_front(&mut self, bytes: usize) -> Option<()> {
        self.start = self.start.checked_sub(bytes)?;
        Some(())
    }

    fn pop_front(&mut self, bytes: usize) -> Option<()> {
        (bytes <= self.length()).then(|| self.start += bytes)
    }
}
