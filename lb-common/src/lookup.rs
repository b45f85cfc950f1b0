//! Frame to [`Match`]: the flow that a packet belongs to, or a new one.

use crate::{
    admit,
    family::Family,
    maps::{Server, ServiceKey},
    packet::Packet,
    parse::Frame,
    room::NewFlow,
    state::{Sight, State},
    tables::{FlowEntry, FlowTable, Tables},
    verdict::Reason,
    wire::tcp::flags,
};

/// Whose packet it is.
#[derive(Debug, Clone, Copy)]
pub enum Match<E> {
    /// A client's, for this real server.
    Request {
        /// Its id.
        server: u32,
    },
    /// A real server's, to be masqueraded.
    Reply {
        /// The entry of the way back.
        entry: E,
    },
    /// Nobody's.
    NotOurs,
}

/// Finds the flow of a packet, moves it on, or begins one.
///
/// # Errors
/// Why the packet belongs to a service and yet to no flow.
#[inline(always)]
pub fn flow<F: Family, P: Packet, T: Tables + FlowTable<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    room: &mut NewFlow<F::Address>,
) -> Result<Match<T::Entry>, Reason> {
    let now = tables.now();
    let known = tables.find(frame.key);
    if let Some(entry) = &known {
        match entry.get().state {
            State::RETIRED => return Err(Reason::FlowExpiring),
            // If its request is gone, what comes now is judged by itself, as below.
            State::REPLY => {
                if answer(tables, frame, entry, room, now) {
                    return Ok(Match::Reply {
                        entry: entry.clone(),
                    });
                }
            }
            _ => {
                if let Some(server) = resume(tables, frame, entry, now) {
                    return Ok(Match::Request { server });
                }
            }
        }
    }
    let key = ServiceKey {
        address: F::widen(frame.key.destination),
        port: frame.key.destination_port,
        protocol: frame.key.protocol,
        pad: [0; 5],
    };
    match tables.service(&key) {
        Some(service) => {
            let server = admit::begin(packet, tables, frame, &service, known, room, now)?;
            Ok(Match::Request { server })
        }
        None => Ok(Match::NotOurs),
    }
}

/// A client's packet of a known flow: its real server, or `None` if the flow has ended.
#[inline(always)]
fn resume<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    frame: &Frame<'_, F>,
    entry: &T::Entry,
    now: u32,
) -> Option<u32> {
    let flow = entry.get();
    // No SYN brings a flow back that is over, whatever other flags it has: its way back may be
    // another's by now.
    let is_over = frame.flags & flags::SYN != 0 && flow.state.can_start_anew();
    if flow.is_expired(now) || is_over {
        return None;
    }
    let server = tables
        .server(flow.server)
        .filter(|server| server.is_present())?;
    // First of all, so that the sweeper does not take a shorter timeout for an expired one.
    entry.touch(now);
    advance(tables, frame, entry, sight(server));
    Some(flow.server)
}

/// A real server's packet whose key is that of a way back. `false` if the flow has ended.
#[inline(always)]
fn answer<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    frame: &Frame<'_, F>,
    way_back: &T::Entry,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> bool {
    let reply = way_back.get();
    room.other = frame
        .key
        .request_to(reply.virtual_address, reply.virtual_port);
    let Some(entry) = tables.find(&room.other) else {
        return false;
    };
    let flow = entry.get();
    if flow.server != reply.server || flow.state == State::RETIRED || flow.is_expired(now) {
        return false;
    }
    entry.touch(now);
    advance(tables, frame, &entry, Sight::Reply);
    true
}

/// Moves a flow to the state that the packet leads to, and counts the change at its real server.
#[inline(always)]
fn advance<F: Family, T: Tables>(
    tables: &T,
    frame: &Frame<'_, F>,
    entry: &impl FlowEntry<F>,
    sight: Sight,
) {
    let flow = entry.get();
    let next = flow.state.after(frame.key.protocol, sight, frame.flags);
    if next == flow.state || !entry.advance(flow.state, next, tables.timeout(next)) {
        // Nothing to do; or another CPU was faster, and its packet counts.
        return;
    }
    let change = i32::from(next.is_active()) - i32::from(flow.state.is_active());
    if change != 0 {
        tables.adjust_load(flow.server, change, -change);
    }
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
