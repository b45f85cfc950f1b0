//! What addresses are, counted: several services and servers may have the same one. And the words of the sieve
//! that follow from them.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{address::Address6, maps::Role, sieve};

/// The roles of all addresses that have any.
#[derive(Debug, Default)]
pub struct Roles {
    counts: BTreeMap<Address6, Count>,
    /// Those that have a role in the tables because flows of a service that is gone may finish.
    former: BTreeSet<Address6>,
    /// All that are in the tables, by their word of the sieve.
    words: BTreeSet<(u32, Address6)>,
    /// What may have changed since this was asked last.
    touched: BTreeSet<Address6>,
    touched_words: BTreeSet<u32>,
}

/// How many give an address a role.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    virtually: u32,
    masqueraded: u32,
    floating: u32,
}

/// What the tables ought to hold of the addresses that may have changed.
#[derive(Debug, Default, PartialEq)]
pub struct Touched {
    /// The roles of addresses; none of those that are nothing to us any more.
    pub addresses: BTreeMap<Address6, Option<Role>>,
    /// The words of the sieve.
    pub words: BTreeMap<u32, u64>,
}

impl Roles {
    /// One more gives an address this role.
    pub fn give(&mut self, address: Address6, role: Role) {
        let count = self.counts.entry(address).or_default();
        count.of(role, |count| count.saturating_add(1));
        self.touched.insert(address);
    }

    /// One no longer does.
    pub fn take(&mut self, address: Address6, role: Role) {
        if let Some(count) = self.counts.get_mut(&address) {
            count.of(role, |count| count.saturating_sub(1));
            if count.role() == Role::default() {
                self.counts.remove(&address);
            }
        }
        self.touched.insert(address);
    }

    /// The next time this address is told of, too.
    pub fn touch(&mut self, address: Address6) {
        self.touched.insert(address);
    }

    /// The next time this word of the sieve is told of, too.
    pub fn touch_word(&mut self, word: u32) {
        self.touched_words.insert(word);
    }

    /// What is to be of the addresses that were touched. While somebody `may_finish`, none is forgotten that
    /// `is_in_tables`: the packets of flows come to one whose service may be gone.
    pub fn take_touched(
        &mut self,
        may_finish: bool,
        is_in_tables: impl Fn(&Address6) -> bool,
    ) -> Touched {
        if !may_finish {
            self.touched.append(&mut self.former);
        }
        let mut told = Touched::default();
        for address in std::mem::take(&mut self.touched) {
            let role = match self.counts.get(&address) {
                Some(count) => Some(count.role()),
                None => (may_finish && is_in_tables(&address)).then_some(Role::FORMER),
            };
            if role == Some(Role::FORMER) {
                self.former.insert(address);
            } else {
                self.former.remove(&address);
            }
            let (word, _) = sieve::place(&address);
            let has_changed = if role.is_some() {
                self.words.insert((word, address))
            } else {
                self.words.remove(&(word, address))
            };
            if has_changed {
                self.touched_words.insert(word);
            }
            told.addresses.insert(address, role);
        }
        for word in std::mem::take(&mut self.touched_words) {
            told.words.insert(word, self.word(word));
        }
        told
    }

    /// A word of the sieve as it ought to be.
    fn word(&self, word: u32) -> u64 {
        let addresses = self.words.range((word, Address6::default())..);
        addresses
            .take_while(|(other, _)| *other == word)
            .fold(0, |bits, (_, address)| bits | sieve::place(address).1)
    }
}

impl Count {
    fn of(&mut self, role: Role, change: impl Fn(u32) -> u32) {
        if role.has(Role::VIRTUAL) {
            self.virtually = change(self.virtually);
        }
        if role.has(Role::MASQUERADED) {
            self.masqueraded = change(self.masqueraded);
        }
        if role.has(Role::FLOATING) {
            self.floating = change(self.floating);
        }
    }

    fn role(self) -> Role {
        let role = |count, role| if count > 0 { role } else { Role::default() };
        role(self.virtually, Role::VIRTUAL)
            .and(role(self.masqueraded, Role::MASQUERADED))
            .and(role(self.floating, Role::FLOATING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address6 = Address6([7; 16]);

    /// What is to be of the address, if it is told of, and of the words of the sieve.
    fn told(roles: &mut Roles, may_finish: bool) -> (Vec<Option<Role>>, Vec<u64>) {
        let told = roles.take_touched(may_finish, |_| true);
        (
            told.addresses.into_values().collect(),
            told.words.into_values().collect(),
        )
    }

    #[test]
    fn an_address_has_a_role_while_anybody_gives_it() {
        let bits = sieve::place(&ADDRESS).1;
        let (virtual_, both) = (Role::VIRTUAL, Role::VIRTUAL.and(Role::MASQUERADED));
        let mut roles = Roles::default();
        roles.give(ADDRESS, Role::VIRTUAL);
        roles.give(ADDRESS, Role::VIRTUAL);
        assert_eq!(told(&mut roles, false), (vec![Some(virtual_)], vec![bits]));
        roles.give(ADDRESS, Role::MASQUERADED);
        assert_eq!(told(&mut roles, false), (vec![Some(both)], vec![]));
        roles.take(ADDRESS, Role::MASQUERADED);
        roles.take(ADDRESS, Role::VIRTUAL);
        assert_eq!(told(&mut roles, false), (vec![Some(virtual_)], vec![]));
        assert_eq!(told(&mut roles, false), (vec![], vec![]), "nothing is new");
        roles.take(ADDRESS, Role::VIRTUAL);
        assert_eq!(told(&mut roles, false), (vec![None], vec![0]));
    }

    #[test]
    fn none_is_forgotten_while_somebody_may_finish() {
        let mut roles = Roles::default();
        roles.give(ADDRESS, Role::VIRTUAL);
        told(&mut roles, false);
        roles.take(ADDRESS, Role::VIRTUAL);
        assert_eq!(told(&mut roles, true), (vec![Some(Role::FORMER)], vec![]));
        assert_eq!(told(&mut roles, true), (vec![], vec![]));
        assert_eq!(told(&mut roles, false), (vec![None], vec![0]));
        assert_eq!(told(&mut roles, false), (vec![], vec![]));
    }
}
