//! What services count: the sum over their servers, of which some have left.

use std::collections::{BTreeMap, HashMap};

use lb_common::maps::Traffic;
use tracing::warn;

use crate::{
    dataplane::{Dataplane, both},
    ids::Ids,
    model::ServiceId,
    rates::Rates,
};

/// What servers counted whose ids were given free, by service. Gone with the daemon.
#[derive(Debug, Default)]
pub struct Counters {
    left: BTreeMap<ServiceId, Traffic>,
}

impl Counters {
    /// Keeps for `service` what the server `id` has counted, before the next one with that id counts
    /// anew.
    pub fn keep<D: Dataplane>(&mut self, service: ServiceId, id: u32, dataplane: &mut D) {
        let result = dataplane.traffic(id).and_then(|traffic| {
            dataplane.clear_traffic(id)?;
            let sum = self.left.entry(service).or_default();
            *sum = both(sum, &traffic);
            Ok(())
        });
        if let Err(error) = result {
            warn!(%service, %error, "what a server that has left counted is lost");
        }
    }

    /// What servers of a service counted that have left it.
    #[must_use]
    pub fn left(&self, service: ServiceId) -> Traffic {
        self.left.get(&service).copied().unwrap_or_default()
    }

    /// Begins to count anew: for one service, else for all.
    ///
    /// # Errors
    /// The kernel's; what was cleared before stays so.
    pub fn clear<D: Dataplane>(
        &mut self,
        which: Option<ServiceId>,
        ids: &Ids,
        rates: &mut Rates,
        dataplane: &mut D,
    ) -> Result<(), D::Error> {
        let is_meant = |service: &ServiceId| which.is_none_or(|which| which == *service);
        self.left.retain(|service, _| !is_meant(service));
        for ((service, ..), id) in ids.servers() {
            if is_meant(&service) {
                dataplane.clear_traffic(id)?;
                rates.forget(id);
            }
        }
        Ok(())
    }

    /// Forgets the services that there are no more.
    pub fn retain(&mut self, is_there: impl Fn(&ServiceId) -> bool) {
        self.left.retain(|service, _| is_there(service));
    }

    /// What each server of a service has counted, by id, and the service with those that have left it. A counter that
    /// cannot be read counts as zero.
    pub fn of<D: Dataplane>(
        &self,
        service: ServiceId,
        ids: &Ids,
        dataplane: &D,
    ) -> (HashMap<u32, Traffic>, Traffic) {
        let servers = ids.servers_of(service);
        let each: HashMap<_, _> = servers
            .map(|(_, id)| (id, dataplane.traffic(id).unwrap_or_default()))
            .collect();
        let sum = each
            .values()
            .fold(self.left(service), |sum, one| both(&sum, one));
        (each, sum)
    }
}
