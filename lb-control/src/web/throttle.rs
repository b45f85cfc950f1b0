//! Wrong logins cost time: each address and each user has so many tries, and gets another one now and then.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// After so long a wrong try is forgiven.
const FORGIVEN: Duration = Duration::from_secs(30);

/// So many wrong tries an address may have.
const OF_ADDRESS: u32 = 10;

/// So many wrong tries may be made for a user, from all addresses together.
const OF_USER: u32 = 20;

/// So many addresses, users and acquaintances are remembered of each.
const MOST: usize = 4_096;

/// Who tried, and how often.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Tried>);

#[derive(Debug, Default)]
struct Tried {
    addresses: HashMap<IpAddr, Debt>,
    users: HashMap<String, Debt>,
    /// From where a user has logged in before: others cannot lock the user out there.
    known: HashMap<(String, IpAddr), Instant>,
}

/// When all wrong tries are forgiven.
#[derive(Debug, Clone, Copy)]
struct Debt(Instant);

impl Throttle {
    /// Whether somebody may try now; if not, after what time. The try counts as a wrong one until it is known to be
    /// right.
    pub(super) fn enter(&self, user: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network(address);
        let mut tried = self.tried();
        let Tried {
            addresses,
            users,
            known,
        } = &mut *tried;
        let mut wait = excess(addresses, &address, OF_ADDRESS, now);
        let user = user.to_owned();
        if !known.contains_key(&(user.clone(), address)) {
            wait = wait.max(excess(users, &user, OF_USER, now));
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        charge(addresses, address, now);
        charge(users, user, now);
        Ok(())
    }

    /// That try was right.
    pub(super) fn pass(&self, user: &str, address: IpAddr, now: Instant) {
        let address = network(address);
        let mut tried = self.tried();
        // Only this try is forgiven: whoever has a password of their own has no more tries at those of others.
        forgive(&mut tried.addresses, &address, now);
        forgive(&mut tried.users, &user.to_owned(), now);
        if tried.known.len() >= MOST {
            let oldest = tried.known.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                tried.known.remove(&oldest);
            }
        }
        tried.known.insert((user.to_owned(), address), now);
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        // Whoever panicked with it in hand left it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has an address of IPv6 has all of its network.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(bits).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// How long it is until there is room for one more wrong try.
fn excess<K: Hash + Eq>(debts: &HashMap<K, Debt>, who: &K, tries: u32, now: Instant) -> Duration {
    let owed = debts
        .get(who)
        .map(|debt| debt.0.saturating_duration_since(now));
    let room = FORGIVEN * (tries - 1);
    owed.unwrap_or_default().saturating_sub(room)
}

fn forgive<K: Hash + Eq>(debts: &mut HashMap<K, Debt>, who: &K, now: Instant) {
    if let Some(Debt(until)) = debts.get_mut(who) {
        *until = until.checked_sub(FORGIVEN).unwrap_or(now);
    }
}

fn charge<K: Hash + Eq + Clone>(debts: &mut HashMap<K, Debt>, who: K, now: Instant) {
    if debts.len() >= MOST && !debts.contains_key(&who) {
        debts.retain(|_, debt| debt.0 > now);
    }
    if debts.len() >= MOST && !debts.contains_key(&who) {
        // Whoever owes least is forgotten first, so a flood of addresses does not free those who try often.
        let least = debts.iter().min_by_key(|(_, debt)| debt.0);
        if let Some(least) = least.map(|(who, _)| who.clone()) {
            debts.remove(&least);
        }
    }
    let debt = debts.entry(who).or_insert(Debt(now));
    debt.0 = debt.0.max(now) + FORGIVEN;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_hundred_wrong_tries_from_one_address_are_mostly_refused() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let tried = (0..100).filter(|number| {
            let user = format!("user{number}");
            throttle.enter(&user, address(1), now).is_ok()
        });
        assert_eq!(tried.count(), OF_ADDRESS as usize);
        assert!(throttle.enter("ada", address(2), now).is_ok());
        let wait = throttle.enter("ada", address(1), now).unwrap_err();
        assert_eq!(wait, FORGIVEN);
        assert!(throttle.enter("ada", address(1), now + wait).is_ok());
        assert!(throttle.enter("ada", address(1), now + wait).is_err());
    }

    #[test]
    fn a_user_is_tried_from_many_addresses_only_so_often() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.enter("ada", address(250), now).unwrap();
        throttle.pass("ada", address(250), now);
        let tried = (0..100).filter(|number| throttle.enter("ada", address(*number), now).is_ok());
        assert_eq!(tried.count(), OF_USER as usize);
        assert!(
            throttle.enter("ada", address(250), now).is_ok(),
            "who was let in from there before is not locked out"
        );
        assert!(throttle.enter("bob", address(251), now).is_ok());
    }

    #[test]
    fn what_was_right_owes_nothing() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            throttle.enter("ada", address(1), now).unwrap();
            throttle.pass("ada", address(1), now);
        }
    }

    #[test]
    fn whoever_has_many_addresses_is_remembered_by_one() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let tried = (0..100u128).filter(|number| {
            let address = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | *number);
            throttle
                .enter(&number.to_string(), address.into(), now)
                .is_ok()
        });
        assert_eq!(tried.count(), OF_ADDRESS as usize);
    }

    #[test]
    fn the_tables_do_not_grow_and_who_owes_most_stays() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..OF_ADDRESS {
            throttle.enter("eve", address(1), now).unwrap();
        }
        for number in 0..2 * MOST as u32 {
            let address = IpAddr::from(number.to_be_bytes());
            throttle.enter(&number.to_string(), address, now).unwrap();
            throttle.pass(&format!("{number}+"), address, now);
            throttle.enter(&number.to_string(), address, now).unwrap();
        }
        let tried = throttle.tried();
        assert!(tried.addresses.len() <= MOST && tried.users.len() <= MOST);
        assert!(tried.known.len() <= MOST);
        assert!(tried.addresses.contains_key(&address(1)));
    }
}
