//! Addresses as they are kept in maps: aligned, so that they are compared and copied by words.

use bytemuck::{Pod, Zeroable};

/// An IPv4 address, in network byte order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C, align(4))]
pub struct Address4(pub [u8; 4]);

/// An IPv6 address, in network byte order. It also stands for an IPv4 address, which is mapped into
/// it (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2): the form in which services and real servers are kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct Address6(pub [u8; 16]);

impl Address4 {
    /// The same address as one of IPv6.
    #[must_use]
    #[inline(always)]
    pub const fn mapped(self) -> Address6 {
        let Self([a, b, c, d]) = self;
        Address6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }
}

impl Address6 {
    /// Whether it stands for an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
    }

    /// The IPv4 address that it stands for.
    #[must_use]
    #[inline(always)]
    pub const fn unmapped(&self) -> Address4 {
        let [.., a, b, c, d] = self.0;
        Address4([a, b, c, d])
    }

    /// The address of its two halves. LLVM copies eight bytes as one word and sixteen one by one,
    /// which is why headers have halves.
    #[must_use]
    #[inline(always)]
    pub fn from_halves([high, low]: [[u8; 8]; 2]) -> Self {
        let words = [u64::from_ne_bytes(high), u64::from_ne_bytes(low)];
        bytemuck::cast(words)
    }

    /// Its two halves, as they stand in a header.
    #[must_use]
    #[inline(always)]
    pub fn to_halves(self) -> [[u8; 8]; 2] {
        let [high, low]: [u64; 2] = bytemuck::cast(self);
        [high.to_ne_bytes(), low.to_ne_bytes()]
    }
}

impl From<core::net::IpAddr> for Address6 {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(address) => Address4(address.octets()).mapped(),
            core::net::IpAddr::V6(address) => Self(address.octets()),
        }
    }
}

impl From<Address6> for core::net::IpAddr {
    fn from(address: Address6) -> Self {
        if address.is_mapped() {
            Self::from(address.unmapped().0)
        } else {
            Self::from(address.0)
        }
    }
}
