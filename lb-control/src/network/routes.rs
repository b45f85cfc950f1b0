//! Routes: which link and neighbour the kernel would use for an address.
//!
//! The kernel looks the address up itself, so that rules, tables and multipath routes count; this
//! is not a second routing table.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
    },
};

use super::{Refusal, kernel::Kernel};

/// What the kernel would do with a packet for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Send it.
    Via {
        /// The interface.
        link: u32,
        /// Whom to send it to: the gateway, or the address itself if it is on the link.
        neighbour: IpAddr,
        /// The address to send from.
        source: Option<IpAddr>,
        /// The longest packet, if the route says so.
        mtu: Option<u32>,
    },
    /// Keep it: the address is the director's own.
    Local,
    /// Refuse it.
    None {
        /// Why.
        reason: String,
    },
}

impl Route {
    /// Has the kernel look the address up. That it refuses is an answer; that it says nothing is
    /// an error.
    pub(super) async fn ask(kernel: &Kernel, address: IpAddr) -> Result<Self, Refusal> {
        let answer = match kernel.ask(question(address), 0).await {
            Ok(answer) => answer,
            Err(Refusal::Kernel(errno)) => {
                let reason = format!("no route to {address}: {}", errno.desc());
                return Ok(Self::None { reason });
            }
            Err(refusal) => return Err(refusal),
        };
        let mut routes = answer.iter().filter_map(|message| {
            if let RouteNetlinkMessage::NewRoute(message) = message {
                Some(Self::from_message(message, address))
            } else {
                None
            }
        });
        routes.next().ok_or(Refusal::Silence)
    }

    fn from_message(message: &RouteMessage, address: IpAddr) -> Self {
        if message.header.kind == RouteType::Local {
            return Self::Local;
        }
        if message.header.kind != RouteType::Unicast {
            let kind = format!("{:?}", message.header.kind).to_lowercase();
            return Self::None {
                reason: format!("the route to {address} is {kind}"),
            };
        }
        let mut link = None;
        let mut neighbour = address;
        let mut source = None;
        let mut mtu = None;
        for attribute in &message.attributes {
            if let RouteAttribute::Oif(index) = attribute {
                link = Some(*index);
            } else if let RouteAttribute::Gateway(gateway) = attribute {
                neighbour = ip(gateway).unwrap_or(neighbour);
            } else if let RouteAttribute::Via(RouteVia::Inet6(gateway)) = attribute {
                // An IPv4 route by an IPv6 gateway (RFC 5549).
                neighbour = (*gateway).into();
            } else if let RouteAttribute::PrefSource(address) = attribute {
                source = ip(address);
            } else if let RouteAttribute::Metrics(metrics) = attribute {
                mtu = metrics.iter().find_map(mtu_of);
            }
        }
        match link {
            Some(link) => Self::Via {
                link,
                neighbour,
                source,
                mtu,
            },
            None => Self::None {
                reason: format!("the route to {address} names no interface"),
            },
        }
    }
}

/// Whether a route that came or went may change the way to an address.
pub(super) fn covers(route: &RouteMessage, address: IpAddr) -> bool {
    // Clones are what the kernel remembers of look-ups such as ours.
    if route.header.flags.contains(RouteFlags::Cloned) {
        return false;
    }
    let length = route.header.destination_prefix_length;
    let prefix = route.attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Destination(prefix) = attribute {
            ip(prefix)
        } else {
            None
        }
    });
    match (prefix, address) {
        (Some(IpAddr::V4(prefix)), IpAddr::V4(address)) => same_start(
            u128::from(prefix.to_bits()) << 96,
            u128::from(address.to_bits()) << 96,
            length,
        ),
        (Some(IpAddr::V6(prefix)), IpAddr::V6(address)) => {
            same_start(prefix.to_bits(), address.to_bits(), length)
        }
        (Some(_), _) => false,
        // A default route has no destination.
        (None, address) => route.header.address_family == family(address),
    }
}

fn same_start(one: u128, other: u128, bits: u8) -> bool {
    (one ^ other).leading_zeros() >= u32::from(bits)
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn question(address: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
    message
        .attributes
        .push(RouteAttribute::Destination(address.into()));
    RouteNetlinkMessage::GetRoute(message)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        RouteAddress::Mpls(_) | RouteAddress::Other(_) | _ => None,
    }
}

fn mtu_of(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric {
        Some(*mtu).filter(|mtu| *mtu != 0)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        message
    }

    #[test]
    fn answers_of_the_kernel() {
        let server = IpAddr::from([10, 9, 0, 2]);
        let gateway = IpAddr::from([10, 0, 0, 254]);
        let gateway6 = "fe80::1".parse().unwrap();
        let source = IpAddr::from([10, 0, 0, 1]);
        let via = |neighbour, mtu| Route::Via {
            link: 2,
            neighbour,
            source: Some(source),
            mtu,
        };
        let common = [
            RouteAttribute::Oif(2),
            RouteAttribute::PrefSource(source.into()),
        ];
        let table = [
            (RouteType::Local, vec![], Route::Local),
            (RouteType::Unicast, vec![], via(server, None)),
            (
                RouteType::Unicast,
                vec![RouteAttribute::Gateway(gateway.into())],
                via(gateway, None),
            ),
            (
                RouteType::Unicast,
                vec![
                    RouteAttribute::Via(RouteVia::Inet6(gateway6)),
                    RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
                ],
                via(gateway6.into(), Some(1400)),
            ),
            (
                RouteType::Broadcast,
                vec![],
                Route::None {
                    reason: "the route to 10.9.0.2 is broadcast".to_owned(),
                },
            ),
        ];
        for (kind, more, expected) in table {
            let message = answer(kind, [common.to_vec(), more].concat());
            assert_eq!(Route::from_message(&message, server), expected);
        }
    }

    #[test]
    fn a_route_covers_the_addresses_of_its_prefix() {
        let table = [
            (Some("10.0.0.0"), 24, "10.0.0.9", true),
            (Some("10.0.0.0"), 24, "10.0.1.9", false),
            (Some("10.0.0.9"), 32, "10.0.0.9", true),
            (Some("10.0.0.8"), 32, "10.0.0.9", false),
            (Some("10.0.0.0"), 24, "2001:db8::1", false),
            (Some("2001:db8::"), 64, "2001:db8::1", true),
            (Some("2001:db8::"), 64, "2001:db8:0:1::1", false),
            (Some("2001:db8::1"), 128, "2001:db8::1", true),
            (None, 0, "10.0.0.9", true),
            (None, 0, "2001:db8::1", false),
        ];
        for (prefix, length, address, expected) in table {
            let mut route = RouteMessage::default();
            route.header.destination_prefix_length = length;
            route.header.address_family = AddressFamily::Inet;
            if let Some(prefix) = prefix {
                let prefix: IpAddr = prefix.parse().unwrap();
                route
                    .attributes
                    .push(RouteAttribute::Destination(prefix.into()));
            }
            let address = address.parse().unwrap();
            assert_eq!(covers(&route, address), expected, "{prefix:?} {address}");
            route.header.flags |= RouteFlags::Cloned;
            assert!(!covers(&route, address));
        }
    }
}
