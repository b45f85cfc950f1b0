//! Which packets belong to a service, as keys of the maps: single ports have entries of their own,
//! ranges are cut into prefixes of the port number. All keys of a service have the same value.

use lb_common::{
    address::Address6,
    maps::{RangeKey, Service, ServiceKey},
    wire::Be16,
};

use crate::{
    dataplane::Tables,
    desired::{protocol_number, service_key},
    model::{Selector, VirtualService},
};

/// Whether a service takes packets by ranges of ports.
#[must_use]
pub fn has_ranges(service: &VirtualService) -> bool {
    service.selectors.iter().any(is_range)
}

fn is_range(selector: &Selector) -> bool {
    selector.first != selector.last
}

/// The addresses of a service, once for each of its selectors.
pub fn addresses(service: &VirtualService) -> impl Iterator<Item = Address6> {
    let selectors = service.selectors.iter();
    selectors.map(|selector| Address6::from(selector.address))
}

/// Where a service stands in the tables: one entry under each of these.
pub fn places(service: &VirtualService) -> impl Iterator<Item = Place> {
    service
        .selectors
        .iter()
        .flat_map(|selector| match keys(selector) {
            Keys::Single(key) => vec![Place::Service(key)],
            Keys::Ranges(keys) => keys.into_iter().map(Place::Range).collect(),
        })
}

/// A key of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the services with one port.
    Service(ServiceKey),
    /// Among those with ranges: and how many bits of the key count.
    Range((RangeKey, u32)),
}

/// What the tables have for a service, under the first of its keys.
#[must_use]
pub fn entry<'a>(tables: &'a Tables, service: &VirtualService) -> Option<&'a Service> {
    match keys(service.selectors.first()?) {
        Keys::Single(key) => tables.services.get(&key),
        Keys::Ranges(keys) => tables.ranges.get(keys.first()?),
    }
}

enum Keys {
    Single(ServiceKey),
    Ranges(Vec<(RangeKey, u32)>),
}

fn keys(selector: &Selector) -> Keys {
    if !is_range(selector) {
        return Keys::Single(service_key(&selector.key()));
    }
    let key = |(first, free)| {
        let key = RangeKey {
            address: Address6::from(selector.address).0,
            protocol: protocol_number(selector.protocol),
            pad: 0,
            port: Be16::new(first),
        };
        (key, RangeKey::BITS - free)
    };
    Keys::Ranges(
        prefixes(selector.first, selector.last)
            .into_iter()
            .map(key)
            .collect(),
    )
}

/// A range as prefixes: the first port of each, and how many bits of it are free.
fn prefixes(first: u16, last: u16) -> Vec<(u16, u32)> {
    let mut prefixes = Vec::new();
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    while next < end {
        let free = next.trailing_zeros().min((end - next).ilog2()).min(16);
        prefixes.push((next as u16, free));
        next += 1 << free;
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_prefixes() {
        type Row<'a> = (u16, u16, &'a [(u16, u32)]);
        let table: [Row; 6] = [
            (0, 65_535, &[(0, 16)]),
            (80, 80, &[(80, 0)]),
            (
                1_024,
                65_535,
                &[
                    (1_024, 10),
                    (2_048, 11),
                    (4_096, 12),
                    (8_192, 13),
                    (16_384, 14),
                    (32_768, 15),
                ],
            ),
            (6_000, 6_001, &[(6_000, 1)]),
            (1, 3, &[(1, 0), (2, 1)]),
            (65_535, 65_535, &[(65_535, 0)]),
        ];
        for (first, last, expected) in table {
            assert_eq!(prefixes(first, last), expected, "{first} to {last}");
        }
    }

    #[test]
    fn prefixes_cover_just_the_range() {
        for (first, last) in [(0_u16, 1_u16), (7, 4_321), (1, 65_535), (32_767, 32_769)] {
            let mut ports = Vec::new();
            for (port, free) in prefixes(first, last) {
                ports.extend(u32::from(port)..u32::from(port) + (1 << free));
            }
            assert!(
                ports.into_iter().eq(u32::from(first)..=u32::from(last)),
                "{first} to {last}"
            );
        }
    }
}
