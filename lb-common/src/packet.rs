//! What the pipeline asks of a packet.

use bytemuck::Pod;

/// Headers start no further into the packet than this, in bytes. The kernel's verifier needs a
/// constant bound for every offset.
pub const MAX_OFFSET: usize = 511;

/// A packet whose headers can be borrowed, one bounds check each.
///
/// A header is borrowed from `&self` or `&mut self`, so that the borrow checker refuses a header
/// that is used after [`Packet::push_front`] or [`Packet::pop_front`] moved the packet: in the
/// kernel every packet pointer dies there.
pub trait Packet {
    /// Number of bytes, from the link header on.
    fn length(&self) -> usize;

    /// The interface that received it.
    fn interface(&self) -> u32;

    /// The header at byte `at`, or nothing if the packet ends before the header does or it
    /// starts behind [`MAX_OFFSET`].
    fn header<H: Pod>(&self, at: usize) -> Option<&H>;

    /// As [`Packet::header`], to be changed.
    fn header_mut<H: Pod>(&mut self, at: usize) -> Option<&mut H>;

    /// Makes room for `bytes` bytes of any content at the front; nothing happens if there is none.
    fn push_front(&mut self, bytes: usize) -> Option<()>;

    /// Takes `bytes` bytes away from the front.
    fn pop_front(&mut self, bytes: usize) -> Option<()>;
}
