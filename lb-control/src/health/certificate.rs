//! How long a certificate is good, from its DER alone (RFC 5280 section 4.1).

use std::time::Duration;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, the version.
const VERSION: u8 = 0xa0;

const DAY: i64 = 86_400;

/// How many whole days a certificate is still good; negative if it is not any more. `None` if it cannot
/// be read. `now` is the time since 1970.
pub(crate) fn days_left(certificate: &[u8], now: Duration) -> Option<i64> {
    let left = ends(certificate)?.checked_sub(i64::try_from(now.as_secs()).ok()?)?;
    Some(left.div_euclid(DAY))
}

/// When it ends, in seconds since 1970.
fn ends(certificate: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(certificate, Some(SEQUENCE))?;
    let (_, to_be_signed, _) = element(certificate, Some(SEQUENCE))?;
    let mut rest = to_be_signed;
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = element(rest, None)?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest, None)?;
    }
    let (_, validity, _) = element(rest, Some(SEQUENCE))?;
    let (_, _, not_after) = element(validity, None)?;
    let (tag, time, _) = element(not_after, None)?;
    seconds(tag, time)
}

/// The first element: its tag, what is in it, and what follows.
fn element(bytes: &[u8], wanted: Option<u8>) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if wanted.is_some_and(|wanted| wanted != tag) {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = octets
                .iter()
                .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            (length, rest)
        }
        _ => return None,
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    Some((tag, inside, rest))
}

/// `YYMMDDHHMMSSZ`, or with four digits of the year.
fn seconds(tag: u8, time: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |place: usize| rest.get(place..place + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    let of_day = part(4)? * 3_600 + part(6)? * 60 + part(8)?;
    Some(days(year, month, day) * DAY + of_day)
}

/// Days since 1970-01-01 in the Gregorian calendar, years begun in March so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let of_years = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    of_years + (months * 306 + 5) / 10 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn times() {
        let table: [(u8, &str, Option<i64>); 9] = [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "260228235959Z", Some(1_772_323_199)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (0x02, "700101000000Z", None),
        ];
        for (tag, text, expected) in table {
            assert_eq!(seconds(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_certificate_of_openssl() {
        let pem = include_bytes!("testdata/old.pem");
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        // notAfter=Jan  2 00:00:00 2020 GMT
        let end = Duration::from_secs(1_577_923_200);
        let day = Duration::from_secs(86_400);
        let second = Duration::from_secs(1);
        let table = [
            (end - day * 30, 30),
            (end - day, 1),
            (end - day + second, 0),
            (end + second, -1),
        ];
        for (now, days) in table {
            assert_eq!(days_left(&certificate, now), Some(days));
        }
        // Whatever is cut off or changed, nothing is said or something is, and nobody falls over.
        for length in 0..certificate.len() {
            let _anything = days_left(&certificate[..length], end);
        }
        for place in 0..certificate.len() {
            for value in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = certificate.to_vec();
                changed[place] = value;
                let _anything = days_left(&changed, end);
            }
        }
    }
}
