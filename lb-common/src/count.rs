//! The books: how many flows each real server has, of which kind, and how many entries the table
//! has. Everything that is counted when a flow begins, changes its state or ends is counted here.

use crate::{
    family::Family,
    maps::{Load, Server, Thresholds},
    state::State,
    tables::{Change, FlowTable, Tables},
};

/// A flow of the real server `id` changes from `before` to `after`; `None` is no flow. Only whoever
/// changed the state may call this ([`crate::tables::FlowEntry::advance`]).
#[inline(always)]
pub fn changed<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    id: u32,
    before: Option<State>,
    after: Option<State>,
) {
    let (old, new) = (class(before), class(after));
    let Some(server) = tables.server(id) else {
        return;
    };
    if old.load != new.load {
        let change = Change {
            active: new.load.active - old.load.active,
            inactive: new.load.inactive - old.load.inactive,
            closing: new.load.closing - old.load.closing,
            persistent: new.load.persistent - old.load.persistent,
        };
        tables.adjust_load(id, change);
        if server.has(Server::LIMITED) && change.active + change.inactive != 0 {
            weigh(tables, id);
        }
    }
    if (old.half_open, old.standing) != (new.half_open, new.standing) {
        // A way back is an entry too. A template has none, and never becomes a flow.
        let is_template = before == Some(State::TEMPLATE) || after == Some(State::TEMPLATE);
        let entries = if server.is_masqueraded() && !is_template {
            2
        } else {
            1
        };
        tables.adjust_census(
            (new.half_open - old.half_open) * entries,
            (new.standing - old.standing) * entries,
        );
    }
}

/// Looks whether the real server `id` gets new flows, by its thresholds and its load as they are.
/// Whoever changes either calls this.
#[inline(always)]
pub fn weigh<T: Tables>(tables: &T, id: u32) {
    tables.set_overloaded(id, is_overloaded(tables.thresholds(id), tables.load(id)));
}

/// Whether a real server with this load gets no new flows: `ip_vs_bind_dest` and
/// `ip_vs_unbind_dest`. One without thresholds always does.
#[must_use]
#[inline(always)]
pub const fn is_overloaded(thresholds: Thresholds, load: Load) -> bool {
    let Thresholds { upper, lower } = thresholds;
    let flows = load.active as u64 + load.inactive as u64;
    if upper == 0 {
        return false;
    }
    if flows >= upper as u64 {
        return true;
    }
    // In between it stays as it is.
    let is_relieved = if lower != 0 {
        flows < lower as u64
    } else {
        flows * 4 < upper as u64 * 3
    };
    load.overloaded != 0 && !is_relieved
}

/// How much a flow in a state counts, and where.
pub(crate) struct Class {
    pub(crate) load: Change,
    pub(crate) half_open: i32,
    pub(crate) standing: i32,
}

#[inline(always)]
pub(crate) fn class(state: Option<State>) -> Class {
    let Some(state) = state else {
        return Class {
            load: Change::default(),
            half_open: 0,
            standing: 0,
        };
    };
    let is_flow = state != State::TEMPLATE;
    let active = is_flow && state.is_active();
    let half_open = is_flow && state.is_half_open();
    Class {
        load: Change {
            active: i32::from(active),
            inactive: i32::from(is_flow && !active),
            closing: i32::from(is_flow && state.is_closing()),
            persistent: i32::from(!is_flow),
        },
        half_open: i32::from(half_open),
        standing: i32::from(!half_open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_hold_until_the_load_falls_below_the_lower_one() {
        // Upper, lower, flows, was overloaded, is overloaded.
        let table = [
            (0, 0, 1_000, false, false),
            (0, 0, 1_000, true, false),
            (0, 5, 7, true, false),
            (4, 0, 3, false, false),
            (4, 0, 4, false, true),
            (4, 0, 3, true, true),
            (4, 0, 2, true, false),
            (4, 2, 2, true, true),
            (4, 2, 1, true, false),
            (10, 5, 7, false, false),
        ];
        for (upper, lower, flows, was, is) in table {
            let load = Load {
                active: flows / 2,
                inactive: flows - flows / 2,
                overloaded: u32::from(was),
                ..Load::default()
            };
            let thresholds = Thresholds { upper, lower };
            assert_eq!(
                is_overloaded(thresholds, load),
                is,
                "{thresholds:?} {load:?}"
            );
        }
    }
}
