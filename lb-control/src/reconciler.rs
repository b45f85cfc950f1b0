//! The one task that writes the maps: recv, absorb, desired, diff, apply.
//!
//! Nobody else calls [`Dataplane::apply`]. A write that the kernel refuses is told and tried again
//! at the next event, at the latest with the next [`Event::Tick`]; it never ends the daemon.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::{
    dataplane::{Dataplane, Tables},
    desired::{Desired, desired, lay_rings, method, service_address, service_key},
    diff::{diff, note},
    event::Event,
    ids::{Exhausted, Identity, Ids},
    model::ServiceAddress,
    rings::turn_after,
    state::State,
    status,
};

/// The keeper of the routing table: lvs.
pub struct Reconciler<D> {
    state: State,
    ids: Ids,
    /// What the maps hold.
    actual: Tables,
    /// Who took part in each service when its ring was laid.
    last: Desired,
    /// What was already complained about, so that it is said once.
    complaints: BTreeSet<String>,
    dataplane: D,
}

impl<D: Dataplane> Reconciler<D> {
    /// Takes over what the maps hold: a daemon before this one may have left the data plane
    /// forwarding.
    ///
    /// # Errors
    /// If the maps cannot be read.
    pub fn new(dataplane: D) -> Result<Self, D::Error> {
        let actual = dataplane.read()?;
        let mut reconciler = Self {
            state: State::default(),
            ids: Ids::default(),
            actual,
            last: Desired::default(),
            complaints: BTreeSet::new(),
            dataplane,
        };
        reconciler.restore_ids();
        Ok(reconciler)
    }

    /// Runs until nobody sends events any more.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut batch = Vec::new();
        while events.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let mut is_changed = false;
            for event in batch.drain(..) {
                is_changed |= self.absorb(event);
            }
            if is_changed {
                self.reconcile();
            }
        }
    }

    /// Takes one event in. Whether the maps may have to change.
    fn absorb(&mut self, event: Event) -> bool {
        match event {
            Event::Configured(site) => {
                let is_first = self.state.site.services.is_empty();
                self.state.configure(site);
                if is_first {
                    self.presume_members();
                }
            }
            Event::Health(report) => self.state.report(report),
            Event::Way(resolved) => self.state.resolve(resolved),
            Event::Vlans(vlans) => self.state.vlans = vlans,
            Event::Tick => self.release_ids(),
            Event::Status(reply) => {
                // Whoever asked may have gone away.
                let _ = reply.send(status::report(&self.state, &self.ids, &self.dataplane));
                return false;
            }
        }
        true
    }

    /// Brings the maps to what they ought to hold.
    fn reconcile(&mut self) {
        let sizes = self.dataplane.sizes();
        let mut wanted = desired(&self.state, &mut self.ids, &self.actual, &sizes);
        let laid = lay_rings(&self.state, &mut wanted, &self.actual, &sizes);
        self.continue_turns(&mut wanted);
        let mut complaints = BTreeSet::new();
        complaints.extend(wanted.refused.iter().map(Exhausted::to_string));
        if let Err(service) = laid {
            complaints.insert(format!(
                "no room for the ring of {service}: {} slots in all",
                sizes.ring
            ));
        }
        for change in diff(&self.actual, &wanted.tables) {
            match self.dataplane.apply(&change) {
                Ok(()) => {
                    debug!(?change, "written");
                    note(&mut self.actual, &change);
                }
                Err(error) => {
                    complaints.insert(format!("the kernel refused {change:?}: {error}"));
                }
            }
        }
        for complaint in complaints.difference(&self.complaints) {
            warn!("{complaint}; trying again");
        }
        self.complaints = complaints;
        self.last = wanted;
    }

    /// Where the members of a service change, its scheduler goes on as IPVS's would.
    fn continue_turns(&self, wanted: &mut Desired) {
        for service in &self.state.site.services {
            let key = service_key(&service.key);
            let (Some(before), Some(after)) = (
                self.last.members.get(&service.key),
                wanted.members.get(&service.key),
            ) else {
                continue;
            };
            let Some(entry) = wanted.tables.services.get(&key) else {
                continue;
            };
            if before == after {
                continue;
            }
            if let Ok(turn) = self.dataplane.turn(entry.id) {
                let next = turn_after(service.scheduler, before, after, turn);
                if next != turn {
                    wanted.tables.turns.insert(entry.id, next);
                }
            }
        }
    }

    /// The ids of what the maps hold stay with their owners.
    fn restore_ids(&mut self) {
        for (service, identity, id) in self.found() {
            self.ids.restore_service(service.0, service.1);
            self.ids.restore_server(identity, id);
        }
        let services = &self.actual.services;
        for (service, id) in services
            .iter()
            .filter_map(|(key, entry)| Some((service_address(key)?, entry.id)))
        {
            self.ids.restore_service(service, id);
        }
    }

    /// The real servers that the maps hold.
    fn found(&self) -> Vec<((ServiceAddress, u32), Identity, u32)> {
        let services: Vec<_> = self
            .actual
            .services
            .iter()
            .filter_map(|(key, entry)| Some((service_address(key)?, entry.id)))
            .collect();
        let found = self.actual.servers.iter().filter_map(|(id, server)| {
            let service = *services.iter().find(|(_, id)| *id == server.service)?;
            let socket = std::net::SocketAddr::new(server.address.into(), server.port.get());
            Some((service, (service.0, socket, method(server.method)?), *id))
        });
        found.collect()
    }

    /// Real servers that the maps hold stay until a nanny has looked at them.
    fn presume_members(&mut self) {
        let found = self.found();
        for ((service, _), (_, socket, method), _) in found {
            let is_same = self
                .state
                .site
                .services
                .iter()
                .any(|candidate| candidate.key == service && candidate.method == method);
            if is_same {
                info!(%service, server = %socket, "forwards already and is kept until it was checked");
                self.state.presume_member((service, socket));
            }
        }
    }

    fn release_ids(&mut self) {
        let Self {
            state,
            ids,
            dataplane,
            actual,
            ..
        } = self;
        let services = &state.site.services;
        ids.release(
            |key| services.iter().any(|service| service.key == *key),
            |(key, socket, method)| {
                services.iter().any(|service| {
                    service.key == *key
                        && service.method == *method
                        && service
                            .servers
                            .iter()
                            .any(|server| server.socket == *socket)
                })
            },
            |id| {
                actual.servers.contains_key(&id)
                    || dataplane
                        .load(id)
                        .map_or(true, |load| load.active > 0 || load.inactive > 0)
            },
        );
    }
}

/// How many events are taken in before the maps are brought up to date.
const MAX_BATCH: usize = 4096;
