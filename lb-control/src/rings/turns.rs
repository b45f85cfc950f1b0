//! rr and wrr: a round in the order of turns, and how a service goes on when its members change.

use crate::{
    model::Scheduler,
    rings::{Member, divisor, in_turn, shortened},
};

/// One slot of a wrr round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) id: u32,
    /// IPVS's "current weight" when the slot is taken.
    level: u32,
}

/// One round of `ip_vs_wrr_schedule`: the current weight goes down from the maximum by the greatest
/// common divisor, and at each level all destinations of at least that weight are taken in order.
pub(super) fn round(members: &[Member]) -> Vec<Slot> {
    let members = shortened(members);
    let divisor = divisor(&members);
    let maximum = members.iter().map(|member| member.weight).max();
    if divisor == 0 {
        return Vec::new();
    }
    let mut round = Vec::new();
    // `mw = max - (di - 1)`, so that the lowest level is 1.
    let mut level = maximum.unwrap_or(0) - (divisor - 1);
    loop {
        let takes_part = |member: &&Member| member.weight >= level;
        round.extend(members.iter().filter(takes_part).map(|member| Slot {
            id: member.id,
            level,
        }));
        if level <= divisor {
            return round;
        }
        level -= divisor;
    }
}

/// The turn with which a service goes on when its members change, as if IPVS's scheduler had been
/// told of the change.
#[must_use]
pub fn turn_after(scheduler: Scheduler, before: &[Member], after: &[Member], turn: u64) -> u64 {
    match scheduler {
        Scheduler::Rr => turn_after_rr(before, after, turn),
        Scheduler::Wrr => turn_after_wrr(before, after, turn),
        // They take no turns.
        Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Lblc
        | Scheduler::Lblcr
        | Scheduler::Dh
        | Scheduler::Sh
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Mh
        | Scheduler::Fo
        | Scheduler::Ovf
        | Scheduler::Twos => turn,
    }
}

/// rr remembers the destination that it took last, or, if that one has left, the one before it in
/// the list, and goes on with the next.
fn turn_after_rr(before: &[Member], after: &[Member], turn: u64) -> u64 {
    let old = in_turn(before);
    let new = in_turn(after);
    if turn == 0 || old.is_empty() {
        return 0;
    }
    let last = ((turn - 1) % old.len() as u64) as usize;
    old.iter()
        .take(last + 1)
        .rev()
        .find_map(|id| new.iter().position(|other| other == id))
        .map_or(0, |position| position as u64 + 1)
}

/// wrr goes back to the head of the list and keeps its current weight, as far as the new weights
/// allow (`ip_vs_wrr_dest_changed`).
fn turn_after_wrr(before: &[Member], after: &[Member], turn: u64) -> u64 {
    let old = round(before);
    let new = round(after);
    let Some(top) = new.first().map(|slot| slot.level) else {
        return 0;
    };
    let divisor = divisor(&shortened(after));
    let level = match level(&old, turn) {
        None => top,
        Some(level) if level > top => top,
        Some(level) if divisor > 1 => level / divisor * divisor + 1,
        Some(level) => level,
    };
    let position = new.iter().position(|slot| slot.level <= level);
    untaken(position.unwrap_or(0), new.len())
}

/// IPVS's current weight before turn number `turn` of a round is taken.
fn level(round: &[Slot], turn: u64) -> Option<u32> {
    let slots = round.len() as u64;
    let next = turn.checked_rem(slots)?;
    let position = if is_untaken(turn, round.len()) {
        next
    } else {
        next.checked_sub(1).unwrap_or(slots - 1)
    };
    round.get(position as usize).map(|slot| slot.level)
}

/// A turn number whose slot is `position`, and of which it can be told whether it has been taken: the
/// current weight of wrr is that of the slot taken last, but that of this one if there is none. Its
/// upper half is the position and one more; the lower half goes up with each turn.
fn untaken(position: usize, slots: usize) -> u64 {
    let (position, slots) = (position as u64, slots as u64);
    if position == 0 {
        return 0;
    }
    let upper = (position + 1) << 32;
    upper + (position + slots - upper % slots) % slots
}

