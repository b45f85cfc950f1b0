//! Where rings lie: which slots of the map are taken, and by how many, and which are free.

use std::collections::{BTreeMap, BTreeSet};

/// The slots of all rings.
#[derive(Debug)]
pub struct Space {
    /// How many slots a ring has and how many hold it, by its first slot. No two have a slot in common.
    taken: BTreeMap<u32, (u32, u32)>,
    /// The free slots between them: how many follow each other, by the first.
    free: BTreeMap<u32, u32>,
    /// The same, ordered by how many.
    by_length: BTreeSet<(u32, u32)>,
}

impl Space {
    /// So many slots, all of them free.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        let mut space = Self {
            taken: BTreeMap::new(),
            free: BTreeMap::new(),
            by_length: BTreeSet::new(),
        };
        space.put_back(0, slots);
        space
    }

    /// Finds room for a ring and holds it. The least room that is enough is taken, so that larger rings find
    /// some as well.
    pub fn lay(&mut self, slots: u32) -> Option<u32> {
        let (length, first) = *self.by_length.range((slots, 0)..).next()?;
        self.take_out(first, length);
        self.put_back(first + slots, length - slots);
        self.taken.insert(first, (slots, 1));
        Some(first)
    }

    /// Somebody holds a ring, who is to let go of it by [`release`](Self::release). Whether it could be: it
    /// lies there already, or where all slots are free.
    pub fn hold(&mut self, first: u32, slots: u32) -> bool {
        if let Some((length, holders)) = self.taken.get_mut(&first) {
            *holders += u32::from(*length == slots);
            return *length == slots;
        }
        let before = self.free.range(..=first).next_back();
        let Some((start, length)) = before.map(|(start, length)| (*start, *length)) else {
            return false;
        };
        let (Some(end), free_until) = (first.checked_add(slots), start + length) else {
            return false;
        };
        if end > free_until {
            return false;
        }
        self.take_out(start, length);
        self.put_back(start, first - start);
        self.put_back(end, free_until - end);
        self.taken.insert(first, (slots, 1));
        true
    }

    /// One holds a ring no longer. With the last one its slots are free.
    pub fn release(&mut self, first: u32) {
        let Some((slots, holders)) = self.taken.get_mut(&first) else {
            return;
        };
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        let mut slots = *slots;
        let mut first = first;
        self.taken.remove(&first);
        if let Some((&start, &length)) = self.free.range(..first).next_back()
            && start + length == first
        {
            self.take_out(start, length);
            first = start;
            slots += length;
        }
        if let Some(&length) = self.free.get(&(first + slots)) {
            self.take_out(first + slots, length);
            slots += length;
        }
        self.put_back(first, slots);
    }

    fn take_out(&mut self, first: u32, length: u32) {
        self.free.remove(&first);
        self.by_length.remove(&(length, first));
    }

    fn put_back(&mut self, first: u32, length: u32) {
        if length > 0 {
            self.free.insert(first, length);
            self.by_length.insert((length, first));
        }
    }
}

#[cfg(test)]
impl Space {
    /// How many slots rings take.
    pub(crate) fn taken_slots(&self) -> usize {
        self.taken.values().map(|(slots, _)| *slots as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(space: &Space) -> Vec<(u32, u32)> {
        let mut by_length: Vec<_> = space
            .by_length
            .iter()
            .map(|(length, first)| (*first, *length))
            .collect();
        by_length.sort_unstable();
        let free: Vec<_> = space.free.iter().map(|(a, b)| (*a, *b)).collect();
        assert_eq!(by_length, free);
        free
    }

    #[test]
    fn the_least_room_that_is_enough_is_taken() {
        let mut space = Space::new(20);
        let laid: Vec<_> = [3, 2, 5, 4, 7].map(|slots| space.lay(slots)).to_vec();
        assert_eq!(laid, [Some(0), Some(3), Some(5), Some(10), None]);
        space.release(0);
        space.release(5);
        assert_eq!(free(&space), [(0, 3), (5, 5), (14, 6)]);
        assert_eq!([space.lay(4), space.lay(6)], [Some(5), Some(14)]);
        assert_eq!(free(&space), [(0, 3), (9, 1)]);
    }

    #[test]
    fn free_slots_that_follow_each_other_are_one_room() {
        let mut space = Space::new(9);
        for _ in 0..3 {
            space.lay(3);
        }
        for first in [0, 6, 3] {
            space.release(first);
        }
        assert_eq!(free(&space), [(0, 9)]);
    }

    #[test]
    fn a_ring_is_free_when_nobody_holds_it() {
        let mut space = Space::new(10);
        // Where it lies; how many slots; whether that can be.
        for (first, slots, can_be) in [
            (2, 3, true),
            (2, 3, true),
            (2, 4, false),
            (3, 1, false),
            (0, 3, false),
            (5, 5, true),
            (5, 6, false),
            (0, 2, true),
            (10, 1, false),
        ] {
            assert_eq!(space.hold(first, slots), can_be, "{slots} from {first}");
        }
        assert_eq!(free(&space), []);
        space.release(2);
        assert_eq!(free(&space), [], "one still holds it");
        space.release(2);
        assert_eq!(free(&space), [(2, 3)]);
        space.release(2);
        assert_eq!(free(&space), [(2, 3)], "nobody held it");
    }
}
