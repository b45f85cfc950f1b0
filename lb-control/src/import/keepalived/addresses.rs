//! Addresses as keepalived writes them: ranges of them, and with prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many addresses a group may have.
const MOST: u128 = 1024;

/// `10.0.0.1`, `10.0.0.1-10`, `10.0.0.250-10.0.1.10`, `10.0.0.8/29`, and the same of IPv6, whose last part is
/// hexadecimal.
pub(super) fn several(text: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let ends = if let Some((first, last)) = text.split_once('-') {
        range(first, last)
    } else {
        text.split_once('/')
            .and_then(|(base, length)| network(base, length))
    };
    let (first, last) =
        ends.ok_or_else(|| format!("`{text}` is no address and no range of addresses"))?;
    let (v4, from, to) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (
            true,
            u128::from(first.to_bits()),
            u128::from(last.to_bits()),
        ),
        (IpAddr::V6(first), IpAddr::V6(last)) => (false, first.to_bits(), last.to_bits()),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => {
            return Err(format!("`{text}` begins and ends in different families"));
        }
    };
    if to < from {
        return Err(format!("`{text}` ends before it begins"));
    }
    if to - from >= MOST {
        return Err(format!("`{text}` is more than {MOST} addresses"));
    }
    let address = |bits: u128| match u32::try_from(bits) {
        Ok(bits) if v4 => Ipv4Addr::from_bits(bits).into(),
        Ok(_) | Err(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    };
    Ok((from..=to).map(address).collect())
}

fn range(first: &str, last: &str) -> Option<(IpAddr, IpAddr)> {
    let first: IpAddr = first.parse().ok()?;
    if let Ok(last) = last.parse() {
        return Some((first, last));
    }
    let last = match first {
        IpAddr::V4(first) => {
            let [a, b, c, _] = first.octets();
            Ipv4Addr::new(a, b, c, last.parse().ok()?).into()
        }
        IpAddr::V6(first) => {
            let last = u16::from_str_radix(last, 16).ok()?;
            Ipv6Addr::from_bits(first.to_bits() & !0xffff | u128::from(last)).into()
        }
    };
    Some((first, last))
}

fn network(base: &str, length: &str) -> Option<(IpAddr, IpAddr)> {
    let length: u32 = length.parse().ok()?;
    match base.parse().ok()? {
        IpAddr::V4(base) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = base.to_bits() & !host;
            (length <= 32).then(|| {
                (
                    Ipv4Addr::from_bits(first).into(),
                    Ipv4Addr::from_bits(first | host).into(),
                )
            })
        }
        IpAddr::V6(base) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = base.to_bits() & !host;
            (length <= 128).then(|| {
                (
                    Ipv6Addr::from_bits(first).into(),
                    Ipv6Addr::from_bits(first | host).into(),
                )
            })
        }
    }
}

/// `10.0.0.1/24`, the length of the prefix perhaps as a mask.
pub(super) fn with_prefix(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match prefix {
        None => None,
        Some(text) => Some(match text.parse::<Ipv4Addr>() {
            Ok(mask) => u8::try_from(mask.to_bits().leading_ones()).ok()?,
            Err(_) => text.parse().ok().filter(|length| *length <= longest)?,
        }),
    };
    Some((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let table = [
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.1-10", "10.0.0.1", "10.0.0.10", 10),
            ("10.0.0.1-255", "10.0.0.1", "10.0.0.255", 255),
            (
                "192.168.200.250-192.168.201.10",
                "192.168.200.250",
                "192.168.201.10",
                17,
            ),
            ("192.168.202.8/29", "192.168.202.8", "192.168.202.15", 8),
            ("10.0.0.0/32", "10.0.0.0", "10.0.0.0", 1),
            ("2001:db8::1-a", "2001:db8::1", "2001:db8::a", 10),
            ("2001:db8::/126", "2001:db8::", "2001:db8::3", 4),
            (
                "255.255.255.255-255",
                "255.255.255.255",
                "255.255.255.255",
                1,
            ),
        ];
        for (text, first, last, count) in table {
            let all = several(text).unwrap();
            assert_eq!(all.len(), count, "{text}");
            assert_eq!(all.first().copied(), first.parse().ok(), "{text}");
            assert_eq!(all.last().copied(), last.parse().ok(), "{text}");
        }
        for text in [
            "10.0.0.9-1",
            "10.0.0.0/8",
            "::/0",
            "0.0.0.0/0",
            "10.0.0.1-256",
            "10.0.0.1-2001:db8::1",
            "10.0.0.0/33",
            "x",
            "",
            "-",
        ] {
            assert!(several(text).is_err(), "{text}");
        }
    }
}
