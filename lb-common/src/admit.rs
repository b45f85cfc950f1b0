//! The beginning of a flow: a real server is chosen, room is made, and both directions are
//! remembered.

use core::ops::ControlFlow;

use crate::{
    age::retire,
    family::Family,
    flow::{Flow, FlowKey, reply_key},
    lookup::sight,
    maps::{Server, Service, Settings},
    packet::Packet,
    parse::Frame,
    persistence, record,
    room::{Gist, NewFlow},
    state::{Sight, State},
    tables::{FlowEntry, FlowTable, Inserted, Queue, Tables},
    verdict::{Event, Reason},
    wire::{Be16, protocol},
};

/// How many ports of the pool of full NAT are tried for one flow.
const PORT_TRIES: u32 = 8;
/// How many of the flows that wait longest are looked at to find a half-open one.
const DISPLACE_TRIES: u32 = 32;

/// The real server that is remembered for the first packet of a flow to `service`, or [`NOBODY`].
/// `marks` tells that one is to be scheduled.
///
/// # Errors
/// Why no flow can begin with this packet.
#[inline(always)]
pub fn choose<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    frame: &Frame<'_, F>,
    service: &Service,
    room: &mut NewFlow<F::Address>,
    marks: &mut u8,
) -> Result<u32, Reason> {
    if !may_begin(tables, frame, service) {
        return Err(Reason::NoFlow);
    }
    if frame.key.source == frame.key.destination || !F::is_host(&frame.key.source) {
        return Err(Reason::Martian);
    }
    let now = tables.now();
    if service.has(Service::PERSISTENT)
        && let Some(id) = persistence::remembered(tables, service, frame, room, now)
    {
        return Ok(id);
    }
    *marks |= Gist::SCHEDULED;
    Ok(NOBODY)
}

/// The id of no server: none is remembered of the client, and one has to be scheduled.
pub const NOBODY: u32 = 0;

/// Begins a flow to the real server `id` of `service`. Gives the id of the real server that the flow
/// has, which is another if another CPU was faster.
///
/// # Errors
/// Why it cannot begin.
#[inline(always)]
pub fn begin<F: Family, P: Packet, T: Tables + FlowTable<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    service: &Service,
    id: u32,
    marks: u8,
    room: &mut NewFlow<F::Address>,
) -> Result<u32, Reason> {
    let server = tables.server(id).ok_or(Reason::NoServer)?;
    if service.has(Service::ONE_PACKET) && frame.key.protocol == protocol::UDP {
        return Ok(id);
    }
    let now = tables.now();
    let mut stale = None;
    if marks & Gist::STALE != 0 {
        stale = tables.find(frame.key);
    }
    if stale.is_none() {
        // Where the choice is the same the next time, the flow can do without being remembered.
        let is_repeatable = service.scheduler.is_hashing() && !server.is_masqueraded();
        if (is_repeatable && is_flood(tables, now)) || !has_room::<F, _>(tables, server, room) {
            if !is_repeatable {
                return Err(Reason::FlowTableFull);
            }
            tables.count(Event::Stateless);
            return Ok(id);
        }
    }
    if marks & Gist::SCHEDULED != 0 && service.has(Service::PERSISTENT) {
        persistence::remember(tables, service, frame, id, room, now);
    }
    remember(packet, tables, frame, id, stale, room, now)
}

/// Whether a flow of `service` can begin with this packet.
#[inline(always)]
fn may_begin<F: Family, T: Tables>(tables: &T, frame: &Frame<'_, F>, service: &Service) -> bool {
    let sloppy = match frame.key.protocol {
        protocol::TCP => Settings::SLOPPY_TCP,
        protocol::SCTP => Settings::SLOPPY_SCTP,
        _ => return true,
    };
    // What a hashing scheduler chose while nothing was remembered it chooses again.
    frame.is_opening()
        || (!frame.is_end() && (service.scheduler.is_hashing() || tables.is_set(sloppy)))
}

/// Whether more flows begin than are worth remembering.
#[inline(always)]
fn is_flood<T: Tables>(tables: &T, now: u32) -> bool {
    let limit = tables
        .settings()
        .map_or(0, |settings| settings.stateless_above);
    limit != 0 && tables.flows_this_second(now) > limit
}

