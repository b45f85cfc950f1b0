//! What the tables ought to hold, kept service by service: when one has changed, what it put into them before
//! is withdrawn, what it puts into them now is put, and only the entries of both are compared with what is
//! there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lb_common::{
    address::Address6,
    maps::{Role, Server, Service, Vlan},
};

use crate::{
    dataplane::{Change, Sizes, Tables},
    desired::{Share, persistence, settings},
    diff::{Delta, diff},
    ids::Identity,
    model::{ServiceId, Site, VirtualService},
    rings::{self, Member, Space},
    roles::Roles,
    selectors::{self, Place},
};

/// What the tables ought to hold.
#[derive(Debug)]
pub struct Plan {
    /// What each service has put into them.
    holdings: HashMap<ServiceId, Holding>,
    /// Servers that nobody asks for and that may finish.
    staying: BTreeMap<Identity, Staying>,
    roles: Roles,
    space: Space,
    /// The addresses that go with the right to steer.
    floating: BTreeSet<Address6>,
    /// How many services have ranges of ports.
    ranges: usize,
    /// The services for which there was not enough room.
    crowded: BTreeSet<ServiceId>,
    /// What was not written yet.
    delta: Delta,
}

/// What a service has put into the tables.
#[derive(Debug)]
pub struct Holding {
    share: Share,
    /// The first slot of the ring that it holds.
    ring: Option<u32>,
    /// What there was no room for, in words.
    complaints: Vec<String>,
}

#[derive(Debug)]
struct Staying {
    id: u32,
    masqueraded: Option<Address6>,
}

impl Holding {
    /// The id of the service, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.share.entry.map(|entry| entry.id)
    }

    /// Who takes part, in IPVS's order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.share.members
    }

    /// Whether the sorry server stands in for all others.
    #[must_use]
    pub const fn is_sorry(&self) -> bool {
        self.share.is_sorry
    }

    /// Whether this server is one of the service.
    #[must_use]
    pub fn has(&self, id: u32) -> bool {
        self.share.servers.iter().any(|(other, _)| *other == id)
    }
}

impl Plan {
    /// Nothing, in tables of these sizes.
    #[must_use]
    pub fn new(sizes: &Sizes) -> Self {
        Self {
            holdings: HashMap::new(),
            staying: BTreeMap::new(),
            roles: Roles::default(),
            space: Space::new(sizes.ring),
            floating: BTreeSet::new(),
            ranges: 0,
            crowded: BTreeSet::new(),
            delta: Delta::default(),
        }
    }

    /// The tables hold this already: it goes, unless somebody puts it there again.
    pub fn take_over(&mut self, actual: &Tables) {
        fn nothing<K: Ord + Copy, V, W>(table: &BTreeMap<K, V>) -> BTreeMap<K, Option<W>> {
            table.keys().map(|key| (*key, None)).collect()
        }
        self.delta = Delta {
            vlans: nothing(&actual.vlans),
            thresholds: nothing(&actual.thresholds),
            persistence: nothing(&actual.persistence),
            servers: nothing(&actual.servers),
            services: nothing(&actual.services),
            ranges: nothing(&actual.ranges),
            ..Delta::default()
        };
        for address in actual.addresses.keys() {
            self.roles.touch(*address);
        }
        for word in actual.sieve.keys() {
            self.roles.touch_word(*word);
        }
        for entry in actual.entries().filter(|entry| entry.slots > 0) {
            self.space.hold(entry.ring, entry.slots);
        }
    }

    /// These addresses are on whichever director has the right to steer, those before them no longer.
    pub fn set_floating(&mut self, addresses: BTreeSet<Address6>) {
        let before = std::mem::replace(&mut self.floating, addresses);
        for address in before.difference(&self.floating) {
            self.roles.take(*address, Role::FLOATING);
        }
        for address in self.floating.difference(&before) {
            self.roles.give(*address, Role::FLOATING);
        }
    }

    /// What a service has put into the tables.
    #[must_use]
    pub fn holding(&self, service: ServiceId) -> Option<&Holding> {
        self.holdings.get(&service)
    }

