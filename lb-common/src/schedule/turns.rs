//! rr and wrr: one slot of the ring after the other.

use core::ops::ControlFlow;

use crate::{maps::Service, schedule::available, tables::Tables};

/// The real server of the next slot. One that is not available loses its turn, as in IPVS; nobody is
/// asked twice.
#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let mut next = take_turn(tables, service);
    if next == 0 {
        tables.repeat(service.slots - 1, |_| {
            next = take_turn(tables, service);
            if next == 0 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }
    (next != 0).then_some(next)
}

/// Who has the next turn; zero if nobody is available in its slot.
#[inline(always)]
fn take_turn<T: Tables>(tables: &T, service: &Service) -> u32 {
    let turn = tables.turn(service.id);
    let place = turn.checked_rem(u64::from(service.slots)).unwrap_or(0);
    match tables.slot(service.ring + place as u32) {
        Some(id) if available(tables, service, id).is_some() => id,
        _ => 0,
    }
}
