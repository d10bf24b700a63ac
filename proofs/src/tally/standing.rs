//! What the chains of a unit say now, and what the recap makes of them.

use alloc::{sync::Arc, vec::Vec};

use super::{
    chains::{ChainHead, ChainId, ChainOwner, Newest},
    entry::Entry,
    ids::{KeyRef, Word},
    ledger::{At, Ledger},
    manifest::Election,
    recap::{Place, Recap, RecordHead, Sealed, Status, Trail, Trails, Values},
    refusal::Refusal,
    state::State,
    statement::Count,
};

/// One chain about a contest in a unit, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The round.
    pub round: Word,
    /// The key whose chain it is; `None` for the one that all official roles share.
    pub owner: Option<KeyRef>,
    /// The newest tally.
    pub head: ChainHead,
    /// Whether that takes the statement back.
    pub withdrawn: bool,
    /// Votes in the order of the options, valid, invalid, total.
    pub counts: Vec<Count>,
}

impl Ledger {
    /// The recap, live: records are those after the last entry, hashes and sums of regions those
    /// of the last state. `None` before the first manifest.
    pub fn recap(&self) -> Option<&Recap> {
        self.recap.as_ref()
    }

    /// The recap as the newest state committed to it.
    pub fn sealed(&self) -> Option<&Arc<Sealed>> {
        self.sealed.as_ref()
    }

    /// Lets go of what the newest state committed to: an audit has no readers of it, and it costs
    /// as much again as what changes.
    pub fn forget_sealed(&mut self) {
        self.sealed = None;
    }

    /// Entries that no state covers.
    pub fn unsealed(&self) -> u64 {
        self.size - self.covered
    }

    /// The state that the next entry may be; `None` if there is nothing new, or no manifest yet.
    pub fn next_state(&mut self) -> Option<State> {
        if self.unsealed() == 0 {
            return None;
        }
        self.state_at(self.size)
    }

    /// The state that covers `size` entries, which are all that the recap has counted.
    fn state_at(&mut self, size: u64) -> Option<State> {
        let recap = self.recap.as_mut()?;
        recap.settle();
        Some(State {
            contests: recap.contests().len() as u64,
            manifest: recap.manifest(),
            recap: recap.root(),
            size,
        })
    }

    /// Takes a state entry if it is the one that follows from the entries before it.
    pub(super) fn seal(&mut self, state: &State) -> Result<(), Refusal> {
        if self.next_state().as_ref() != Some(state) {
            return Err(Refusal::State);
        }
        self.size += 1;
        self.mark_sealed(state.clone());
        Ok(())
    }

    pub(super) fn mark_sealed(&mut self, state: State) {
        self.covered = state.size + 1;
        let recap = self.recap.clone();
        self.sealed = recap.map(|recap| Arc::new(Sealed { state, recap }));
    }

    /// Adds an entry to what the log says about a unit, and reckons its record anew.
    pub(super) fn recount(&mut self, at: &At<'_>, entry: &Entry) {
        let recap = self.recap.as_mut().expect("a manifest in force has a recap");
        recap.contest_mut(at.index).note(at.place, self.size, &entry.leaf());
        self.reckon(at.index, at.place, at.unit);
    }

    /// Sets the record of a unit to what its chains say.
    pub(super) fn reckon(&mut self, contest: usize, place: Place, unit: u32) {
        let (Some(recap), Some(election)) = (&mut self.recap, self.election.as_deref()) else {
            return;
        };
        let id = &election.contests.contests()[contest].id;
        let Some(number) = self.names.contests.get(id.as_str()) else { return };
        let rank = |round: u32| {
            let name = |word: &Word| self.names.rounds.get(word.as_str()) == Some(round);
            election.manifest.rounds.iter().position(name)
        };
        // The last round, in the order of the manifest, whose official head has a value.
        let counts = |(chain, newest): &(&ChainId, &Newest)| {
            chain.owner == ChainOwner::Official && !newest.withdrawn
        };
        let official = self.chains.about(number, unit).filter(counts);
        let Some((chain, official)) = official.max_by_key(|(chain, _)| rank(chain.round)) else {
            recap.contest_mut(contest).set(place, Status::None, None);
            return;
        };
        let values = self.chains.values(official);
        let disputed = self.chains.about(number, unit).any(|(other, newest)| {
            other.round == chain.round
                && !newest.withdrawn
                && values.disputes(self.chains.values(newest))
        });
        let status = match official.head.seq {
            _ if disputed => Status::Disputed,
            0 => Status::Single,
            _ => Status::Corrected,
        };
        let head = RecordHead { index: official.head.index, leaf: official.head.leaf };
        recap.contest_mut(contest).set(place, status, Some((head, values)));
    }

