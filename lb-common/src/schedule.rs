//! Who gets the next flow. The algorithms are those of IPVS's schedulers; what they can know
//! beforehand is laid out in the ring of the service by the control plane.

use core::ops::ControlFlow;

use crate::{
    address::Address6,
    family::Family,
    maps::{SchedulerKind, Service},
    parse::Frame,
    tables::Tables,
};

/// Number of slots of an sh ring: `IP_VS_SH_TAB_SIZE`.
pub const HASH_SLOTS: u32 = 256;

/// The id of the real server for a new flow, or `None` if none is available.
#[inline(always)]
pub fn choose<F: Family, T: Tables>(
    tables: &T,
    service: &Service,
    frame: &Frame<'_, F>,
    _now: u32,
) -> Option<u32> {
    if service.slots == 0 {
        return None;
    }
    let id = match service.scheduler {
        SchedulerKind::TURNS => {
            let slot = tables.turn(service.id) % u64::from(service.slots);
            tables.slot(service.ring + slot as u32)
        }
        SchedulerKind::LEAST_LOADED => least_loaded(tables, service),
        SchedulerKind::SOURCE_HASH => {
            let slot = source_hash(&F::widen(frame.key.source)) % service.slots;
            tables.slot(service.ring + slot)
        }
        _ => None,
    }?;
    let server = tables.server(id)?;
    // Slots that a service has given up may be another's a moment later.
    let is_ours = server.service == service.id;
    (is_ours && server.is_present() && server.weight > 0).then_some(id)
}

/// wlc: the server with the lowest overhead by weight; the first of equals. IPVS compares
/// `overhead * weight of the other` in 64 bits, with `overhead = active * 256 + inactive`.
#[inline(always)]
fn least_loaded<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let zero = tables.zero();
    let mut least = Candidate {
        id: zero,
        overhead: zero.into(),
        weight: zero.into(),
    };
    tables.scan(service.ring, service.slots, |id| {
        if let Some(server) = tables.server(id)
            && server.weight > 0
            && server.is_present()
        {
            let load = tables.load(id);
            let overhead = (u64::from(load.active) << 8) + u64::from(load.inactive);
            let weight = u64::from(server.weight);
            if least.id == 0 || least.overhead * weight > overhead * least.weight {
                least = Candidate {
                    id,
                    overhead,
                    weight,
                };
            }
        }
        ControlFlow::Continue(())
    });
    (least.id != 0).then_some(least.id)
}

/// The best server so far; id 0 is none.
struct Candidate {
    id: u32,
    overhead: u64,
    weight: u64,
}

/// `ip_vs_sh_hashkey` without a port: the folded address times the golden ratio, of which the
/// upper eight bits count (`hash_32`).
#[must_use]
#[inline(always)]
pub const fn source_hash(address: &Address6) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.0;
    let last = u32::from_be_bytes([m, n, o, p]);
    let folded = if address.is_mapped() {
        last
    } else {
        u32::from_be_bytes([a, b, c, d])
            ^ u32::from_be_bytes([e, f, g, h])
            ^ u32::from_be_bytes([i, j, k, l])
            ^ last
    };
    folded.wrapping_mul(0x61c8_8647) >> 24
}