    /// Takes out what a service has put there, and those of its servers that may finish.
    pub fn withdraw(&mut self, service: ServiceId) -> Option<Holding> {
        let staying: Vec<_> = self
            .staying
            .range(
                (
                    service,
                    crate::state::FIRST_SOCKET,
                    crate::model::Method::Nat,
                )..,
            )
            .take_while(|((other, ..), _)| *other == service)
            .map(|(identity, _)| *identity)
            .collect();
        for identity in staying {
            if let Some(staying) = self.staying.remove(&identity) {
                self.delta.servers.insert(staying.id, None);
                if let Some(address) = staying.masqueraded {
                    self.roles.take(address, Role::MASQUERADED);
                }
            }
        }
        let holding = self.holdings.remove(&service)?;
        self.crowded.remove(&service);
        let Share {
            service, servers, ..
        } = &holding.share;
        if let Some(id) = holding.id() {
            if service.persistence.is_some() {
                self.delta.persistence.insert(id, None);
            }
            self.ranges -= usize::from(selectors::has_ranges(service));
            for address in selectors::addresses(service) {
                self.roles.take(address, Role::VIRTUAL);
            }
            for place in selectors::places(service) {
                self.delta.put(place, None);
            }
        }
        for (id, entry) in servers {
            self.delta.servers.insert(*id, None);
            if entry.is_masqueraded() {
                self.roles.take(entry.address, Role::MASQUERADED);
            }
        }
        for (id, _) in &holding.share.thresholds {
            self.delta.thresholds.insert(*id, None);
        }
        if let Some(ring) = holding.ring {
            self.space.release(ring);
            self.delta.rings.remove(&ring);
        }
        Some(holding)
    }

    /// Puts the share of a service there. All that have changed have to be withdrawn before.
    pub fn put(&mut self, share: Share, site: &Site, actual: &Tables) {
        let mut holding = Holding {
            complaints: share.refused.iter().map(ToString::to_string).collect(),
            share,
            ring: None,
        };
        let key = holding.share.service.key;
        if let Some(entry) = holding.share.entry {
            self.put_service(&mut holding, entry, site, actual);
        }
        for (id, entry) in &holding.share.servers {
            self.delta.servers.insert(*id, Some(*entry));
            if entry.is_masqueraded() {
                self.roles.give(entry.address, Role::MASQUERADED);
            }
            if actual.thresholds.contains_key(id) {
                self.delta.thresholds.insert(*id, None);
            }
        }
        for (id, thresholds) in &holding.share.thresholds {
            self.delta.thresholds.insert(*id, Some(*thresholds));
        }
        if !holding.complaints.is_empty() {
            self.crowded.insert(key);
        }
        self.holdings.insert(key, holding);
    }

    fn put_service(&mut self, holding: &mut Holding, entry: Service, site: &Site, actual: &Tables) {
        let entry = self.lay(holding, entry, site, actual);
        let service = &holding.share.service;
        self.ranges += usize::from(selectors::has_ranges(service));
        if let Some(persistence) = persistence(service) {
            self.delta.persistence.insert(entry.id, Some(persistence));
        } else if actual.persistence.contains_key(&entry.id) {
            self.delta.persistence.insert(entry.id, None);
        }
        for address in selectors::addresses(service) {
            self.roles.give(address, Role::VIRTUAL);
        }
        for place in selectors::places(service) {
            self.delta.put(place, Some(entry));
        }
    }

    /// Lays the ring of a service: if its slots have not changed it keeps its place, else it gets slots that no
    /// service uses, so that a packet never meets a ring that is half written. Where there is no room the ring
    /// stays as it is.
    fn lay(
        &mut self,
        holding: &mut Holding,
        entry: Service,
        site: &Site,
        actual: &Tables,
    ) -> Service {
        let service: &VirtualService = &holding.share.service;
        let slots = rings::slots(
            service.scheduler,
            service.flags,
            site.settings.secret,
            &holding.share.members,
        );
        let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        // A group of nothing has no entry that could refer to it.
        if count == 0 || service.selectors.is_empty() {
            return entry;
        }
        let before = selectors::entry(actual, service).filter(|before| before.slots > 0);
        let is_same = |before: &&Service| {
            before.slots == count && actual.rings.get(&before.ring) == Some(&slots)
        };
        if let Some(before) = before.filter(is_same)
            && self.space.hold(before.ring, count)
        {
            holding.ring = Some(before.ring);
        } else if let Some(first) = self.space.lay(count) {
            holding.ring = Some(first);
            self.delta.rings.insert(first, slots);
        } else {
            holding
                .complaints
                .push(format!("no room for the ring of {}", service.key));
            let before = before.filter(|before| before.id == entry.id);
            return match before {
                Some(before) if self.space.hold(before.ring, before.slots) => {
                    holding.ring = Some(before.ring);
                    *before
                }
                Some(_) | None => entry,
            };
        }
        Service {
            ring: holding.ring.unwrap_or_default(),
            slots: count,
            ..entry
        }
    }

    /// A server that nobody asks for stays, with weight 0.
    pub fn stay(&mut self, identity: Identity, id: u32, before: Server, actual: &Tables) {
        let entry = Server {
            weight: 0,
            ..before
        };
        let masqueraded = entry.is_masqueraded().then_some(entry.address);
        if let Some(address) = masqueraded {
            self.roles.give(address, Role::MASQUERADED);
        }
        self.delta.servers.insert(id, Some(entry));
        if actual.thresholds.contains_key(&id) {
            self.delta.thresholds.insert(id, None);
        }
        self.staying.insert(identity, Staying { id, masqueraded });
    }