/// Whether there is room for another half-open flow. If it takes that, the one that waits longest
/// makes room; one that is not half-open never does.
#[inline(always)]
fn has_room<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    server: &Server,
    room: &mut NewFlow<F::Address>,
) -> bool {
    let Some(settings) = tables.settings() else {
        return false;
    };
    let entries = if server.is_masqueraded() { 2 } else { 1 };
    let census = FlowTable::<F>::census(tables);
    let all = census.half_open.saturating_add(census.standing);
    if census.half_open + entries <= settings.half_open
        && all.saturating_add(entries) <= settings.flows
    {
        return true;
    }
    let mut is_made = false;
    tables.repeat(DISPLACE_TRIES, |_| {
        if !tables.dequeue(Queue::HalfOpen, &mut room.victim) {
            return ControlFlow::Break(());
        }
        let Some(entry) = tables.find(&room.victim) else {
            return ControlFlow::Continue(());
        };
        if !entry.get().state.is_half_open() {
            let _ = tables.enqueue(Queue::Standing, &room.victim);
            return ControlFlow::Continue(());
        }
        if !retire(tables, &room.victim, &entry, &mut room.other) {
            return ControlFlow::Continue(());
        }
        tables.remove(&room.victim);
        tables.count(Event::Displaced);
        is_made = true;
        ControlFlow::Break(())
    });
    is_made
}

/// Writes the flow, and for masquerading its way back. Gives the id of the real server, which is
/// another if another CPU was faster.
#[inline(always)]
fn remember<F: Family, P: Packet, T: Tables + FlowTable<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    id: u32,
    stale: Option<T::Entry>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Result<u32, Reason> {
    let server = tables.server(id).ok_or(Reason::NoServer)?;
    let state = State::NONE.after(frame.key.protocol, sight(server), frame.flags);
    let way_back = frame.link.way_back(packet).ok_or(Reason::Malformed)?;
    // From here on an entry of an ended flow is replaced or removed, whatever happens.
    let place = match &stale {
        Some(entry) => make_way(tables, frame.key, entry, &mut room.other)?,
        None => Place::NONE,
    };
    room.flow = Flow {
        state,
        seen: now,
        timeout: tables.timeout(state),
        server: id,
        way_back,
        virtual_port: frame.key.destination_port,
        client_port: frame.key.source_port,
        virtual_address: frame.key.destination,
        client_address: frame.key.source,
    };
    if write(tables, server, frame.key, place, Seen::Any, room, now)? {
        tables.count_connection(id);
    }
    Ok(room.flow.server)
}

/// Where a flow is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// There is an entry of this key, which is retired.
    is_known: bool,
    /// Its key is in a queue of the sweeper's.
    is_queued: bool,
}

impl Place {
    /// A key that has no entry.
    pub(crate) const NONE: Self = Self {
        is_known: false,
        is_queued: false,
    };
}

/// What a real server is to see as the source of a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<A> {
    /// The client, or by full NAT any port of the pool.
    Any,
    /// By full NAT this one.
    As(A, Be16),
}

/// Writes the flow of the room, and for masquerading its way back; counts it, and queues its key. The
/// client of the flow is still the client itself: what the server sees is written here. `false` if another
/// CPU was faster: then the flow of the room is that one's.
#[inline(always)]
pub(crate) fn write<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    server: &Server,
    key: &FlowKey<F::Address>,
    place: Place,
    seen: Seen<F::Address>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Result<bool, Reason> {
    let Place {
        is_known,
        is_queued,
    } = place;
    let NewFlow { flow, other, .. } = room;
    let (id, state) = (flow.server, flow.state);
    if server.is_masqueraded()
        && let Err(reason) = remember_way_back(tables, server, key, seen, flow, other, now)
    {
        if is_known {
            leave_to_sweeper(tables, key, flow);
        }
        return Err(reason);
    }
    let inserted = if is_known {
        tables.replace(key, flow)
    } else {
        tables.insert(key, flow)
    };
    match inserted {
        Inserted::Yes => {}
        // Another CPU began it just now, with the packet before or after this one.
        Inserted::Exists => {
            let winner = tables.find(key).ok_or(Reason::FlowExpiring)?.get();
            if server.is_masqueraded()
                && (winner.server, winner.client_port) != (id, flow.client_port)
            {
                tables.remove(other);
            }
            *flow = winner;
            return Ok(false);
        }
        Inserted::Full => {
            if is_known {
                tables.remove(key);
            }
            if server.is_masqueraded() {
                tables.remove(other);
            }
            return Err(Reason::FlowTableFull);
        }
    }
    FlowTable::<F>::changed(tables, id, None, Some(state));
    record::tell(tables, key, None, Some(state));
    let queue = if state.is_half_open() {
        Queue::HalfOpen
    } else {
        Queue::Standing
    };
    if !is_queued && tables.enqueue(queue, key) != Inserted::Yes {
        // Nobody would ever take it away again.
        if let Some(entry) = tables.find(key)
            && retire(tables, key, &entry, other)
        {
            tables.remove(key);
        }
        return Err(Reason::FlowTableFull);
    }
    Ok(true)
}

