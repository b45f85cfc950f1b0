//! What the pipeline asks of a packet.

use bytemuck::Pod;

use crate::{
    checksum::Sum,
    parse::{self, Walk},
    wire::ipv4::Ipv4,
};

/// Headers start no further into the packet than this, in bytes. The kernel's verifier needs a
/// constant bound for every offset.
pub const MAX_OFFSET: usize = 511;

/// No more bytes than this are summed up at once, for the same reason: the largest quote of an
/// ICMPv6 error, and a little more.
pub const MAX_SUM: usize = 1280;

/// What is summed up starts no further into the packet than this: further than the last of the
/// parts of [`MAX_SUM`] bytes that a jumbo frame is cut into.
pub const MAX_SUM_OFFSET: usize = 9215;

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

    /// The byte at `at`, where what comes before it has a length that the packet tells. In the
    /// kernel that is a function of its own: Linux 6.1 forgets bounds of numbers that it has to
    /// put aside.
    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.header::<u8>(at).copied()
    }

    /// Looks through IPv6 extension headers: [`parse::walk`]. In the kernel that is a function of
    /// its own, so that packets without them have nothing to do with it.
    #[inline(always)]
    fn walk(&self, at: usize, protocol: u8) -> Walk {
        parse::walk(self, at, protocol)
    }

    /// The sum over an IPv4 header without options that starts at byte `at`. In the kernel its words are
    /// read as such, wherever they lie; the compiler would put each together from halves.
    #[inline(always)]
    fn sum_ipv4(&self, at: usize) -> Option<Sum> {
        self.header::<Ipv4>(at)
            .map(|header| Sum::default().plus(header))
    }

    /// Makes room for `bytes` bytes of any content at the front; nothing happens if there is none.
    fn push_front(&mut self, bytes: usize) -> Option<()>;

    /// Takes `bytes` bytes away from the front.
    fn pop_front(&mut self, bytes: usize) -> Option<()>;

    /// Cuts the packet off behind its first `length` bytes; nothing happens if it is shorter.
    fn truncate(&mut self, length: usize) -> Option<()>;

    /// The sum over `length` bytes from byte `at` on, an odd last byte followed by a zero; nothing
    /// if the packet ends before, or [`MAX_SUM_OFFSET`] or [`MAX_SUM`] is exceeded.
    fn sum(&self, at: usize, length: usize) -> Option<Sum>;
}
