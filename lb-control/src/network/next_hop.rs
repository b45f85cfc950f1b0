//! Which frame reaches an address: from the route, the link and the neighbour. Pure.

use std::net::IpAddr;

use super::{
    links::{Links, Tag},
    neighbours::Neighbours,
    routes::Route,
};

/// Where a packet for an address leaves, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// The interface that the frame leaves by: of a VLAN, the interface that carries it.
    pub interface: u32,
    /// The VLAN id that the frame is tagged with.
    pub vlan: Option<u16>,
    /// The MAC address that the frame comes from.
    pub source_mac: [u8; 6],
    /// The MAC address that the frame goes to: the server's or its gateway's.
    pub mac: [u8; 6],
    /// The longest IP packet that goes this way.
    pub mtu: u32,
    /// The address that the director itself would send from: the outer source of tunnels.
    pub source: Option<IpAddr>,
}

/// What is known of the way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// This way.
    Resolved(NextHop),
    /// No way, now.
    Unresolved {
        /// Why not, for an operator.
        reason: String,
    },
    /// The address is the director's own.
    Local,
}

/// An address and what is newly known of the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The address that is followed.
    pub address: IpAddr,
    /// The way to it.
    pub resolution: Resolution,
}

/// The way along a route.
pub(super) fn resolve(route: &Route, links: &Links, neighbours: &Neighbours) -> Resolution {
    match route {
        Route::Local => Resolution::Local,
        Route::None { reason } => unresolved(reason.clone()),
        Route::Via {
            link,
            neighbour,
            source,
            mtu,
        } => {
            let Some(link) = links.at(*link) else {
                return unresolved(format!("the interface {link} of the route is gone"));
            };
            if !link.up {
                return unresolved(format!("{} is down", link.name));
            }
            if !link.carrier {
                return unresolved(format!("{} has no carrier", link.name));
            }
            let Some(source_mac) = link.mac else {
                return unresolved(format!("{} has no MAC address", link.name));
            };
            let (interface, vlan) = match link.vlan {
                None => (link.index, None),
                Some(vlan) => {
                    let Some(parent) = vlan.parent.and_then(|parent| links.at(parent)) else {
                        return unresolved(format!("the parent of {} is not here", link.name));
                    };
                    if vlan.tag == Tag::Service || parent.vlan.is_some() {
                        return unresolved(format!("{} needs more than one 802.1Q tag", link.name));
                    }
                    (parent.index, Some(vlan.id))
                }
            };
            let Some(mac) = neighbours.mac(&(link.index, *neighbour)) else {
                return unresolved(format!("{neighbour} does not answer on {}", link.name));
            };
            Resolution::Resolved(NextHop {
                interface,
                vlan,
                source_mac,
                mac,
                mtu: mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
                source: *source,
            })
        }
    }
}

fn unresolved(reason: String) -> Resolution {
    Resolution::Unresolved { reason }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            links::{Link, Vlan},
            neighbours::testing::reachable,
        },
        *,
    };

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: Some(OURS),
            mtu: 1500,
            up: true,
            carrier: true,
            vlan: None,
            veth: false,
            xdp: None,
        }
    }

    fn vlan(index: u32, name: &str, parent: Option<u32>, id: u16, tag: Tag) -> Link {
        Link {
            vlan: Some(Vlan { parent, id, tag }),
            ..link(index, name)
        }
    }

    #[test]
    fn the_way_depends_on_route_link_and_neighbour() {
        let server = IpAddr::from([10, 0, 0, 2]);
        let links: Links = [
            link(2, "eth0"),
            vlan(3, "eth0.100", Some(2), 100, Tag::Customer),
            vlan(4, "eth0.100.7", Some(3), 7, Tag::Customer),
            vlan(5, "eth0.200", Some(2), 200, Tag::Service),
            vlan(6, "eth9.1", None, 1, Tag::Customer),
            Link {
                up: false,
                ..link(7, "eth1")
            },
            Link {
                carrier: false,
                ..link(8, "eth2")
            },
            Link {
                mac: None,
                ..link(9, "tun0")
            },
            link(10, "eth3"),
        ]
        .into_iter()
        .collect();
        let neighbours = reachable((2..10).map(|link| ((link, server), THEIRS)));
        let hop = NextHop {
            interface: 2,
            vlan: None,
            source_mac: OURS,
            mac: THEIRS,
            mtu: 1500,
            source: None,
        };
        let tagged = NextHop {
            vlan: Some(100),
            ..hop
        };
        let table = [
            (2, Ok(hop)),
            (3, Ok(tagged)),
            (4, Err("eth0.100.7 needs more than one 802.1Q tag")),
            (5, Err("eth0.200 needs more than one 802.1Q tag")),
            (6, Err("the parent of eth9.1 is not here")),
            (7, Err("eth1 is down")),
            (8, Err("eth2 has no carrier")),
            (9, Err("tun0 has no MAC address")),
            (10, Err("10.0.0.2 does not answer on eth3")),
            (99, Err("the interface 99 of the route is gone")),
        ];
        for (link, expected) in table {
            let route = Route::Via {
                link,
                neighbour: server,
                source: None,
                mtu: None,
            };
            let expected = match expected {
                Ok(hop) => Resolution::Resolved(hop),
                Err(reason) => unresolved(reason.to_owned()),
            };
            assert_eq!(resolve(&route, &links, &neighbours), expected);
        }
        assert_eq!(
            resolve(&Route::Local, &links, &neighbours),
            Resolution::Local
        );
        let reason = "no route".to_owned();
        assert_eq!(
            resolve(
                &Route::None {
                    reason: reason.clone()
                },
                &links,
                &neighbours
            ),
            unresolved(reason)
        );
    }

    #[test]
    fn a_route_narrows_the_mtu_and_never_widens_it() {
        let server = IpAddr::from([10, 0, 0, 2]);
        let links: Links = [link(2, "eth0")].into_iter().collect();
        let neighbours = reachable([((2, server), THEIRS)]);
        for (of_route, expected) in [(None, 1500), (Some(1400), 1400), (Some(9000), 1500)] {
            let route = Route::Via {
                link: 2,
                neighbour: server,
                source: None,
                mtu: of_route,
            };
            let Resolution::Resolved(hop) = resolve(&route, &links, &neighbours) else {
                panic!("not resolved");
            };
            assert_eq!(hop.mtu, expected);
        }
    }
}
