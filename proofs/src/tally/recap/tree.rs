//! The recap of one contest: a tree of sums that follows the unit register.

use alloc::{sync::Arc, vec, vec::Vec};

use super::{
    Values,
    pages::Pages,
    proof::root,
    record::{
        Below, FIXED_COUNTERS, Record, RecordHead, Status, contest_hash, counter, inner_hash,
        station_hash, trail_hash,
    },
    row::{self, NO_LINK},
    settle::Kept,
    shape::{Place, Shape},
};
use crate::{
    merkle::{Hash, TreeHead},
    tally::{
        ids::Id,
        register::{Contest, UnitRegister},
    },
};

/// Rows of a page that updates all over the country write to: a state copies it for one of them.
const SMALL: usize = 16;
/// Rows of a page that is only added to.
const LARGE: usize = 1024;

/// One entry about a unit, and the place of the one before.
#[derive(Clone, Copy, Debug)]
struct Link {
    index: u64,
    before: u32,
}

/// The recap of one contest under the register in force. Clones share what neither changed.
#[derive(Clone, Debug)]
pub struct ContestRecap {
    pub(super) shape: Arc<Shape>,
    units: Arc<UnitRegister>,
    contest: Contest,
    /// For each station and each region: its row, as `row.rs` has it.
    stations: Pages<u8, SMALL>,
    regions: Pages<u8, SMALL>,
    links: Pages<Link, LARGE>,
    pub(super) kept: Kept,
}

/// A child of a region as it goes into the tree between the children.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its hash.
    pub hash: Hash,
    /// Its counters.
    pub counters: Vec<u64>,
}

impl Child {
    /// The inner node between two, with the sums of both.
    pub(super) fn join(left: &Self, right: &Self) -> Self {
        Self {
            hash: inner_hash((&left.hash, &left.counters), (&right.hash, &right.counters)),
            counters: left.counters.iter().zip(&right.counters).map(|(a, b)| a + b).collect(),
        }
    }
}

impl ContestRecap {
    /// A recap in which nothing was reported.
    pub fn new(contest: &Contest, shape: Arc<Shape>, units: Arc<UnitRegister>) -> Self {
        let options = contest.options.len();
        Self {
            stations: Pages::filled(shape.stations(), &row::empty_station(options)),
            regions: Pages::filled(shape.regions(), &row::empty_region(options)),
            links: Pages::filled(0, &[Link { index: 0, before: NO_LINK }]),
            contest: contest.clone(),
            kept: Kept::default(),
            shape,
            units,
        }
    }

    /// The contest.
    pub fn contest(&self) -> &Contest {
        &self.contest
    }

    /// The units that take part.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The register whose units they are.
    pub fn units(&self) -> &UnitRegister {
        &self.units
    }

    /// Code of the unit at `place`.
    pub fn code(&self, place: Place) -> &str {
        self.units.code(self.shape.slot(place))
    }

    /// The unit with this code, if it takes part.
    pub fn find(&self, code: &str) -> Option<Place> {
        self.shape.place(self.units.slot(code)?)
    }

    /// The record of the unit at `place`.
    pub fn record(&self, place: Place) -> Record {
        row::record(self.row(place))
    }

    /// The hash of the unit at `place`: of a station from its record, of a region as of the last
    /// [`ContestRecap::settle`].
    pub fn hash(&self, place: Place) -> Hash {
        if !self.shape.is_station(place) {
            return row::region_hash(self.row(place));
        }
        let id = self.contest.id.as_str();
        station_hash(id, self.code(place), &self.record(place), &self.counters(place))
    }

    /// Indexes of all entries about the unit, oldest first.
    pub fn entries(&self, place: Place) -> Vec<u64> {
        let mut indexes = vec![];
        let mut link = row::link(self.row(place));
        while link != NO_LINK {
            let entry = self.links.row(link as usize)[0];
            indexes.push(entry.index);
            link = entry.before;
        }
        indexes.reverse();
        indexes
    }

    /// The counters of the unit at `place`: of a station from its record, of a region the sums as
    /// of the last [`ContestRecap::settle`].
    pub fn counters(&self, place: Place) -> Vec<u64> {
        let mut counters = vec![];
        self.add_counters(place, &mut counters);
        counters
    }

    pub(super) fn row(&self, place: Place) -> &[u8] {
        let row = self.shape.row(place);
        match self.shape.is_station(place) {
            true => self.stations.row(row),
            false => self.regions.row(row),
        }
    }

    pub(super) fn row_mut(&mut self, place: Place) -> &mut [u8] {
        let row = self.shape.row(place);
        match self.shape.is_station(place) {
            true => self.stations.row_mut(row),
            false => self.regions.row_mut(row),
        }
    }

