//! What the director knows: the sum of all events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use lb_common::maps::Vlan;

use crate::{
    health::{Health, Report},
    model::{ServiceAddress, Site, VirtualService},
    network::next_hop::{Resolution, Resolved},
};

/// A real server of a service.
pub type ServerKey = (ServiceAddress, SocketAddr);

/// What the director knows.
#[derive(Debug, Default)]
pub struct State {
    /// What lvs.cf says.
    pub site: Site,
    /// The real servers of the site, and whether one that fails stays with weight 0.
    servers: BTreeMap<ServerKey, OnFailure>,
    /// The VLAN interfaces by index.
    pub vlans: BTreeMap<u32, Vlan>,
    /// What the nannies say last. A server that was never checked is not in it.
    health: BTreeMap<ServerKey, IsUp>,
    /// The ways to real servers.
    ways: BTreeMap<IpAddr, Resolution>,
    /// The addresses whose ways were known once.
    resolved: BTreeSet<IpAddr>,
    /// When each server joined its table, as a number that goes up: the order of IPVS's list.
    joined: BTreeMap<ServerKey, u64>,
    joins: u64,
}

/// Whether a nanny found its server well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsUp {
    Yes,
    No,
}

/// What becomes of a real server that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    /// It leaves the table.
    Leaves,
    /// It stays with weight 0.
    Quiesces,
}

/// Which part a real server plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is in the table with its weight; `joined` orders the members.
    Member {
        /// The higher, the later it joined.
        joined: u64,
    },
    /// It is in the table with weight 0: what it has it may finish.
    Quiesced {
        /// As of a member.
        joined: u64,
    },
    /// It is not in the table.
    Out,
}

impl State {
    /// lvs.cf was read. What is known of servers that are still in it stays.
    pub fn configure(&mut self, site: Site) {
        self.servers = servers(&site);
        self.site = site;
        let Self {
            servers,
            health,
            joined,
            ..
        } = self;
        health.retain(|key, _| servers.contains_key(key));
        joined.retain(|key, _| servers.contains_key(key));
        let addresses = self.addresses_to_follow();
        self.ways.retain(|address, _| addresses.contains(address));
        self.resolved.retain(|address| addresses.contains(address));
    }

    /// A nanny reports. One that watched a server which is no longer in lvs.cf is not heard.
    pub fn report(&mut self, report: Report) {
        let key = (report.service, report.server);
        let Some(&on_failure) = self.servers.get(&key) else {
            return;
        };
        match report.health {
            Health::Up => {
                self.health.insert(key, IsUp::Yes);
                self.join(key);
            }
            Health::Down { .. } => {
                self.health.insert(key, IsUp::No);
                if on_failure == OnFailure::Leaves {
                    self.joined.remove(&key);
                }
            }
        }
    }

    /// A way is known, or no longer.
    pub fn resolve(&mut self, resolved: Resolved) {
        if matches!(resolved.resolution, Resolution::Resolved(_)) {
            self.resolved.insert(resolved.address);
        }
        self.ways.insert(resolved.address, resolved.resolution);
    }

    /// The part of a real server.
    #[must_use]
    pub fn part(&self, key: &ServerKey) -> Part {
        match (self.joined.get(key), self.health.get(key)) {
            (Some(&joined), Some(IsUp::Yes)) => Part::Member { joined },
            (Some(&joined), Some(IsUp::No)) => Part::Quiesced { joined },
            (_, None) | (None, Some(_)) => Part::Out,
        }
    }

    /// Takes a server for a member that it was before the daemon started: it forwards already, and
    /// the nanny will say soon whether it may go on.
    pub fn presume_member(&mut self, key: ServerKey) {
        if self.has(&key) {
            self.health.insert(key, IsUp::Yes);
            self.join(key);
        }
    }

    /// The way to a real server, if it is known.
    #[must_use]
    pub fn way(&self, address: IpAddr) -> Option<&Resolution> {
        self.ways.get(&address)
    }

    /// Whether the way to a real server was known once since the daemon started.
    #[must_use]
    pub fn was_resolved(&self, address: IpAddr) -> bool {
        self.resolved.contains(&address)
    }

    /// Whether this real server is in lvs.cf.
    #[must_use]
    pub fn has(&self, key: &ServerKey) -> bool {
        self.servers.contains_key(key)
    }

    fn addresses_to_follow(&self) -> BTreeSet<IpAddr> {
        self.servers.keys().map(|(_, socket)| socket.ip()).collect()
    }

    fn join(&mut self, key: ServerKey) {
        self.joined.entry(key).or_insert_with(|| {
            self.joins += 1;
            self.joins
        });
    }
}

fn servers(site: &Site) -> BTreeMap<ServerKey, OnFailure> {
    let of_service = |service: &VirtualService| {
        let on_failure = if service.quiesce {
            OnFailure::Quiesces
        } else {
            OnFailure::Leaves
        };
        let key = service.key;
        let sockets: Vec<_> = service.servers.iter().map(|server| server.socket).collect();
        sockets
            .into_iter()
            .map(move |socket| ((key, socket), on_failure))
    };
    site.services.iter().flat_map(of_service).collect()
}
