//! Numbers for services and real servers, which flows and rings refer to.
//!
//! An id belongs to one real server by one method for as long as a flow may refer to it: it is
//! given to another only when the server is no longer in lvs.cf and its last flow has ended.
//!
//! Who is no longer wanted is not looked for among all: whoever changes a service says that it is in doubt.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use crate::model::{Method, ServiceId};

/// What an id of a real server stands for.
pub type Identity = (ServiceId, SocketAddr, Method);

/// The ids that are given.
#[derive(Debug)]
pub struct Ids {
    services: HashMap<ServiceId, u32>,
    /// Those of the servers of each service.
    servers: HashMap<ServiceId, BTreeMap<(SocketAddr, Method), u32>>,
    service_numbers: Numbers,
    server_numbers: Numbers,
    /// The services that may not be wanted any more, or not all of whose servers may be.
    doubted: BTreeSet<ServiceId>,
    /// The ids of servers that nobody has and flows still refer to.
    orphans: BTreeSet<u32>,
    /// One more each time that somebody gets an id or loses it.
    version: u64,
}

/// Whether a service is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Yes,
    /// It is not, but some of its servers have not left yet.
    Waits,
    /// It is not.
    No,
}

/// There are more services or real servers than the maps hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tables hold no more than {limit} {what}")]
pub struct Exhausted {
    what: &'static str,
    limit: u32,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            services: HashMap::new(),
            servers: HashMap::new(),
            service_numbers: Numbers::from(0),
            // 0 is no server.
            server_numbers: Numbers::from(1),
            doubted: BTreeSet::new(),
            orphans: BTreeSet::new(),
            version: 1,
        }
    }
}

impl Ids {
    /// Takes over a service's id that was found in the maps.
    pub fn restore_service(&mut self, service: ServiceId, id: u32) {
        self.version += 1;
        self.services.insert(service, id);
        self.service_numbers.take(id);
        self.doubted.insert(service);
    }

    /// Takes over a real server's id that was found in the maps.
    pub fn restore_server(&mut self, (service, socket, method): Identity, id: u32) {
        let servers = self.servers.entry(service).or_default();
        servers.insert((socket, method), id);
        self.version += 1;
        self.server_numbers.take(id);
        self.doubted.insert(service);
    }

    /// Takes note of an id to which something in the maps still refers, if nobody has it.
    pub fn restore_orphan(&mut self, id: u32) {
        if self.server_numbers.take(id) {
            self.orphans.insert(id);
        }
    }

    /// The id of a service.
    ///
    /// # Errors
    /// [`Exhausted`] if there are `limit` already.
    pub fn service(&mut self, service: ServiceId, limit: u32) -> Result<u32, Exhausted> {
        if let Some(id) = self.services.get(&service) {
            return Ok(*id);
        }
        let what = "virtual services";
        let id = self.service_numbers.give(limit);
        let id = id.ok_or(Exhausted { what, limit })?;
        self.services.insert(service, id);
        self.version += 1;
        Ok(id)
    }

    /// The id of a real server, from 1 on: 0 is no server.
    ///
    /// # Errors
    /// [`Exhausted`] if there are `limit` already.
    pub fn server(
        &mut self,
        (service, socket, method): Identity,
        limit: u32,
    ) -> Result<u32, Exhausted> {
        let servers = self.servers.entry(service).or_default();
        if let Some(id) = servers.get(&(socket, method)) {
            return Ok(*id);
        }
        let what = "real servers";
        let id = self.server_numbers.give(limit);
        let id = id.ok_or(Exhausted { what, limit })?;
        servers.insert((socket, method), id);
        self.version += 1;
        Ok(id)
    }

    /// The id of a real server that has one.
    #[must_use]
    pub fn find_server(&self, (service, socket, method): &Identity) -> Option<u32> {
        self.servers.get(service)?.get(&(*socket, *method)).copied()
    }

    /// Another number whenever somebody has got an id or lost it.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All services that have an id.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, u32)> {
        self.services.iter().map(|(service, id)| (*service, *id))
    }

    /// All real servers that have an id.
    pub fn servers(&self) -> impl Iterator<Item = (Identity, u32)> {
        self.servers
            .keys()
            .flat_map(|service| self.servers_of(*service))
    }

    /// Those of one service.
    pub fn servers_of(&self, service: ServiceId) -> impl Iterator<Item = (Identity, u32)> {
        let servers = self.servers.get(&service).into_iter().flatten();
        servers.map(move |((socket, method), id)| ((service, *socket, *method), *id))
    }

    /// A service has changed: it may be gone, or some of its servers.
    pub fn doubt(&mut self, service: ServiceId) {
        self.doubted.insert(service);
    }

    /// Gives free what is no longer wanted and no longer used, of the services in doubt. The real servers
    /// whose ids are free now, and whether a service's is.
    pub fn release(
        &mut self,
        wants_service: impl Fn(&ServiceId) -> Wanted,
        wants_server: impl Fn(&Identity) -> bool,
        is_used: impl Fn(u32) -> bool,
    ) -> Released {
        let Self {
            services,
            servers,
            service_numbers,
            server_numbers,
            doubted,
            orphans,
            version,
        } = self;
        orphans.retain(|id| {
            let stays = is_used(*id);
            if !stays {
                server_numbers.free(*id);
            }
            stays
        });
        let mut released = Released::default();
        doubted.retain(|service| {
            let wanted = wants_service(service);
            let mut is_left = wanted == Wanted::Waits;
            if let Some(of_service) = servers.get_mut(service) {
                of_service.retain(|(socket, method), id| {
                    let identity = (*service, *socket, *method);
                    if wants_server(&identity) {
                        return true;
                    }
                    let stays = is_used(*id);
                    is_left |= stays;
                    if !stays {
                        server_numbers.free(*id);
                        released.servers.push((identity, *id));
                    }
                    stays
                });
                if of_service.is_empty() {
                    servers.remove(service);
                }
            }
            if wanted == Wanted::No
                && let Some(id) = services.remove(service)
            {
                service_numbers.free(id);
                released.services.push(*service);
            }
            is_left
        });
        if !released.services.is_empty() || !released.servers.is_empty() {
            *version += 1;
        }
        released
    }
}

