//! From a leaf hash to the index of its entry, in memory.

use std::hash::{BuildHasher, RandomState};

use jejak_proofs::merkle::Hash;

/// The largest index that the table can hold: a million million entries.
pub const LEAF_INDEX_MAX: u64 = 1 << 40;

// A slot is 0 while empty, else `tag << INDEX_BITS | index + 1`.
const INDEX_BITS: u32 = 41;
const TAG_BITS: u32 = 64 - INDEX_BITS;
const SHARD_BITS: u32 = 12;
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_SLOTS_MIN: usize = 8;

/// A compact table from part of a leaf hash to the indexes of the entries that may have it.
///
/// The tree itself is the index of leaf hashes: level-0 tiles hold them all in order. So the
/// table keeps only 35 bits of a hash beside each index, 8 bytes together, and the caller checks
/// every candidate against the tile. Of `n` entries about `n` / 2^35 are false candidates of a
/// hash that is looked up. With slots to spare an entry takes 9.1 to 11.5 bytes.
///
/// The table is 4,096 small ones that grow by a quarter, each for itself, so no insertion ever
/// waits for more than one of them to move, and the spare slots stay few.
///
/// # Security
/// Submitters can grind leaf hashes, so the place of a hash is taken from a hash of it that is
/// keyed with a secret of this process: nobody outside can aim at one shard or one run of slots.
/// The log enters each leaf once; the table itself would accept the same hash again and again,
/// and become slow.
#[derive(Clone)]
pub struct LeafTable<S = RandomState> {
    shards: Vec<Shard>,
    len: usize,
    hasher: S,
}

/// The index is larger than [`LEAF_INDEX_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leaf index {index} is too large for the table")]
pub struct LeafIndexError {
    /// The index that was to be entered.
    pub index: u64,
}

/// Open addressing with linear probing; never full, so every probe meets an empty slot.
#[derive(Clone, Default)]
struct Shard {
    slots: Vec<u64>,
    used: usize,
}

impl LeafTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }

    /// An empty table that takes about `entries` entries before it grows.
    pub fn with_capacity(entries: usize) -> Self {
        let mut table = Self::new();
        if entries > 0 {
            // Shards fill unevenly; an eighth more keeps most of them from growing once more.
            let each = entries / SHARDS + entries / SHARDS / 8 + 1;
            table.shards.fill(Shard::with_slots((each * 8 / 7 + 1).max(SHARD_SLOTS_MIN)));
        }
        table
    }
}

impl Default for LeafTable {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: BuildHasher> LeafTable<S> {
    fn with_hasher(hasher: S) -> Self {
        Self { shards: vec![Shard::default(); SHARDS], len: 0, hasher }
    }

    /// Enters that the leaf at `index` has `hash`.
    ///
    /// # Errors
    /// Fails, and changes nothing, if `index` is larger than [`LEAF_INDEX_MAX`].
    pub fn insert(&mut self, hash: &Hash, index: u64) -> Result<(), LeafIndexError> {
        if index > LEAF_INDEX_MAX {
            return Err(LeafIndexError { index });
        }
        let (shard, tag) = self.place(hash);
        self.shards[shard].insert(tag, tag << INDEX_BITS | (index + 1));
        self.len += 1;
        Ok(())
    }

    /// The indexes whose leaf may have `hash`, in no order: each must be checked. An index that
    /// was entered with `hash` is always among them.
    pub fn candidates(&self, hash: &Hash) -> impl Iterator<Item = u64> {
        let (shard, tag) = self.place(hash);
        self.shards[shard]
            .probe(tag)
            .filter(move |slot| slot >> INDEX_BITS == tag)
            .map(|slot| (slot & ((1 << INDEX_BITS) - 1)) - 1)
    }

    /// How many leaves were entered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was entered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the slots take.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| size_of::<Shard>() + 8 * shard.slots.capacity()).sum()
    }

    /// The shard and the tag of a hash: different bits of its keyed hash.
    fn place(&self, hash: &Hash) -> (usize, u64) {
        let keyed = self.hasher.hash_one(hash.as_bytes());
        ((keyed >> (64 - SHARD_BITS)) as usize, keyed & ((1 << TAG_BITS) - 1))
    }
}

impl Shard {
    fn with_slots(count: usize) -> Self {
        Self { slots: vec![0; count], used: 0 }
    }

    /// Where a tag's run begins: tags spread evenly over any number of slots.
    fn home(&self, tag: u64) -> usize {
        ((u128::from(tag) * self.slots.len() as u128) >> TAG_BITS) as usize
    }

    /// The used slots from the home of `tag` to the next empty one.
    fn probe(&self, tag: u64) -> impl Iterator<Item = u64> {
        let (before, from) = self.slots.split_at(self.home(tag));
        from.iter().chain(before).copied().take_while(|&slot| slot != 0)
    }

