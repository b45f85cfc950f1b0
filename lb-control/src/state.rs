//! What the director knows: the sum of all events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use lb_common::maps::Vlan;

use crate::{
    health::{Health, Report},
    model::{ServiceAddress, Site},
    network::next_hop::{Resolution, Resolved},
};

/// A real server of a service.
pub type ServerKey = (ServiceAddress, SocketAddr);

/// What the director knows.
#[derive(Debug, Default)]
pub struct State {
    /// What lvs.cf says.
    pub site: Site,
    /// The VLAN interfaces by index.
    pub vlans: BTreeMap<u32, Vlan>,
    /// What the nannies say last. A server that was never checked is not in it.
    health: BTreeMap<ServerKey, IsUp>,
    /// The ways to real servers.
    ways: BTreeMap<IpAddr, Resolution>,
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
        self.site = site;
        let servers: BTreeSet<ServerKey> = self.servers().collect();
        self.health.retain(|key, _| servers.contains(key));
        self.joined.retain(|key, _| servers.contains(key));
        let addresses = self.addresses_to_follow();
        self.ways.retain(|address, _| addresses.contains(address));
    }

    /// A nanny reports. One that watched a server which is no longer in lvs.cf is not heard.
    pub fn report(&mut self, report: Report) {
        let key = (report.service, report.server);
        let Some(quiesce) = self.quiesces(&key) else {
            return;
        };
        match report.health {
            Health::Up => {
                self.health.insert(key, IsUp::Yes);
                self.join(key);
            }
            Health::Down { .. } => {
                self.health.insert(key, IsUp::No);
                if !quiesce {
                    self.joined.remove(&key);
                }
            }
        }
    }

    /// A way is known, or no longer.
    pub fn resolve(&mut self, resolved: Resolved) {
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
        if self.quiesces(&key).is_some() {
            self.health.insert(key, IsUp::Yes);
            self.join(key);
        }
    }

    /// The way to a real server, if it is known.
    #[must_use]
    pub fn way(&self, address: IpAddr) -> Option<&Resolution> {
        self.ways.get(&address)
    }

    /// The addresses whose ways have to be followed.
    #[must_use]
    pub fn addresses_to_follow(&self) -> BTreeSet<IpAddr> {
        self.servers().map(|(_, socket)| socket.ip()).collect()
    }

    fn servers(&self) -> impl Iterator<Item = ServerKey> {
        self.site.services.iter().flat_map(|service| {
            service
                .servers
                .iter()
                .map(|server| (service.key, server.socket))
        })
    }

    /// Whether a failing server stays with weight 0; `None` if it is not in lvs.cf.
    fn quiesces(&self, (service, socket): &ServerKey) -> Option<bool> {
        self.site
            .services
            .iter()
            .find(|candidate| {
                candidate.key == *service
                    && candidate
                        .servers
                        .iter()
                        .any(|server| server.socket == *socket)
            })
            .map(|service| service.quiesce)
    }

    fn join(&mut self, key: ServerKey) {
        self.joined.entry(key).or_insert_with(|| {
            self.joins += 1;
            self.joins
        });
    }
}
