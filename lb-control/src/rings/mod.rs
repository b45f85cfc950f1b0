//! The slots of a service's ring: what IPVS's schedulers would do next, laid out beforehand.
//!
//! Members stand in the order of IPVS's list of destinations: the one that joined last comes first
//! (`list_add` puts a new destination at the head).

mod hashed;
mod maglev;
mod space;
mod turns;

use std::{cmp::Reverse, net::SocketAddr};

use lb_common::maps::SchedulerKind;

use crate::model::{Scheduler, SchedulerFlags};

pub use space::Space;
pub use turns::turn_after;

/// The most slots of one service. A ring that would be longer (weights whose sum, divided by their
/// greatest common divisor, exceeds it) is shortened: shares stay right to one in 65,536, the
/// order of wrr is then no longer IPVS's to the last connection.
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

/// What the data plane does with the ring.
#[must_use]
pub const fn kind(scheduler: Scheduler, flags: SchedulerFlags) -> SchedulerKind {
    match scheduler {
        Scheduler::Rr | Scheduler::Wrr => SchedulerKind::TURNS,
        Scheduler::Lc => SchedulerKind::LEAST_CONNECTIONS,
        Scheduler::Wlc => SchedulerKind::LEAST_LOADED,
        Scheduler::Lblc => SchedulerKind::LOCALITY,
        Scheduler::Lblcr => SchedulerKind::LOCALITY_SET,
        Scheduler::Dh => SchedulerKind::DESTINATION_HASH,
        Scheduler::Sh => SchedulerKind::SOURCE_HASH,
        Scheduler::Sed => SchedulerKind::SHORTEST_DELAY,
        Scheduler::Nq => SchedulerKind::NEVER_QUEUE,
        Scheduler::Mh if flags.compat => SchedulerKind::MAGLEV_COMPAT,
        Scheduler::Mh => SchedulerKind::MAGLEV,
        Scheduler::Fo => SchedulerKind::FAILOVER,
        Scheduler::Ovf => SchedulerKind::OVERFLOW,
        Scheduler::Twos => SchedulerKind::TWO_CHOICES,
    }
}

/// The ring of a service. It is empty if nobody takes new connections. `secret` is the key of mh's
/// hash.
#[must_use]
pub fn slots(
    scheduler: Scheduler,
    flags: SchedulerFlags,
    secret: [u64; 2],
    members: &[Member],
) -> Vec<u32> {
    if members.iter().all(|member| member.weight == 0) {
        return Vec::new();
    }
    match scheduler {
        Scheduler::Wrr => turns::round(members)
            .into_iter()
            .map(|slot| slot.id)
            .collect(),
        Scheduler::Rr
        | Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Lblc
        | Scheduler::Lblcr => in_turn(members),
        Scheduler::Fo | Scheduler::Ovf => heaviest_first(members),
        Scheduler::Twos => by_share(members),
        Scheduler::Sh => hashed::by_weight(members),
        Scheduler::Dh => hashed::evenly(members),
        Scheduler::Mh if flags.compat => maglev::compatible(members),
        Scheduler::Mh => maglev::keyed(secret, members),
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

/// Those that take part, by weight; of equals the first in the list first, as `ip_vs_fo_schedule` and
/// `ip_vs_ovf_schedule` find them.
fn heaviest_first(members: &[Member]) -> Vec<u32> {
    let mut members = members.to_vec();
    members.sort_by_key(|member| Reverse(member.weight));
    in_turn(&members)
}

/// The shortest ring in which everybody has a share by weight.
fn by_share(members: &[Member]) -> Vec<u32> {
    let members = shortened(members);
    let divisor = divisor(&members).max(1);
    members
        .iter()
        .flat_map(|member| std::iter::repeat_n(member.id, (member.weight / divisor) as usize))
        .collect()
}

/// The greatest common divisor of all weights; zero if all are zero.
fn divisor(members: &[Member]) -> u32 {
    members
        .iter()
        .fold(0, |divisor, member| common_divisor(divisor, member.weight))
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Weights that make a ring of at most [`MAX_SLOTS`].
fn shortened(members: &[Member]) -> Vec<Member> {
    let divisor = u64::from(divisor(members).max(1));
    let sum: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let limit = MAX_SLOTS as u64;
    if sum / divisor <= limit {
        return members.to_vec();
    }
    let short = |weight: u32| {
        let share = u64::from(weight) * limit.saturating_sub(members.len() as u64) / sum;
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

/// Members with these ids and weights.
#[cfg(test)]
fn members(list: &[(u32, u32)]) -> Vec<Member> {
    list.iter()
        .map(|&(id, weight)| Member {
            id,
            weight,
            configured: weight,
            socket: SocketAddr::from(([10, 1, (id >> 8) as u8, id as u8], 80)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(scheduler: Scheduler, list: &[(u32, u32)]) -> Vec<u32> {
        slots(scheduler, SchedulerFlags::default(), [0; 2], &members(list))
    }

    #[test]
    fn rings_are_laid_as_ipvs_would_choose() {
        type Row<'a> = (Scheduler, &'a [(u32, u32)], &'a [u32]);
        let table: [Row; 18] = [
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
            (Scheduler::Lc, &[(3, 1), (2, 0), (1, 9)], &[3, 1]),
            (Scheduler::Sed, &[(3, 1), (2, 0), (1, 9)], &[3, 1]),
            (Scheduler::Nq, &[(3, 1), (2, 0), (1, 9)], &[3, 1]),
            (Scheduler::Lblc, &[(3, 1), (2, 0), (1, 9)], &[3, 1]),
            (Scheduler::Lblcr, &[(3, 1), (2, 0), (1, 9)], &[3, 1]),
            // The heaviest, of equals the first in the list.
            (Scheduler::Fo, &[(4, 2), (3, 5), (2, 0), (1, 5)], &[3, 1, 4]),
            (Scheduler::Ovf, &[(3, 1), (2, 2), (1, 1)], &[2, 3, 1]),
            (Scheduler::Twos, &[(1, 4), (2, 0), (3, 6)], &[1, 1, 3, 3, 3]),
            (Scheduler::Twos, &[(1, 7), (2, 7)], &[1, 2]),
        ];
        for (scheduler, list, ring) in table {
            assert_eq!(laid(scheduler, list), ring, "{scheduler} {list:?}");
        }
    }

    #[test]
    fn where_nobody_takes_anything_there_is_no_ring() {
        for scheduler in Scheduler::ALL {
            assert!(laid(scheduler, &[]).is_empty(), "{scheduler}");
            assert!(laid(scheduler, &[(1, 0), (2, 0)]).is_empty(), "{scheduler}");
        }
    }

    #[test]
    fn a_long_ring_is_shortened_and_keeps_its_shares() {
        for scheduler in [Scheduler::Wrr, Scheduler::Twos] {
            let ring = laid(scheduler, &[(1, 65_535), (2, 65_534), (3, 1)]);
            assert!(ring.len() <= MAX_SLOTS, "{scheduler}");
            let count = |id| ring.iter().filter(|slot| **slot == id).count();
            assert!(count(1).abs_diff(count(2)) <= 1, "{scheduler}");
            assert_eq!(count(3), 1, "{scheduler}");
        }
    }
}
