//! A packet in memory: in tests, and where the daemon makes frames as the program does.

use bytemuck::Pod;

use crate::{
    checksum::Sum,
    packet::{MAX_OFFSET, MAX_SUM, MAX_SUM_OFFSET, Packet},
};

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
        Self::with_headroom(bytes, interface, HEADROOM)
    }

    /// As [`Self::new`], with so many bytes of room in front; an even number, for headers lie at even addresses.
    #[must_use]
    pub fn with_headroom(bytes: &[u8], interface: u32, headroom: usize) -> Self {
        let mut buffer = vec![0xaa; headroom];
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: headroom,
            interface,
        }
    }

    /// Its bytes as they are now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
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

    fn truncate(&mut self, length: usize) -> Option<()> {
        (length <= self.length()).then(|| self.buffer.truncate(self.start + length))
    }

    fn sum(&self, at: usize, length: usize) -> Option<Sum> {
        if length > MAX_SUM {
            return None;
        }
        let at = (at <= MAX_SUM_OFFSET).then_some(self.start + at)?;
        let bytes = self.buffer.get(at..at + length)?;
        Some(Sum::default().plus_bytes(bytes))
    }
}
