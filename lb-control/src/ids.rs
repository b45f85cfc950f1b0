//! Numbers for services and real servers, which flows and rings refer to.
//!
//! An id belongs to one real server by one method for as long as a flow may refer to it: it is
//! given to another only when the server is no longer in lvs.cf and its last flow has ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::model::{Method, ServiceId};

/// What an id of a real server stands for.
pub type Identity = (ServiceId, SocketAddr, Method);

/// The ids that are given.
#[derive(Debug, Default)]
pub struct Ids {
    services: BTreeMap<ServiceId, u32>,
    servers: BTreeMap<Identity, u32>,
    taken_services: BTreeSet<u32>,
    taken_servers: BTreeSet<u32>,
    /// Those of `taken_servers` that nobody has and flows still refer to.
    orphans: BTreeSet<u32>,
}

/// There are more services or real servers than the maps hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tables hold no more than {limit} {what}")]
pub struct Exhausted {
    what: &'static str,
    limit: u32,
}

impl Ids {
    /// Takes over a service's id that was found in the maps.
    pub fn restore_service(&mut self, service: ServiceId, id: u32) {
        self.services.insert(service, id);
        self.taken_services.insert(id);
    }

    /// Takes over a real server's id that was found in the maps.
    pub fn restore_server(&mut self, server: Identity, id: u32) {
        self.servers.insert(server, id);
        self.taken_servers.insert(id);
    }

    /// Takes note of an id to which something in the maps still refers, if nobody has it.
    pub fn restore_orphan(&mut self, id: u32) {
        if self.taken_servers.insert(id) {
            self.orphans.insert(id);
        }
    }

    /// The id of a service.
    ///
    /// # Errors
    /// [`Exhausted`] if there are `limit` already.
    pub fn service(&mut self, service: ServiceId, limit: u32) -> Result<u32, Exhausted> {
        give(
            &mut self.services,
            &mut self.taken_services,
            service,
            0,
            limit,
        )
        .ok_or(Exhausted {
            what: "virtual services",
            limit,
        })
    }

    /// The id of a real server, from 1 on: 0 is no server.
    ///
    /// # Errors
    /// [`Exhausted`] if there are `limit` already.
    pub fn server(&mut self, server: Identity, limit: u32) -> Result<u32, Exhausted> {
        give(&mut self.servers, &mut self.taken_servers, server, 1, limit).ok_or(Exhausted {
            what: "real servers",
            limit,
        })
    }

    /// The id of a real server that has one.
    #[must_use]
    pub fn find_server(&self, server: &Identity) -> Option<u32> {
        self.servers.get(server).copied()
    }

    /// All real servers that have an id.
    pub fn servers(&self) -> impl Iterator<Item = (&Identity, u32)> {
        self.servers.iter().map(|(identity, id)| (identity, *id))
    }

    /// Gives free what is no longer wanted and no longer used. The real servers whose ids are free
    /// now.
    pub fn release(
        &mut self,
        wants_service: impl Fn(&ServiceId) -> bool,
        wants_server: impl Fn(&Identity) -> bool,
        is_used: impl Fn(u32) -> bool,
    ) -> Vec<(Identity, u32)> {
        let Self {
            services,
            servers,
            taken_services,
            taken_servers,
            orphans,
        } = self;
        services.retain(|service, id| wants_service(service) || !taken_services.remove(id));
        orphans.retain(|id| is_used(*id) || !taken_servers.remove(id));
        let mut released = Vec::new();
        servers.retain(|server, id| {
            let stays = wants_server(server) || is_used(*id) || !taken_servers.remove(id);
            if !stays {
                released.push((*server, *id));
            }
            stays
        });
        released
    }
}

fn give<K: Ord>(
    given: &mut BTreeMap<K, u32>,
    taken: &mut BTreeSet<u32>,
    key: K,
    first: u32,
    limit: u32,
) -> Option<u32> {
    if let Some(id) = given.get(&key) {
        return Some(*id);
    }
    // The lowest free number. The highest taken one plus one is it, unless there are gaps.
    let dense = taken.len() as u32 + first;
    let id = match taken.last() {
        Some(last) if last + 1 != dense => (first..limit).find(|id| !taken.contains(id))?,
        _ => dense,
    };
    if id >= limit {
        return None;
    }
    taken.insert(id);
    given.insert(key, id);
    Some(id)
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
        ids.release(|_| true, wants_second, |id| id == 1);
        assert_eq!(ids.server(server(3), 4), Ok(3), "id 1 still has flows");
        ids.release(|_| true, |identity| *identity != server(1), |_| false);
        assert_eq!(ids.server(server(4), 4), Ok(1));
        assert!(ids.server(server(5), 4).is_err());
    }

    #[test]
    fn an_id_without_an_owner_waits_for_its_last_flow_too() {
        let mut ids = Ids::default();
        ids.restore_server(server(2), 2);
        ids.restore_orphan(1);
        ids.restore_orphan(2);
        ids.release(|_| true, |_| true, |id| id == 1);
        assert_eq!(ids.server(server(3), 9), Ok(3));
        ids.release(|_| true, |_| true, |_| false);
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
}
