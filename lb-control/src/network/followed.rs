//! The addresses that are followed and everything known of the way to them. Pure: the resolver
//! feeds it with what the kernel says and does what it asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netlink_packet_route::{RouteNetlinkMessage, neighbour::NeighbourMessage, route::RouteMessage};

use super::{
    links::{Link, Links},
    neighbours::{Care, Key, Neighbours, Noted},
    next_hop::{self, Resolution, Resolved},
    routes::{Route, covers, family},
};

/// What is known of the addresses that are followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    links: Links,
    neighbours: Neighbours,
    /// How many want each address to be followed.
    wanted: BTreeMap<IpAddr, usize>,
    /// The routes of the followed addresses, as far as the kernel told.
    routes: BTreeMap<IpAddr, Route>,
    /// The followed addresses that are reached by each neighbour.
    behind: BTreeMap<Key, BTreeSet<IpAddr>>,
    /// The followed addresses whose route is not known, or may have changed.
    doubted: BTreeSet<IpAddr>,
    /// What was told of them last.
    told: BTreeMap<IpAddr, Resolution>,
    /// The addresses of which there may be something to tell.
    fresh: BTreeSet<IpAddr>,
    /// The neighbours that may have to be asked for.
    unknown: BTreeSet<Key>,
    /// Neighbours that everybody was asked for since the last check-up.
    asked: BTreeSet<Key>,
    unsettled: bool,
}

impl Followed {
    /// The complete set of addresses to follow.
    pub(super) fn follow(&mut self, addresses: &BTreeSet<IpAddr>) {
        let gone: Vec<_> = self
            .wanted
            .keys()
            .filter(|address| !addresses.contains(address))
            .copied()
            .collect();
        for address in gone {
            self.forget(address);
        }
        self.wanted = addresses.iter().map(|address| (*address, 1)).collect();
        self.doubted.clone_from(addresses);
        self.unsettled = true;
    }

    /// So many more want each address to be followed than before, or so many fewer.
    pub(super) fn amend(&mut self, changes: &BTreeMap<IpAddr, isize>) {
        for (address, change) in changes {
            let before = self.wanted.get(address).copied().unwrap_or(0);
            match before.saturating_add_signed(*change) {
                0 => self.forget(*address),
                wanted => {
                    self.wanted.insert(*address, wanted);
                    if before == 0 {
                        self.doubted.insert(*address);
                        self.unsettled = true;
                    }
                }
            }
        }
    }

    fn forget(&mut self, address: IpAddr) {
        self.wanted.remove(&address);
        self.doubted.remove(&address);
        self.told.remove(&address);
        if let Some(route) = self.routes.remove(&address) {
            self.leave(address, &route);
        }
    }

    /// An address has another route, or none.
    fn leave(&mut self, address: IpAddr, route: &Route) {
        if let Some(key) = neighbour(route)
            && let Some(behind) = self.behind.get_mut(&key)
        {
            behind.remove(&address);
            if behind.is_empty() {
                self.behind.remove(&key);
            }
        }
    }

    /// Links and neighbours, read anew; routes are to be asked for anew.
    pub(super) fn reread(&mut self, links: Links, neighbours: &[NeighbourMessage]) {
        self.links = links;
        self.neighbours.replace(neighbours, &self.neighbours_used());
        self.asked.clear();
        self.doubt_routes(|_, _| true);
        self.look_at_all();
    }

    /// All may be otherwise now.
    fn look_at_all(&mut self) {
        self.fresh.extend(self.routes.keys());
        self.unknown.extend(self.behind.keys());
        self.unsettled = true;
    }

