//! How much memory a map takes.

use aya::maps::{MapInfo, MapType};

/// How many bytes a map takes, by its kind: what `*_map_mem_usage` in Linux' kernel/bpf computes.
/// Those that take memory only for what is in them are counted as if they were full.
pub(super) fn of(info: &MapInfo, cpus: usize) -> u64 {
    let kind = Kind::of(info);
    kind.bytes(
        info.max_entries().into(),
        info.key_size().into(),
        info.value_size().into(),
        cpus as u64,
    )
}

/// The kinds of maps that differ in what an entry costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    PerCpuArray,
    /// One with a list of those that were used last too.
    Hash,
    Queue,
    Trie,
}

/// `struct htab_elem` without key and value, of which an element of the LRU list has as much.
const HASH_ELEMENT: u64 = 48;
/// `struct bucket`.
const BUCKET: u64 = 16;
/// `struct lpm_trie_node` without key and value, as `kmalloc` rounds it up.
const TRIE_NODE: u64 = 48;

impl Kind {
    fn of(info: &MapInfo) -> Self {
        match info.map_type() {
            Ok(MapType::Hash | MapType::LruHash) => Self::Hash,
            Ok(MapType::PerCpuArray) => Self::PerCpuArray,
            Ok(MapType::Queue) => Self::Queue,
            Ok(MapType::LpmTrie) => Self::Trie,
            // All others of ours, and what an old kernel does not name.
            Ok(_) | Err(_) => Self::Array,
        }
    }

    const fn bytes(self, entries: u64, key: u64, value: u64, cpus: u64) -> u64 {
        let (key, value) = (key.next_multiple_of(8), value.next_multiple_of(8));
        match self {
            Self::Array => entries * value,
            Self::PerCpuArray => entries * (value * cpus + 8),
            Self::Hash => {
                entries * (HASH_ELEMENT + key + value) + entries.next_power_of_two() * BUCKET
            }
            // The ring has one place more than entries.
            Self::Queue => (entries + 1) * value,
            // A node of its own and one that branches.
            Self::Trie => entries * 2 * (TRIE_NODE + key + value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_takes_what_its_kind_costs() {
        // Entries, key, value, CPUs; bytes.
        let table = [
            (Kind::Array, (16, 4, 20, 4), 16 * 24),
            (Kind::PerCpuArray, (16, 4, 40, 4), 16 * (160 + 8)),
            // A flow of IPv4: docs/operations.md.
            (Kind::Hash, (1 << 18, 16, 44, 4), (1 << 18) * 128),
            (Kind::Hash, (5, 4, 8, 4), 5 * 64 + 8 * 16),
            (Kind::Queue, (1023, 0, 16, 4), 1024 * 16),
            (Kind::Trie, (2, 24, 16, 4), 4 * 88),
        ];
        for (kind, (entries, key, value, cpus), bytes) in table {
            assert_eq!(kind.bytes(entries, key, value, cpus), bytes, "{kind:?}");
        }
    }
}
