//! The ledger: what an entry may say after all that stands before it.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use super::{
    attestation::Attestation,
    authority::Authority,
    chains::{ChainHead, ChainId, ChainOwner, Chains, Names, UnitNumbers},
    entry::{Body, CheckedEntry, Entry},
    form::{Flags, check_form},
    ids::{Id, UnitCode, Word},
    keybook::{Key, KeyBook},
    manifest::{Election, Manifest, Role},
    recap::{Place, Recap, Sealed, Trails},
    refusal::{Field, Refusal},
    register::{Contest, ContestRegister, Slot, UnitRegister},
    statement::{Count, Tally},
};
use crate::{merkle::Hash, note::VerifierKey};

/// A pure, deterministic replay machine: the log admits with it, monitors audit with it.
///
/// It knows no clock and reads nothing: order in the log is time, and the registers are given to
/// it by hash before the manifest that names them.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) origin: Box<str>,
    pub(super) size: u64,
    pub(super) genesis: Option<Hash>,
    pub(super) election: Option<Arc<Election>>,
    pub(super) authority: Authority,
    pub(super) chains: Chains,
    pub(super) units: UnitNumbers,
    pub(super) names: Names,
    pub(super) frozen: bool,
    /// The recap of the manifest in force.
    pub(super) recap: Option<Recap>,
    /// Trails of units that are in no tree of the manifest in force.
    pub(super) trails: Trails,
    /// One past the newest state: the entries from here on are not sealed.
    pub(super) covered: u64,
    pub(super) sealed: Option<Arc<Sealed>>,
    /// Chain and `seq` of each tally that was attested, and the key that did.
    pub(super) attested: BTreeSet<(ChainId, u32, u32)>,
    unit_registers: BTreeMap<Hash, Arc<UnitRegister>>,
    contest_registers: BTreeMap<Hash, Arc<ContestRegister>>,
}

/// What an entry changed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Form rules that the tally breaks.
    pub flags: Flags,
    /// Keys that count from the next entry on.
    pub keys: Vec<Arc<Key>>,
    /// The head that a revision replaced.
    pub replaced: Option<ChainHead>,
}

