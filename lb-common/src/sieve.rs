//! Which addresses may be anything to the balancer: a set of bits that is asked before any table, so that
//! packets of others cost next to nothing (Bloom, Space/time trade-offs in hash coding with allowable
//! errors, 1970). Both bits of an address are in one word, so that one load tells (Putze, Sanders and
//! Singler, Cache-, hash- and space-efficient Bloom filters, 2007).

use crate::{address::Address6, hash::folded};

/// Number of words. 64 KiB stay in the second-level cache, and with 10,000 addresses of ours leave all but
/// one or two in a thousand of others aside.
pub const WORDS: u32 = 1 << 13;

/// The word of an address, below [`WORDS`], and its bits in there.
#[must_use]
#[inline(always)]
pub const fn place(address: &Address6) -> (u32, u64) {
    // The golden ratio, as a fraction of 2^64; the upper bits of the product are the good ones.
    let hash = (folded(address) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = 1 << (hash >> 45 & 63) | 1 << (hash >> 39 & 63);
    ((hash >> 51) as u32, bits)
}

/// Whether a word has all bits of an address.
#[must_use]
#[inline(always)]
pub const fn has(word: u64, bits: u64) -> bool {
    word & bits == bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{Address4, Address6},
        testing::Lot,
    };

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
                .all(|(word, bits)| *word < WORDS && (1..=2).contains(&bits.count_ones()))
        );
        places.sort_unstable();
        places.dedup();
        assert!(places.len() > 60_000, "{} places", places.len());
    }

    #[test]
    fn few_of_others_pass() {
        let mut words = vec![0; WORDS as usize];
        let mut lot = Lot::new(1);
        let mut address = || Address4((lot.draw() as u32).to_ne_bytes()).mapped();
        for _ in 0..10_000 {
            let (word, bits) = place(&address());
            words[word as usize] |= bits;
        }
        let passed = (0..1_000_000).filter(|_| {
            let (word, bits) = place(&address());
            has(words[word as usize], bits)
        });
        let passed = passed.count();
        assert!((500..4_000).contains(&passed), "{passed} of a million");
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
