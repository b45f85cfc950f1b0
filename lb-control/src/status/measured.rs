//! Services as metrics tell them: a few at a time, so that nobody is held up by it.

use super::{ServerState, server_state, table::service_row};
use crate::{
    control::table::ServiceRow, counters::Counters, dataplane::Dataplane, ids::Ids,
    model::ServiceId, rates::Rates, state::State,
};

/// After so many real servers it is somebody else's turn.
const SERVERS_AT_ONCE: usize = 1_000;

/// A service with what it counted, and how its servers are.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// As in the table.
    pub row: ServiceRow,
    /// Of each of its servers, in the same order.
    pub states: Vec<ServerState>,
    /// Whether its sorry server stands in, if it has one.
    pub sorry: Option<bool>,
}

/// Some services from this place on in the order of the site.
pub fn measured<D: Dataplane>(
    state: &State,
    ids: &Ids,
    counters: &Counters,
    rates: &Rates,
    dataplane: &D,
    stands_in: impl Fn(ServiceId) -> bool,
    from: usize,
) -> Vec<Measured> {
    let mut servers = 0;
    let services = state.site.services.iter().skip(from);
    let some = services.take_while(|service| {
        let is_turn = servers < SERVERS_AT_ONCE;
        // One without servers takes time, too.
        servers += 1 + service.servers.len();
        is_turn
    });
    some.map(|service| Measured {
        row: service_row(state, ids, counters, rates, dataplane, service),
        states: service
            .servers
            .iter()
            .map(|server| {
                let key = (service.key, server.socket);
                let way = state.way(server.socket.ip());
                server_state(state.part(&key), state.overridden(&key), way)
            })
            .collect(),
        sorry: service.sorry_server.map(|_| stands_in(service.key)),
    })
    .collect()
}
