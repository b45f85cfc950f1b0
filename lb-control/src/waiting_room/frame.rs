//! A frame that was held, and the datagram that it is a fragment of.

use bytemuck::Pod;
use lb_common::{
    address::{Address4, Address6},
    checksum::Sum,
    family::{Family, V4, V6},
    fragment::{FragmentKey, key},
    link::Link,
    packet::{MAX_OFFSET, Packet},
    parse::Parse,
    verdict::Reason,
};

/// A frame as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The interface that it came in by.
    pub interface: u32,
    /// From the link header on.
    pub bytes: Vec<u8>,
}

/// What tells the fragments of one datagram from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Datagram {
    /// Of IPv4.
    V4(FragmentKey<Address4>),
    /// Of IPv6.
    V6(FragmentKey<Address6>),
}

impl Frame {
    /// The datagram that it is a fragment of; `None` if it is no IP packet.
    #[must_use]
    pub fn datagram(&self) -> Option<Datagram> {
        let link = Link::parse(self).ok()?;
        if link.ethertype == V4::ETHERTYPE {
            datagram::<V4>(self, link).ok().map(Datagram::V4)
        } else if link.ethertype == V6::ETHERTYPE {
            datagram::<V6>(self, link).ok().map(Datagram::V6)
        } else {
            None
        }
    }
}

fn datagram<F: Parse>(frame: &Frame, link: Link) -> Result<FragmentKey<F::Address>, Reason> {
    let transport = F::transport(frame, link.length)?;
    key::<F, _>(frame, link, &transport)
}

/// It is only read. (An allocation starts at an even address, as headers have to.)
impl Packet for Frame {
    fn length(&self) -> usize {
        self.bytes.len()
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn header<H: Pod>(&self, at: usize) -> Option<&H> {
        let at = (at <= MAX_OFFSET).then_some(at)?;
        let bytes = self.bytes.get(at..at + size_of::<H>())?;
        bytemuck::try_from_bytes(bytes).ok()
    }

    fn header_mut<H: Pod>(&mut self, _at: usize) -> Option<&mut H> {
        None
    }

    fn push_front(&mut self, _bytes: usize) -> Option<()> {
        None
    }

    fn pop_front(&mut self, _bytes: usize) -> Option<()> {
        None
    }

    fn truncate(&mut self, _length: usize) -> Option<()> {
        None
    }

    fn sum(&self, _at: usize, _length: usize) -> Option<Sum> {
        None
    }
}
