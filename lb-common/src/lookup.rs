//! Frame to [`Match`]: the flow that a packet belongs to, or a new one.

use crate::{
    family::Family,
    flow::{Flow, FlowKey},
    maps::{RangeKey, Server, Service, ServiceKey, Settings},
    parse::Frame,
    record,
    room::NewFlow,
    state::{Sight, State, ticks},
    tables::{FlowEntry, FlowTable, Tables},
    verdict::Reason,
    wire::Be16,
};

/// Whose packet it is.
#[derive(Debug, Clone, Copy)]
pub enum Match<'t, E> {
    /// A client's, for this real server.
    Request {
        /// Its id.
        id: u32,
        /// What it is.
        server: &'t Server,
    },
    /// A real server's, to be masqueraded.
    Reply {
        /// The entry of the way back.
        entry: E,
        /// For how many ticks it can be taken for granted from now on, if it is not yet.
        term: Option<u32>,
    },
    /// Of no flow that is alive.
    Unknown {
        /// Whether there is an entry of the same key, which has ended.
        is_stale: bool,
    },
}

/// So many ticks the flow and the way of a reply are taken for granted: about a second. That saves two
/// look-ups for each packet of a busy flow, and is what a change of routes takes to be noticed.
pub const TERM: u32 = ticks(1);

/// Finds the flow of a packet and moves it on. Of a reply the way back is left in `room.flow`; of a
/// request what the server is to see as the source, if that is not the client
/// ([`Server::SOURCE_NAT`]).
///
/// # Errors
/// Why the packet belongs to a service and yet to no flow.
#[inline(always)]
pub fn flow<'t, F: Family, T: Tables + FlowTable<F>>(
    tables: &'t T,
    frame: &Frame<'_, F>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Result<Match<'t, T::Entry>, Reason> {
    let known = tables.find(frame.key);
    if let Some(entry) = &known {
        match entry.get().state {
            State::RETIRED => return Err(Reason::FlowExpiring),
            // If its request is gone, what comes now is judged by itself, as below.
            State::REPLY => {
                entry.copy_to(&mut room.flow);
                let is_granted = frame.is_plain() && entry.get().is_granted(now);
                let term = if is_granted {
                    None
                } else {
                    answer(tables, frame, room, now)
                };
                if is_granted || term.is_some() {
                    let entry = entry.clone();
                    return Ok(Match::Reply { entry, term });
                }
            }
            _ => {
                if let Some((id, server)) = resume(tables, frame, entry, room, now)? {
                    return Ok(Match::Request { id, server });
                }
            }
        }
    }
    Ok(Match::Unknown {
        is_stale: known.is_some(),
    })
}

/// The service of an address, port and protocol: the one with just this port, else the one with the
/// narrowest range of ports.
#[inline(always)]
pub fn service<F: Family, T: Tables>(
    tables: &T,
    address: F::Address,
    port: Be16,
    protocol: u8,
) -> Option<Service> {
    let key = ServiceKey {
        address: F::widen(address),
        port,
        protocol,
        pad: [0; 5],
    };
    let exact = tables.service(&key);
    if exact.is_some() || !tables.is_set(Settings::RANGES) {
        return exact;
    }
    tables.service_by_range(&RangeKey::of(&key))
}

/// A client's packet of a known flow: its real server, or `None` if the flow has ended.
///
/// # Errors
/// [`Reason::ServerGone`] if the flow waits for its server to return.
#[inline(always)]
fn resume<'t, F: Family, T: Tables + FlowTable<F>>(
    tables: &'t T,
    frame: &Frame<'_, F>,
    entry: &impl FlowEntry<F>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Result<Option<(u32, &'t Server)>, Reason> {
    let flow = entry.get();
    if flow.is_expired(now) {
        return Ok(None);
    }
    let Some(server) = tables
        .server(flow.server)
        .filter(|server| server.is_present())
    else {
        if tables.is_set(Settings::KEEP_FLOWS) {
            return Err(Reason::ServerGone);
        }
        return Ok(None);
    };
    let sight = sight(server);
    if is_over(tables, frame, server, flow.state, sight) {
        return Ok(None);
    }
    // First of all, so that the sweeper does not take a shorter timeout for an expired one.
    entry.touch(now);
    advance(tables, frame, frame.key, entry, sight);
    if server.has(Server::SOURCE_NAT) {
        entry.copy_source_to(&mut room.flow);
    }
    Ok(Some((flow.server, server)))
}

/// Whether a packet starts a new flow in the place of one in this state. Nothing that opens, whatever
/// other flags it has, brings a flow back that is over: its way back may be another's by now. Nor
/// does it go to a server that is to get nothing new, so that the client moves on at once; IPVS
/// does the latter with `expire_nodest_conn`.
#[inline(always)]
fn is_over<F: Family, T: Tables>(
    tables: &T,
    frame: &Frame<'_, F>,
    server: &Server,
    state: State,
    sight: Sight,
) -> bool {
    if !frame.is_start() {
        return false;
    }
    tables.settings().is_some_and(|settings| {
        let may_move = server.weight == 0 && !settings.has(Settings::KEEP_FLOWS);
        state.can_start_anew(settings.reuse, sight) || (may_move && frame.is_opening())
    })
}

/// A real server's packet whose key is that of the way back in the room: moves its flow on. Gives for how
/// long the way back may be taken for granted, or `None` if the flow has ended.
#[inline(always)]
fn answer<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    frame: &Frame<'_, F>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Option<u32> {
    let NewFlow { flow, other, .. } = room;
    let entry = request(tables, flow, frame.key.protocol, other, now)?;
    entry.touch(now);
    advance(tables, frame, other, &entry, Sight::Reply);
    // Where packets like this one change nothing, whatever the client does meanwhile, there is nothing
    // to miss but the time of the last.
    let flow = entry.get();
    let next = flow
        .state
        .after(frame.key.protocol, Sight::Reply, frame.flags);
    let is_settled = next == flow.state && !flow.state.is_half_open();
    Some(if is_settled && frame.is_plain() {
        TERM.min(flow.timeout / 4)
    } else {
        0
    })
}

/// The living flow that a way back belongs to. Its key is left in `other`.
#[inline(always)]
pub fn request<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    reply: &Flow<F::Address>,
    protocol: u8,
    other: &mut FlowKey<F::Address>,
    now: u32,
) -> Option<T::Entry> {
    *other = reply.request_key(protocol);
    let entry = tables.find(other)?;
    let flow = entry.get();
    let is_its = flow.server == reply.server && flow.state != State::RETIRED;
    (is_its && !flow.is_expired(now)).then_some(entry)
}

/// Moves the flow of this key to the state that the packet leads to, and counts the change.
#[inline(always)]
fn advance<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    frame: &Frame<'_, F>,
    key: &FlowKey<F::Address>,
    entry: &impl FlowEntry<F>,
    sight: Sight,
) {
    let flow = entry.get();
    let next = flow.state.after(frame.key.protocol, sight, frame.flags);
    if next == flow.state || !entry.advance(flow.state, next, tables.timeout(next)) {
        // Nothing to do; or another CPU was faster, and its packet counts.
        return;
    }
    FlowTable::<F>::changed(tables, flow.server, Some(flow.state), Some(next));
    record::tell(tables, key, Some(flow.state), Some(next));
}

/// Which packets of a server's flows come this way.
#[inline(always)]
pub(crate) fn sight(server: &Server) -> Sight {
    if server.is_masqueraded() {
        Sight::Request
    } else {
        Sight::RequestOnly
    }
}
