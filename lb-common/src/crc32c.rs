//! The checksum of SCTP (RFC 9260 appendix A), brought up to date when ports change.
//!
//! A CRC is a remainder: bits of the packet are the coefficients of a polynomial over GF(2), which
//! is divided by that of CRC32c. So it is linear. The change of the checksum is the checksum of the
//! change, which is the changed ports and zeros behind them, and a zero byte behind is one
//! multiplication by x^8. Nobody has to look at the rest of the packet.
//!
//! As everywhere with this CRC, bits are reflected: the highest bit of a word is the coefficient of
//! the lowest power.

use bytemuck::{Pod, Zeroable};

use crate::wire::Ports;

/// The checksum field of SCTP. It has the lowest byte first.
///
/// Zero is a checksum like any other: the zero of RFC 9653 that says "none was made" travels inside
/// DTLS only.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Crc32c(pub [u8; 4]);

impl Crc32c {
    /// Brings the field up to date: `old` ports were replaced by `new` ones, and `behind` bytes
    /// follow the ports up to the end of the packet, this field among them.
    ///
    /// A checksum that was wrong stays wrong.
    #[inline(always)]
    pub fn update(&mut self, old: Ports, new: Ports, behind: u16) {
        let change = word(old) ^ word(new);
        let checksum = u32::from_le_bytes(self.0) ^ moved(change, behind);
        self.0 = checksum.to_le_bytes();
    }
}

/// Ports as the four bytes that they are, in the order in which the CRC takes them.
#[inline(always)]
fn word(ports: Ports) -> u32 {
    let [a, b] = ports.source.bytes();
    let [c, d] = ports.destination.bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The checksum of `change` with `behind` zero bytes behind it, without the ones that a CRC starts
/// and ends with: a multiplication by a power of x, by the lower byte of `behind` and by the upper.
#[inline(always)]
const fn moved(change: u32, behind: u16) -> u32 {
    let [upper, lower] = behind.to_be_bytes();
    // Looked up in memory: what selects by masks is made into branches and spilled registers by
    // LLVM.
    let change = times(change, BYTES[lower as usize]);
    times(change, PAGES[upper as usize])
}

/// All powers for one byte. No index can fail.
type Powers = [u32; 256];

/// x^(8n), after x^32 for the ports' own bits.
const BYTES: &Powers = &powers(POLYNOMIAL, X8);
/// x^(8·256n). The ports' bits are four of the 256 bytes.
const PAGES: &Powers = &powers(ONE, BYTES[256 - 4]);

/// `first` times the powers of `base`, from the zeroth on.
const fn powers(first: u32, base: u32) -> Powers {
    let mut powers = [first; 256];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = times(powers[at - 1], base);
        at += 1;
    }
    powers
}

/// x^32 is this, modulo the polynomial of CRC32c (Castagnoli).
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 0x8000_0000;
const X8: u32 = ONE >> 8;
/// Times the polynomial with its x^32, as the lowest bit, it is 1.
const INVERSE: u32 = inverse((POLYNOMIAL << 1) | 1);

/// The product of `a` and `b` modulo the polynomial.
///
/// The remainder needs no division (Barrett): the multiple of the polynomial with the same upper
/// half of coefficients, which is the lower half of the bits, is taken away.
#[inline(always)]
const fn times(a: u32, b: u32) -> u32 {
    // A product of reflected words lacks one bit at the bottom.
    let product = carryless(a, b) << 1;
    let quotient = carryless(product as u32, INVERSE) as u32;
    let multiple = carryless(quotient, POLYNOMIAL) << 1;
    ((product ^ multiple) >> 32) as u32
}

/// The product of `a` and `b` as polynomials over GF(2): multiplication without carry.
///
/// With only every fourth bit of the factors, up to eight ones meet at a bit of the product, and
/// their sum does not reach the next bit that counts. The lowest bit of the sum is what is wanted.
#[inline(always)]
const fn carryless(a: u32, b: u32) -> u64 {
    let (a, b) = (a as u64, b as u64);
    let (a0, a1, a2, a3) = (lane(a, 0), lane(a, 1), lane(a, 2), lane(a, 3));
    let (b0, b1, b2, b3) = (lane(b, 0), lane(b, 1), lane(b, 2), lane(b, 3));
    let c0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1);
    let c1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2);
    let c2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3);
    let c3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0);
    lane(c0, 0) | lane(c1, 1) | lane(c2, 2) | lane(c3, 3)
}

/// Every fourth bit of `word`, from the bit `first` on.
#[inline(always)]
const fn lane(word: u64, first: u32) -> u64 {
    word & (0x1111_1111_1111_1111 << first)
}

/// The word by which `factor`, an odd one, becomes 1 in the lowest 32 bits of the product.
const fn inverse(factor: u32) -> u32 {
    // Newton: each step makes twice as many bits right, from one to 32.
    let mut inverse = 1;
    let mut step = 0;
    while step < 5 {
        inverse = carryless(carryless(inverse, inverse) as u32, factor) as u32;
        step += 1;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::crc32c, wire::Be16};

    const fn ports(source: u16, destination: u16) -> Ports {
        Ports {
            source: Be16::new(source),
            destination: Be16::new(destination),
        }
    }

    /// Bytes without a pattern.
    fn noise(length: usize) -> Vec<u8> {
        (0..length as u32)
            .map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8)
            .collect()
    }

    #[test]
    fn the_known_vector_has_its_checksum() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_update_gives_what_a_new_computation_gives() {
        let changes = [
            (ports(4321, 80), ports(4321, 8080)),
            (ports(8080, 4321), ports(80, 4321)),
            (ports(0, 0), ports(0, 1)),
            (ports(0, 0), ports(0x8000, 0)),
            (ports(0xffff, 0xffff), ports(0, 0)),
            (ports(1, 2), ports(1, 2)),
        ];
        // Every lower byte, and some up to the longest that is.
        let lengths = (0..=260).chain((260..=u16::MAX).step_by(6997));
        for behind in lengths.chain([4095, 4096, 65534, u16::MAX]) {
            let rest = noise(usize::from(behind));
            let computed = |ports: Ports| {
                let mut packet = bytemuck::bytes_of(&ports).to_vec();
                packet.extend(&rest);
                Crc32c(crc32c(&packet).to_le_bytes())
            };
            for (old, new) in changes {
                let mut updated = computed(old);
                updated.update(old, new, behind);
                assert_eq!(
                    updated,
                    computed(new),
                    "{old:?} to {new:?}, {behind} behind"
                );
            }
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_by_as_much() {
        let (old, new) = (ports(4321, 80), ports(4321, 8080));
        let [mut right, mut wrong] = [Crc32c([1, 2, 3, 4]), Crc32c([1, 2, 3, 0x84])];
        right.update(old, new, 1000);
        wrong.update(old, new, 1000);
        let [a, b, c, d] = right.0;
        assert_eq!(wrong.0, [a, b, c, d ^ 0x80]);
    }

    #[test]
    fn products_without_carry_are_those_of_the_school() {
        let table = [
            0,
            1,
            3,
            0x8000_0000,
            0xffff_ffff,
            0x9e37_79b1,
            POLYNOMIAL,
            INVERSE,
        ];
        for a in table {
            for b in table {
                let long = (0..32)
                    .filter(|bit| b >> bit & 1 == 1)
                    .fold(0, |sum, bit| sum ^ u64::from(a) << bit);
                assert_eq!(carryless(a, b), long, "{a:#x} times {b:#x}");
            }
        }
    }
}