/// Puts a flow that is over in the place of one that has ended: without an entry its key, which is in
/// a queue, could come to be there twice.
#[inline(always)]
fn leave_to_sweeper<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    flow: &mut Flow<F::Address>,
) {
    flow.state = State::CLOSE;
    flow.timeout = 0;
    if tables.replace(key, flow) == Inserted::Yes {
        FlowTable::<F>::changed(tables, flow.server, None, Some(flow.state));
    } else {
        tables.remove(key);
    }
}

/// Ends what is left of the flow in whose place another begins. If the key has a place in a queue of the
/// sweeper's, it keeps it.
#[inline(always)]
pub(crate) fn make_way<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    entry: &T::Entry,
    other: &mut FlowKey<F::Address>,
) -> Result<Place, Reason> {
    let is_queued = entry.get().state != State::REPLY;
    let is_ours = if is_queued {
        retire(tables, key, entry, other)
    } else {
        entry.advance(State::REPLY, State::RETIRED, 0)
    };
    if is_ours {
        Ok(Place {
            is_known: true,
            is_queued,
        })
    } else {
        Err(Reason::FlowExpiring)
    }
}

/// Remembers how replies to `flow` are masqueraded, under the key `other`, and what the server sees as
/// its source.
#[inline(always)]
fn remember_way_back<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    server: &Server,
    request: &FlowKey<F::Address>,
    seen: Seen<F::Address>,
    flow: &mut Flow<F::Address>,
    other: &mut FlowKey<F::Address>,
    now: u32,
) -> Result<(), Reason> {
    let (state, timeout) = (flow.state, flow.timeout);
    flow.state = State::REPLY;
    flow.timeout = 0;
    let is_drawn = matches!(seen, Seen::Any);
    let remembered = if is_drawn && server.has(Server::SOURCE_NAT) {
        take_port(tables, server, request, flow, other)
    } else {
        let (address, port) = match seen {
            Seen::As(address, port) if server.has(Server::SOURCE_NAT) => (address, port),
            Seen::As(..) | Seen::Any => (request.source, request.source_port),
        };
        *other = reply_key::<F>(server, request, address, port);
        insert_way_back(tables, other, flow, now)
    };
    flow.state = state;
    flow.timeout = timeout;
    remembered?;
    if server.has(Server::SOURCE_NAT) {
        flow.client_address = other.destination;
        flow.client_port = other.destination_port;
    }
    Ok(())
}

/// Remembers the way back of a flow whose server sees the client itself.
#[inline(always)]
fn insert_way_back<F: Family, T: Tables + FlowTable<F>>(
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

/// Full NAT: takes a port of the router's own that is free towards this server. Where to look for it
/// first depends on the client, so that one that comes again soon finds another port.
#[inline(always)]
fn take_port<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    server: &Server,
    request: &FlowKey<F::Address>,
    way_back: &Flow<F::Address>,
    key: &mut FlowKey<F::Address>,
) -> Result<(), Reason> {
    let settings = tables.settings().ok_or(Reason::NoPort)?;
    let (first, size) = (settings.pool_first, settings.pool_size);
    if size == 0 {
        return Err(Reason::NoPort);
    }
    let start = tables.random();
    let mut taken = Err(Reason::NoPort);
    tables.repeat(PORT_TRIES, |attempt| {
        let place = start.wrapping_add(attempt * 7_919);
        let offset = place.checked_rem(u32::from(size)).unwrap_or(0);
        let port = Be16::new(first.wrapping_add(offset as u16));
        *key = reply_key::<F>(server, request, F::narrow(&server.tunnel_source), port);
        match tables.insert(key, way_back) {
            Inserted::Exists => return ControlFlow::Continue(()),
            Inserted::Yes => taken = Ok(()),
            Inserted::Full => taken = Err(Reason::FlowTableFull),
        }
        ControlFlow::Break(())
    });
    taken
}

/// Whether the entry at a way back's key still serves another flow.
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
    // The key is needed again afterwards.
    let way_back = *key;
    *key = other.request_key(way_back.protocol);
    let is_wanted = tables.find(key).is_some_and(|entry| {
        let flow = entry.get();
        let reuse = tables.settings().map_or(0, |settings| settings.reuse);
        flow.server == other.server
            && !flow.state.can_start_anew(reuse, Sight::Request)
            && !flow.is_expired(now)
    });
    *key = way_back;
    is_wanted
}
