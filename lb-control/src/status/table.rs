//! The routing table with its counters, as commands ask for it.

use std::{collections::HashSet, time::Duration};

use crate::{
    control::table::{Counts, PersistenceRow, ServerRow, ServiceRow, Table, TimeoutsRow},
    counters::Counters,
    dataplane::Dataplane,
    ids::Ids,
    model::{RealServer, ServiceId, VirtualService},
    network::next_hop::Resolution,
    rates::Rates,
    state::{Part, State},
};

/// The table: of one service, else all.
pub fn table<D: Dataplane>(
    state: &State,
    ids: &Ids,
    counters: &Counters,
    rates: &Rates,
    dataplane: &D,
    which: Option<ServiceId>,
) -> Table {
    let timeouts = &state.site.timeouts;
    let services = state.site.services.iter();
    let wanted = services.filter(|service| which.is_none_or(|which| which == service.key));
    let rows = wanted.map(|service| service_row(state, ids, counters, rates, dataplane, service));
    Table {
        timeouts: TimeoutsRow {
            tcp: seconds(timeouts.tcp),
            tcp_fin: seconds(timeouts.tcp_fin),
            udp: seconds(timeouts.udp),
        },
        services: rows.collect(),
        // Those are known elsewhere.
        sync_daemons: Vec::new(),
    }
}

/// A service with its servers.
pub(super) fn service_row<D: Dataplane>(
    state: &State,
    ids: &Ids,
    counters: &Counters,
    rates: &Rates,
    dataplane: &D,
    service: &VirtualService,
) -> ServiceRow {
    let servers: Vec<_> = service
        .servers
        .iter()
        .map(|server| row(state, ids, rates, dataplane, service, server))
        .collect();
    let sum = |what: fn(&ServerRow) -> &Counts| {
        let counts = servers.iter().map(what);
        counts.fold(Counts::default(), |sum, one| sum.and(one))
    };
    // The sorry server, and those that may finish.
    let known: HashSet<_> = service
        .servers
        .iter()
        .map(|server| (server.socket, server.forwarding.method()))
        .collect();
    let others: Vec<_> = ids
        .servers_of(service.key)
        .filter(|((_, socket, method), _)| !known.contains(&(*socket, *method)))
        .map(|(_, id)| id)
        .collect();
    let counted = others.iter().filter_map(|id| dataplane.traffic(*id).ok());
    let counts = counted.fold(
        sum(|row| &row.counts).and(&counters.left(service.key).into()),
        |sum, traffic| sum.and(&traffic.into()),
    );
    let rates = others
        .iter()
        .fold(sum(|row| &row.rates), |sum, id| sum.and(&rates.of(*id)));
    ServiceRow {
        service: service.key,
        name: service.name.clone(),
        origin: service.origin,
        matches: service.selectors.clone(),
        scheduler: service.scheduler,
        flags: service.flags,
        persistence: service.persistence.map(|persistence| PersistenceRow {
            timeout: seconds(persistence.timeout),
            mask: persistence.mask,
            engine: service.engine.clone(),
        }),
        one_packet: service.one_packet,
        forwarding: service.forwarding,
        counts,
        rates,
        servers,
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn row<D: Dataplane>(
    state: &State,
    ids: &Ids,
    rates: &Rates,
    dataplane: &D,
    service: &VirtualService,
    server: &RealServer,
) -> ServerRow {
    let id = ids.find_server(&(service.key, server.socket, server.forwarding.method()));
    // A counter that cannot be read is shown as zero rather than keeping all the others.
    let load = id
        .and_then(|id| dataplane.load(id).ok())
        .unwrap_or_default();
    let traffic = id
        .and_then(|id| dataplane.traffic(id).ok())
        .unwrap_or_default();
    let key = (service.key, server.socket);
    let part = state.part(&key);
    ServerRow {
        server: server.socket,
        name: server.name.clone(),
        origin: server.origin,
        present: part != Part::Out,
        forwarding: server.forwarding,
        local: matches!(state.way(server.socket.ip()), Some(Resolution::Local)),
        weight: match part {
            Part::Member { .. } => state.weight(&key).unwrap_or(server.weight),
            Part::Quiesced { .. } | Part::Draining { .. } | Part::Out => 0,
        },
        configured_weight: server.weight,
        upper: server.upper,
        lower: server.lower,
        active: load.active,
        inactive: load.inactive,
        persistent: load.persistent,
        counts: traffic.into(),
        rates: id.map_or_else(Counts::default, |id| rates.of(id)),
    }
}
