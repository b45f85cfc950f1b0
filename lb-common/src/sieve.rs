//! Which addresses may be anything to the balancer: a set of bits that is asked before any table, so that
//! packets of others cost next to nothing (Bloom, Space/time trade-offs in hash coding with allowable
//! errors, 1970, with one hash).

use crate::{address::Address6, hash::folded};

/// Number of words. Half a million bits are 64 KiB, which stay in the second-level cache, and with 10,000
/// addresses of ours leave all but one in fifty of others aside.
pub const WORDS: u32 = 1 << (BITS - 6);
/// How many bits of a hash count.
const BITS: u32 = 19;

/// The word of an address, below [`WORDS`], and its bit in there.
#[must_use]
#[inline(always)]
pub const fn place(address: &Address6) -> (u32, u64) {
    // The golden ratio, as a fraction of 2^32; the upper bits of the product are the good ones.
    let hash = folded(address).wrapping_mul(0x9e37_79b1) >> (32 - BITS);
    (hash >> 6, 1 << (hash & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Address4, Address6};

    #[test]
    fn neighbours_are_spread() {
        let mut places: Vec<_> = (0..=u16::MAX)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                place(&Address4([10, 0, high, low]).mapped())
            })
            .collect();
        assert!(
            places
                .iter()
                .all(|(word, bit)| *word < WORDS && bit.is_power_of_two())
        );
        places.sort_unstable();
        places.dedup();
        assert!(places.len() > 60_000, "{} places", places.len());
    }

    #[test]
    fn all_of_an_address_counts() {
        let first = place(&Address6([0xfd; 16]));
        for byte in 0..16 {
            let mut other = [0xfd; 16];
            other[byte] ^= 1;
            assert_ne!(place(&Address6(other)), first, "byte {byte}");
        }
    }
}
