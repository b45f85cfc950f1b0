//! The slots of a service's ring: what IPVS's schedulers would do next, laid out beforehand.
//!
//! Members stand in the order of IPVS's list of destinations: the one that joined last comes first
//! (`list_add` puts a new destination at the head).

use lb_common::schedule::HASH_SLOTS;

use std::net::SocketAddr;

use crate::model::{Scheduler, SchedulerFlags, Settings};

/// The most slots of one service. A wrr round that is longer (weights whose sum, divided by their
/// greatest common divisor, exceeds it) is shortened: shares stay right to one in 65,536, the
/// order is then no longer IPVS's to the last connection.
pub const MAX_SLOTS: usize = 65_536;

/// A real server that takes part in scheduling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u32,
    /// Its weight, 0 for none of the new connections.
    pub weight: u32,
    /// The weight that it has when it is well: mh keeps its slots.
    pub configured: u32,
    /// Where it listens: what mh hashes.
    pub socket: SocketAddr,
}

/// The ring of a service.
#[must_use]
pub fn slots(
    scheduler: Scheduler,
    _flags: SchedulerFlags,
    _settings: &Settings,
    members: &[Member],
) -> Vec<u32> {
    let takes_part = |member: &&Member| member.weight > 0;
    match scheduler {
        Scheduler::Rr => in_turn(members),
        Scheduler::Wrr => round(members).into_iter().map(|slot| slot.id).collect(),
        Scheduler::Sh => buckets(members),
        _ => members
            .iter()
            .filter(takes_part)
            .map(|member| member.id)
            .collect(),
    }
}

/// Those that take part, in order.
fn in_turn(members: &[Member]) -> Vec<u32> {
    members
        .iter()
        .filter(|member| member.weight > 0)
        .map(|member| member.id)
        .collect()
}

/// One slot of a wrr round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    id: u32,
    /// IPVS's "current weight" when the slot is taken.
    level: u32,
}

/// One round of `ip_vs_wrr_schedule`: the current weight goes down from the maximum by the greatest
/// common divisor, and at each level all destinations of at least that weight are taken in order.
fn round(members: &[Member]) -> Vec<Slot> {
    let members = shortened(members);
    let divisor = divisor(&members);
    let maximum = members
        .iter()
        .map(|member| member.weight)
        .max()
        .unwrap_or(0);
    if divisor == 0 {
        return Vec::new();
    }
    let mut round = Vec::new();
    // `mw = max - (di - 1)`, so that the lowest level is 1.
    let mut level = maximum - (divisor - 1);
    loop {
        round.extend(
            members
                .iter()
                .filter(|member| member.weight >= level && member.weight > 0)
                .map(|member| Slot {
                    id: member.id,
                    level,
                }),
        );
        if level <= divisor {
            return round;
        }
        level -= divisor;
    }
}

fn divisor(members: &[Member]) -> u32 {
    fn gcd(a: u32, b: u32) -> u32 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    members
        .iter()
        .fold(0, |divisor, member| gcd(divisor, member.weight))
}

/// Weights that make a round of at most [`MAX_SLOTS`].
fn shortened(members: &[Member]) -> Vec<Member> {
    let divisor = u64::from(divisor(members).max(1));
    let sum: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let limit = MAX_SLOTS as u64;
    if sum / divisor <= limit {
        return members.to_vec();
    }
    let short = |weight: u32| {
        let share = u64::from(weight) * (limit - members.len() as u64) / sum;
        if weight == 0 { 0 } else { share.max(1) as u32 }
    };
    members
        .iter()
        .map(|member| Member {
            weight: short(member.weight),
            ..*member
        })
        .collect()
}

/// `ip_vs_sh_reassign`: each destination gets as many consecutive buckets as its weight says, one
/// after the other until the table is full. One of weight 0 gets one, whose clients are refused.
fn buckets(members: &[Member]) -> Vec<u32> {
    if members.iter().all(|member| member.weight == 0) {
        return Vec::new();
    }
    members
        .iter()
        .cycle()
        .flat_map(|member| std::iter::repeat_n(member.id, member.weight.max(1) as usize))
        .take(HASH_SLOTS as usize)
        .collect()
}

