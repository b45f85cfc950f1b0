//! lc, wlc, sed, nq, fo and ovf: those that look at what every real server has to do now.

use core::ops::ControlFlow;

use crate::{
    maps::{SchedulerKind, Server, Service},
    schedule::{Candidate, available},
    tables::Tables,
};

/// The real server with the least to do, as the scheduler sees it; the first of equals. The ring is
/// the list of members, that of fo and ovf with the heaviest first.
#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let mut least = Candidate::nobody(tables);
    tables.scan(service.ring, service.slots, |id| {
        let Some(server) = available(tables, service, id) else {
            return ControlFlow::Continue(());
        };
        match standing(tables, service.scheduler, id, server) {
            Standing::Passed => return ControlFlow::Continue(()),
            Standing::Taken => {
                least.id = id;
                return ControlFlow::Break(());
            }
            Standing::Compared => {}
        }
        let candidate = compared(tables, service.scheduler, id, server);
        if least.id == 0 || least.is_busier(&candidate) {
            least = candidate;
        }
        ControlFlow::Continue(())
    });
    least.found()
}

/// What becomes of a real server that is available.
#[derive(Clone, Copy)]
enum Standing {
    /// It gets the flow, whatever the others have to do.
    Taken,
    /// It does not get it.
    Passed,
    /// It gets it if nobody has less to do.
    Compared,
}

#[inline(always)]
fn standing<T: Tables>(tables: &T, scheduler: SchedulerKind, id: u32, server: &Server) -> Standing {
    match scheduler {
        SchedulerKind::FAILOVER => Standing::Taken,
        SchedulerKind::OVERFLOW if tables.load(id).active <= u32::from(server.weight) => {
            Standing::Taken
        }
        SchedulerKind::OVERFLOW => Standing::Passed,
        SchedulerKind::NEVER_QUEUE if tables.load(id).active == 0 => Standing::Taken,
        _ => Standing::Compared,
    }
}

/// What the scheduler compares. lc forgets the weight; sed and nq look at the delay that the flow
/// would have there, which is that of active connections and itself (`ip_vs_sed_dest_overhead`).
#[inline(always)]
fn compared<T: Tables>(
    tables: &T,
    scheduler: SchedulerKind,
    id: u32,
    server: &Server,
) -> Candidate {
    let mut candidate = Candidate::of(tables, id, server);
    match scheduler {
        SchedulerKind::LEAST_CONNECTIONS => candidate.weight = 1,
        SchedulerKind::SHORTEST_DELAY | SchedulerKind::NEVER_QUEUE => {
            candidate.overhead = u64::from(tables.load(id).active) + 1;
        }
        _ => {}
    }
    candidate
}
