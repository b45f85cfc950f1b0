//! How packets are made for measurements: what `cargo xtask bench` tells its driver in the kernel.

use bytemuck::{Pod, Zeroable};

use crate::{checksum::Checksum, wire::Be16};

/// A frame, and which of its words change from one packet to the next. Offsets are counted in words of 16
/// bits from the frame's start.
///
/// Each packet has a number. Of it follow the client, which is another one for each number below
/// [`Recipe::CLIENTS`], and the lane, which is the number modulo [`Recipe::lanes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Recipe {
    /// The frame of client 0 in lane 0, or what it begins with: nothing but zeros follows.
    pub frame: [Be16; Recipe::WORDS],
    /// How long the frame is, in bytes from the Ethernet header on; no fewer than [`Recipe::SHORTEST`]. Of
    /// one that is shorter than [`Recipe::LENGTH`] no more than that is written.
    pub length: u32,
    /// Where the last four bytes of the client's address are.
    pub client_at: u32,
    /// What they are for client 0; the lower 17 bits are zero.
    pub client: u32,
    /// Where the client's port is. That of client 0 is [`Recipe::FIRST_PORT`].
    pub port_at: u32,
    /// Where the last four bytes of the other end's address are.
    pub lane_at: u32,
    /// What they are in lane 0.
    pub lane: u32,
    /// How many lanes there are: services, mostly.
    pub lanes: u32,
    /// Where the checksum of the IPv4 header is; [`Recipe::WORDS`] if there is none.
    pub header_checksum_at: u32,
    /// Where the checksum of TCP or UDP is.
    pub checksum_at: u32,
    /// What the first is in `frame`.
    pub header_checksum: Checksum,
    /// What the second is there.
    pub checksum: Checksum,
    /// The number of the first packet.
    pub first: u32,
    /// How many numbers there are, less one. How many there are is a power of two.
    pub mask: u32,
    /// Not zero: they are drawn by lot; else they come in their order, and from the first again.
    pub is_random: u32,
    /// Which of the programs gets the packet: see [`Target`]. Where packets are led into an interface, its
    /// number.
    pub target: u32,
}

impl Recipe {
    /// The ordinary length of a frame, in bytes: all headers of TCP over IPv6, and a little more.
    pub const LENGTH: usize = 96;
    /// The shortest frame: all headers of UDP over IPv6, and two bytes more.
    pub const SHORTEST: usize = 64;
    /// The ordinary length in words.
    pub const WORDS: usize = Self::LENGTH / 2;
    /// How many clients there are: 2^17 addresses, as many as the networks for measurements have (RFC
    /// 2544), with 2^14 ports each.
    pub const CLIENTS: u32 = 1 << 31;
    /// The first of a client's ports; the lower 14 bits are zero.
    pub const FIRST_PORT: u16 = 0xc000;

    /// What tells a client from client 0: bits of the address, and bits of the port. Numbers that follow
    /// each other are far apart.
    #[must_use]
    #[inline(always)]
    pub const fn client(number: u32) -> (u32, u16) {
        // Odd, so that no two numbers below 2^31 have the same product modulo 2^31.
        let spread = number.wrapping_mul(0x9e37_79b1);
        (spread & 0x1_ffff, (spread >> 17 & 0x3fff) as u16)
    }
}

/// Who gets the packets that the driver makes: places in its map `targets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Target {
    /// A program that sends every packet back at once.
    Bare = 0,
    /// The balancer.
    Balancer = 1,
}

/// How far the driver is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Progress {
    /// How many packets it made in their order.
    pub made: u32,
    /// The last random number; not zero.
    pub random: u32,
}

#[cfg(feature = "user")]
mod user {
    use super::{Progress, Recipe};

    // SAFETY: the type is `bytemuck::Pod`, which promises more than `aya::Pod` asks.
    unsafe impl aya::Pod for Recipe {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Progress {}
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_is_a_client_of_its_own() {
        let numbers = (0..100_000).chain(Recipe::CLIENTS - 1_000..Recipe::CLIENTS);
        let clients: BTreeSet<_> = numbers.clone().map(Recipe::client).collect();
        assert_eq!(clients.len(), numbers.count());
        assert_eq!(Recipe::client(0), (0, 0));
    }
}