    fn insert(&mut self, tag: u64, slot: u64) {
        if (self.used + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let mut at = self.home(tag);
        while self.slots[at] != 0 {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    fn grow(&mut self) {
        let count = (self.slots.len() + self.slots.len() / 4).max(SHARD_SLOTS_MIN);
        let old = std::mem::replace(self, Self::with_slots(count));
        for slot in old.slots.into_iter().filter(|&slot| slot != 0) {
            self.insert(slot >> INDEX_BITS, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, hash::Hasher};

    use jejak_proofs::merkle::sha256;

    use super::*;

    /// Keeps only some bits of the first bytes of a hash, so that whole hashes collide.
    #[derive(Clone)]
    struct Masked(u64);

    struct MaskedHasher {
        mask: u64,
        value: u64,
    }

    impl BuildHasher for Masked {
        type Hasher = MaskedHasher;

        fn build_hasher(&self) -> MaskedHasher {
            MaskedHasher { mask: self.0, value: 0 }
        }
    }

    impl Hasher for MaskedHasher {
        fn write(&mut self, bytes: &[u8]) {
            if let Some(first) = bytes.first_chunk::<8>() {
                self.value = u64::from_be_bytes(*first);
            }
        }

        fn finish(&self) -> u64 {
            self.value & self.mask
        }
    }

    fn leaf(n: u64) -> Hash {
        sha256(&n.to_be_bytes())
    }

    fn sorted(table: &LeafTable<impl BuildHasher>, hash: &Hash) -> Vec<u64> {
        let mut found: Vec<u64> = table.candidates(hash).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn agrees_with_a_hash_map_when_the_stored_part_collides() {
        const SHARD: u64 = 0xfff0_0000_0000_0000;
        const TAG: u64 = (1 << 23) - 1;
        // All in one slot; few tags, few shards; few tags, high ones, where runs wrap around;
        // all tags in one shard; all bits.
        for mask in [0, SHARD & 0x3 << 60 | 0x7, 0x7f_ff80, TAG, SHARD | TAG, u64::MAX] {
            let mut table = LeafTable::with_hasher(Masked(mask));
            let mut model: HashMap<u64, Vec<u64>> = HashMap::new();
            let part = |hash: &Hash| {
                let first = u64::from_be_bytes(*hash.as_bytes().first_chunk().unwrap());
                first & mask & (SHARD | TAG)
            };
            for n in 0..3000 {
                let index = if n % 7 == 0 { LEAF_INDEX_MAX - n } else { n * n };
                table.insert(&leaf(n), index).unwrap();
                model.entry(part(&leaf(n))).or_default().push(index);
                assert_eq!(table.len() as u64, n + 1);
                let again = leaf(n / 2);
                if n % 50 == 0 {
                    let mut want = model[&part(&again)].clone();
                    want.sort_unstable();
                    assert_eq!(sorted(&table, &again), want, "mask {mask:x}, {n} leaves");
                }
            }
            for n in 0..4000 {
                let mut want = model.get(&part(&leaf(n))).cloned().unwrap_or_default();
                want.sort_unstable();
                assert_eq!(sorted(&table, &leaf(n)), want, "mask {mask:x}, leaf {n}");
            }
        }
    }

    #[test]
    fn an_empty_table_has_no_candidates() {
        assert_eq!(LeafTable::new().candidates(&leaf(1)).count(), 0);
        assert_eq!(LeafTable::with_capacity(9).candidates(&leaf(1)).count(), 0);
        assert!(LeafTable::default().is_empty());
    }

    #[test]
    fn indexes_up_to_the_largest_and_no_further() {
        let mut table = LeafTable::new();
        table.insert(&leaf(1), LEAF_INDEX_MAX).unwrap();
        table.insert(&leaf(0), 0).unwrap();
        let index = LEAF_INDEX_MAX + 1;
        assert_eq!(table.insert(&leaf(2), index), Err(LeafIndexError { index }));
        assert_eq!(table.len(), 2);
        assert!(!table.is_empty());
        assert_eq!(sorted(&table, &leaf(1)), [LEAF_INDEX_MAX]);
        assert_eq!(sorted(&table, &leaf(0)), [0]);
        assert_eq!(sorted(&table, &leaf(2)), [0; 0]);
    }

    #[test]
    fn stays_compact_and_is_nearly_free_of_false_candidates() {
        const ENTRIES: u64 = 200_000;
        let mut table = LeafTable::new();
        for n in 0..ENTRIES {
            table.insert(&leaf(n), n).unwrap();
        }
        // Slots, the headers of 4,096 shards, and shards that grew by a quarter just now.
        let each = table.memory_bytes() as f64 / ENTRIES as f64;
        assert!((8.0..12.5).contains(&each), "{each} bytes an entry");
        let mut found = 0;
        for n in 0..ENTRIES {
            assert!(table.candidates(&leaf(n)).any(|index| index == n));
            found += table.candidates(&leaf(n)).count() as u64;
        }
        // Expected: 200,000 times 200,000 / 2^35, about 1.
        assert!(found <= ENTRIES + 20, "{} false candidates", found - ENTRIES);
    }

    #[test]
    fn a_table_of_the_right_capacity_hardly_grows() {
        const ENTRIES: usize = 400_000;
        let mut table = LeafTable::with_capacity(ENTRIES);
        let before = table.memory_bytes();
        for n in 0..ENTRIES as u64 {
            table.insert(&leaf(n), n).unwrap();
        }
        assert!(before <= 12 * ENTRIES, "{before}");
        assert!(table.memory_bytes() - before < before / 10, "{}", table.memory_bytes());
    }
}
