//! Ageing: the sweeper looks at one flow after the other and takes away those that have ended.
//!
//! Every flow waits in a queue from its first packet until it is taken away: in that of the half-open
//! ones until the sweeper finds it standing, then in the other. One step of the sweeper takes the
//! first key out and, unless its flow has ended, puts it back at the end. So the work of one step is
//! constant, a round takes as many steps as there are flows, and nobody outside the kernel has to
//! walk the table. The invariant is that a key is in one of the queues exactly once while its flow
//! is in the table: only [`crate::admit`] and [`crate::persistence`] put it in and only [`step`] and
//! [`crate::admit`], making room, take it out; and a flow that begins in the place of an ended one
//! keeps that one's place.

use crate::{
    family::Family,
    flow::{FlowKey, reply_key},
    maps::Settings,
    persistence, record,
    state::State,
    tables::{FlowEntry, FlowTable, Queue, Tables},
};

/// How long a round of the sweeper takes, in milliseconds: how late an ended flow leaves the
/// counts of its real server.
pub const ROUND_MS: u32 = 2_000;
/// How often the sweeper runs, in milliseconds.
pub const TICK_MS: u32 = 20;
/// The most steps of one run: what bounds the time for which packets wait.
pub const MAX_STEPS: u32 = 4_096;

/// How many runs a round takes.
pub const ROUND_TICKS: u32 = ROUND_MS / TICK_MS;

/// How many steps the sweeper has to take this time so that a round takes [`ROUND_MS`]. `flows` is how
/// many there were when it began, or are if more came: of those that are left, however many ended
/// meanwhile, none waits for longer.
#[must_use]
#[inline(always)]
pub const fn steps(flows: u32) -> u32 {
    let fair = flows / ROUND_TICKS + 1;
    if fair < MAX_STEPS { fair } else { MAX_STEPS }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No flow waits.
    Idle,
    /// A flow was looked at and stays.
    Kept,
    /// A flow was taken away.
    Removed,
}

/// Looks at the flow that waits longest in a queue. `key` and `other` are room for keys.
#[inline(always)]
pub fn step<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    queue: Queue,
    now: u32,
    key: &mut FlowKey<F::Address>,
    other: &mut FlowKey<F::Address>,
) -> Step {
    if !tables.dequeue(queue, key) {
        return Step::Idle;
    }
    let Some(entry) = tables.find(key) else {
        return Step::Removed;
    };
    let flow = entry.get();
    if flow.state == State::REPLY {
        // A way back took this key while nobody used it: it lives and dies with its request.
        return Step::Removed;
    }
    if flow.state != State::RETIRED {
        let has_ended = flow.is_expired(now) || has_lost_server(tables, flow.state, flow.server);
        if has_ended && retire(tables, key, &entry, other) {
            tables.remove(key);
            return Step::Removed;
        }
        if !has_ended
            && flow.state != State::TEMPLATE
            && let Some(server) = tables.server(flow.server)
        {
            persistence::keep_alive::<F, _>(tables, server, flow.server, key, other, now);
        }
    }
    let queue = if flow.state.is_half_open() {
        queue
    } else {
        Queue::Standing
    };
    // There is room: this key's own place has just become free.
    let _ = tables.enqueue(queue, key);
    Step::Kept
}

/// Whether the real server of a flow or template is gone for good.
#[inline(always)]
fn has_lost_server<T: Tables>(tables: &T, state: State, id: u32) -> bool {
    let Some(settings) = tables.settings() else {
        return false;
    };
    let Some(server) = tables.server(id).filter(|server| server.is_present()) else {
        return !settings.has(Settings::KEEP_FLOWS);
    };
    state == State::TEMPLATE && server.weight == 0 && !settings.has(Settings::KEEP_TEMPLATES)
}

/// Takes a flow out of the books, and its way back out of the table. Its own entry stays, for the
/// caller to remove or replace. `false` if another CPU was faster.
///
/// `other` is room for the key of the way back.
#[inline(always)]
pub fn retire<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    entry: &T::Entry,
    other: &mut FlowKey<F::Address>,
) -> bool {
    let flow = entry.get();
    if !entry.advance(flow.state, State::RETIRED, 0) {
        return false;
    }
    FlowTable::<F>::changed(tables, flow.server, Some(flow.state), None);
    record::tell(tables, key, Some(flow.state), None);
    if flow.state != State::TEMPLATE
        && let Some(server) = tables.server(flow.server)
        && server.is_masqueraded()
    {
        *other = reply_key::<F>(server, key, flow.client_address, flow.client_port);
        let is_ours = tables.find(other).is_some_and(|entry| {
            let way_back = entry.get();
            way_back.state == State::REPLY && way_back.request_key(key.protocol) == *key
        });
        if is_ours {
            tables.remove(other);
        }
    }
    true
}
