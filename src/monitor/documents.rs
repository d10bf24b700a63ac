//! Which document was named first where (X4), in 16 bytes a document.
//!
//! A key is part of a SHA-256, so a hit is only a reason to read the entry that named it.

use std::{collections::HashMap, io};

use jejak_proofs::merkle::Hash;

/// Documents that are compared; a log that names more is compared with the first ones, and a
/// finding says so. 128 MiB.
pub(super) const DOCUMENTS_MAX: usize = 8 << 20;

/// New documents that are kept apart before they are sorted in among the others.
const FRESH_MIN: usize = 4 << 10;

/// Where a document was named first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the entry.
    pub index: u32,
    /// Number of the unit.
    pub unit: u32,
}

/// The documents of a log: sorted ones, and a few that are not sorted in yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents {
    sorted: Vec<(u64, Place)>,
    fresh: HashMap<u64, Place>,
}

/// Bytes of one document in a file.
const ROW_LEN: usize = 16;

impl Documents {
    /// Whether no further document is remembered.
    pub fn is_full(&self) -> bool {
        self.len() >= DOCUMENTS_MAX
    }

    /// Documents that are remembered.
    pub fn len(&self) -> usize {
        self.sorted.len() + self.fresh.len()
    }

    /// Where a document with this hash was named first; remembers `place` if nowhere, and if there
    /// is room. A document of which a part of the hash is the same is taken for this one.
    pub fn first(&mut self, document: &Hash, place: Place) -> Option<Place> {
        let key = key(document);
        if let Ok(at) = self.sorted.binary_search_by_key(&key, |(key, _)| *key) {
            return Some(self.sorted[at].1);
        }
        if let Some(first) = self.fresh.get(&key) {
            return Some(*first);
        }
        if !self.is_full() {
            self.fresh.insert(key, place);
            if self.fresh.len() > FRESH_MIN.max(self.sorted.len() / 16) {
                self.settle();
            }
        }
        None
    }

    /// Sorts in what is fresh, from the back, in place.
    fn settle(&mut self) {
        let mut fresh: Vec<(u64, Place)> = self.fresh.drain().collect();
        fresh.sort_unstable_by_key(|(key, _)| *key);
        let mut old = self.sorted.len();
        self.sorted.reserve_exact(fresh.len());
        self.sorted.extend_from_slice(&fresh);
        let mut end = self.sorted.len();
        while let Some(last) = fresh.last() {
            end -= 1;
            if old > 0 && self.sorted[old - 1].0 > last.0 {
                old -= 1;
                self.sorted[end] = self.sorted[old];
            } else {
                self.sorted[end] = *last;
                fresh.pop();
            }
        }
    }

    /// Writes all of it.
    pub fn write(&mut self, to: &mut dyn io::Write) -> io::Result<()> {
        self.settle();
        for (key, place) in &self.sorted {
            to.write_all(&key.to_be_bytes())?;
            to.write_all(&place.index.to_be_bytes())?;
            to.write_all(&place.unit.to_be_bytes())?;
        }
        Ok(())
    }

    /// What [`Documents::write`] wrote; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (rows, rest) = bytes.as_chunks::<ROW_LEN>();
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let row = |row: &[u8; ROW_LEN]| {
            let place =
                Place { index: number(&row[8..12]) as u32, unit: number(&row[12..]) as u32 };
            (number(&row[..8]), place)
        };
        let sorted: Vec<_> = rows.iter().map(row).collect();
        let rises = sorted.is_sorted_by(|(a, _), (b, _)| a < b);
        let whole = rest.is_empty() && rises && sorted.len() <= DOCUMENTS_MAX;
        whole.then(|| Self { sorted, fresh: HashMap::new() })
    }
}

/// The part of a hash by which a document is looked for.
fn key(document: &Hash) -> u64 {
    document.as_bytes()[..8].iter().fold(0, |key, byte| key << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use jejak_proofs::merkle::sha256;

    use super::*;

    fn hash(number: u32) -> Hash {
        sha256(&number.to_be_bytes())
    }

    #[test]
    fn the_first_place_is_remembered_through_every_settling() {
        let mut documents = Documents::default();
        let place = |number| Place { index: number, unit: number % 7 };
        for number in 0..20_000 {
            assert_eq!(documents.first(&hash(number), place(number)), None);
            let early = number / 3;
            assert_eq!(documents.first(&hash(early), place(number)), Some(place(early)));
        }
        assert_eq!(documents.len(), 20_000);
        let mut bytes = Vec::new();
        documents.write(&mut bytes).unwrap();
        let mut again = Documents::from_bytes(&bytes).unwrap();
        for number in 0..20_000 {
            assert_eq!(again.first(&hash(number), place(0)), Some(place(number)));
        }
        assert!(Documents::from_bytes(&bytes[1..]).is_none());
        let mut swapped = bytes.clone();
        swapped[..32].rotate_left(16);
        assert!(Documents::from_bytes(&swapped).is_none());
    }
}
