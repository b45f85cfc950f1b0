//! mh: tables in which few slots change when servers do (Eisenbud and others: Maglev, a fast and
//! reliable software network load balancer, 2016, section 3.4).
//!
//! Each server has a list of all slots in an order of its own, and the servers take turns to claim the
//! first free one of their lists.

use std::{cmp::Reverse, collections::BinaryHeap, net::SocketAddr};

use lb_common::{address::Address6, hash};

use crate::rings::{Member, common_divisor};

/// The size of IPVS's table: the prime that `CONFIG_IP_VS_MH_TAB_INDEX` chooses if left alone.
const COMPATIBLE_SLOTS: u32 = 4_093;
/// By how many bits IPVS limits the turns of a server (`IP_VS_MH_TAB_BITS`).
const COMPATIBLE_BITS: u32 = 6;
/// The sizes of our own tables: primes.
const SIZES: [u32; 5] = [4_093, 8_191, 16_381, 32_749, 65_521];
/// How many slots each server has at least, if there is a size that has so many: shares are right to
/// one in a hundred then.
const SLOTS_EACH: usize = 100;
/// What is hashed with the address of a server to find its first slot. Clients' numbers are lower.
const FIRST: u32 = u32::MAX;
/// The same to find the steps to its other slots.
const STEPS: u32 = u32::MAX - 1;

/// IPVS's own table (`ip_vs_mh_permutate`, `ip_vs_mh_populate`). Servers of weight 0 keep the slots of
/// the weight that they had.
pub(super) fn compatible(members: &[Member]) -> Vec<u32> {
    let heaviest = members.iter().map(|member| member.configured).max();
    let divisor = members.iter().fold(0, |divisor, member| {
        common_divisor(divisor, member.configured)
    });
    let turns = heaviest.unwrap_or(0).checked_div(divisor).unwrap_or(0);
    let shift = (u32::BITS - turns.leading_zeros()).saturating_sub(COMPATIBLE_BITS);
    let mut claims: Vec<_> = members
        .iter()
        .filter(|member| member.configured > 0)
        .map(|member| {
            let turns = ((member.configured / divisor) >> shift).max(1);
            (Claim::compatible(member), turns)
        })
        .collect();
    let mut table = Table::new(COMPATIBLE_SLOTS);
    while !claims.is_empty() {
        for (claim, turns) in &mut claims {
            for _ in 0..*turns {
                if table.is_full() {
                    return table.slots;
                }
                table.take(claim);
            }
        }
    }
    Vec::new()
}

/// A table that nobody can foretell without `secret`. It depends neither on the order of the members
/// nor on their ids, so that both directors of a pair have the same. Shares are by weight to the last
/// slot.
pub(super) fn keyed(secret: [u64; 2], members: &[Member]) -> Vec<u32> {
    let mut members: Vec<_> = members
        .iter()
        .filter(|member| member.configured > 0)
        .collect();
    members.sort_by_key(|member| place(secret, member.socket, FIRST));
    let size = size(members.len());
    let mut claims: Vec<_> = members
        .iter()
        .map(|member| Claim::keyed(secret, member, size))
        .collect();
    // A server of weight w claims its slot number n at the time n / w, whoever else there is: when one
    // leaves, the others claim in the same order as before.
    let mut turns: BinaryHeap<_> = (0..claims.len()).map(|at| Reverse((0, at))).collect();
    let mut taken = vec![0_u64; claims.len()];
    let mut table = Table::new(size);
    while !table.is_full() {
        let Some(Reverse((_, at))) = turns.pop() else {
            return Vec::new();
        };
        table.take(&mut claims[at]);
        taken[at] += 1;
        let time = (taken[at] << 32) / u64::from(members[at].configured);
        turns.push(Reverse((time, at)));
    }
    table.slots
}

/// The size of a table for so many servers.
fn size(servers: usize) -> u32 {
    let wanted = servers.saturating_mul(SLOTS_EACH);
    let [.., largest] = SIZES;
    SIZES
        .into_iter()
        .find(|size| *size as usize >= wanted)
        .unwrap_or(largest)
}

fn place(secret: [u64; 2], socket: SocketAddr, number: u32) -> u64 {
    hash::keyed(secret, &Address6::from(socket.ip()), socket.port(), number)
}

/// The slots that a server wants, one after the other.
struct Claim {
    id: u32,
    next: u32,
    step: u32,
}

impl Claim {
    fn compatible(member: &Member) -> Self {
        let port = u32::from(member.socket.port());
        let number = hash::folded(&member.socket.ip().into()).wrapping_add(port);
        Self {
            id: member.id,
            next: hash::known(hash::MH_FIRST, number) % COMPATIBLE_SLOTS,
            step: hash::known(hash::MH_SECOND, number) % (COMPATIBLE_SLOTS - 1) + 1,
        }
    }

    fn keyed(secret: [u64; 2], member: &Member, size: u32) -> Self {
        let below =
            |number, limit: u32| (place(secret, member.socket, number) % u64::from(limit)) as u32;
        Self {
            id: member.id,
            next: below(FIRST, size),
            step: below(STEPS, size - 1) + 1,
        }
    }
}

/// Slots, of which some are still free.
struct Table {
    /// Ids; zero is a free slot.
    slots: Vec<u32>,
    free: u32,
}

impl Table {
    fn new(size: u32) -> Self {
        Self {
            slots: vec![0; size as usize],
            free: size,
        }
    }