impl Ledger {
    /// The ledger of an empty log with this origin.
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.into(),
            size: 0,
            genesis: None,
            election: None,
            authority: Authority::default(),
            chains: Chains::default(),
            units: UnitNumbers::default(),
            names: Names::default(),
            frozen: false,
            recap: None,
            trails: Trails::new(),
            covered: 0,
            sealed: None,
            attested: BTreeSet::new(),
            unit_registers: BTreeMap::new(),
            contest_registers: BTreeMap::new(),
        }
    }

    /// Makes a unit register known, for the manifest that will name it.
    pub fn provide_units(&mut self, register: Arc<UnitRegister>) {
        self.unit_registers.insert(register.sha256(), register);
    }

    /// Makes a contest register known, for the manifest that will name it.
    pub fn provide_contests(&mut self, register: Arc<ContestRegister>) {
        self.contest_registers.insert(register.sha256(), register);
    }

    /// Number of entries applied: the index of the next one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Leaf hash of entry 0, once there is one.
    pub fn genesis(&self) -> Option<Hash> {
        self.genesis
    }

    /// The manifest in force with its registers, once there is one.
    pub fn election(&self) -> Option<&Arc<Election>> {
        self.election.as_ref()
    }

    /// Every key that the log knows.
    pub fn keys(&self) -> &KeyBook {
        &self.authority.book
    }

    /// Whether this key may speak in the next entry.
    pub fn in_force(&self, key: &Key) -> bool {
        self.authority.in_force(key)
    }

    /// Whether the log has ended.
    pub fn frozen(&self) -> bool {
        self.frozen
    }

    /// The head of the chain of this unit, contest and round.
    pub fn head(
        &self,
        contest: &str,
        unit: &str,
        round: &str,
        owner: ChainOwner,
    ) -> Option<ChainHead> {
        let slot = self.election.as_ref()?.units.slot(unit)?;
        self.chains.head(&ChainId {
            unit: self.units.of(slot),
            contest: self.names.contests.get(contest)?,
            round: self.names.rounds.get(round)?,
            owner,
        })
    }

    /// Admits the next entry, or refuses it and changes nothing.
    ///
    /// Scope and revocation are judged here, by order in the log. Form rules never refuse: they
    /// come back as flags.
    ///
    /// # Errors
    /// Fails with the first rule that the entry breaks.
    pub fn apply(&mut self, checked: &CheckedEntry) -> Result<Outcome, Refusal> {
        let entry = checked.entry();
        if let Body::State(state) = entry.body() {
            // The only one that may follow a freeze: it covers it.
            self.seal(state)?;
            return Ok(Outcome::default());
        }
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        self.check_place(entry.body())?;
        let outcome = match (entry.body(), self.election.clone()) {
            (Body::Manifest(manifest), _) => self.manifest(entry, manifest, checked.brought()),
            (_, None) => Err(Refusal::Invalid(Field::Genesis)),
            (Body::Mandate(mandate), Some(election)) => {
                let signers = self.authority.signers(entry.signers())?;
                let brought = checked.brought();
                let keys =
                    self.authority.mandate(&election, &signers, mandate, brought, self.size)?;
                self.authority.insert(&keys);
                Ok(Outcome { keys, ..Outcome::default() })
            }
            (Body::Revocation(revocation), Some(election)) => {
                let signers = self.authority.signers(entry.signers())?;
                let number = self.authority.revocation(&election, &signers, revocation)?;
                self.authority.revoked.insert(number, revocation.subtree);
                Ok(Outcome::default())
            }
            (Body::Tally(tally), Some(election)) => self.tally(entry, tally, &election),
            (Body::Attestation(attestation), Some(election)) => {
                self.attestation(entry, attestation, &election)
            }
            (Body::State(_), _) => Err(Refusal::State),
            (Body::Freeze(_), Some(election)) => {
                let signers = self.authority.signers(entry.signers())?;
                self.authority.require_root(&election, &signers)?;
                self.frozen = true;
                Ok(Outcome::default())
            }
        }?;
        self.size += 1;
        Ok(outcome)
    }

    /// Judges a manifest as [`apply`](Self::apply) would, and changes nothing.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); every other kind passes.
    pub fn check_manifest(&self, checked: &CheckedEntry) -> Result<(), Refusal> {
        let entry = checked.entry();
        let Body::Manifest(manifest) = entry.body() else { return Ok(()) };
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        self.check_place(entry.body())?;
        self.judge_manifest(entry, manifest, checked.brought()).map(drop)
    }

    /// Passes over an entry that the log should have refused, so that an audit can go on.
    pub fn skip(&mut self) {
        self.size += 1;
    }

    /// Whether the statement was made for this log.
    fn check_place(&self, body: &Body) -> Result<(), Refusal> {
        let Some((log, election, genesis)) = body.place() else { return Ok(()) };
        if log != &*self.origin {
            return Err(Refusal::Invalid(Field::Log));
        }
        if self.election.as_ref().is_some_and(|ours| ours.manifest.election != *election) {
            return Err(Refusal::Invalid(Field::Election));
        }
        // A log begins with its manifest or never.
        let lost = self.election.is_none() && self.size > 0;
        if lost || genesis != self.genesis.as_ref() {
            return Err(Refusal::Invalid(Field::Genesis));
        }
        Ok(())
    }

    /// All rules of a manifest: what it makes of the election, and the root keys that it adds.
    fn judge_manifest(
        &self,
        entry: &Entry,
        manifest: &Manifest,
        roots: &[VerifierKey],
    ) -> Result<(Election, Vec<Arc<Key>>), Refusal> {
        manifest.check_shape()?;
        self.check_succession(manifest)?;
        let new_roots = self.authority.new_roots(roots, self.size)?;
        self.check_root_signatures(entry, &new_roots)?;
        let units = self.unit_registers.get(&manifest.registers.units.sha256);
        let contests = self.contest_registers.get(&manifest.registers.contests.sha256);
        let (Some(units), Some(contests)) = (units.cloned(), contests.cloned()) else {
            return Err(Refusal::Invalid(Field::Registers));
        };
        let election = Election::new(manifest.clone(), self.size, entry.leaf(), units, contests)?;
        self.check_what_is_used(&election)?;
        Ok((election, new_roots))
    }

    fn manifest(
        &mut self,
        entry: &Entry,
        manifest: &Manifest,
        roots: &[VerifierKey],
    ) -> Result<Outcome, Refusal> {
        let (election, new_roots) = self.judge_manifest(entry, manifest, roots)?;
        // Nothing can fail from here on.
        self.trails = self.all_trails().into_iter().collect();
        let old = self.election.as_ref().map(|old| &*old.units);
        if old.is_none_or(|old| old.sha256() != election.units.sha256()) {
            self.units.replace(old, &election.units);
        }
        election.contests.contests().iter().for_each(|contest| {
            self.names.contests.number(&contest.id);
        });
        election.manifest.rounds.iter().for_each(|round| {
            self.names.rounds.number(round);
        });
        self.genesis.get_or_insert(entry.leaf());
        self.authority.insert(&new_roots);
        self.authority.set_roots(roots);
        let election = Arc::new(election);
        self.election = Some(election.clone());
        self.rebuild_recap(&election);
        Ok(Outcome { keys: new_roots, ..Outcome::default() })
    }

    /// Whether the manifest names the one in force, and says why it replaces it.
    fn check_succession(&self, manifest: &Manifest) -> Result<(), Refusal> {
        let invalid = |ok: bool, field| if ok { Ok(()) } else { Err(Refusal::Invalid(field)) };
        let old = self.election.as_deref();
        let version = old.map_or(1, |old| old.manifest.version.saturating_add(1));
        invalid(manifest.previous == old.map(|old| old.leaf), Field::Previous)?;
        invalid(manifest.version == version, Field::Version)?;
        invalid(manifest.reason.is_some() == old.is_some(), Field::Reason)?;
        invalid(manifest.decision.is_some() == old.is_some(), Field::Decision)
    }

    /// A manifest is signed by the threshold of the root keys that it replaces and by every root
    /// key that it adds; in entry 0 all are added.
    fn check_root_signatures(&self, entry: &Entry, new: &[Arc<Key>]) -> Result<(), Refusal> {
        let new: Vec<_> = new.iter().map(|key| key.key_ref()).collect();
        let old: Vec<_> = entry.signers().filter(|signer| !new.contains(signer)).collect();
        let signers = self.authority.signers(old.into_iter())?;
        if let Some(election) = &self.election {
            self.authority.require_root(election, &signers)?;
        }
        let all_new_sign = new.iter().all(|key| entry.signers().any(|signer| signer == key));
        if all_new_sign { Ok(()) } else { Err(Refusal::OutOfScope) }
    }

    /// What tallies rest on stays: a contest with its options in order, and rounds in theirs.
    fn check_what_is_used(&self, new: &Election) -> Result<(), Refusal> {
        let Some(old) = &self.election else { return Ok(()) };
        let mut used_rounds = BTreeSet::new();
        for (contest, round) in self.chains.used() {
            let contest = self.names.contests.name(contest).as_str();
            if options(new, contest) != options(old, contest) {
                return Err(Refusal::Invalid(Field::Registers));
            }
            used_rounds.insert(self.names.rounds.name(round));
        }
        // Another order would turn results over without a tally.
        let used = |round: &&Word| used_rounds.contains(round);
        if new.manifest.rounds.iter().filter(used).eq(old.manifest.rounds.iter().filter(used)) {
            Ok(())
        } else {
            Err(Refusal::Invalid(Field::Rounds))
        }
    }

    fn tally(
        &mut self,
        entry: &Entry,
        tally: &Tally,
        election: &Election,
    ) -> Result<Outcome, Refusal> {
        let signers = self.authority.signers(entry.signers())?;
        let at = self.find(election, &tally.contest, &tally.unit)?;
        check_statement(election, at.contest, tally, at.slot)?;
        let role = check_scope(election, &signers, tally, at.slot)?;
        let owner = match role.official {
            true => ChainOwner::Official,
            false => ChainOwner::Key(signers[0].number()),
        };
        let round = self.names.rounds.get(tally.round.as_str());
        let round = round.expect("every round of a manifest has a number");
        let chain = ChainId { unit: at.unit, contest: at.number, round, owner };
        let replaced = self.chains.head(&chain);
        let extends = match replaced {
            None => tally.seq == 0,
            Some(head) => {
                head.seq.checked_add(1) == Some(tally.seq) && tally.prev == Some(head.leaf)
            }
        };
        if !extends {
            return Err(Refusal::Conflict { head: replaced });
        }
        let flags = check_form(tally, &election.unit_facts(at.slot));
        let head = ChainHead { index: self.size, leaf: entry.leaf(), seq: tally.seq };
        self.chains.advance(chain, head, tally.withdrawn(), counts(at.contest, tally));
        self.recount(&at, entry);
        Ok(Outcome { flags, keys: Vec::new(), replaced })
    }

    /// The contest and the unit of a statement, if the one takes part in the other.
    fn find<'a>(
        &self,
        election: &'a Election,
        contest: &Id,
        unit: &UnitCode,
    ) -> Result<At<'a>, Refusal> {
        let found = election.contests.find(contest.as_str());
        let (index, contest) = found.ok_or(Refusal::Invalid(Field::Contest))?;
        let place = |slot| Some((slot, election.shapes()[index].place(slot)?));
        let placed = election.units.slot(unit.as_str()).and_then(place);
        let (slot, place) = placed.ok_or(Refusal::Invalid(Field::Unit))?;
        let number = self.names.contests.get(contest.id.as_str());
        let number = number.expect("every contest of a manifest has a number");
        Ok(At { contest, index, number, slot, place, unit: self.units.of(slot) })
    }

    /// Takes what a key of a role that is not official says about one logged tally, once.
    fn attestation(
        &mut self,
        entry: &Entry,
        attestation: &Attestation,
        election: &Election,
    ) -> Result<Outcome, Refusal> {
        let signers = self.authority.signers(entry.signers())?;
        let Attestation { contest, unit, leaf, .. } = attestation;
        let at = self.find(election, contest, unit)?;
        let found = self.chains.find(at.number, at.unit, leaf);
        let (chain, seq) = found.ok_or(Refusal::Invalid(Field::Leaf))?;
        let covers = |key: &Arc<Key>| covers(key, election, contest, at.slot);
        let role = election.role(signers[0].role().as_str());
        if !signers.iter().all(covers) || role.is_none_or(|role| role.official) {
            return Err(Refusal::OutOfScope);
        }
        if !self.attested.insert((chain, seq, signers[0].number())) {
            return Err(Refusal::Duplicate);
        }
        self.recount(&at, entry);
        Ok(Outcome::default())
    }
}

