//! sh, dh and mh: the slot of an address.

use core::{hint::black_box, ops::ControlFlow};

use crate::{
    address::Address6,
    family::Family,
    hash,
    maps::{MethodKind, SchedulerKind, Server, Service},
    parse::Frame,
    schedule::{HASH_SLOTS, available},
    tables::Tables,
};

/// How many other slots of its own a client has in a ring of mh.
const OWN_SLOTS: u32 = 32;
/// How many slots are looked at for one that is available.
const TRIES: u32 = 4_096;

/// The real server in the slot of the client's address, or of the destination's (dh). If it is not
/// available the client gets none, unless the service has [`Service::FALLBACK`].
#[inline(always)]
pub(super) fn choose<F: Family, T: Tables>(
    tables: &T,
    service: &Service,
    frame: &Frame<'_, F>,
) -> Option<u32> {
    let is_by_client = service.scheduler != SchedulerKind::DESTINATION_HASH;
    let subject = Subject {
        scheduler: service.scheduler,
        slots: service.slots,
        // Of an address of IPv4 most bytes are known. Older verifiers would follow them through all rounds
        // of the hash, four times as far as the unknown ones of IPv6.
        address: black_box(F::widen(if is_by_client {
            frame.key.source
        } else {
            frame.key.destination
        })),
        port: if is_by_client && service.has(Service::HASH_PORT) {
            frame.key.source_port.get()
        } else {
            0
        },
        secret: tables.settings()?.secret,
    };
    let first = subject.place();
    let id = tables.slot(service.ring + first)?;
    let server = available(tables, service, id);
    if !service.has(Service::FALLBACK) {
        return server.map(|_| id);
    }
    if server.is_some_and(is_reachable) {
        return Some(id);
    }
    let mut found = 0;
    tables.repeat(OWN_SLOTS + service.slots.min(TRIES), |step| {
        if let Some(id) = tables.slot(service.ring + subject.place_after(first, step))
            && available(tables, service, id).is_some_and(is_reachable)
        {
            found = id;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    (found != 0).then_some(found)
}

/// Whether the way there is known. Rings of these schedulers have a slot for everybody.
#[inline(always)]
fn is_reachable(server: &Server) -> bool {
    server.hop.interface != 0 || server.method == MethodKind::LOCAL
}

/// What is hashed, and how.
struct Subject {
    scheduler: SchedulerKind,
    slots: u32,
    address: Address6,
    port: u16,
    secret: [u64; 2],
}

impl Subject {
    /// The place in the ring.
    #[inline(always)]
    fn place(&self) -> u32 {
        self.within(match self.scheduler {
            SchedulerKind::MAGLEV => self.keyed(0),
            SchedulerKind::MAGLEV_COMPAT => self.known(0),
            _ => hash::multiplied(self.number()),
        })
    }

    /// The place that comes next if nobody is available in `first` and in `step` others.
    ///
    /// IPVS hashes again with the place as an offset (`ip_vs_mh_get_fallback`), or adds it
    /// (`ip_vs_sh_get_fallback`). With mh's own hash a few more places belong to each client, and
    /// after these the ring is gone through from the first: servers alternate in it at random.
    #[inline(always)]
    fn place_after(&self, first: u32, step: u32) -> u32 {
        let next = first.wrapping_add(step);
        self.within(match self.scheduler {
            SchedulerKind::MAGLEV if step < OWN_SLOTS => self.keyed(step + 1),
            SchedulerKind::MAGLEV => next.wrapping_sub(OWN_SLOTS),
            SchedulerKind::MAGLEV_COMPAT => self.known(self.within(next)),
            _ => first.wrapping_add(next) & (HASH_SLOTS - 1),
        })
    }

    #[inline(always)]
    fn within(&self, hash: u32) -> u32 {
        hash.checked_rem(self.slots).unwrap_or(0)
    }

    /// What IPVS hashes.
    #[inline(always)]
    fn number(&self) -> u32 {
        hash::folded(&self.address).wrapping_add(u32::from(self.port))
    }

    #[inline(always)]
    fn known(&self, offset: u32) -> u32 {
        hash::known(hash::MH_FIRST, self.number().wrapping_add(offset))
    }

    #[inline(always)]
    fn keyed(&self, number: u32) -> u32 {
        hash::keyed(self.secret, &self.address, self.port, number) as u32
    }
}
