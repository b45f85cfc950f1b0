//! Hashes: that of Linux and IPVS, which everybody can foretell, and SipHash, which nobody can
//! without its key.

use crate::address::Address6;

/// An address as one number, as IPVS folds it: that of IPv4 itself, or the four words of IPv6 added
/// without carry.
#[must_use]
#[inline(always)]
pub const fn folded(address: &Address6) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.0;
    let last = u32::from_be_bytes([m, n, o, p]);
    if address.is_mapped() {
        return last;
    }
    u32::from_be_bytes([a, b, c, d])
        ^ u32::from_be_bytes([e, f, g, h])
        ^ u32::from_be_bytes([i, j, k, l])
        ^ last
}

/// `hash_32` to eight bits: times the golden ratio, of which the upper bits count.
#[must_use]
#[inline(always)]
pub const fn multiplied(number: u32) -> u32 {
    number.wrapping_mul(0x61c8_8647) >> 24
}

/// The keys of IPVS's mh (`generate_hash_secret`): both halves of the first are this number.
pub const MH_FIRST: u64 = 2_654_435_761;
/// As [`MH_FIRST`], of the second.
pub const MH_SECOND: u64 = 2_654_446_892;

/// `hsiphash_1u32` with a key whose halves are the same: SipHash-1-3 of four bytes, of which the lower
/// half counts.
#[must_use]
#[inline(always)]
pub const fn known(half: u64, number: u32) -> u32 {
    SipHash::<1, 3>::new([half, half]).finish(4, number as u64) as u32
}

/// SipHash-2-4 of an address, a port and a number that tells several hashes of both apart: sixteen,
/// two and four bytes, the latter with the lowest first.
#[must_use]
#[inline(always)]
pub fn keyed(secret: [u64; 2], address: &Address6, port: u16, number: u32) -> u64 {
    let [high, low] = address.to_halves();
    SipHash::<2, 4>::new(secret)
        .word(u64::from_le_bytes(high))
        .word(u64::from_le_bytes(low))
        .finish(22, u64::from(port) | (u64::from(number) << 16))
}

/// SipHash with `C` rounds for each word and `D` at the end (Aumasson and Bernstein: SipHash, a fast
/// short-input PRF, 2012).
#[derive(Debug, Clone, Copy)]
pub struct SipHash<const C: u32, const D: u32> {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl<const C: u32, const D: u32> SipHash<C, D> {
    /// Of nothing yet.
    #[must_use]
    #[inline(always)]
    pub const fn new([low, high]: [u64; 2]) -> Self {
        Self {
            a: low ^ 0x736f_6d65_7073_6575,
            b: high ^ 0x646f_7261_6e64_6f6d,
            c: low ^ 0x6c79_6765_6e65_7261,
            d: high ^ 0x7465_6462_7974_6573,
        }
    }

    /// With eight bytes more, the first of which are the lowest of `word`.
    #[must_use]
    #[inline(always)]
    pub const fn word(mut self, word: u64) -> Self {
        self.d ^= word;
        self = self.rounds(C);
        self.a ^= word;
        self
    }

    /// The hash of `length` bytes, of which up to seven are left: the lowest of `rest`.
    #[must_use]
    #[inline(always)]
    pub const fn finish(self, length: u8, rest: u64) -> u64 {
        let mut last = self.word(((length as u64) << 56) | rest);
        last.c ^= 0xff;
        let Self { a, b, c, d } = last.rounds(D);
        a ^ b ^ c ^ d
    }

    #[inline(always)]
    const fn rounds(mut self, count: u32) -> Self {
        let mut round = 0;
        while round < count {
            self = self.round();
            round += 1;
        }
        self
    }

    #[inline(always)]
    const fn round(self) -> Self {
        let Self { a, b, c, d } = self;
        let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
        let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
        let a = a.rotate_left(32);
        let (a, c) = (a.wrapping_add(d), c.wrapping_add(b));
        let (b, d) = (b.rotate_left(17) ^ c, d.rotate_left(21) ^ a);
        let c = c.rotate_left(32);
        Self { a, b, c, d }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hash::{DefaultHasher, Hasher},
        net::IpAddr,
    };

    use super::*;

    /// The hash of any bytes.
    fn of_bytes<const C: u32, const D: u32>(key: [u64; 2], bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let hash = words.fold(SipHash::<C, D>::new(key), SipHash::word);
        let rest = rest.iter().rev();
        let rest = rest.fold(0, |rest, byte| (rest << 8) | u64::from(*byte));
        hash.finish(bytes.len() as u8, rest)
    }

    #[test]
    fn siphash_2_4_is_that_of_its_paper() {
        // Key 00 01 … 0f, messages 00 01 … of each length. The paper's appendix has that of fifteen
        // bytes; the others are from the reference implementation's vectors_sip64.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let table: [(u8, u64); 8] = [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (2, 0x0d6c_8009_d9a9_4f5a),
            (3, 0x8567_6696_d7fb_7e2d),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (16, 0x3f2a_cc7f_57c2_9bdb),
        ];
        for (length, expected) in table {
            let message: Vec<u8> = (0..length).collect();
            assert_eq!(of_bytes::<2, 4>(key, &message), expected, "{length} bytes");
        }
    }

    #[test]
    fn siphash_1_3_is_that_of_the_standard_library() {
        // Its `DefaultHasher` is SipHash-1-3 with the key zero.
        for length in 0..40 {
            let message: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(37)).collect();
            let mut standard = DefaultHasher::new();
            standard.write(&message);
            assert_eq!(
                of_bytes::<1, 3>([0; 2], &message),
                standard.finish(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn the_keyed_hash_is_of_twenty_two_bytes() {
        let secret = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
        let address = Address6(core::array::from_fn(|at| at as u8 + 1));
        let mut message: Vec<u8> = (1..=16).collect();
        message.extend([0x34, 0x12, 0x98, 0xba, 0xdc, 0xfe]);
        assert_eq!(
            keyed(secret, &address, 0x1234, 0xfedc_ba98),
            of_bytes::<2, 4>(secret, &message)
        );
    }

    #[test]
    fn addresses_are_folded_and_multiplied_as_by_ipvs() {
        // The folded address, and its product with 0x61c88647 modulo 2^32 divided by 2^24; each
        // worked with a calculator.
        let table = [
            ("0.0.0.0", 0, 0x00),
            ("0.0.0.1", 1, 0x61), // 0x61c88647
            ("0.0.0.2", 2, 0xc3), // 0xc3910c8e
            ("0.0.0.3", 3, 0x25), // 0x1_255992d5
            ("10.0.0.1", 0x0a00_0001, 0x27),
            ("192.0.2.1", 0xc000_0201, 0x32),
            ("255.255.255.255", 0xffff_ffff, 0x9e), // -0x61c88647 = 0x9e3779b9
            ("::1", 1, 0x61),
            ("0:1::", 1, 0x61),
            ("::1:0:0", 1, 0x61),
            ("0:1::1", 0, 0x00),
            ("0:1::2", 3, 0x25),
            ("2001:db8::1", 0x2001_0db9, 0x3f),
        ];
        for (address, number, product) in table {
            let parsed: IpAddr = address.parse().expect("an address");
            let found = folded(&parsed.into());
            assert_eq!((found, multiplied(found)), (number, product), "{address}");
        }
    }
}
