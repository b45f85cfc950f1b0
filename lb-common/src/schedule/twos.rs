//! twos: the less loaded of two real servers that were drawn by lot.

use core::ops::ControlFlow;

use crate::{
    maps::Service,
    schedule::{Candidate, available},
    tables::Tables,
};

/// Draws two slots of the ring, in which each real server has its share. If one of both is not
/// available, it is the other; if neither is, the next in the ring that is.
#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let place = draw(tables, service);
    let first = candidate(tables, service, place);
    let second = candidate(tables, service, draw(tables, service));
    let mut chosen = first;
    if first.id == 0 || (second.id != 0 && first.is_busier(&second)) {
        chosen = second;
    }
    if chosen.id == 0 {
        tables.repeat(service.slots, |step| {
            let place = place.wrapping_add(step).checked_rem(service.slots);
            chosen = candidate(tables, service, place.unwrap_or(0));
            if chosen.id == 0 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }
    chosen.found()
}

/// A place in the ring, each as likely as any other.
#[inline(always)]
fn draw<T: Tables>(tables: &T, service: &Service) -> u32 {
    ((u64::from(tables.random()) * u64::from(service.slots)) >> 32) as u32
}

/// Who is in this place of the ring, if available.
#[inline(always)]
fn candidate<T: Tables>(tables: &T, service: &Service, place: u32) -> Candidate {
    let Some(id) = tables.slot(service.ring + place) else {
        return Candidate::NONE;
    };
    match available(tables, service, id) {
        Some(server) => Candidate::of(tables, id, server),
        None => Candidate::NONE,
    }
}
