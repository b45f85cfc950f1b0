//! The order of services and of servers.
//!
//! ipvsadm subtracts addresses as numbers of 32 bits and looks at the sign, so that two IPv4 addresses that
//! are further apart than half of all addresses stand the other way round: 192.0.2.1 before 10.0.0.1. Such
//! an order has circles, in which the result depends on how one sorts; here it is merging, as in glibc.

use std::{cmp::Ordering, net::IpAddr};

use crate::{
    control::table::{ServerRow, ServiceRow},
    model::{Family, Protocol, ServiceId},
};

/// What comes first of two services.
pub(super) fn services(a: &&ServiceRow, b: &&ServiceRow) -> Ordering {
    let (a, b) = (key(&a.service), key(&b.service));
    wrapping(a.0, b.0)
        .then(a.1.cmp(&b.1))
        .then(a.2.cmp(&b.2))
        .then_with(|| addresses(a.3, b.3))
        .then(a.4.cmp(&b.4))
}

/// What comes first of two servers of a service. Their families do not matter.
pub(super) fn servers(a: &&ServerRow, b: &&ServerRow) -> Ordering {
    let (a, b) = (a.server, b.server);
    addresses(a.ip(), b.ip()).then(a.port().cmp(&b.port()))
}

/// Mark, family, number of the protocol, address, port.
fn key(service: &ServiceId) -> (u32, Family, u8, IpAddr, u16) {
    match service {
        ServiceId::Address(key) => {
            let protocol = match key.protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Esp => 50,
                Protocol::Ah => 51,
                Protocol::Sctp => 132,
            };
            (0, service.family(), protocol, key.address, key.port)
        }
        ServiceId::Mark { mark, family } => (*mark, *family, 0, IpAddr::from([0, 0, 0, 0]), 0),
    }
}

fn addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let mut orders = words(a)
        .into_iter()
        .zip(words(b))
        .map(|(a, b)| wrapping(a, b));
    orders
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// An address as four numbers; that of IPv4 is in the first.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

fn wrapping(a: u32, b: u32) -> Ordering {
    (a.wrapping_sub(b) as i32).cmp(&0)
}

/// Sorts by merging halves. The library's own sort may panic at an order with circles.
pub(super) fn merge_sort<T: Copy>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let middle = items.len() / 2;
    merge_sort(&mut items[..middle], compare);
    merge_sort(&mut items[middle..], compare);
    let mut merged = Vec::with_capacity(items.len());
    let (mut left, mut right) = (items[..middle].iter(), items[middle..].iter());
    let (mut first, mut second) = (left.next(), right.next());
    loop {
        match (first, second) {
            (Some(a), Some(b)) if compare(a, b).is_gt() => {
                merged.push(*b);
                second = right.next();
            }
            (Some(a), _) => {
                merged.push(*a);
                first = left.next();
            }
            (None, Some(b)) => {
                merged.push(*b);
                second = right.next();
            }
            (None, None) => break,
        }
    }
    items.copy_from_slice(&merged);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_is_stable_and_survives_circles() {
        let mut pairs = [(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd'), (1, 'e')];
        merge_sort(&mut pairs, &|a, b| a.0.cmp(&b.0));
        assert_eq!(pairs, [(1, 'b'), (1, 'e'), (2, 'd'), (3, 'a'), (3, 'c')]);
        let mut circle = [0_u32, 0x5555_5555, 0xaaaa_aaaa, 1, 0x8000_0000];
        merge_sort(&mut circle, &|a, b| wrapping(*a, *b));
        circle.sort_unstable();
        assert_eq!(circle, [0, 1, 0x5555_5555, 0x8000_0000, 0xaaaa_aaaa]);
    }
}
