//! Numbers and addresses as the C library reads them, for that is what lvs.cf means.

use std::net::Ipv4Addr;

/// `strtol` with base 0 on a whole word: decimal, `0x` hexadecimal, `0` octal. Too large a number
/// becomes the largest, too small a one the smallest; an empty word is 0.
pub(super) fn strtol(word: &str) -> Option<i64> {
    if word.is_empty() {
        return Some(0);
    }
    let word = word.trim_start();
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let magnitude = unsigned(digits)?;
    Some(match (i64::try_from(magnitude), negative) {
        (Ok(value), false) => value,
        (Ok(value), true) => -value,
        (Err(_), false) => i64::MAX,
        (Err(_), true) => i64::MIN,
    })
}

/// Digits with a base prefix, up to `u64::MAX`.
fn unsigned(digits: &str) -> Option<u64> {
    let (base, digits) = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X"))
    {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits)
    } else {
        (10, digits)
    };
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0_u64, |value, digit| {
        let digit = u64::from(digit.to_digit(base)?);
        Some(value.saturating_mul(u64::from(base)).saturating_add(digit))
    })
}

/// `inet_aton`: one to four parts, each in any base; the last part fills the bytes that are left.
pub(super) fn inet_aton(word: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = word.split('.').map(unsigned).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    let room = match leading.len() {
        length @ 0..=3 => 32 - 8 * length,
        _ => return None,
    };
    if leading.iter().any(|part| *part > 255) || *last >= 1 << room {
        return None;
    }
    let mut bits = *last;
    for (part, shift) in leading.iter().zip([24, 16, 8]) {
        bits |= part << shift;
    }
    Some(Ipv4Addr::from_bits(u32::try_from(bits).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_c() {
        let table = [
            ("", Some(0)),
            ("0", Some(0)),
            ("6", Some(6)),
            ("+6", Some(6)),
            (" 6", Some(6)),
            ("-3", Some(-3)),
            ("0x10", Some(16)),
            ("0X1f", Some(31)),
            ("010", Some(8)),
            ("00", Some(0)),
            ("99999999999999999999", Some(i64::MAX)),
            ("-99999999999999999999", Some(i64::MIN)),
            ("08", None),
            ("0x", None),
            ("-", None),
            ("--1", None),
            ("3;", None),
            ("6s", None),
            ("abc", None),
        ];
        for (word, expected) in table {
            assert_eq!(strtol(word), expected, "{word:?}");
        }
    }

    #[test]
    fn addresses_of_c() {
        let table = [
            ("10.0.0.1", Some([10, 0, 0, 1])),
            ("10.1", Some([10, 0, 0, 1])),
            ("10.1.2", Some([10, 1, 0, 2])),
            ("24", Some([0, 0, 0, 24])),
            ("0x7f000001", Some([127, 0, 0, 1])),
            ("010.0.0.1", Some([8, 0, 0, 1])),
            ("255.255.255.255", Some([255; 4])),
            ("256.0.0.1", None),
            ("1.2.3.256", None),
            ("1.2.3.4.5", None),
            ("4294967296", None),
            ("1..2", None),
            ("", None),
            ("10.0.0.1/24", None),
        ];
        for (word, expected) in table {
            assert_eq!(inet_aton(word), expected.map(Ipv4Addr::from), "{word:?}");
        }
    }
}
