//! Learning: flows are made of what a partner has told ([`crate::record`]), where packets make theirs
//! ([`crate::admit`]), so they are counted, found and aged like those.
//!
//! A flow that is learned ages like any other. Its packets go through the partner, so that one has to tell
//! every standing flow again before half of its time is over; each telling brings the time of its last packet.
//! Where the partner is dead nobody does, and what is left of the time is from the last telling on, as it
//! should be for the one who takes over.

use crate::{
    admit::{self, Place, Seen},
    family::Family,
    flow::{Flow, FlowKey},
    lookup,
    maps::NextHop,
    persistence,
    record::{Outcome, Record},
    room::NewFlow,
    state::State,
    tables::{FlowEntry, FlowTable, Tables},
    verdict::Reason,
};

/// Makes an entry of a record, or changes or ends the one that is there. `key` and `room` are room.
#[inline(always)]
pub fn learn<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    record: &Record,
    key: &mut FlowKey<F::Address>,
    room: &mut NewFlow<F::Address>,
) -> Outcome {
    record.key_to::<F>(key);
    let known = tables.find(key);
    if record.has(Record::ENDED) {
        return match known {
            Some(entry) => end::<F>(record, &entry),
            None => Outcome::ABSENT,
        };
    }
    if !is_well_formed(record) {
        return Outcome::MALFORMED;
    }
    let Some(timeout) = timeout(tables, record) else {
        return Outcome::STRANGE;
    };
    let now = tables.now();
    let seen = now.wrapping_sub(record.silent);
    if let Some(entry) = &known {
        let flow = entry.get();
        if flow.state == State::RETIRED {
            return Outcome::BUSY;
        }
        // The real server of another flow has these very sockets.
        if flow.state == State::REPLY
            && lookup::request(tables, &flow, record.protocol, &mut room.other, now).is_some()
        {
            return Outcome::TAKEN;
        }
        // One that has expired may have lost its way back, which is found out where flows are made.
        let is_same = flow.server == record.server
            && flow.client_port == record.source_port
            && flow.state != State::REPLY
            && !flow.is_expired(now);
        if is_same {
            return renew::<F, T>(tables, record, entry, timeout, seen);
        }
    } else if !has_room::<F, T>(tables) {
        return Outcome::FULL;
    }
    room.flow = Flow {
        state: record.state,
        seen,
        timeout,
        server: record.server,
        way_back: NextHop::NONE,
        virtual_port: record.port,
        client_port: key.source_port,
        virtual_address: F::narrow(&record.address),
        client_address: key.source,
    };
    if record.state == State::TEMPLATE {
        room.flow.client_port = record.source_port;
        room.other = *key;
        return if persistence::put(tables, &room.other, &room.flow) {
            Outcome::LEARNED
        } else {
            Outcome::FULL
        };
    }
    match make(tables, record, key, known, room, now) {
        Ok(true) => Outcome::LEARNED,
        Ok(false) | Err(Reason::FlowExpiring) => Outcome::BUSY,
        Err(Reason::ReplyTaken | Reason::NoPort) => Outcome::TAKEN,
        Err(Reason::NoServer) => Outcome::STRANGE,
        Err(_) => Outcome::FULL,
    }
}

/// Makes the flow of the room, in the place of another if there is one. `false` if another CPU was faster.
#[inline(always)]
fn make<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    record: &Record,
    key: &FlowKey<F::Address>,
    known: Option<T::Entry>,
    room: &mut NewFlow<F::Address>,
    now: u32,
) -> Result<bool, Reason> {
    let server = tables.server(record.server).ok_or(Reason::NoServer)?;
    let place = match &known {
        Some(entry) => admit::make_way(tables, key, entry, &mut room.other)?,
        None => Place::NONE,
    };
    let seen = Seen::As(F::narrow(&record.source), record.source_port);
    admit::write(tables, server, key, place, seen, room, now)
}

/// Whether there may be such a flow.
#[inline(always)]
fn is_well_formed(record: &Record) -> bool {
    let State(state) = record.state;
    let is_flow = (state as usize) < State::COUNT
        && !matches!(record.state, State::NONE | State::REPLY | State::RETIRED);
    is_flow && (record.protocol == 0) == (record.state == State::TEMPLATE)
}

/// How long it is remembered; `None` if its real server or service is not known here.
#[inline(always)]
fn timeout<T: Tables>(tables: &T, record: &Record) -> Option<u32> {
    let server = tables.server(record.server)?;
    if !server.is_present() {
        return None;
    }
    let ours = if record.state == State::TEMPLATE {
        let persistence = tables.persistence(record.service)?;
        if persistence.timeout == 0 || server.service != record.service {
            return None;
        }
        persistence.timeout
    } else {
        tables.timeout(record.state)
    };
    Some(if record.timeout == 0 {
        ours
    } else {
        record.timeout
    })
}

/// Whether there is room for one more flow, which may have two entries. Half-open ones do not make room for
/// what a partner tells.
#[inline(always)]
fn has_room<F: Family, T: Tables + FlowTable<F>>(tables: &T) -> bool {
    let census = FlowTable::<F>::census(tables);
    let all = census.half_open.saturating_add(census.standing);
    tables
        .settings()
        .is_some_and(|settings| all.saturating_add(2) <= settings.flows)
}

/// The entry that is there is the record's.
#[inline(always)]
fn renew<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    record: &Record,
    entry: &T::Entry,
    timeout: u32,
    seen: u32,
) -> Outcome {
    let flow = entry.get();
    // What is older than what is known here does not count: packets may come this way too.
    if seen.wrapping_sub(flow.seen) >= u32::MAX / 2 {
        return Outcome::RENEWED;
    }
    entry.touch(seen);
    if !entry.advance(flow.state, record.state, timeout) {
        return Outcome::BUSY;
    }
    if flow.state != record.state {
        let (before, after) = (Some(flow.state), Some(record.state));
        FlowTable::<F>::changed(tables, record.server, before, after);
    }
    Outcome::RENEWED
}

/// Lets an entry end: its time is over, and the sweeper takes it away. Its key is in a queue, and must not
/// come to be there twice.
#[inline(always)]
fn end<F: Family>(record: &Record, entry: &impl FlowEntry<F>) -> Outcome {
    let flow = entry.get();
    let is_another = flow.server != record.server || flow.state == State::REPLY;
    if is_another || flow.state == State::RETIRED {
        return Outcome::ABSENT;
    }
    if entry.advance(flow.state, flow.state, 0) {
        Outcome::ENDED
    } else {
        Outcome::BUSY
    }
}
