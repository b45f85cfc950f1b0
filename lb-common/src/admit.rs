//! The beginning of a flow: a real server is chosen, and both directions are remembered.

use crate::{
    age::retire,
    family::Family,
    flow::{Flow, FlowKey},
    lookup::sight,
    maps::Service,
    packet::Packet,
    parse::Frame,
    room::NewFlow,
    schedule,
    state::State,
    tables::{FlowEntry, FlowTable, Inserted, Tables},
    verdict::Reason,
    wire::protocol,
};

/// The first packet of a flow to `service`: the id of the real server that it got.
///
/// `stale` is an entry of the same key that has ended; its place is taken.
///
/// # Errors
/// Why no flow can begin with this packet.
#[inline(always)]
pub fn begin<F: Family, P: Packet, T: Tables + FlowTable<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    service: &Service,
    stale: Option<T::Entry>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Result<u32, Reason> {
    if frame.key.protocol == protocol::TCP && !frame.is_opening() {
        return Err(Reason::NoFlow);
    }
    let id = schedule::choose(tables, service, frame).ok_or(Reason::NoServer)?;
    let server = tables.server(id).ok_or(Reason::NoServer)?;
    let state = State::NONE.after(frame.key.protocol, sight(server), frame.flags);
    let way_back = frame.link.way_back(packet).ok_or(Reason::Malformed)?;
    // From here on an entry of an ended flow is replaced or removed, whatever happens.
    let (is_known, is_queued) = match &stale {
        Some(entry) => (true, make_way(tables, frame.key, entry, &mut room.other)?),
        None => (false, false),
    };
    let NewFlow { flow, other } = room;
    *flow = Flow {
        state,
        seen: now,
        timeout: tables.timeout(state),
        server: id,
        way_back,
        virtual_port: frame.key.destination_port,
        pad: [0; 2],
        virtual_address: frame.key.destination,
    };
    let inserted = if is_known {
        tables.replace(frame.key, flow)
    } else {
        tables.insert(frame.key, flow)
    };
    match inserted {
        Inserted::Yes => {}
        // Another CPU began it just now, with the packet before or after this one.
        Inserted::Exists => {
            let entry = tables.find(frame.key).ok_or(Reason::FlowExpiring)?;
            return Ok(entry.get().server);
        }
        Inserted::Full => {
            if is_known {
                // The flow before it has ended; its place in the queue goes by itself.
                tables.remove(frame.key);
            }
            return Err(Reason::FlowTableFull);
        }
    }
    tables.adjust_load(
        id,
        i32::from(state.is_active()),
        i32::from(!state.is_active()),
    );
    if !is_queued && tables.enqueue(frame.key) != Inserted::Yes {
        // Nobody would ever take it away again.
        if let Some(entry) = tables.find(frame.key)
            && retire(tables, frame.key, &entry, other)
        {
            tables.remove(frame.key);
        }
        return Err(Reason::FlowTableFull);
    }
    tables.count_connection(id);
    if server.is_masqueraded() {
        *other = frame
            .key
            .reply_from(F::narrow(&server.address), server.port);
        flow.state = State::REPLY;
        if let Err(reason) = remember_way_back(tables, other, flow, now) {
            // Without a way back it is no flow. The sweeper takes it away.
            if let Some(entry) = tables.find(frame.key) {
                entry.advance(state, State::CLOSE, 0);
            }
            return Err(reason);
        }
    }
    Ok(id)
}

/// Ends what is left of the flow in whose place another begins. Tells whether the key has a place
/// in the sweeper's queue, which it keeps.
#[inline(always)]
fn make_way<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    entry: &T::Entry,
    other: &mut FlowKey<F::Address>,
) -> Result<bool, Reason> {
    let is_queued = entry.get().state != State::REPLY;
    let is_ours = if is_queued {
        retire(tables, key, entry, other)
    } else {
        entry.advance(State::REPLY, State::RETIRED, 0)
    };
    if is_ours {
        Ok(is_queued)
    } else {
        Err(Reason::FlowExpiring)
    }
}

/// Remembers how replies are masqueraded.
#[inline(always)]
fn remember_way_back<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &mut FlowKey<F::Address>,
    way_back: &Flow<F::Address>,
    now: u32,
) -> Result<(), Reason> {
    let mut inserted = tables.insert(key, way_back);
    if inserted == Inserted::Exists {
        if is_wanted(tables, key, now) {
            return Err(Reason::ReplyTaken);
        }
        inserted = tables.replace(key, way_back);
    }
    match inserted {
        Inserted::Yes => Ok(()),
        Inserted::Exists | Inserted::Full => Err(Reason::FlowTableFull),
    }
}

/// Whether the entry at a way back's key still serves a flow of another virtual address.
#[inline(always)]
fn is_wanted<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &mut FlowKey<F::Address>,
    now: u32,
) -> bool {
    let Some(entry) = tables.find(key) else {
        return false;
    };
    let other = entry.get();
    if other.state != State::REPLY {
        // The real server is a client of ours with these very sockets.
        return true;
    }
    // The key is needed again afterwards: it is turned round and back.
    let (server, port) = (key.source, key.source_port);
    *key = key.request_to(other.virtual_address, other.virtual_port);
    let is_wanted = tables.find(key).is_some_and(|entry| {
        let flow = entry.get();
        flow.server == other.server && !flow.state.can_start_anew() && !flow.is_expired(now)
    });
    *key = key.reply_from(server, port);
    is_wanted
}
