//! Numbers and addresses as the C library reads them, which is wider than Rust does.

use std::net::Ipv4Addr;

/// A decimal number as `strtol` reads it: blanks before and a sign are allowed, nothing after.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A decimal number within bounds.
pub(super) fn within<T: TryFrom<i64>>(text: &str, least: i64, most: i64) -> Option<T> {
    let number = decimal(text).filter(|number| (least..=most).contains(number))?;
    T::try_from(number).ok()
}

/// The number that a text begins with, as `atoi` reads it; 0 if it begins with none.
pub(super) fn leading(text: &str) -> i32 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..sign + digits].parse::<i128>().unwrap_or_default();
    let number = number.clamp(i64::MIN.into(), i64::MAX.into());
    // As C does: the low half.
    (number & 0xffff_ffff) as u32 as i32
}

/// An IPv4 address as `inet_aton` reads it: one to four parts, each decimal, octal or hexadecimal, of
/// which the last fills what is left; after a blank anything may follow.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let blank = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
    let end = text.bytes().position(blank).unwrap_or(text.len());
    let parts: Vec<&str> = text[..end].split('.').collect();
    let (last, before) = parts.split_last()?;
    if before.len() > 3 {
        return None;
    }
    let mut address: u32 = 0;
    for part in before {
        let part = part_of_address(part).filter(|part| *part <= 255)?;
        address = address << 8 | part;
    }
    let left = 32 - 8 * before.len() as u32;
    let last = part_of_address(last)?;
    if left < 32 && last >> left != 0 {
        return None;
    }
    let high = address.checked_shl(left).unwrap_or_default();
    Some(Ipv4Addr::from(high | last))
}

fn part_of_address(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, number) in [
            ("5", Some(5)),
            ("+5", Some(5)),
            (" -5", Some(-5)),
            ("05", Some(5)),
            ("5 ", None),
            ("", None),
            ("-", None),
            ("+-5", None),
            ("0x5", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(decimal(text), number, "{text:?}");
        }
        for (text, number) in [
            ("64", 64),
            ("64x", 64),
            ("x", 0),
            ("", 0),
            ("-1", -1),
            ("4294967360", 64),
        ] {
            assert_eq!(leading(text), number, "{text:?}");
        }
    }

    #[test]
    fn addresses_are_read_as_c_reads_them() {
        for (text, address) in [
            ("192.0.2.1", Some([192, 0, 2, 1])),
            ("1", Some([0, 0, 0, 1])),
            ("1.2", Some([1, 0, 0, 2])),
            ("1.2.3", Some([1, 2, 0, 3])),
            ("0x7f.1", Some([127, 0, 0, 1])),
            ("010.0.0.1", Some([8, 0, 0, 1])),
            ("0", Some([0, 0, 0, 0])),
            ("4294967295", Some([255, 255, 255, 255])),
            ("4294967296", None),
            ("1.16777216", None),
            ("1.2.3.256", None),
            ("256.2.3.4", None),
            ("1.2.3.4.5", None),
            ("1.2.3.4.", None),
            ("1..2", None),
            ("09.1.1.1", None),
            ("+1.1.1.1", None),
            ("", None),
            ("1.2.3.4 and more", Some([1, 2, 3, 4])),
        ] {
            assert_eq!(ipv4(text), address.map(Ipv4Addr::from), "{text:?}");
        }
    }
}
