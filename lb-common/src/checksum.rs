//! The internet checksum (RFC 1071) and its incremental update (RFC 1624).

use bytemuck::{Pod, Zeroable};

use crate::wire::Be16;

/// A checksum field of IPv4, TCP or UDP.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Checksum(pub Be16);

impl Checksum {
    /// Brings the field up to date with a [`Sum`] of what was taken away and what was added:
    /// `HC' = ~(~HC + ~m + m')` of RFC 1624.
    #[inline(always)]
    pub fn apply(&mut self, change: Sum) {
        *self = change.minus(self).checksum();
    }

    /// Brings the field up to date where a word has become less by `loss`, without borrowing from
    /// another: RFC 1141 §2, but for the sum that RFC 1624 §3 tells of, which is zero. A field that was
    /// right is right afterwards.
    #[inline(always)]
    pub const fn gain(&mut self, loss: Be16) {
        let sum = self.0.native() as u32 + loss.native() as u32;
        let carry = (sum >= 0xffff) as u32;
        self.0 = Be16::from_native((sum + carry) as u16);
    }

    /// As [`Self::apply`] for UDP, where zero means "there is none" and stays, and a computed
    /// zero is written as `0xffff` (RFC 768).
    #[inline(always)]
    pub fn apply_udp(&mut self, change: Sum) {
        if self.0.get() == 0 {
            return;
        }
        self.apply(change);
        *self = self.for_udp();
    }

    /// As it stands in a UDP header, where zero means that there is none.
    #[must_use]
    #[inline(always)]
    pub const fn for_udp(self) -> Self {
        if self.0.get() == 0 {
            return Self(Be16::new(0xffff));
        }
        self
    }
}

/// A one's complement sum that has not been folded yet. Words are added in the machine's byte
/// order and by 32 bits: RFC 1071 §2 shows that neither changes the result once it is folded and
/// stored in the same order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds a value of an even number of bytes.
    #[must_use]
    #[inline(always)]
    pub fn plus<T: Pod>(self, value: &T) -> Self {
        self.with(value, |word| word, |word| word)
    }

    /// Adds any bytes, an odd last one followed by a zero. They start at an even place of what is summed up.
    #[cfg(any(test, feature = "testing", feature = "user"))]
    #[must_use]
    pub fn plus_bytes(self, bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(2);
        let sum = (&mut words).fold(self, |sum, pair| match *pair {
            [a, b] => sum.plus(&[a, b]),
            _ => sum,
        });
        match *words.remainder() {
            [last] => sum.plus(&[last, 0]),
            _ => sum,
        }
    }

    /// Takes a value of an even number of bytes away.
    #[must_use]
    #[inline(always)]
    pub fn minus<T: Pod>(self, value: &T) -> Self {
        self.with(value, |word| !word, |word| !word)
    }

    /// Both sums as one. Each was made of values of an even number of bytes.
    #[must_use]
    #[inline(always)]
    pub const fn joined(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// As a number, to be handed from one function of the kernel's program to another.
    #[must_use]
    #[inline(always)]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The sum that [`Self::raw`] made this number of.
    #[must_use]
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    #[inline(always)]
    fn with<T: Pod>(
        mut self,
        value: &T,
        long: impl Fn(u32) -> u32,
        short: impl Fn(u16) -> u16,
    ) -> Self {
        const {
            assert!(
                size_of::<T>().is_multiple_of(2),
                "the sum is one of 16-bit words"
            )
        };
        let mut words = bytemuck::bytes_of(value).chunks_exact(4);
        for word in &mut words {
            if let &[a, b, c, d] = word {
                self.0 += u64::from(long(u32::from_ne_bytes([a, b, c, d])));
            }
        }
        if let &[a, b] = words.remainder() {
            self.0 += u64::from(short(u16::from_ne_bytes([a, b])));
        }
        self
    }

    /// The complement of the folded sum, as it stands in a header.
    #[must_use]
    #[inline(always)]
    pub const fn checksum(self) -> Checksum {
        // The upper half of what a number and its halves exchanged add up to is the sum of both
        // halves, with what was carried: a third less to do than by adding halves again and again.
        let sum = self.0.wrapping_add(self.0.rotate_left(32)) >> 32;
        let sum = sum as u32;
        let sum = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        Checksum(Be16::from_native(!(sum as u16)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 header with its right checksum 0xb861 in place.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    #[test]
    fn a_known_header_sums_to_its_checksum() {
        let mut blank = HEADER;
        blank[10] = 0;
        blank[11] = 0;
        assert_eq!(
            Sum::default().plus(&blank).checksum(),
            Checksum(Be16::new(0xb861))
        );
        assert_eq!(
            Sum::default().plus(&HEADER).checksum(),
            Checksum(Be16::new(0))
        );
    }

    #[test]
    fn an_update_gives_what_a_new_computation_gives() {
        // Every word value against a few others is cheap enough to try all.
        for old in 0..=u16::MAX {
            for new in [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, old.rotate_left(5)] {
                let rest = Be16::new(0x1234);
                let mut updated = Sum::default().plus(&rest).plus(&Be16::new(old)).checksum();
                updated.apply(Sum::default().minus(&Be16::new(old)).plus(&Be16::new(new)));
                let computed = Sum::default().plus(&rest).plus(&Be16::new(new)).checksum();
                assert_eq!(updated, computed, "{old:#06x} to {new:#06x}");
            }
        }
    }

    #[test]
    fn a_hop_less_gives_what_a_new_computation_gives() {
        for rest in 0..=u16::MAX {
            for ttl in [1, 2, 0x40, 0x80, 0xff] {
                // A header is never all zeros: there is the version.
                let sum = Sum::default()
                    .plus(&Be16::new(0x4500))
                    .plus(&Be16::new(rest));
                let mut updated = sum.plus(&[ttl, 6]).checksum();
                updated.gain(Be16::new(0x0100));
                assert_eq!(
                    updated,
                    sum.plus(&[ttl - 1, 6]).checksum(),
                    "{rest:#06x}, {ttl}"
                );
            }
        }
    }

    #[test]
    fn sums_of_all_sizes_are_folded() {
        // Worked by adding halves until nothing is carried.
        for raw in [
            0,
            1,
            0xffff,
            0x1_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0xffff_0000_ffff,
            u64::MAX >> 1,
            0x1234_5678_9abc_def0,
        ] {
            let mut sum = raw;
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            let expected = Checksum(Be16::from_native(!(sum as u16)));
            assert_eq!(Sum::from_raw(raw).checksum(), expected, "{raw:#x}");
        }
    }

    #[test]
    fn udp_keeps_no_checksum_and_never_computes_it_to_zero() {
        let mut none = Checksum(Be16::new(0));
        none.apply_udp(Sum::default().plus(&Be16::new(7)));
        assert_eq!(none, Checksum(Be16::new(0)));

        let word = Be16::new(0x00ff);
        let mut checksum = Sum::default().plus(&word).checksum();
        checksum.apply_udp(Sum::default().minus(&word).plus(&Be16::new(0xffff)));
        assert_eq!(checksum, Checksum(Be16::new(0xffff)));
    }
}
