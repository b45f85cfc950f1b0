//! Ageing: the sweeper looks at one flow after the other and takes away those that have ended.
//!
//! Every flow waits in a queue from its first packet until it is taken away. One step of the
//! sweeper takes the first key out and, unless its flow has ended, puts it back at the end. So the
//! work of one step is constant, a round takes as many steps as there are flows, and nobody
//! outside the kernel has to walk the table. The invariant is that a key is in the queue exactly
//! once while its flow is in the table: only [`crate::admit`] puts it in and only [`step`] takes
//! it out, and a flow that begins in the place of an ended one keeps that one's place.

use crate::{
    family::Family,
    flow::FlowKey,
    state::State,
    tables::{FlowEntry, FlowTable, Tables},
};

/// How long a round of the sweeper takes, in milliseconds: how late an ended flow leaves the
/// counts of its real server.
pub const ROUND_MS: u32 = 2_000;
/// How often the sweeper runs, in milliseconds.
pub const TICK_MS: u32 = 20;
/// The most steps of one run: what bounds the time for which packets wait.
pub const MAX_STEPS: u32 = 4_096;

/// How many steps the sweeper has to take this time so that a round takes [`ROUND_MS`].
#[must_use]
#[inline(always)]
pub const fn steps(flows: u32) -> u32 {
    let fair = flows / (ROUND_MS / TICK_MS) + 1;
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

/// Looks at the flow that waits longest.
#[inline(always)]
pub fn step<F: Family, T: Tables + FlowTable<F>>(tables: &T, now: u32) -> Step {
    let Some(key) = tables.dequeue() else {
        return Step::Idle;
    };
    let Some(entry) = tables.find(&key) else {
        return Step::Removed;
    };
    let flow = entry.get();
    if flow.state == State::REPLY {
        // A way back took this key while nobody used it: it lives and dies with its request.
        return Step::Removed;
    }
    let gone = || {
        !tables
            .server(flow.server)
            .is_some_and(|server| server.is_present())
    };
    if flow.state != State::RETIRED
        && (flow.is_expired(now) || gone())
        && retire(tables, &key, &entry, &mut key.clone())
    {
        tables.remove(&key);
        return Step::Removed;
    }
    // There is room: this key's own place has just become free.
    let _ = tables.enqueue(&key);
    Step::Kept
}

/// Takes a flow out of the counts of its real server, and its way back out of the table. Its own
/// entry stays, for the caller to remove or replace. `false` if another CPU was faster.
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
    let active = flow.state.is_active();
    tables.adjust_load(flow.server, -i32::from(active), -i32::from(!active));
    if let Some(server) = tables.server(flow.server)
        && server.is_masqueraded()
    {
        *other = key.reply_from(F::narrow(&server.address), server.port);
        let is_ours = tables.find(other).is_some_and(|entry| {
            let way_back = entry.get();
            way_back.state == State::REPLY
                && way_back.virtual_address == key.destination
                && way_back.virtual_port == key.destination_port
        });
        if is_ours {
            tables.remove(other);
        }
    }
    true
}