    /// Something that the kernel told.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of the forty kinds of message nine matter"
    )]
    pub(super) fn absorb(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(message) => {
                if let Some(link) = Link::from_message(message) {
                    let index = link.index;
                    if self.links.note(link) {
                        self.link_changed(index);
                    }
                }
            }
            RouteNetlinkMessage::DelLink(message) => {
                if let Some(link) = Link::from_message(message)
                    && self.links.forget(link.index)
                {
                    self.link_changed(link.index);
                }
            }
            RouteNetlinkMessage::NewNeighbour(message) => {
                if let Some(noted) = self.neighbours.note(message) {
                    self.neighbour_changed(&noted);
                }
            }
            RouteNetlinkMessage::DelNeighbour(message) => {
                if let Some(noted) = self.neighbours.gone(message) {
                    if self.behind.contains_key(&noted.key) && self.is_usable(noted.key.0) {
                        self.neighbour_changed(&noted);
                    } else {
                        self.neighbours.drop_entry(&noted.key);
                    }
                }
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                self.route_changed(route);
            }
            RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
                let changed = message.header.family;
                self.doubt_routes(|address, _| family(address) == changed);
            }
            RouteNetlinkMessage::NewRule(message) | RouteNetlinkMessage::DelRule(message) => {
                let changed = message.header.family;
                self.doubt_routes(|address, _| family(address) == changed);
            }
            _ => {}
        }
    }

    /// Whether something changed that the rest has to be told of.
    pub(super) fn unsettled(&self) -> bool {
        self.unsettled
    }

    /// The addresses that the kernel has to be asked the route of.
    pub(super) fn routes_to_ask(&self) -> Vec<IpAddr> {
        self.doubted.iter().copied().collect()
    }

    /// The kernel's route to an address.
    pub(super) fn routed(&mut self, address: IpAddr, route: Route) {
        if !self.doubted.remove(&address) {
            return;
        }
        let key = neighbour(&route);
        if let Some(before) = self.routes.insert(address, route)
            && neighbour(&before) != key
        {
            self.leave(address, &before);
        }
        if let Some(key) = key {
            self.behind.entry(key).or_default().insert(address);
            self.unknown.insert(key);
        }
        self.fresh.insert(address);
    }

    /// The neighbours that everybody has to be asked for now, each once between two check-ups.
    pub(super) fn neighbours_to_ask(&mut self) -> Vec<Key> {
        let unknown: Vec<Key> = std::mem::take(&mut self.unknown)
            .into_iter()
            .filter(|key| self.behind.contains_key(key) && self.is_usable(key.0))
            .filter(|key| self.neighbours.care(key) == Care::Ask && !self.asked.contains(key))
            .collect();
        self.asked.extend(&unknown);
        unknown
    }

    /// What changed since it was told last.
    pub(super) fn news(&mut self) -> Vec<Resolved> {
        self.unsettled = false;
        let mut news = Vec::new();
        for address in std::mem::take(&mut self.fresh) {
            let Some(route) = self.routes.get(&address) else {
                continue;
            };
            let resolution = next_hop::resolve(route, &self.links, &self.neighbours);
            if self.told.get(&address) != Some(&resolution) {
                self.told.insert(address, resolution.clone());
                news.push(Resolved {
                    address,
                    resolution,
                });
            }
        }
        news
    }

    /// From time to time: what has to be done to keep the neighbours known. Routes that there
    /// were none of are to be asked for again.
    pub(super) fn check_up(&mut self) -> Vec<(Key, Care)> {
        self.doubt_routes(|_, route| matches!(route, Route::None { .. }));
        self.asked.clear();
        let used = self.neighbours_used();
        used.into_iter()
            .map(|key| (key, self.neighbours.care(&key)))
            .inspect(|(key, care)| {
                if *care == Care::Ask {
                    self.asked.insert(*key);
                }
            })
            .collect()
    }

    fn link_changed(&mut self, index: u32) {
        self.asked.retain(|(link, _)| *link != index);
        // The kernel says nothing of IPv4 routes that go with their link.
        self.doubt_routes(|_, _| true);
        self.look_at_all();
    }

    fn neighbour_changed(&mut self, noted: &Noted) {
        if noted.forgotten {
            self.asked.remove(&noted.key);
        }
        if noted.changed || noted.forgotten {
            self.fresh
                .extend(self.behind.get(&noted.key).into_iter().flatten());
            self.unknown.insert(noted.key);
            self.unsettled = true;
        }
    }

    fn route_changed(&mut self, route: &RouteMessage) {
        self.doubt_routes(|address, _| covers(route, address));
    }

    /// Has the kernel asked again. Until it answers, the route stays as it was.
    fn doubt_routes(&mut self, doubtful: impl Fn(IpAddr, &Route) -> bool) {
        for (address, route) in &self.routes {
            if doubtful(*address, route) {
                self.doubted.insert(*address);
                self.unsettled = true;
            }
        }
    }

    /// The neighbours by which followed addresses are reached, on links that can reach any.
    fn neighbours_used(&self) -> BTreeSet<Key> {
        let keys = self.behind.keys();
        keys.filter(|key| self.is_usable(key.0)).copied().collect()
    }

    /// Whether a link can reach any neighbours.
    fn is_usable(&self, link: u32) -> bool {
        let link = self.links.at(link);
        link.is_some_and(|link| link.up && link.carrier && link.mac.is_some())
    }
}

