//! sh and dh: buckets that are filled with one server after the other.

use lb_common::schedule::HASH_SLOTS;

use crate::rings::Member;

/// `ip_vs_sh_reassign`: each destination gets as many consecutive buckets as its weight says, one
/// after the other until the table is full. One of weight 0 gets one, whose clients are refused.
pub(super) fn by_weight(members: &[Member]) -> Vec<u32> {
    filled(members, |member| member.weight.max(1))
}

/// `ip_vs_dh_reassign`: each destination gets one bucket after the other, whatever its weight.
pub(super) fn evenly(members: &[Member]) -> Vec<u32> {
    filled(members, |_| 1)
}

fn filled(members: &[Member], buckets: impl Fn(&Member) -> u32) -> Vec<u32> {
    members
        .iter()
        .cycle()
        .flat_map(|member| std::iter::repeat_n(member.id, buckets(member) as usize))
        .take(HASH_SLOTS as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rings::members;

    #[test]
    fn sh_gives_consecutive_buckets_by_weight() {
        let ring = by_weight(&members(&[(1, 1), (2, 2), (3, 0)]));
        assert_eq!(ring.len(), 256);
        assert_eq!(ring[..9], [1, 2, 2, 3, 1, 2, 2, 3, 1]);
    }

    #[test]
    fn sh_has_room_for_the_first_only_if_weights_are_large() {
        let ring = by_weight(&members(&[(1, 200), (2, 200), (3, 1)]));
        assert_eq!(ring.len(), 256);
        assert_eq!((ring[199], ring[200], ring[255]), (1, 2, 2));
    }

    #[test]
    fn dh_does_not_look_at_weights() {
        let ring = evenly(&members(&[(1, 1), (2, 9), (3, 0)]));
        assert_eq!(ring.len(), 256);
        assert_eq!(ring[..7], [1, 2, 3, 1, 2, 3, 1]);
    }
}
