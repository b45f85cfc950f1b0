//! lblc and lblcr: a destination keeps the real server that it had before, or a set of them, as long
//! as that has not too much to do. For caches: each holds other destinations.

use core::ops::ControlFlow;

use crate::{
    family::Family,
    maps::{Locality, LocalityKey, SchedulerKind, Service},
    parse::Frame,
    schedule::{Candidate, available},
    state::ticks,
    tables::Tables,
};

/// A destination that was not used for so long is forgotten: `DEFAULT_EXPIRATION`, in seconds.
pub const UNUSED_EXPIRY: u32 = 24 * 60 * 60;
/// A set that has not changed for so long loses its busiest server: `lblcr_expiration`, in seconds.
pub const SET_EXPIRY: u32 = 24 * 60 * 60;
/// How exactly it is known when a destination was used last, in seconds: noting it with every flow
/// would cost a write to the table each time.
const USE_GRAIN: u32 = 60;

const SERVERS: usize = Locality::SERVERS;

/// The real server of the destination, or, if it has too much to do or there is none, the one of all
/// that has the least to do by weight.
#[inline(always)]
pub(super) fn choose<F: Family, T: Tables>(
    tables: &T,
    service: &Service,
    frame: &Frame<'_, F>,
    now: u32,
) -> Option<u32> {
    let key = LocalityKey {
        address: F::widen(frame.key.destination),
        service: service.id,
        pad: 0,
    };
    let mut locality = tables
        .locality(&key)
        .filter(|known| now.wrapping_sub(known.used) < ticks(UNUSED_EXPIRY))
        .unwrap_or(Locality {
            servers: [0; SERVERS],
            used: now.wrapping_sub(ticks(USE_GRAIN)),
            changed: now,
        });
    let is_set = service.scheduler == SchedulerKind::LOCALITY_SET;
    let kept = own(tables, service, &locality.servers, Wanted::Idlest);
    let mut is_changed = false;
    if is_set
        && has_several(&locality.servers)
        && now.wrapping_sub(locality.changed) > ticks(SET_EXPIRY)
    {
        let busiest = own(tables, service, &locality.servers, Wanted::Busiest);
        is_changed = busiest.id != 0;
        if is_changed {
            remove(&mut locality.servers, busiest.id);
        }
    }
    let mut chosen = kept.id;
    let active = u64::from(tables.load(chosen).active);
    if chosen == 0 || active > kept.weight {
        let all = all(tables, service);
        if chosen == 0 || all.has_idle {
            chosen = all.least.found()?;
            is_changed |= add(&mut locality.servers, chosen, is_set);
        }
    }
    if is_changed {
        locality.changed = now;
    }
    if is_changed || now.wrapping_sub(locality.used) >= ticks(USE_GRAIN) {
        locality.used = now;
        tables.remember_locality(&key, &locality);
    }
    Some(chosen)
}

/// Which of a destination's own servers is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Who has the least to do (`ip_vs_dest_set_min`).
    Idlest,
    /// Who has the most to do (`ip_vs_dest_set_max`).
    Busiest,
}

/// One of a destination's own servers, if available; the first of equals, which came last.
#[inline(always)]
fn own<T: Tables>(
    tables: &T,
    service: &Service,
    servers: &[u32; SERVERS],
    wanted: Wanted,
) -> Candidate {
    let mut found = Candidate::nobody(tables);
    tables.repeat(SERVERS as u32, |place| {
        let Some(&id) = servers.get(place as usize) else {
            return ControlFlow::Break(());
        };
        if let Some(server) = available(tables, service, id) {
            let candidate = Candidate::of(tables, id, server);
            let is_better = match wanted {
                Wanted::Idlest => found.is_busier(&candidate),
                Wanted::Busiest => candidate.is_busier(&found),
            };
            if found.id == 0 || is_better {
                found = candidate;
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// Of all members that are available.
struct All {
    /// Who has the least to do (`__ip_vs_lblcr_schedule`).
    least: Candidate,
    /// Whether anybody has fewer active connections than half of the weight.
    has_idle: bool,
}

#[inline(always)]
fn all<T: Tables>(tables: &T, service: &Service) -> All {
    let mut all = All {
        least: Candidate::nobody(tables),
        has_idle: tables.zero() != 0,
    };
    tables.scan(service.ring, service.slots, |id| {
        if let Some(server) = available(tables, service, id) {
            let candidate = Candidate::of(tables, id, server);
            if u64::from(tables.load(id).active) * 2 < candidate.weight {
                all.has_idle = true;
            }
            if all.least.id == 0 || all.least.is_busier(&candidate) {
                all.least = candidate;
            }
        }
        ControlFlow::Continue(())
    });
    all
}

/// Adds `id` to a set as its first, if it is not in there yet, or puts it in the place of the one that
/// there is. Tells whether that changed something.
#[inline(always)]
fn add(servers: &mut [u32; SERVERS], id: u32, is_set: bool) -> bool {
    let [a, b, c, d, e, f, g, h] = *servers;
    if !is_set {
        servers[0] = id;
        return a != id;
    }
    let is_there = [a, b, c, d, e, f, g, h].contains(&id);
    if !is_there {
        *servers = [id, a, b, c, d, e, f, g];
    }
    !is_there
}

/// Whether there are two at least. The first places are taken first.
#[inline(always)]
const fn has_several(servers: &[u32; SERVERS]) -> bool {
    servers[1] != 0
}

/// Takes `id` out; those behind it move up.
#[inline(always)]
fn remove(servers: &mut [u32; SERVERS], id: u32) {
    let mut next = 0;
    for server in servers.iter_mut().rev() {
        core::mem::swap(server, &mut next);
        if next == id {
            // Those before it stay where they are.
            break;
        }
    }
}
