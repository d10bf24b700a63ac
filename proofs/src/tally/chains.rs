//! Chains of tallies: which one is the head.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::{vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    ids::{Id, UnitCode, Word},
    manifest::Election,
    recap::{ValueRef, ValueTable, Values},
    register::{Slot, UnitRegister},
    statement::Count,
};
use crate::merkle::Hash;

/// The newest tally of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Its index in the log.
    pub index: u64,
    /// Its leaf hash: what the next revision names as `prev`.
    pub leaf: Hash,
    /// Its place in the chain, from 0.
    pub seq: u32,
}

/// Whose chain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChainOwner {
    /// The one that all official roles share.
    Official,
    /// The one of a single key, by its number.
    Key(u32),
}

/// Names a chain by numbers that stay when a register changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ChainId {
    pub unit: u32,
    pub contest: u32,
    pub round: u32,
    pub owner: ChainOwner,
}

/// The newest tally of a chain, and what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub head: ChainHead,
    /// Whether it takes the statement back: the chain has a head and no value.
    pub withdrawn: bool,
    values: ValueRef,
}

/// Every chain of the log. The one place that knows how heads and their numbers are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains {
    heads: BTreeMap<ChainId, Newest>,
    values: ValueTable,
    /// Leaf hashes of the tallies that were heads, by `seq`.
    replaced: BTreeMap<ChainId, Vec<Hash>>,
    /// (contest, round) of every chain: what a new manifest must keep.
    used: BTreeSet<(u32, u32)>,
}

impl Chains {
    pub fn head(&self, chain: &ChainId) -> Option<ChainHead> {
        self.heads.get(chain).map(|newest| newest.head)
    }

    /// Makes a tally with these numbers, in the order of [`Values`], the head of its chain.
    pub fn advance(
        &mut self,
        chain: ChainId,
        head: ChainHead,
        withdrawn: bool,
        counts: impl Iterator<Item = Count>,
    ) {
        match self.heads.get_mut(&chain) {
            Some(newest) => {
                self.replaced.entry(chain).or_default().push(newest.head.leaf);
                self.values.replace(newest.values, counts);
                (newest.head, newest.withdrawn) = (head, withdrawn);
            }
            None => {
                self.used.insert((chain.contest, chain.round));
                let values = self.values.push(counts);
                self.heads.insert(chain, Newest { head, withdrawn, values });
            }
        }
    }

    /// The numbers of a head.
    pub fn values(&self, newest: &Newest) -> Values<'_> {
        self.values.get(newest.values)
    }

    /// Every chain about one contest in one unit, the official one of a round first.
    pub fn about(&self, contest: u32, unit: u32) -> impl Iterator<Item = (&ChainId, &Newest)> {
        let bound = |round, owner| ChainId { unit, contest, round, owner };
        let last = bound(u32::MAX, ChainOwner::Key(u32::MAX));
        self.heads.range(bound(0, ChainOwner::Official)..=last)
    }

    /// The chain and `seq` of the tally with this leaf hash about one contest in one unit.
    pub fn find(&self, contest: u32, unit: u32, leaf: &Hash) -> Option<(ChainId, u32)> {
        self.about(contest, unit).find_map(|(chain, newest)| {
            if newest.head.leaf == *leaf {
                return Some((*chain, newest.head.seq));
            }
            let seq = self.replaced.get(chain)?.iter().position(|old| old == leaf)?;
            Some((*chain, seq as u32))
        })
    }

    /// Leaf hashes of the tallies that were heads of the chain, by `seq`.
    pub fn replaced(&self, chain: &ChainId) -> &[Hash] {
        self.replaced.get(chain).map_or(&[], Vec::as_slice)
    }

    pub fn used(&self) -> impl Iterator<Item = (u32, u32)> {
        self.used.iter().copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ChainId, &Newest)> {
        self.heads.iter()
    }

    /// Takes a chain as a snapshot has it.
    pub fn restore(
        &mut self,
        chain: ChainId,
        head: ChainHead,
        withdrawn: bool,
        counts: Vec<Count>,
        replaced: Vec<Hash>,
    ) {
        self.advance(chain, head, withdrawn, counts.into_iter());
        if !replaced.is_empty() {
            self.replaced.insert(chain, replaced);
        }
    }
}