    /// Every chain about a contest in a unit, by round of first use, the official one first.
    pub fn standings(&self, contest: &str, unit: &str) -> Vec<Standing> {
        let numbers = || {
            let slot = self.election.as_ref()?.units.slot(unit)?;
            Some((self.names.contests.get(contest)?, self.units.of(slot)))
        };
        let Some((contest, unit)) = numbers() else { return Vec::new() };
        let standing = |(chain, newest): (&ChainId, &Newest)| Standing {
            round: self.names.rounds.name(chain.round).clone(),
            owner: match chain.owner {
                ChainOwner::Official => None,
                ChainOwner::Key(number) => Some(self.authority.keys[number as usize].key_ref()),
            },
            head: newest.head,
            withdrawn: newest.withdrawn,
            counts: Values::counts(self.chains.values(newest)).collect(),
        };
        self.chains.about(contest, unit).map(standing).collect()
    }

    /// The number of a unit of the register in force: one that outlasts the register.
    pub fn unit_number(&self, unit: &str) -> Option<u32> {
        Some(self.units.of(self.election.as_ref()?.units.slot(unit)?))
    }

    /// The trails of every unit, under numbers that outlast a register.
    pub(super) fn all_trails(&self) -> Vec<((u32, u32), Trail)> {
        let parked = self.trails.iter().map(|(numbers, trail)| (*numbers, trail.clone()));
        let mut trails: Vec<_> = parked.collect();
        for contest in self.recap.iter().flat_map(Recap::contests) {
            let id = contest.contest().id.as_str();
            let Some(number) = self.names.contests.get(id) else { continue };
            for place in 0..contest.shape().count() as Place {
                if let Some((record, indexes)) = contest.take_trail(place) {
                    let unit = self.units.of(contest.shape().slot(place));
                    let trail = Trail { entries: record.entries, trail: record.trail, indexes };
                    trails.push(((number, unit), trail));
                }
            }
        }
        trails.sort_unstable_by_key(|(numbers, _)| *numbers);
        trails
    }

    /// The recap of the manifest in force out of a snapshot, with the newest state if it is the
    /// last entry.
    pub(super) fn restore_recap(&mut self, election: &Election, trails: Trails, covered: u64) {
        self.trails = trails;
        self.rebuild_recap(election);
        self.covered = covered;
        let last = covered.checked_sub(1).filter(|_| covered == self.size);
        if let Some(state) = last.and_then(|last| self.state_at(last)) {
            self.mark_sealed(state);
        }
    }

    /// Builds the recap of the manifest now in force out of the trails and chains.
    pub(super) fn rebuild_recap(&mut self, election: &Election) {
        self.recap = Some(Recap::new(election));
        if self.trails.is_empty() {
            return;
        }
        for (index, contest) in election.contests.contests().iter().enumerate() {
            let Some(number) = self.names.contests.get(contest.id.as_str()) else { continue };
            let of_contest = self.trails.range((number, 0)..=(number, u32::MAX));
            if of_contest.take(1).count() == 0 {
                continue;
            }
            let shape = &election.shapes()[index];
            for place in 0..shape.count() as Place {
                let unit = self.units.of(shape.slot(place));
                let Some(parked) = self.trails.remove(&(number, unit)) else { continue };
                if let Some(recap) = &mut self.recap {
                    let Trail { entries, trail, indexes } = parked;
                    recap.contest_mut(index).restore_trail(place, entries, trail, &indexes);
                }
                self.reckon(index, place, unit);
            }
        }
    }
}