/// Whether no turn was taken since [`untaken`] gave this one.
fn is_untaken(turn: u64, slots: usize) -> bool {
    let position = (turn >> 32).saturating_sub(1);
    turn == untaken(position as usize, slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::SchedulerFlags,
        rings::{members, slots},
    };

    /// Members by id and weight.
    type List<'a> = &'a [(u32, u32)];

    /// Who is next after the members have changed.
    fn next(scheduler: Scheduler, turn: u64, after: &[Member], count: u64) -> Vec<u32> {
        let ring = slots(scheduler, SchedulerFlags::default(), [0; 2], after);
        (turn..turn + count)
            .map(|turn| ring[(turn % ring.len() as u64) as usize])
            .collect()
    }

    #[test]
    fn a_change_of_members_does_not_start_over() {
        let (a, b, c, d) = ((1, 1), (2, 1), (3, 1), (4, 1));
        let table: [(List, List, u64, u32); 6] = [
            // Taken last: b. Next is c, whether or not d joined at the head.
            (&[a, b, c], &[d, a, b, c], 2, 3),
            // Taken last: c, the tail. Next is the head, which is d now.
            (&[a, b, c], &[d, a, b, c], 3, 4),
            // b was taken last and left: after a comes c.
            (&[a, b, c], &[a, c], 2, 3),
            // a was taken last and left: the head is next.
            (&[a, b, c], &[b, c], 1, 2),
            // Nothing taken yet.
            (&[a, b, c], &[b, c], 0, 2),
            (&[], &[b, c], 7, 2),
        ];
        for (before, after, turn, expected) in table {
            let (before, after) = (members(before), members(after));
            let turn = turn_after(Scheduler::Rr, &before, &after, turn);
            assert_eq!(
                next(Scheduler::Rr, turn, &after, 1),
                [expected],
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn wrr_keeps_its_level_and_goes_to_the_head() {
        let table: [(List, List, u64, &[u32], &str); 7] = [
            (
                // Round 1 1 1 2, levels 3 2 1 1. Two taken: the level is 2. The new round is
                // 3 1 | 3 1 | 3 1 2.
                &[(1, 3), (2, 1)],
                &[(3, 3), (1, 3), (2, 1)],
                2,
                &[3, 1, 3, 1, 2],
                "level 2 stays",
            ),
            (
                &[(1, 3), (2, 1)],
                &[(1, 1), (2, 1)],
                1,
                &[1, 2],
                "level 3 is too high",
            ),
            (
                // Round 1 1 2, levels 3 1 1, as weights are even. One taken: the level is 3.
                &[(1, 4), (2, 2)],
                &[(1, 6), (2, 3)],
                1,
                &[1, 1, 2],
                "level 3 becomes 3 / 3 * 3 + 1 = 4, the highest",
            ),
            (
                &[(1, 3), (2, 1)],
                &[(1, 3), (2, 2)],
                4,
                &[1, 2, 1, 1, 2],
                "a round is over and its last level goes on",
            ),
            (&[], &[(1, 2), (2, 1)], 9, &[1, 1, 2], "nobody before"),
            (&[(1, 2)], &[], 1, &[], "nobody after"),
            (
                // Nothing was taken: the level is still that of the first server.
                &[(1, 1)],
                &[(2, 3), (1, 1)],
                0,
                &[2, 1, 2, 2, 2, 1],
                "a heavier one joins",
            ),
        ];
        for (before, after, turn, expected, name) in table {
            let (before, after) = (members(before), members(after));
            let turn = turn_after(Scheduler::Wrr, &before, &after, turn);
            let got = next(Scheduler::Wrr, turn, &after, expected.len() as u64);
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn changes_one_after_the_other_leave_the_level() {
        // One by one, as IPVS learns of its servers: the level stays that of the first.
        let lists: [List; 4] = [
            &[(1, 1)],
            &[(2, 2), (1, 1)],
            &[(3, 3), (2, 2), (1, 1)],
            &[(4, 4), (3, 3), (2, 2), (1, 1)],
        ];
        let mut turn = 0;
        let mut before = Vec::new();
        for list in lists {
            let after = members(list);
            turn = turn_after(Scheduler::Wrr, &before, &after, turn);
            before = after;
        }
        assert_eq!(
            next(Scheduler::Wrr, turn, &before, 8),
            [4, 3, 2, 1, 4, 4, 3, 4]
        );
    }

    #[test]
    fn it_can_be_told_whether_a_turn_was_taken() {
        for slots in [1, 2, 3, 7, 1_999, 65_536] {
            for position in [0, 1 % slots, slots / 2, slots - 1] {
                let turn = untaken(position, slots);
                let name = format!("{position} of {slots}");
                assert_eq!(turn % slots as u64, position as u64, "{name}");
                assert!(is_untaken(turn, slots), "{name}");
                for taken in [1, 2, slots as u64, 1_000_000] {
                    assert!(!is_untaken(turn + taken, slots), "{name}, {taken} taken");
                }
            }
        }
    }
}