    /// Appends the counters of the unit at `place` to `out`.
    pub(super) fn add_counters(&self, place: Place, out: &mut Vec<u64>) {
        let row = self.row(place);
        if !self.shape.is_station(place) {
            out.extend(row::sums(row));
            return;
        }
        let registered = self.units.registered(self.shape.slot(place));
        let registered =
            u64::from(registered.l.unwrap_or(0)) + u64::from(registered.p.unwrap_or(0));
        let status = |status| u64::from(row[row::STATUS] == status as u8);
        out.extend(row::numbers(row));
        out.extend([
            registered,
            1,
            1 - status(Status::None),
            status(Status::Corrected),
            status(Status::Disputed),
            u64::from(row::unreadable(row)),
        ]);
    }

    /// One more entry about the unit at `place`.
    pub fn note(&mut self, place: Place, index: u64, leaf: &Hash) {
        let link = self.links.len() as u32;
        let row = self.row_mut(place);
        let mut record = row::record(row);
        record.trail = trail_hash(&record.trail, index, leaf);
        record.entries = record.entries.checked_add(1).expect("fewer entries than 2^32");
        row::set_record(row, &record);
        let before = row::set_link(row, link);
        self.links.push(&[Link { index, before }]);
        self.kept.mark(&self.shape, place);
    }

    /// What the chains of the unit at `place` say now.
    pub fn set(&mut self, place: Place, status: Status, head: Option<(RecordHead, Values<'_>)>) {
        let station = self.shape.is_station(place);
        let row = self.row_mut(place);
        let (head, values) = head.unzip();
        row::set_record(row, &Record { status, head, ..row::record(row) });
        if station {
            row::set_numbers(row, values);
        }
        self.kept.mark(&self.shape, place);
    }

    /// What outlasts a change of the register: trail, number of entries, and the list of them.
    pub fn take_trail(&self, place: Place) -> Option<(Record, Vec<u64>)> {
        let record = self.record(place);
        (record.entries > 0).then(|| (record, self.entries(place)))
    }

    /// Gives a unit back what [`ContestRecap::take_trail`] took.
    pub fn restore_trail(&mut self, place: Place, entries: u32, trail: Hash, indexes: &[u64]) {
        for index in indexes {
            let link = self.links.len() as u32;
            let before = row::set_link(self.row_mut(place), link);
            self.links.push(&[Link { index: *index, before }]);
        }
        let row = self.row_mut(place);
        row::set_record(row, &Record { entries, trail, ..row::record(row) });
    }

    /// How many children take part, and the root over them.
    pub fn below(&self, place: Place) -> Below {
        let children = self.children(place);
        let root = root(&children, &Child::join).map_or(TreeHead::EMPTY.root, |whole| whole.hash);
        Below { count: children.len() as u32, root }
    }

    /// The children of a region with what goes into the tree between them.
    pub fn children(&self, place: Place) -> Vec<Child> {
        let child = |child| Child { hash: self.hash(child), counters: self.counters(child) };
        self.shape.children(place).map(child).collect()
    }

    /// The hash of the contest under the manifest with this leaf hash.
    pub fn contest_hash(&self, manifest: &Hash) -> Hash {
        let options: &[Id] = &self.contest.options;
        let top = self.counters(0);
        contest_hash(self.contest.id.as_str(), options, manifest, &top, &self.hash(0))
    }
}

/// The counters of one station add up to what its status says.
pub fn station_counters_fit(status: Status, counters: &[u64]) -> bool {
    let Some(fixed) = counters.len().checked_sub(FIXED_COUNTERS) else { return false };
    let at = |place: usize| counters[fixed + place];
    let is = |wanted| u64::from(status == wanted);
    let absent = status == Status::None;
    let empty = counters[..fixed + counter::REGISTERED].iter().all(|value| *value == 0);
    at(counter::STATIONS) == 1
        && at(counter::REPORTED) == 1 - is(Status::None)
        && at(counter::CORRECTED) == is(Status::Corrected)
        && at(counter::DISPUTED) == is(Status::Disputed)
        && (!absent || empty && at(counter::UNREADABLE) == 0)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;
    use crate::{merkle::sha256, tally::register::UNIT_HEADER};

    const OPTIONS: usize = 2;

    /// Regions with one to nine stations each: every way in which up to nine children join.
    fn empty() -> ContestRecap {
        let mut text = String::from(UNIT_HEADER) + "\nA,,top,The top,,\n";
        for region in 1..=9 {
            text += &format!("A{region},A,region,A region,,\n");
            (1..=region).for_each(|n| text += &format!("A{region}.{n},A{region},tps,,1,2\n"));
        }
        let units = Arc::new(UnitRegister::parse(text.as_bytes()).expect("a register"));
        let id = |text: &str| text.parse().expect("an id");
        let options = (0..OPTIONS).map(|n| id(&format!("{n}"))).collect();
        let scope = vec!["A".parse().expect("a code")];
        let contest = Contest { id: id("x"), options, scope };
        let shape = Shape::new(&contest, &units, |slot| units.kind(slot).as_str() == "tps");
        ContestRecap::new(&contest, Arc::new(shape.expect("a scope")), units)
    }

    /// What one update does; `index` decides all of it.
    fn update(recap: &mut ContestRecap, place: Place, index: u64) {
        let leaf = sha256(&index.to_be_bytes());
        let seed = index as u32;
        recap.note(place, index, &leaf);
        if seed % 5 == 4 {
            recap.set(place, Status::None, None);
            return;
        }
        let status = [Status::Single, Status::Corrected, Status::Disputed][(seed % 3) as usize];
        let numbers: Vec<u32> = (0..OPTIONS as u32 + 3).map(|n| seed.rotate_left(7 * n)).collect();
        let nulls = [(seed % 7) & 0b11];
        recap.set(place, status, Some((RecordHead { index, leaf }, Values::new(&numbers, &nulls))));
    }

    /// Numbers that look random, the same each time.
    fn random(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 33) as usize
    }