/// Where a statement belongs: contest and unit, in the registers, in the recap, and by the numbers
/// that outlast a register.
pub(super) struct At<'a> {
    contest: &'a Contest,
    /// Place of the contest in its register.
    pub index: usize,
    /// Number of the contest.
    number: u32,
    slot: Slot,
    pub place: Place,
    /// Number of the unit.
    pub unit: u32,
}

/// The numbers of a tally in the order in which they are kept.
fn counts<'a>(contest: &'a Contest, tally: &'a Tally) -> impl Iterator<Item = Count> + 'a {
    let votes = contest.options.iter().map(|option| tally.votes.get(option).copied().flatten());
    votes.chain([tally.valid, tally.invalid, tally.total])
}

/// The options of a contest, in order.
fn options<'a>(election: &'a Election, contest: &str) -> Option<&'a [Id]> {
    election.contests.find(contest).map(|(_, found)| &*found.options)
}

/// Whether the statement is whole by itself: known round and basis, every option once, children
/// above the station only, and reason and decision exactly for a revision.
fn check_statement(
    election: &Election,
    contest: &Contest,
    tally: &Tally,
    slot: Slot,
) -> Result<(), Refusal> {
    let invalid = |ok: bool, field| if ok { Ok(()) } else { Err(Refusal::Invalid(field)) };
    invalid(election.manifest.rounds.contains(&tally.round), Field::Round)?;
    invalid(election.manifest.bases.contains(&tally.basis), Field::Basis)?;
    let options = contest.options.iter().all(|option| tally.votes.contains_key(option));
    invalid(options && tally.votes.len() == contest.options.len(), Field::Votes)?;
    invalid(tally.docs_fit(), Field::Docs)?;
    invalid(tally.children.is_none() || !election.is_station(slot), Field::Children)?;
    tally.check_place_in_chain()
}

/// Whether a key speaks for this contest in this unit.
fn covers(key: &Key, election: &Election, contest: &Id, slot: Slot) -> bool {
    !key.is_root() && key.covers_contest(contest) && key.covers_unit(election, slot)
}

/// Whether the author may say this, and every co-signer speaks for the unit and the contest.
fn check_scope<'a>(
    election: &'a Election,
    signers: &[Arc<Key>],
    tally: &Tally,
    slot: Slot,
) -> Result<&'a Role, Refusal> {
    if !signers.iter().all(|key| covers(key, election, &tally.contest, slot)) {
        return Err(Refusal::OutOfScope);
    }
    let role = election.role(signers[0].role().as_str()).ok_or(Refusal::OutOfScope)?;
    let levels = if tally.seq == 0 { &role.may_open } else { &role.may_revise };
    if levels.contains(election.units.kind(slot)) && role.forms.contains(&tally.form) {
        Ok(role)
    } else {
        Err(Refusal::OutOfScope)
    }
}
