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
    let survey = survey(tables, service, &locality.servers);
    let mut is_changed = false;
    if is_set
        && has_several(&locality.servers)
        && now.wrapping_sub(locality.changed) > ticks(SET_EXPIRY)
        && survey.busiest.id != 0
    {
        remove(&mut locality.servers, survey.busiest.id);
        is_changed = true;
    }
    let kept = survey.kept.id;
    let chosen = if kept != 0 && !(survey.is_overloaded && survey.has_idle) {
        kept
    } else {
        let chosen = survey.least.id;
        if chosen == 0 {
            return None;
        }
        if !is_set {
            is_changed |= locality.servers[0] != chosen;
            locality.servers[0] = chosen;
        } else if position(&locality.servers, chosen) == SERVERS as u32 {
            let [a, b, c, d, e, f, g, _] = locality.servers;
            locality.servers = [chosen, a, b, c, d, e, f, g];
            is_changed = true;
        }
        chosen
    };
    if is_changed {
        locality.changed = now;
    }
    if is_changed || now.wrapping_sub(locality.used) >= ticks(USE_GRAIN) {
        locality.used = now;
        tables.remember_locality(&key, &locality);
    }
    Some(chosen)
}

/// What one look at all members shows.
struct Survey {
    /// Of all, who has the least to do (`__ip_vs_lblcr_schedule`).
    least: Candidate,
    /// Of the destination's own servers, who has the least to do (`ip_vs_dest_set_min`).
    kept: Candidate,
    /// Where it stands among them: the first of equals is kept.
    place: u32,
    /// Of the destination's own servers, who has the most to do (`ip_vs_dest_set_max`).
    busiest: Candidate,
    /// Whether the one that is kept has more active connections than weight.
    is_overloaded: bool,
    /// Whether anybody has fewer active connections than half of the weight.
    has_idle: bool,
}

#[inline(always)]
fn survey<T: Tables>(tables: &T, service: &Service, own: &[u32; SERVERS]) -> Survey {
    let mut survey = Survey {
        least: Candidate::nobody(tables),
        kept: Candidate::nobody(tables),
        place: tables.zero(),
        busiest: Candidate::nobody(tables),
        is_overloaded: tables.zero() != 0,
        has_idle: tables.zero() != 0,
    };
    tables.scan(service.ring, service.slots, |id| {
        let Some(server) = available(tables, service, id) else {
            return ControlFlow::Continue(());
        };
        let candidate = Candidate::of(tables, id, server);
        let active = u64::from(tables.load(id).active);
        survey.has_idle |= active * 2 < candidate.weight;
        if survey.least.id == 0 || survey.least.is_busier(&candidate) {
            survey.least = candidate;
        }
        let place = position(own, id);
        if place == SERVERS as u32 {
            return ControlFlow::Continue(());
        }
        let is_before = !candidate.is_busier(&survey.kept) && place < survey.place;
        if survey.kept.id == 0 || survey.kept.is_busier(&candidate) || is_before {
            survey.kept = candidate;
            survey.place = place;
            survey.is_overloaded = active > candidate.weight;
        }
        if survey.busiest.id == 0 || candidate.is_busier(&survey.busiest) {
            survey.busiest = candidate;
        }
        ControlFlow::Continue(())
    });
    survey
}

/// Where `id` stands; the number of places if it does not.
#[inline(always)]
fn position(servers: &[u32; SERVERS], id: u32) -> u32 {
    let mut found = SERVERS as u32;
    let mut at = found;
    for server in servers.iter().rev() {
        at -= 1;
        if *server == id {
            found = at;
        }
    }
    found
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
        let this = *server;
        *server = next;
        next = this;
        if this == id {
            // Those before it stay where they are.
            break;
        }
    }
}