    /// Entries about different units in any order, hashed in batches of any size, lead where
    /// building the whole tree leads. Entries about one unit keep their order: trails bind it.
    #[test]
    fn any_order_and_any_batches_of_updates_lead_to_the_tree_built_at_once() {
        let count = empty().shape().count();
        let mut state = 7;
        let updates: Vec<(Place, u64)> =
            (0..120_u64).map(|index| ((random(&mut state) % count) as Place, index)).collect();
        let mut whole = empty();
        updates.iter().for_each(|(place, index)| update(&mut whole, *place, *index));
        whole.settle();
        for round in 0..100 {
            let mut queues: Vec<Vec<(Place, u64)>> = vec![vec![]; count];
            updates.iter().rev().for_each(|next| queues[next.0 as usize].push(*next));
            let mut recap = empty();
            if round % 2 == 0 {
                recap.settle();
            }
            let mut sealed: Vec<(ContestRecap, Hash)> = vec![];
            while queues.iter().any(|queue| !queue.is_empty()) {
                let queue = random(&mut state) % count;
                let Some((place, index)) = queues[queue].pop() else { continue };
                update(&mut recap, place, index);
                if random(&mut state).is_multiple_of(9) {
                    recap.settle();
                    sealed.push((recap.clone(), recap.hash(0)));
                }
            }
            recap.settle();
            for place in 0..count as Place {
                assert_eq!(recap.hash(place), whole.hash(place), "{}", recap.code(place));
                assert_eq!(recap.record(place), whole.record(place));
                assert_eq!(recap.counters(place), whole.counters(place));
                assert_eq!(recap.entries(place), whole.entries(place));
            }
            for (mut recap, hash) in sealed {
                assert_eq!(recap.hash(0), hash, "a clone changed");
                recap.settle();
                assert_eq!(recap.hash(0), hash, "a clone was not whole");
            }
        }
    }

    #[test]
    fn trails_that_were_taken_are_given_back() {
        let mut old = empty();
        let count = old.shape().count() as Place;
        (0..90).for_each(|index| update(&mut old, index as Place * 7 % (count - 1), index));
        let mut new = empty();
        for place in 0..count {
            let Some((record, indexes)) = old.take_trail(place) else {
                assert_eq!(place, count - 1, "the one that nothing was said about");
                continue;
            };
            new.restore_trail(place, record.entries, record.trail, &indexes);
            assert_eq!(new.take_trail(place).map(|taken| taken.1), Some(indexes));
            assert_eq!(new.record(place).trail, record.trail);
            assert_eq!((new.record(place).head, new.record(place).status), (None, Status::None));
        }
        // The list goes on where it was.
        update(&mut old, 1, 90);
        update(&mut new, 1, 90);
        assert_eq!(new.entries(1), old.entries(1));
        assert_eq!(new.record(1), old.record(1));
    }

    #[test]
    fn counters_of_a_station_fit_its_status_only() {
        let zeros = [0, 0, 0, 0, 0];
        let row = |numbers: [u64; 5], rest: [u64; 6]| [&numbers[..], &rest[..]].concat();
        let told = [1, 2, 3, 4, 7];
        let all = [Status::None, Status::Disputed, Status::Corrected, Status::Single];
        let rows = [
            (row(zeros, [9, 1, 0, 0, 0, 0]), Some(Status::None)),
            (row(told, [9, 1, 1, 0, 1, 0]), Some(Status::Disputed)),
            (row(told, [9, 1, 1, 1, 0, 3]), Some(Status::Corrected)),
            (row(told, [9, 1, 1, 0, 0, 5]), Some(Status::Single)),
            (row(told, [9, 1, 0, 0, 0, 0]), None),
            (row(zeros, [9, 1, 0, 0, 0, 1]), None),
            (row(told, [9, 0, 1, 0, 0, 0]), None),
            (row(told, [9, 2, 1, 0, 0, 0]), None),
            (row(told, [9, 1, 2, 0, 0, 0]), None),
            (row(told, [9, 1, 1, 1, 1, 0]), None),
            (row(told, [9, 1, 1, 2, 0, 0]), None),
            (vec![1; 8], None),
            (vec![], None),
        ];
        for (row, fits) in rows {
            for status in all {
                let expected = fits == Some(status);
                assert_eq!(station_counters_fit(status, &row), expected, "{status:?} {row:?}");
            }
        }
    }
}