/// The turn with which a service goes on when its members change, as if IPVS's scheduler had been
/// told of the change.
#[must_use]
pub fn turn_after(scheduler: Scheduler, before: &[Member], after: &[Member], turn: u64) -> u64 {
    match scheduler {
        Scheduler::Rr => turn_after_rr(before, after, turn),
        Scheduler::Wrr => turn_after_wrr(before, after, turn),
        _ => turn,
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
/// allow.
fn turn_after_wrr(before: &[Member], after: &[Member], turn: u64) -> u64 {
    let old = round(before);
    let new = round(after);
    let Some(top) = new.first().map(|slot| slot.level) else {
        return 0;
    };
    let taken = turn
        .checked_sub(1)
        .and_then(|taken| taken.checked_rem(old.len() as u64));
    let level = taken
        .and_then(|taken| old.get(taken as usize))
        .map_or(top, |slot| slot.level);
    let divisor = divisor(&shortened(after)).max(1);
    let level = if level > top {
        top
    } else {
        (level - 1) / divisor * divisor + 1
    };
    new.iter().position(|slot| slot.level <= level).unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[(u32, u32)]) -> Vec<Member> {
        list.iter()
            .map(|&(id, weight)| Member { id, weight })
            .collect()
    }

    #[test]
    fn rings_are_laid_as_ipvs_would_choose() {
        type Row<'a> = (Scheduler, &'a [(u32, u32)], &'a [u32]);
        let table: [Row; 9] = [
            (Scheduler::Rr, &[(1, 1), (2, 5), (3, 1)], &[1, 2, 3]),
            (Scheduler::Rr, &[(1, 1), (2, 0), (3, 1)], &[1, 3]),
            (Scheduler::Rr, &[], &[]),
            // gcd 1, levels 4 3 2 1.
            (
                Scheduler::Wrr,
                &[(1, 4), (2, 3), (3, 2)],
                &[1, 1, 2, 1, 2, 3, 1, 2, 3],
            ),
            // gcd 2: levels 3 (= 4 - 1) and 1.
            (Scheduler::Wrr, &[(1, 4), (2, 2)], &[1, 1, 2]),
            (Scheduler::Wrr, &[(1, 3), (2, 3)], &[1, 2]),
            (Scheduler::Wrr, &[(1, 0), (2, 2)], &[2]),
            (Scheduler::Wrr, &[(1, 0)], &[]),
            (Scheduler::Wlc, &[(3, 1), (2, 0), (1, 9)], &[3, 1]),
        ];
        for (scheduler, list, ring) in table {
            assert_eq!(
                slots(scheduler, &members(list)),
                ring,
                "{scheduler} {list:?}"
            );
        }
    }

    #[test]
    fn sh_gives_consecutive_buckets_by_weight() {
        let ring = slots(Scheduler::Sh, &members(&[(1, 1), (2, 2), (3, 0)]));
        assert_eq!(ring.len(), 256);
        assert_eq!(ring[..9], [1, 2, 2, 3, 1, 2, 2, 3, 1]);
        assert!(slots(Scheduler::Sh, &members(&[(1, 0)])).is_empty());
    }

    #[test]
    fn a_long_round_is_shortened_and_keeps_its_shares() {
        let ring = slots(
            Scheduler::Wrr,
            &members(&[(1, 65_535), (2, 65_534), (3, 1)]),
        );
        assert!(ring.len() <= MAX_SLOTS);
        let count = |id| ring.iter().filter(|slot| **slot == id).count();
        assert!(count(1).abs_diff(count(2)) <= 1);
        assert_eq!(count(3), 1);
    }

    #[test]
    fn a_change_of_members_does_not_start_over() {
        let (a, b, c, d) = ((1, 1), (2, 1), (3, 1), (4, 1));
        type List<'a> = &'a [(u32, u32)];
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
        for (before, after, turn, next) in table {
            let (before, after) = (members(before), members(after));
            let turn = turn_after(Scheduler::Rr, &before, &after, turn);
            let ring = slots(Scheduler::Rr, &after);
            assert_eq!(
                ring[turn as usize % ring.len()],
                next,
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn wrr_keeps_its_level_and_goes_to_the_head() {
        let before = members(&[(1, 3), (2, 1)]);
        // Round 1 1 1 2, levels 3 2 1 1. Two taken: the level is 2.
        let after = members(&[(3, 3), (1, 3), (2, 1)]);
        // Round 3 1 | 3 1 | 3 1 2: level 2 begins with the third slot.
        assert_eq!(turn_after(Scheduler::Wrr, &before, &after, 2), 2);
        let lighter = members(&[(1, 1), (2, 1)]);
        assert_eq!(turn_after(Scheduler::Wrr, &before, &lighter, 1), 0);
    }
}