/// What was given free.
#[derive(Debug, Default, PartialEq)]
pub struct Released {
    /// Services whose ids are free now.
    pub services: Vec<ServiceId>,
    /// Real servers, and the ids that they had.
    pub servers: Vec<(Identity, u32)>,
}

/// Numbers, of which the lowest that is free is given.
#[derive(Debug)]
struct Numbers {
    /// From here on all are free.
    next: u32,
    /// Those below it that are.
    free: BTreeSet<u32>,
}

impl Numbers {
    const fn from(first: u32) -> Self {
        Self {
            next: first,
            free: BTreeSet::new(),
        }
    }

    /// A number below the limit, if one is free.
    fn give(&mut self, limit: u32) -> Option<u32> {
        let lowest = self.free.first().copied().unwrap_or(self.next);
        (lowest < limit).then(|| {
            self.take(lowest);
            lowest
        })
    }

    /// Takes this one. Whether it was free.
    fn take(&mut self, number: u32) -> bool {
        if number < self.next {
            return self.free.remove(&number);
        }
        self.free.extend(self.next..number);
        self.next = number + 1;
        true
    }

    /// Gives one free that was taken.
    fn free(&mut self, number: u32) {
        self.free.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Protocol, ServiceAddress};

    fn server(last: u8) -> Identity {
        let service = ServiceId::Address(ServiceAddress {
            address: [10, 0, 0, 1].into(),
            port: 80,
            protocol: Protocol::Tcp,
        });
        (
            service,
            SocketAddr::from(([10, 0, 1, last], 80)),
            Method::Nat,
        )
    }

    #[test]
    fn an_id_stays_until_its_flows_have_ended() {
        let mut ids = Ids::default();
        assert_eq!(ids.server(server(1), 4), Ok(1));
        assert_eq!(ids.server(server(2), 4), Ok(2));
        assert_eq!(ids.server(server(1), 4), Ok(1));

        let wants_second = |identity: &Identity| *identity == server(2);
        let is_wanted = |_: &ServiceId| Wanted::Yes;
        ids.release(is_wanted, wants_second, |_| false);
        assert_eq!(ids.find_server(&server(1)), Some(1), "nobody doubted it");
        ids.doubt(server(1).0);
        let released = ids.release(is_wanted, wants_second, |id| id == 1);
        assert_eq!(released, Released::default());
        assert_eq!(ids.server(server(3), 4), Ok(3), "id 1 still has flows");
        // It stays in doubt until it is free.
        let released = ids.release(is_wanted, |identity| *identity != server(1), |_| false);
        assert_eq!(released.servers, [(server(1), 1)]);
        assert_eq!(ids.server(server(4), 4), Ok(1));
        assert!(ids.server(server(5), 4).is_err());
    }

    #[test]
    fn an_id_without_an_owner_waits_for_its_last_flow_too() {
        let mut ids = Ids::default();
        ids.restore_server(server(2), 2);
        ids.restore_orphan(1);
        ids.restore_orphan(2);
        ids.release(|_| Wanted::Yes, |_| true, |id| id == 1);
        assert_eq!(ids.server(server(3), 9), Ok(3));
        ids.release(|_| Wanted::Yes, |_| true, |_| false);
        assert_eq!(ids.server(server(4), 9), Ok(1));
        assert_eq!(ids.server(server(2), 9), Ok(2));
    }

    #[test]
    fn restored_ids_are_not_given_again() {
        let mut ids = Ids::default();
        ids.restore_server(server(9), 1);
        assert_eq!(ids.server(server(1), 10), Ok(2));
        assert_eq!(ids.server(server(9), 10), Ok(1));
    }

    #[test]
    fn a_service_keeps_its_id_until_its_servers_have_left() {
        let service = server(1).0;
        let mut ids = Ids::default();
        assert_eq!(ids.service(service, 4), Ok(0));
        ids.doubt(service);
        for (wanted, released) in [
            (Wanted::Waits, [].as_slice()),
            (Wanted::No, &[service]),
            (Wanted::No, &[]),
        ] {
            let now = ids.release(|_| wanted, |_| false, |_| false);
            assert_eq!(now.services, released, "{wanted:?}");
        }
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let mut numbers = Numbers::from(1);
        assert!(numbers.take(4) && numbers.take(2) && !numbers.take(2));
        let given: Vec<_> = (0..4).map(|_| numbers.give(6)).collect();
        assert_eq!(given, [Some(1), Some(3), Some(5), None]);
        numbers.free(3);
        assert_eq!(numbers.give(6), Some(3));
    }
}
