//! Which units take part in a contest, as a tree.

use alloc::{vec, vec::Vec};

use crate::tally::register::{Contest, Slot, UnitRegister};

/// Place of a unit in the tree of one contest: units in the order of the register, from 0.
pub type Place = u32;

const NONE: u32 = u32::MAX;

/// The units that take part in a contest: the stations of its scope, every region above one of
/// them, and always the top.
#[derive(Clone, Debug)]
pub struct Shape {
    units: Vec<Unit>,
    stations: usize,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    slot: Slot,
    parent: Place,
    /// One past the last place of the subtree.
    end: Place,
    /// Row among the stations, or among the regions.
    row: u32,
    /// Of a region: row of its first child, where all units stand by their parents.
    below: u32,
    station: bool,
}

impl Shape {
    /// The tree of `contest` in `register`; `None` if the scope names a unit that is not there.
    pub fn new(
        contest: &Contest,
        register: &UnitRegister,
        is_station: impl Fn(Slot) -> bool,
    ) -> Option<Self> {
        let mut scopes = Vec::with_capacity(contest.scope.len());
        for code in &contest.scope {
            scopes.push(register.subtree(register.slot(code.as_str())?));
        }
        // Subtrees are nested or apart, so what a subtree before has covered is left out.
        scopes.sort_unstable_by_key(|scope| (scope.start, core::cmp::Reverse(scope.end)));
        let mut shape = Self { units: Vec::new(), stations: 0 };
        let mut path = vec![];
        shape.open(0, is_station(0), &mut path);
        let mut next = 1;
        for scope in scopes {
            for slot in scope.start.max(next)..scope.end {
                if is_station(slot) {
                    shape.descend(slot, register, &mut path);
                }
            }
            next = next.max(scope.end);
        }
        shape.close(0, &mut path);
        shape.units.shrink_to_fit();
        shape.number_children();
        Some(shape)
    }

    fn number_children(&mut self) {
        let mut next = 0;
        for place in 0..self.units.len() as Place {
            self.units[place as usize].below = next;
            next += self.children(place).count() as u32;
        }
    }

    /// Adds a station and the regions above it that are not there yet.
    fn descend(&mut self, station: Slot, register: &UnitRegister, path: &mut Vec<Place>) {
        let mut above = vec![];
        let mut up = register.parent(station);
        // Depth first, a region that holds this station is on the path or new.
        let shared = loop {
            let Some(slot) = up else { break 0 };
            let on_path = path.iter().rposition(|place| self.units[*place as usize].slot == slot);
            match on_path {
                Some(depth) => break depth + 1,
                None => above.push(slot),
            }
            up = register.parent(slot);
        };
        self.close(shared, path);
        above.into_iter().rev().for_each(|slot| self.open(slot, false, path));
        self.open(station, true, path);
    }

    fn open(&mut self, slot: Slot, station: bool, path: &mut Vec<Place>) {
        let place = self.units.len() as Place;
        let row = if station { self.stations } else { self.units.len() - self.stations } as u32;
        self.stations += usize::from(station);
        let parent = path.last().copied().unwrap_or(NONE);
        self.units.push(Unit { slot, parent, end: place + 1, row, below: 0, station });
        path.push(place);
    }

    /// Closes the subtrees below the first `depth` units of the path.
    fn close(&mut self, depth: usize, path: &mut Vec<Place>) {
        let end = self.units.len() as Place;
        path.drain(depth..).for_each(|place| self.units[place as usize].end = end);
    }

    /// Number of units, at least the top.
    pub fn count(&self) -> usize {
        self.units.len()
    }

    /// Number of stations.
    pub fn stations(&self) -> usize {
        self.stations
    }

    /// Number of regions.
    pub fn regions(&self) -> usize {
        self.units.len() - self.stations
    }

    /// The place of the unit in `slot`, if it takes part.
    pub fn place(&self, slot: Slot) -> Option<Place> {
        let place = self.units.binary_search_by_key(&slot, |unit| unit.slot).ok()?;
        Some(place as Place)
    }

    /// The slot of the unit at `place`.
    pub fn slot(&self, place: Place) -> Slot {
        self.units[place as usize].slot
    }

    /// The unit above; `None` at the top.
    pub fn parent(&self, place: Place) -> Option<Place> {
        Some(self.units[place as usize].parent).filter(|parent| *parent != NONE)
    }

    /// Whether the unit is a polling station.
    pub fn is_station(&self, place: Place) -> bool {
        self.units[place as usize].station
    }

    /// Row among the stations, or among the regions.
    pub fn row(&self, place: Place) -> usize {
        self.units[place as usize].row as usize
    }

    /// Row of the first child where all units stand by their parents, so that the children of one
    /// are neighbours.
    pub fn below(&self, place: Place) -> usize {
        self.units[place as usize].below as usize
    }

    /// The children, in the order of the register.
    pub fn children(&self, place: Place) -> impl Iterator<Item = Place> + '_ {
        let end = self.units[place as usize].end;
        let mut next = place + 1;
        core::iter::from_fn(move || {
            let child = next;
            next = (child < end).then(|| self.units[child as usize].end)?;
            Some(child)
        })
    }
}
