//! Small tables: numbers below sixteen, four bits each, in one word.

/// Up to sixteen numbers below sixteen. Looking one up is a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nibbles(u64);

impl Nibbles {
    /// The table of `numbers`, each below sixteen. What is not given is zero.
    #[must_use]
    #[inline(always)]
    pub const fn new<const N: usize>(numbers: [u8; N]) -> Self {
        const { assert!(N <= 16, "sixteen times four bits are a word") };
        let mut packed = 0;
        let mut at = 0;
        while at < N {
            packed |= (numbers[at] as u64 & 0xf) << (at * 4);
            at += 1;
        }
        Self(packed)
    }

    /// The number at `at`, of which only the lowest four bits count.
    #[must_use]
    #[inline(always)]
    pub const fn at(self, at: u32) -> u8 {
        (self.0 >> ((at & 0xf) * 4)) as u8 & 0xf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_were_put() {
        let table = Nibbles::new([15, 0, 1, 7, 8, 14]);
        let expected = [15, 0, 1, 7, 8, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0];
        for (at, number) in expected.into_iter().enumerate() {
            assert_eq!(table.at(at as u32), number, "at {at}");
        }
    }
}
