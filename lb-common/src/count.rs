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
    let (old, new) = (Class::of(before), Class::of(after));
    let Some(server) = tables.server(id) else {
        return;
    };
    let change = |kind| new.count(kind) - old.count(kind);
    if (old.0 ^ new.0) & Class::OF_LOAD != 0 {
        let change = Change {
            active: change(Class::ACTIVE),
            inactive: change(Class::INACTIVE),
            closing: change(Class::CLOSING),
            persistent: change(Class::PERSISTENT),
        };
        tables.adjust_load(id, change);
        if server.has(Server::LIMITED) && change.active + change.inactive != 0 {
            weigh(tables, id);
        }
    }
    if (old.0 ^ new.0) & Class::OF_CENSUS != 0 {
        // A way back is an entry too. A template has none, and never becomes a flow.
        let is_template = (old.0 | new.0) & Class::PERSISTENT != 0;
        let entries = if server.is_masqueraded() && !is_template {
            2
        } else {
            1
        };
        let (half_open, standing) = (change(Class::HALF_OPEN), change(Class::STANDING));
        tables.adjust_census(half_open * entries, standing * entries);
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

/// What a flow in a state counts as. In one word, because this is at the end of the deepest chain of calls
/// that the kernel's stack has to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class(u32);

impl Class {
    /// One of its server's active flows.
    pub(crate) const ACTIVE: u32 = 1;
    /// One of its server's inactive flows.
    pub(crate) const INACTIVE: u32 = 2;
    /// One of those that are closing.
    pub(crate) const CLOSING: u32 = 4;
    /// One of its server's templates.
    pub(crate) const PERSISTENT: u32 = 8;
    /// An entry that is half-open.
    pub(crate) const HALF_OPEN: u32 = 16;
    /// An entry that stands.
    pub(crate) const STANDING: u32 = 32;
    const OF_LOAD: u32 = Self::ACTIVE | Self::INACTIVE | Self::CLOSING | Self::PERSISTENT;
    const OF_CENSUS: u32 = Self::HALF_OPEN | Self::STANDING;

    /// Of a flow in this state; of none it is nothing.
    #[inline(always)]
    pub(crate) const fn of(state: Option<State>) -> Self {
        let Some(state) = state else {
            return Self(0);
        };
        if state.0 == State::TEMPLATE.0 {
            return Self(Self::PERSISTENT | Self::STANDING);
        }
        let load = if state.is_active() {
            Self::ACTIVE
        } else {
            Self::INACTIVE
        };
        let end = if state.is_closing() { Self::CLOSING } else { 0 };
        let entry = if state.is_half_open() {
            Self::HALF_OPEN
        } else {
            Self::STANDING
        };
        Self(load | end | entry)
    }

    /// One if it counts as one of this kind, else zero.
    #[inline(always)]
    pub(crate) const fn count(self, kind: u32) -> i32 {
        (self.0 & kind != 0) as i32
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