/// The neighbour by which a route goes.
fn neighbour(route: &Route) -> Option<Key> {
    match route {
        Route::Via {
            link, neighbour, ..
        } => Some((*link, *neighbour)),
        Route::Local | Route::None { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::neighbour::NeighbourState;

    use super::{
        super::{
            neighbours::{IsRouter, testing::message},
            next_hop::NextHop,
        },
        *,
    };

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    fn server(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Two servers behind eth0, routes answered, nothing known of neighbours.
    fn two_servers() -> Followed {
        let mut followed = Followed::default();
        let eth0 = Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some(OURS),
            mtu: 1500,
            up: true,
            carrier: true,
            vlan: None,
            veth: false,
            xdp: None,
        };
        followed.reread([eth0].into_iter().collect(), &[]);
        followed.follow(&BTreeSet::from([server(2), server(3)]));
        answer_routes(&mut followed);
        followed
    }

    fn answer_routes(followed: &mut Followed) -> usize {
        let asked = followed.routes_to_ask();
        for address in &asked {
            let route = Route::Via {
                link: 2,
                neighbour: *address,
                source: None,
                mtu: None,
            };
            followed.routed(*address, route);
        }
        asked.len()
    }

    fn neighbour(followed: &mut Followed, last: u8, state: NeighbourState, mac: Option<[u8; 6]>) {
        let message = message((2, server(last)), state, mac);
        followed.absorb(&RouteNetlinkMessage::NewNeighbour(message));
    }

    fn macs(news: Vec<Resolved>) -> Vec<(IpAddr, Option<[u8; 6]>)> {
        news.into_iter()
            .map(|news| match news.resolution {
                Resolution::Resolved(NextHop { mac, .. }) => (news.address, Some(mac)),
                Resolution::Unresolved { .. } | Resolution::Local => (news.address, None),
            })
            .collect()
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut followed = two_servers();
        assert_eq!(
            macs(followed.news()),
            [(server(2), None), (server(3), None)]
        );
        neighbour(&mut followed, 2, NeighbourState::Reachable, Some(A));
        assert!(followed.unsettled());
        assert_eq!(macs(followed.news()), [(server(2), Some(A))]);
        neighbour(&mut followed, 2, NeighbourState::Stale, Some(A));
        assert!(!followed.unsettled(), "a probe is not news");
        neighbour(&mut followed, 2, NeighbourState::Reachable, Some(B));
        assert_eq!(macs(followed.news()), [(server(2), Some(B))]);
        followed.follow(&BTreeSet::from([server(3)]));
        assert_eq!(followed.news(), []);
    }

    #[test]
    fn everybody_is_asked_once_for_an_unknown_neighbour() {
        let mut followed = two_servers();
        let both = [(2, server(2)), (2, server(3))];
        assert_eq!(followed.neighbours_to_ask(), both);
        assert_eq!(followed.neighbours_to_ask(), []);
        neighbour(&mut followed, 2, NeighbourState::Reachable, Some(A));
        assert_eq!(
            followed.check_up(),
            [(both[0], Care::Probe(IsRouter::No)), (both[1], Care::Ask)]
        );
        assert_eq!(followed.neighbours_to_ask(), []);
    }

    #[test]
    fn a_server_that_stops_answering_is_asked_for_before_it_is_given_up() {
        let mut followed = two_servers();
        neighbour(&mut followed, 2, NeighbourState::Reachable, Some(A));
        followed.neighbours_to_ask();
        followed.news();
        neighbour(&mut followed, 2, NeighbourState::Failed, None);
        assert_eq!(followed.neighbours_to_ask(), [(2, server(2))]);
        assert_eq!(followed.news(), []);
        neighbour(&mut followed, 2, NeighbourState::Failed, None);
        assert_eq!(followed.neighbours_to_ask(), []);
        assert_eq!(macs(followed.news()), [(server(2), None)]);
    }

    #[test]
    fn a_change_doubts_the_routes_that_it_may_concern() {
        use netlink_packet_route::{address::AddressMessage, route::RouteAttribute};
        let route = |prefix: IpAddr, length| {
            let mut message = RouteMessage::default();
            message.header.destination_prefix_length = length;
            message
                .attributes
                .push(RouteAttribute::Destination(prefix.into()));
            message
        };
        let mut address = AddressMessage::default();
        address.header.family = family(server(1));
        let mut followed = two_servers();
        let table = [
            (RouteNetlinkMessage::NewRoute(route(server(2), 32)), 1),
            (RouteNetlinkMessage::DelRoute(route(server(0), 24)), 2),
            (RouteNetlinkMessage::NewRoute(route(server(128), 25)), 0),
            (RouteNetlinkMessage::NewAddress(address), 2),
        ];
        for (message, doubted) in table {
            followed.absorb(&message);
            assert_eq!(answer_routes(&mut followed), doubted, "{message:?}");
        }
    }

    #[test]
    fn a_doubted_route_is_good_until_the_kernel_answers() {
        let mut followed = two_servers();
        neighbour(&mut followed, 2, NeighbourState::Reachable, Some(A));
        followed.news();
        let links = followed.links.clone();
        followed.reread(links, &[]);
        assert_eq!(followed.news(), []);
        let reason = "no route".to_owned();
        followed.routed(server(2), Route::None { reason });
        assert_eq!(macs(followed.news()), [(server(2), None)]);
    }

    #[test]
    fn an_address_is_followed_while_anybody_wants_it() {
        let mut followed = two_servers();
        followed.news();
        let amend = |followed: &mut Followed, change| {
            followed.amend(&BTreeMap::from([(server(2), change)]));
            answer_routes(followed);
            macs(followed.news())
        };
        // What more, or fewer, want it; whether it is told of.
        for (change, is_told) in [(1, false), (-2, false), (2, true), (-1, false), (-1, false)] {
            let told = amend(&mut followed, change);
            assert_eq!(told.len(), usize::from(is_told), "{change}");
        }
        assert!(!followed.routes.contains_key(&server(2)));
        assert_eq!(followed.behind.len(), 1, "only the other one's");
    }
}