/// Numbers for texts, in order of first sight; a number is never given away.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Numbers<T: Ord>(BTreeMap<T, u32>);

impl<T: Ord> Default for Numbers<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord + Clone> Numbers<T> {
    pub fn get(&self, name: &str) -> Option<u32>
    where
        T: core::borrow::Borrow<str>,
    {
        self.0.get(name).copied()
    }

    pub fn number(&mut self, name: &T) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(name.clone()).or_insert(next)
    }

    /// Whether each of `names` has a number, and every number is one name's.
    fn fit<'a>(&self, mut names: impl Iterator<Item = &'a T>) -> bool
    where
        T: 'a,
    {
        names.all(|name| self.0.contains_key(name))
            && permutes(self.0.values().copied(), self.0.len())
    }

    /// The name with this number, one that was given.
    pub fn name(&self, number: u32) -> &T {
        let found = self.0.iter().find(|(_, given)| **given == number);
        found.expect("chains hold only numbers that were given").0
    }
}

/// Whether `numbers` are 0 to `count - 1`, each once, in any order.
fn permutes(numbers: impl Iterator<Item = u32> + Clone, count: usize) -> bool {
    if numbers.clone().count() != count {
        return false;
    }
    let mut seen = vec![false; count];
    numbers.into_iter().all(|number| {
        let place = seen.get_mut(number as usize);
        place.is_some_and(|seen| !core::mem::replace(seen, true))
    })
}

/// Numbers for units that outlast a register: for the first register they are its slots, later
/// ones keep the number of every unit they still have, and a removed unit takes its own back when
/// it returns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct UnitNumbers {
    of_slot: Vec<u32>,
    removed: BTreeMap<UnitCode, u32>,
    next: u32,
}

impl UnitNumbers {
    pub fn of(&self, slot: Slot) -> u32 {
        self.of_slot[slot as usize]
    }

    /// Whether there is a number for every slot of the register, and every number that was given
    /// is one unit's, here or removed.
    pub fn fits(&self, register: &UnitRegister) -> bool {
        let numbers = self.of_slot.iter().chain(self.removed.values()).copied();
        let gone = |code: &UnitCode| register.slot(code.as_str()).is_none();
        self.of_slot.len() == register.len()
            && self.removed.keys().all(gone)
            && permutes(numbers, self.next as usize)
    }

    /// Whether a unit has, or had, this number.
    pub fn knows(&self, number: u32) -> bool {
        number < self.next
    }

    /// Goes over from one register to the next.
    pub fn replace(&mut self, old: Option<&UnitRegister>, new: &UnitRegister) {
        let mut of_slot = Vec::with_capacity(new.len());
        for slot in 0..new.len() as Slot {
            let code = new.code(slot);
            let known = old.and_then(|old| old.slot(code)).map(|slot| self.of(slot));
            let number = known.or_else(|| self.removed.remove(code)).unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            of_slot.push(number);
        }
        if let Some(old) = old {
            for slot in 0..old.len() as Slot {
                if new.slot(old.code(slot)).is_none() {
                    let code = old.code(slot).parse().expect("codes of a register are codes");
                    self.removed.insert(code, self.of(slot));
                }
            }
        }
        self.of_slot = of_slot;
    }
}

/// Numbers of contests and rounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    pub contests: Numbers<Id>,
    pub rounds: Numbers<Word>,
}

impl Names {
    /// Whether every contest and round of the election has a number, and none has two.
    pub fn fits(&self, election: &Election) -> bool {
        let contests = election.contests.contests().iter().map(|contest| &contest.id);
        self.contests.fit(contests) && self.rounds.fit(election.manifest.rounds.iter())
    }

    /// Whether both numbers were given.
    pub fn knows(&self, contest: u32, round: u32) -> bool {
        (contest as usize) < self.contests.0.len() && (round as usize) < self.rounds.0.len()
    }
}
