//! Who gets the next flow. The algorithms are those of IPVS's schedulers; what they can know
//! beforehand is laid out in the ring of the service by the control plane.

mod hashed;
mod least;
mod locality;
mod turns;
mod twos;

use crate::{
    family::Family,
    maps::{SchedulerKind, Server, Service},
    parse::Frame,
    tables::Tables,
};

pub use locality::{SET_EXPIRY, UNUSED_EXPIRY};

/// Number of slots of the ring of sh and dh: `IP_VS_SH_TAB_SIZE`, `IP_VS_DH_TAB_SIZE`.
pub const HASH_SLOTS: u32 = 256;

/// The id of the real server for a new flow, or `None` if none is available.
#[inline(always)]
pub fn choose<F: Family, T: Tables>(
    tables: &T,
    service: &Service,
    frame: &Frame<'_, F>,
    now: u32,
) -> Option<u32> {
    if service.slots == 0 {
        return None;
    }
    match service.scheduler {
        SchedulerKind::TURNS => turns::choose(tables, service),
        SchedulerKind::LEAST_LOADED
        | SchedulerKind::LEAST_CONNECTIONS
        | SchedulerKind::SHORTEST_DELAY
        | SchedulerKind::NEVER_QUEUE
        | SchedulerKind::FAILOVER
        | SchedulerKind::OVERFLOW => least::choose(tables, service),
        SchedulerKind::TWO_CHOICES => twos::choose(tables, service),
        SchedulerKind::SOURCE_HASH
        | SchedulerKind::DESTINATION_HASH
        | SchedulerKind::MAGLEV
        | SchedulerKind::MAGLEV_COMPAT => hashed::choose(tables, service, frame),
        SchedulerKind::LOCALITY | SchedulerKind::LOCALITY_SET => {
            locality::choose(tables, service, frame, now)
        }
        _ => None,
    }
}

/// The real server `id` if it may get a new flow of `service`. Slots that a service has given up may
/// be another's a moment later.
#[inline(always)]
fn available<'a, T: Tables>(tables: &'a T, service: &Service, id: u32) -> Option<&'a Server> {
    let server = tables.server(id)?;
    if server.service != service.id || !server.is_present() || server.weight == 0 {
        return None;
    }
    let is_overloaded = server.has(Server::LIMITED) && tables.load(id).overloaded != 0;
    (!is_overloaded).then_some(server)
}

/// A real server and how much it has to do.
#[derive(Clone, Copy)]
struct Candidate {
    /// Zero is none.
    id: u32,
    overhead: u64,
    weight: u64,
}

impl Candidate {
    const NONE: Self = Self {
        id: 0,
        overhead: 0,
        weight: 0,
    };

    /// Nobody yet, for a loop to find somebody: see [`Tables::zero`].
    #[inline(always)]
    fn nobody<T: Tables>(tables: &T) -> Self {
        // Numbers that the verifier does not know to be the same, nor to be small: whatever a round
        // writes is then one of those that it has gone through.
        let [upper, lower] = [tables.zero(), tables.zero()].map(u64::from);
        Self {
            id: tables.zero(),
            overhead: (upper << 32) | lower,
            weight: tables.zero().into(),
        }
    }

    /// By its connections: one that is active counts as much as 256 that are not
    /// (`ip_vs_dest_conn_overhead`).
    #[inline(always)]
    fn of<T: Tables>(tables: &T, id: u32, server: &Server) -> Self {
        let load = tables.load(id);
        Self {
            id,
            overhead: (u64::from(load.active) << 8) + u64::from(load.inactive),
            weight: u64::from(server.weight),
        }
    }

    /// Whether it has more to do than `other`, both by weight, as IPVS compares: without division,
    /// and in 64 bits.
    #[inline(always)]
    const fn is_busier(&self, other: &Self) -> bool {
        self.overhead * other.weight > other.overhead * self.weight
    }

    #[inline(always)]
    fn found(&self) -> Option<u32> {
        (self.id != 0).then_some(self.id)
    }
}