    /// The VLAN interfaces of this router are these.
    pub fn set_vlans(&mut self, vlans: &BTreeMap<u32, Vlan>, actual: &Tables) {
        let known = actual.vlans.keys().chain(self.delta.vlans.keys());
        let mut wanted: BTreeMap<u32, Option<Vlan>> = known.map(|index| (*index, None)).collect();
        wanted.extend(vlans.iter().map(|(index, vlan)| (*index, Some(*vlan))));
        self.delta.vlans = wanted;
    }

    /// The scheduler of a service goes on with this turn.
    pub fn set_turn(&mut self, service: u32, turn: u64) {
        self.delta.turns.insert(service, turn);
    }

    /// The services for which there was not enough room.
    #[must_use]
    pub const fn crowded(&self) -> &BTreeSet<ServiceId> {
        &self.crowded
    }

    /// What there was no room for, in words.
    pub fn complaints(&self) -> impl Iterator<Item = &String> {
        let holdings = self.crowded.iter().filter_map(|key| self.holdings.get(key));
        holdings.flat_map(|holding| &holding.complaints)
    }

    /// What has to be written. Each of it is to be told as [`written`](Self::written) or
    /// [`refused`](Self::refused). `may_finish` says whether any server does.
    pub fn changes(
        &mut self,
        site: &Site,
        may_finish: bool,
        actual: &Tables,
        sizes: &Sizes,
    ) -> Vec<Change> {
        let mut delta = std::mem::take(&mut self.delta);
        delta.settings = Some(settings(site, self.ranges > 0, sizes));
        let is_in_tables = |address: &Address6| actual.addresses.contains_key(address);
        let touched = self.roles.take_touched(may_finish, is_in_tables);
        delta.addresses = touched.addresses;
        delta.words = touched.words;
        diff(actual, &delta)
    }

    /// A change was written; `actual` is how things were before.
    pub fn written(&mut self, actual: &Tables, change: &Change) {
        let (before, after) = match change {
            Change::Service(key, entry) => (actual.services.get(key), Some(entry)),
            Change::NoService(key) => (actual.services.get(key), None),
            Change::Range(key, entry) => (actual.ranges.get(key), Some(entry)),
            Change::NoRange(key) => (actual.ranges.get(key), None),
            Change::Settings(_)
            | Change::Vlan(..)
            | Change::NoVlan(_)
            | Change::Address(..)
            | Change::NoAddress(_)
            | Change::Sieve(..)
            | Change::Persistence(..)
            | Change::Thresholds(..)
            | Change::Server(..)
            | Change::Ring(..)
            | Change::Turn(..)
            | Change::NoServer(_) => return,
        };
        // The entry holds its ring from now on, and not the one before.
        if let Some(after) = after.filter(|after| after.slots > 0) {
            self.space.hold(after.ring, after.slots);
        }
        if let Some(before) = before.filter(|before| before.slots > 0) {
            self.space.release(before.ring);
        }
    }

    /// A change was refused: it is tried again.
    pub fn refused(&mut self, change: Change) {
        let delta = &mut self.delta;
        match change {
            // They are compared each time.
            Change::Settings(_) => {}
            Change::Vlan(index, vlan) => drop(delta.vlans.insert(index, Some(vlan))),
            Change::NoVlan(index) => drop(delta.vlans.insert(index, None)),
            Change::Address(address, _) | Change::NoAddress(address) => self.roles.touch(address),
            Change::Sieve(word, _) => self.roles.touch_word(word),
            Change::Persistence(id, persistence) => {
                let wanted = (persistence.timeout != 0).then_some(persistence);
                delta.persistence.insert(id, wanted);
            }
            Change::Thresholds(id, thresholds) => {
                let wanted = (thresholds.upper != 0).then_some(thresholds);
                delta.thresholds.insert(id, wanted);
            }
            Change::Range(key, entry) => delta.put(Place::Range(key), Some(entry)),
            Change::NoRange(key) => delta.put(Place::Range(key), None),
            Change::Server(id, entry) => drop(delta.servers.insert(id, Some(entry))),
            Change::NoServer(id) => drop(delta.servers.insert(id, None)),
            Change::Ring(first, slots) => drop(delta.rings.insert(first, slots)),
            // The scheduler has gone on meanwhile.
            Change::Turn(..) => {}
            Change::Service(key, entry) => delta.put(Place::Service(key), Some(entry)),
            Change::NoService(key) => delta.put(Place::Service(key), None),
        }
    }
}

#[cfg(test)]
impl Plan {
    /// How many slots rings take.
    pub(crate) fn taken_slots(&self) -> usize {
        self.space.taken_slots()
    }
}

impl Delta {
    fn put(&mut self, place: Place, entry: Option<Service>) {
        match place {
            Place::Service(key) => drop(self.services.insert(key, entry)),
            Place::Range(key) => drop(self.ranges.insert(key, entry)),
        }
    }
}
