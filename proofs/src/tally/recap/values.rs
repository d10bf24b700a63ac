//! The numbers of tallies, kept compactly.

use alloc::vec::Vec;

use crate::tally::statement::Count;

const WORD: usize = u32::BITS as usize;

/// The numbers of one tally: votes in the order of the options, valid, invalid, total.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    numbers: &'a [u32],
    /// A bit for each number that is null.
    nulls: &'a [u32],
}

impl<'a> Values<'a> {
    /// These numbers, those of which are null whose bit is set: 32 bits a word, the lowest first.
    pub fn new(numbers: &'a [u32], nulls: &'a [u32]) -> Self {
        debug_assert_eq!(nulls.len(), numbers.len().div_ceil(WORD));
        Self { numbers, nulls }
    }

    /// The numbers in order; `None` is unreadable.
    pub fn counts(self) -> impl Iterator<Item = Count> + 'a {
        let null = move |place: usize| self.nulls[place / WORD] >> (place % WORD) & 1 == 1;
        self.numbers
            .iter()
            .enumerate()
            .map(move |(place, number)| (!null(place)).then_some(*number))
    }

    /// Whether votes, valid or invalid differ where both sides have a number. The total may differ:
    /// it is a sum that the form gives, not a result.
    pub fn disputes(self, other: Values<'_>) -> bool {
        let results = self.numbers.len().saturating_sub(1);
        let differ = |(a, b): (Count, Count)| a.zip(b).is_some_and(|(a, b)| a != b);
        self.counts().zip(other.counts()).take(results).any(differ)
    }
}

/// Where the numbers of a tally stand in a [`ValueTable`].
#[derive(Clone, Copy, Debug)]
pub struct ValueRef {
    start: u32,
    count: u16,
}

/// The numbers of every chain's head, in four bytes each.
#[derive(Clone, Debug, Default)]
pub struct ValueTable {
    words: Vec<u32>,
}

impl ValueTable {
    /// Adds the numbers of a tally.
    pub fn push(&mut self, counts: impl Iterator<Item = Count>) -> ValueRef {
        let start = u32::try_from(self.words.len()).expect("fewer than 2^32 numbers in memory");
        let mut nulls = Vec::new();
        for (place, count) in counts.enumerate() {
            if place % WORD == 0 {
                nulls.push(0);
            }
            nulls[place / WORD] |= u32::from(count.is_none()) << (place % WORD);
            self.words.push(count.unwrap_or(0));
        }
        let count = self.words.len() - start as usize;
        self.words.extend(nulls);
        // A tally has at most 1,024 options and three sums.
        ValueRef { start, count: count as u16 }
    }

    /// Puts other numbers, as many, in the place of those of an older tally.
    pub fn replace(&mut self, place: ValueRef, counts: impl Iterator<Item = Count>) {
        let end = self.words.len();
        let new = self.push(counts);
        debug_assert_eq!(new.count, place.count, "a contest with a tally keeps its options");
        self.words.copy_within(end.., place.start as usize);
        self.words.truncate(end);
    }

    /// The numbers of a tally.
    pub fn get(&self, place: ValueRef) -> Values<'_> {
        let (start, count) = (place.start as usize, usize::from(place.count));
        let (numbers, rest) = self.words[start..].split_at(count);
        Values::new(numbers, &rest[..count.div_ceil(WORD)])
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn numbers_come_back_and_null_is_not_zero() {
        let mut table = ValueTable::default();
        let rows: Vec<Vec<Count>> = vec![
            vec![Some(0), None, Some(u32::MAX), Some(7)],
            (0..70).map(|n| (n % 3 > 0).then_some(n)).collect(),
            vec![None; 33],
            vec![Some(1); 32],
        ];
        let places: Vec<ValueRef> =
            rows.iter().map(|row| table.push(row.iter().copied())).collect();
        for (row, place) in rows.iter().zip(&places) {
            assert_eq!(&table.get(*place).counts().collect::<Vec<_>>(), row);
        }
        let new: Vec<Count> = (0..70).map(|n| (n % 2 > 0).then_some(n + 1)).collect();
        table.replace(places[1], new.iter().copied());
        assert_eq!(table.get(places[1]).counts().collect::<Vec<_>>(), new);
        assert_eq!(table.get(places[0]).counts().collect::<Vec<_>>(), rows[0]);
        assert_eq!(table.get(places[2]).counts().collect::<Vec<_>>(), rows[2]);
    }

    #[test]
    fn a_dispute_is_about_results_that_both_sides_read() {
        let mut table = ValueTable::default();
        let mut row = |counts: [Count; 4]| table.push(counts.into_iter());
        let base = row([Some(1), Some(2), Some(3), Some(4)]);
        let cases = [
            (row([Some(1), Some(2), Some(3), Some(4)]), false),
            (row([Some(1), Some(2), Some(3), Some(5)]), false),
            (row([None, Some(2), None, None]), false),
            (row([Some(0), Some(2), Some(3), Some(4)]), true),
            (row([Some(1), Some(2), Some(4), Some(4)]), true),
        ];
        for (number, (other, disputed)) in cases.into_iter().enumerate() {
            let (a, b) = (table.get(base), table.get(other));
            assert_eq!((a.disputes(b), b.disputes(a)), (disputed, disputed), "case {number}");
        }
    }
}
