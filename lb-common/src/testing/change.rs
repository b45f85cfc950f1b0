//! How a site changes from one lvs.cf to the next, or because a health check says so: by lot.

use super::{
    BACK, FRONT, Lot, Site,
    scenario::{REFUSALS, SCHEDULERS, SERVERS, ends_of, persistence, put_service, settings},
};
use crate::maps::{Server, Service, ServiceKey, Thresholds};

/// The ids that services may have are below this.
const SERVICES: u32 = 16;
/// How many slots all rings may take.
const SLOTS: usize = 512;

/// A service that was taken away and may come back.
pub(super) type Withdrawn = (ServiceKey, Service);

/// Changes something of a site. `withdrawn` are the services that it had before.
pub(super) fn change(lot: &mut Lot, site: &mut Site, withdrawn: &mut Vec<Withdrawn>) {
    let id = 1 + lot.below(site.servers.len() - 1);
    match lot.below(18) {
        0..3 => site.servers[id].weight = lot.of(&[0, 0, 1, 2, 5]),
        3..6 => site.servers[id].flags ^= Server::PRESENT,
        6 | 7 => {
            let (interface, mtu) = (lot.of(&[BACK, BACK, FRONT, 0]), mtu(lot));
            site.servers[id] = site.servers[id].hop(|hop| {
                hop.interface = interface;
                hop.mtu = mtu;
            });
        }
        8 => site.settings = settings(lot),
        9 | 10 => limit(lot, site, id as u32),
        11 => take_away(lot, site, withdrawn),
        12 => bring_back(lot, site, withdrawn),
        13 => add(lot, site, withdrawn),
        14 => {
            if let Some((key, service)) = any_service(lot, site) {
                let flags = lot.of(&[
                    0,
                    Service::FALLBACK,
                    Service::ONE_PACKET,
                    Service::PERSISTENT,
                    Service::HASH_PORT | Service::FALLBACK,
                ]);
                if flags == Service::PERSISTENT {
                    let stays = persistence(lot, ends_of(&key));
                    site.persistence.insert(service.id, stays);
                } else if lot.chance(50) {
                    site.persistence.remove(&service.id);
                }
                let (scheduler, refusal) = (lot.of(&SCHEDULERS), lot.of(&REFUSALS));
                let changed = Service {
                    scheduler,
                    refusal,
                    flags,
                    ..service
                };
                lay(lot, site, changed);
            }
        }
        _ => {
            if let Some((_, service)) = any_service(lot, site) {
                if service.slots == 0 || lot.chance(50) {
                    lay(lot, site, service);
                } else {
                    // Slots keep to the servers of their service.
                    let slot =
                        |lot: &mut Lot| service.ring as usize + lot.below(service.slots as usize);
                    let (to, from) = (slot(lot), slot(lot));
                    site.ring[to] = site.ring[from];
                }
            }
        }
    }
}

fn mtu(lot: &mut Lot) -> u16 {
    lot.of(&[0, 1500, 1500, 1500, 1280, 100])
}

fn any_service(lot: &mut Lot, site: &Site) -> Option<Withdrawn> {
    let count = site.services.len();
    let index = (count > 0).then(|| lot.below(count))?;
    let (key, service) = site.services.iter().nth(index)?;
    Some((*key, *service))
}

/// Gives a real server other thresholds, or takes them away.
fn limit(lot: &mut Lot, site: &mut Site, id: u32) {
    let upper = lot.below(6) as u32;
    let lower = lot.below(upper as usize + 1) as u32;
    let server = &mut site.servers[id as usize];
    if upper == 0 {
        server.flags &= !Server::LIMITED;
        site.thresholds.remove(&id);
    } else {
        server.flags |= Server::LIMITED;
        site.thresholds.insert(id, Thresholds { upper, lower });
    }
}

/// Takes a service away, its servers too or, while they drain, later.
fn take_away(lot: &mut Lot, site: &mut Site, withdrawn: &mut Vec<Withdrawn>) {
    let Some((key, service)) = any_service(lot, site) else {
        return;
    };
    site.services.remove(&key);
    site.ranges.retain(|_, other| other.id != service.id);
    let drains = lot.chance(30);
    for server in of_service(site, service.id) {
        server.weight = 0;
        if !drains {
            server.flags &= !Server::PRESENT;
        }
    }
    withdrawn.push((key, service));
}

fn bring_back(lot: &mut Lot, site: &mut Site, withdrawn: &mut Vec<Withdrawn>) {
    if withdrawn.is_empty() {
        return;
    }
    let (key, service) = withdrawn.swap_remove(lot.below(withdrawn.len()));
    // The address may be another's by now.
    if site.services.contains_key(&key) {
        return;
    }
    for server in of_service(site, service.id) {
        server.weight = 1;
        server.flags |= Server::PRESENT;
    }
    site.services.insert(key, service);
    lay(lot, site, service);
}

fn add(lot: &mut Lot, site: &mut Site, withdrawn: &[Withdrawn]) {
    let known = site
        .services
        .values()
        .chain(withdrawn.iter().map(|(_, service)| service));
    let id = known.map(|service| service.id + 1).max().unwrap_or(0);
    if id < SERVICES && site.servers.len() < SERVERS {
        put_service(lot, site, id, SERVERS);
    }
}

fn of_service(site: &mut Site, id: u32) -> impl Iterator<Item = &mut Server> {
    let servers = site.servers.iter_mut().skip(1);
    servers.filter(move |server| server.service == id)
}

/// Lays the ring of a service anew, beside the one that it has.
fn lay(lot: &mut Lot, site: &mut Site, mut service: Service) {
    let members: Vec<_> = (1..)
        .zip(&site.servers[1..])
        .filter(|(_, server)| server.service == service.id && server.weight > 0)
        .map(|(id, _)| id)
        .collect();
    let mut slots = members.clone();
    if !members.is_empty() {
        slots.extend((0..lot.below(5)).map(|_| lot.of(&members)));
    }
    let length = slots.len();
    let is_free = |first: &usize| {
        let taken = site.services.values();
        taken.into_iter().all(|other| {
            let (start, end) = (other.ring as usize, (other.ring + other.slots) as usize);
            first + length <= start || end <= *first
        })
    };
    let Some(first) = (0..SLOTS - length).find(is_free) else {
        return;
    };
    if site.ring.len() < first + length {
        site.ring.resize(first + length, 0);
    }
    site.ring[first..first + length].copy_from_slice(&slots);
    (service.ring, service.slots) = (first as u32, length as u32);
    let entries = site.services.values_mut().chain(site.ranges.values_mut());
    entries
        .filter(|entry| entry.id == service.id)
        .for_each(|entry| *entry = service);
}