    fn is_full(&self) -> bool {
        self.free == 0
    }

    /// Gives a free slot to who claims it. The size is a prime, so that every step leads to every slot.
    fn take(&mut self, claim: &mut Claim) {
        let size = self.slots.len() as u32;
        while self.slots[claim.next as usize] != 0 {
            claim.next = (claim.next + claim.step) % size;
        }
        self.slots[claim.next as usize] = claim.id;
        self.free -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rings::members;

    const SECRET: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

    fn equal(count: u32) -> Vec<Member> {
        members(&(1..=count).map(|id| (id, 1)).collect::<Vec<_>>())
    }

    fn shares(table: &[u32]) -> BTreeMap<u32, usize> {
        let mut shares = BTreeMap::new();
        for id in table {
            *shares.entry(*id).or_default() += 1;
        }
        shares
    }

    #[test]
    fn servers_of_equal_weight_have_equal_shares() {
        for count in [1, 2, 3, 10, 40, 41, 500] {
            let servers = equal(count);
            for (name, table) in [
                ("mh", keyed(SECRET, &servers)),
                ("mh-compat", compatible(&servers)),
            ] {
                let shares = shares(&table);
                let least = shares.values().min().expect("somebody");
                let most = shares.values().max().expect("somebody");
                assert_eq!(shares.len(), count as usize, "{name}, {count} servers");
                assert!(
                    most - least <= 1,
                    "{name}, {count} servers: {least} to {most}"
                );
            }
        }
    }

    #[test]
    fn everybody_has_a_hundred_slots_as_long_as_there_are_as_many() {
        let table = [
            (1, 4_093),
            (40, 4_093),
            (41, 8_191),
            (82, 16_381),
            (327, 32_749),
            (328, 65_521),
            (60_000, 65_521),
        ];
        for (servers, slots) in table {
            assert_eq!(size(servers), slots, "{servers} servers");
        }
    }

    #[test]
    fn shares_are_by_weight() {
        let table: [&[(u32, u32)]; 5] = [
            &[(1, 1), (2, 2), (3, 3)],
            &[(1, 100), (2, 1)],
            &[(1, 65_535), (2, 65_534), (3, 1)],
            &[(1, 7), (2, 11), (3, 13), (4, 17)],
            &[(1, 1_000), (2, 999), (3, 333)],
        ];
        for list in table {
            let table = keyed(SECRET, &members(list));
            let shares = shares(&table);
            let sum: u32 = list.iter().map(|(_, weight)| weight).sum();
            for (id, weight) in list {
                let ideal = table.len() as f64 * f64::from(*weight) / f64::from(sum);
                let share = shares[id] as f64;
                assert!(
                    (share - ideal).abs() <= 1.0 || share == 1.0,
                    "server {id} of {list:?}: {share} slots instead of {ideal}"
                );
            }
        }
    }

    #[test]
    fn who_leaves_moves_few_slots_of_others() {
        // All slots of the one that leaves move. Of the others' the paper measures up to 2 % of the
        // table for tables a hundred times as large as there are servers; the bound here is 3 %.
        let weighted = members(&(1..=10).map(|id| (id, id * id)).collect::<Vec<_>>());
        for servers in [equal(3), equal(10), equal(40), equal(200), weighted] {
            let count = servers.len() as u32;
            for gone in [1, count / 2, count] {
                let without: Vec<_> = servers
                    .iter()
                    .filter(|member| member.id != gone)
                    .copied()
                    .collect();
                let (before, after) = (keyed(SECRET, &servers), keyed(SECRET, &without));
                assert_eq!(before.len(), after.len(), "{count} servers without {gone}");
                let moved = before
                    .iter()
                    .zip(&after)
                    .filter(|(before, after)| **before != gone && before != after)
                    .count();
                assert!(
                    moved * 100 <= before.len() * 3,
                    "{moved} of {} slots, {count} servers without {gone}",
                    before.len()
                );
            }
        }
    }

    #[test]
    fn a_server_of_weight_zero_keeps_its_slots() {
        let well = members(&[(1, 3), (2, 2), (3, 1)]);
        let mut quiesced = well.clone();
        quiesced[1].weight = 0;
        assert_eq!(keyed(SECRET, &well), keyed(SECRET, &quiesced));
        assert_eq!(compatible(&well), compatible(&quiesced));
        quiesced[1].configured = 0;
        assert!(!keyed(SECRET, &quiesced).contains(&2));
        assert!(!compatible(&quiesced).contains(&2));
    }

    #[test]
    fn both_directors_have_the_same_table() {
        // Servers joined in another order and have other ids.
        let one = members(&[(1, 1), (2, 5), (3, 2), (4, 5)]);
        let two: Vec<_> = one
            .iter()
            .rev()
            .map(|member| Member {
                id: member.id + 100,
                ..*member
            })
            .collect();
        let theirs: Vec<_> = keyed(SECRET, &two).iter().map(|id| id - 100).collect();
        assert_eq!(keyed(SECRET, &one), theirs);
    }

    #[test]
    fn another_secret_is_another_table() {
        let servers = equal(10);
        let (one, two) = (keyed(SECRET, &servers), keyed([1, 2], &servers));
        let same = one.iter().zip(&two).filter(|(one, two)| one == two).count();
        // One in ten by chance.
        assert!(same < one.len() / 5, "{same} of {} slots", one.len());
    }
}
