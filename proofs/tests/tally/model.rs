//! The rules of the ledger once more, over maps of names: who may say what, and which chain it
//! extends. Written from DESIGN's sentences, without any type of the crate but hashes.

use std::collections::{BTreeMap, BTreeSet};

use jejak_proofs::merkle::Hash;

/// What a mandate says of a key; `units` and `contests` as in the entry.
#[derive(Clone, Debug)]
pub struct Grant {
    pub label: String,
    pub role: &'static str,
    pub unit: &'static str,
    pub contest: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Known {
    grant: Grant,
    granter: Option<String>,
    depth: u32,
    /// With its subtree?
    revoked: Option<bool>,
}

/// One thing that somebody says. Labels name keys; the first signer is the author.
#[derive(Clone, Debug)]
pub enum Action {
    Tally {
        contest: &'static str,
        unit: &'static str,
        round: &'static str,
        seq: u32,
        prev: Option<Hash>,
        says: Says,
    },
    Attestation {
        contest: &'static str,
        unit: &'static str,
        leaf: Hash,
        agrees: bool,
    },
    Mandate {
        keys: Vec<Grant>,
    },
    Revocation {
        key: String,
        subtree: bool,
    },
    Manifest {
        without_station_two: bool,
        wide: bool,
        rounds: Vec<&'static str>,
        roots: Vec<&'static str>,
        threshold: usize,
        stale: bool,
    },
    /// The log's own; nobody signs it.
    State {
        wrong: Option<WrongState>,
    },
    Freeze,
}

/// What the numbers of a tally are. A first tally cannot withdraw: its numbers are all null.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    Plain,
    OtherVote,
    OtherTotal,
    Unreadable,
    Withdrawn,
}

/// In what a state differs from the one that is due.
#[derive(Clone, Copy, Debug)]
pub enum WrongState {
    Contests,
    Manifest,
    Recap,
    Size,
    /// The one before once more.
    Old,
}

pub struct Model {
    keys: BTreeMap<String, Known>,
    /// (contest, unit, round, owner) to (leaf, seq).
    heads: BTreeMap<(String, String, String, String), (Hash, u32)>,
    pub roots: Vec<&'static str>,
    retired: BTreeSet<&'static str>,
    pub threshold: usize,
    pub rounds: Vec<&'static str>,
    pub without_station_two: bool,
    /// Under the contest register with one contest more, and a wider scope of another.
    pub wide: bool,
    pub frozen: bool,
    /// What each logged tally is about.
    tallies: BTreeMap<Hash, (&'static str, &'static str)>,
    /// Contest, unit and round of each tally.
    pub spoken: Vec<(&'static str, &'static str, &'static str)>,
    /// Tally and author of each attestation.
    attested: BTreeSet<(Hash, String)>,
    size: usize,
    covered: usize,
}

/// Codes with which something may be refused.
#[derive(Default)]
struct Codes(BTreeSet<&'static str>);

impl Codes {
    fn rule(&mut self, holds: bool, code: &'static str) {
        if !holds {
            self.0.insert(code);
        }
    }
}

/// The scope of a contest, and that under the wide register.
const SCOPES: [(&str, &[&str], &[&str]); 3] = [
    ("ppwp", &["ID"], &["ID"]),
    ("dpr:3101", &["3101"], &["3101", "320101"]),
    ("dpd:31", &[], &["31"]),
];

/// The unit and everything above it: codes nest by prefix.
fn upwards(unit: &str) -> Vec<&str> {
    let mut all = vec![unit];
    let bare = unit.split('.').next().unwrap();
    all.extend(
        (bare != "ID").then(|| [6, 4, 2].map(|n| bare.get(..n))).into_iter().flatten().flatten(),
    );
    all.push("ID");
    all.dedup();
    all
}

fn level(unit: &str) -> &'static str {
    match (unit.contains(".K"), unit.contains('.'), unit.len()) {
        (true, ..) => "ksk",
        (_, true, _) => "tps",
        (.., 6) => "district",
        (.., 4) => "regency",
        _ if unit == "ID" => "nation",
        _ => "province",
    }
}

fn may_open(role: &str, level: &str) -> bool {
    match role {
        "kpu" => ["nation", "province", "regency"].contains(&level),
        "ppk" => level == "district",
        "kpps" | "saksi" => ["tps", "ksk"].contains(&level),
        _ => ["tps", "ksk", "district"].contains(&level),
    }
}

fn may_revise(role: &str, level: &str) -> bool {
    match role {
        "kpu" => !["tps", "ksk"].contains(&level),
        "ppk" | "observer" => ["tps", "ksk", "district"].contains(&level),
        "kpps" => ["tps", "ksk"].contains(&level),
        _ => false,
    }
}

fn may_grant(role: &str, granted: &str) -> bool {
    match role {
        "kpu" => true,
        "ppk" => granted == "kpps",
        "saksi" => granted == "saksi",
        _ => false,
    }
}

impl Model {
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            heads: BTreeMap::new(),
            roots: super::world::ROOTS.to_vec(),
            retired: BTreeSet::new(),
            threshold: 2,
            rounds: vec!["regular", "psu", "court"],
            without_station_two: false,
            wide: false,
            frozen: false,
            tallies: BTreeMap::new(),
            spoken: Vec::new(),
            attested: BTreeSet::new(),
            size: 1,
            covered: 0,
        }
    }

    /// Whether a mandate named this key.
    pub fn knows(&self, label: &str) -> bool {
        self.keys.contains_key(label)
    }

    fn exists(&self, unit: &str) -> bool {
        !(self.without_station_two && unit == super::world::STATION_TWO)
    }

    fn is_root(&self, label: &str) -> bool {
        label.starts_with("root/")
    }

    /// The key that granted this one, the one that granted that, and so on.
    fn granters(&self, label: &str) -> Vec<&Known> {
        let mut all = Vec::new();
        let mut next = self.keys.get(label).and_then(|key| key.granter.as_deref());
        while let Some(key) = next.map(|label| &self.keys[label]) {
            all.push(key);
            next = key.granter.as_deref();
        }
        all
    }

    fn fell_from_above(&self, label: &str) -> bool {
        self.granters(label).iter().any(|key| key.revoked == Some(true))
    }

    /// Why a line of this key is refused, whatever it signs.
    fn line(&self, label: &str) -> Option<&'static str> {
        if self.is_root(label) {
            return match () {
                () if self.roots.contains(&label) => None,
                () if self.retired.contains(label) => Some("key_revoked"),
                () => Some("unknown_key"),
            };
        }
        match self.keys.get(label) {
            None => Some("unknown_key"),
            Some(key) if key.revoked.is_some() || self.fell_from_above(label) => {
                Some("key_revoked")
            }
            Some(_) => None,
        }
    }

    pub fn covers(&self, label: &str, unit: &str, contest: Option<&str>) -> bool {
        self.keys.get(label).is_some_and(|Known { grant, .. }| {
            let contest = grant.contest.is_none() || grant.contest == contest;
            contest && self.exists(grant.unit) && upwards(unit).contains(&grant.unit)
        })
    }

    fn enough_roots(&self, signers: &[String]) -> bool {
        signers.len() >= self.threshold && signers.iter().all(|label| self.is_root(label))
    }

    fn owner(&self, author: &str) -> String {
        let official = self
            .keys
            .get(author)
            .is_some_and(|key| ["kpu", "ppk", "kpps"].contains(&key.grant.role));
        if official { "official".into() } else { author.into() }
    }

    /// Leaf and seq of the chain that this author would extend.
    pub fn head(
        &self,
        author: &str,
        contest: &str,
        unit: &str,
        round: &str,
    ) -> Option<(Hash, u32)> {
        let chain = (contest.into(), unit.into(), round.into(), self.owner(author));
        self.heads.get(&chain).copied()
    }

    pub fn heads(&self) -> impl Iterator<Item = &(Hash, u32)> {
        self.heads.values()
    }

    pub fn tallies(&self) -> impl Iterator<Item = (&Hash, &(&'static str, &'static str))> {
        self.tallies.iter()
    }

    /// Every code with which this may be refused; none if it must be taken.
    pub fn judge(&self, signers: &[String], action: &Action) -> BTreeSet<&'static str> {
        let mut codes = Codes::default();
        if let Action::State { wrong } = action {
            // The one thing that may follow a freeze.
            codes.rule(wrong.is_none() && self.covered < self.size, "out_of_scope");
            return codes.0;
        }
        codes.rule(!self.frozen, "log_frozen");
        let new_roots = self.new_roots(action);
        for label in signers.iter().filter(|label| !new_roots.contains(&&***label)) {
            let refused = self.line(label);
            codes.rule(refused.is_none(), refused.unwrap_or_default());
        }
        match action {
            Action::Tally { .. } => self.judge_tally(signers, action, &mut codes),
            Action::Attestation { .. } => self.judge_attestation(signers, action, &mut codes),
            Action::Mandate { keys } => self.judge_mandate(signers, keys, &mut codes),
            Action::Revocation { key, subtree } => {
                self.judge_revocation(signers, key, *subtree, &mut codes);
            }
            Action::Manifest { .. } => self.judge_manifest(signers, action, &mut codes),
            Action::State { .. } => {}
            Action::Freeze => codes.rule(self.enough_roots(signers), "out_of_scope"),
        }
        codes.0
    }

    /// Root keys that a manifest adds.
    fn new_roots<'a>(&self, action: &'a Action) -> Vec<&'a str> {
        let Action::Manifest { roots, .. } = action else { return Vec::new() };
        let new = |root: &&&str| !self.roots.contains(*root) && !self.retired.contains(**root);
        roots.iter().filter(new).copied().collect()
    }

    /// What a tally and an attestation have in common: contest, unit, and whose they are.
    fn judge_place(&self, signers: &[String], contest: &str, unit: &str, codes: &mut Codes) {
        let (_, narrow, wide) = SCOPES.into_iter().find(|(id, ..)| *id == contest).unwrap();
        let scope = if self.wide { wide } else { narrow };
        codes.rule(!scope.is_empty(), "invalid_contest");
        let near = |top: &&str| upwards(unit).contains(top) || upwards(top).contains(&unit);
        codes.rule(self.exists(unit) && scope.iter().any(near), "invalid_unit");
        for label in signers {
            codes.rule(self.covers(label, unit, Some(contest)), "out_of_scope");
        }
    }

    fn judge_tally(&self, signers: &[String], action: &Action, codes: &mut Codes) {
        let Action::Tally { contest, unit, round, seq, prev, .. } = action else { return };
        let author = &signers[0];
        self.judge_place(signers, contest, unit, codes);
        codes.rule(self.rounds.contains(round), "invalid_round");
        let role = self.keys.get(author).map_or("", |key| key.grant.role);
        let may = if *seq == 0 { may_open } else { may_revise };
        codes.rule(may(role, level(unit)), "out_of_scope");
        let extends = match self.head(author, contest, unit, round) {
            None => *seq == 0,
            Some((leaf, head)) => *seq == head + 1 && *prev == Some(leaf),
        };
        codes.rule(extends, "conflict");
    }

    fn judge_attestation(&self, signers: &[String], action: &Action, codes: &mut Codes) {
        let Action::Attestation { contest, unit, leaf, .. } = action else { return };
        self.judge_place(signers, contest, unit, codes);
        codes.rule(self.tallies.get(leaf) == Some(&(contest, unit)), "invalid_leaf");
        let author = &signers[0];
        codes.rule(self.owner(author) == *author, "out_of_scope");
        codes.rule(!self.attested.contains(&(*leaf, author.clone())), "duplicate");
    }

    fn judge_mandate(&self, signers: &[String], keys: &[Grant], codes: &mut Codes) {
        let (author, mut labels) = (&signers[0], BTreeSet::new());
        for grant in keys {
            codes.rule(self.exists(grant.unit), "invalid_unit");
            let new = !self.keys.contains_key(&grant.label) && labels.insert(&grant.label);
            codes.rule(new, "duplicate");
            for label in signers.iter().filter(|_| !self.is_root(author)) {
                let able = self.keys.get(label).is_some_and(|key| {
                    let contest = key.grant.contest.is_none() || grant.contest.is_some();
                    may_grant(key.grant.role, grant.role) && key.depth < 8 && contest
                });
                codes.rule(able && self.covers(label, grant.unit, grant.contest), "out_of_scope");
            }
        }
        codes.rule(!self.is_root(author) || self.enough_roots(signers), "out_of_scope");
    }

    fn judge_revocation(&self, signers: &[String], key: &str, subtree: bool, codes: &mut Codes) {
        let target = self.keys.get(key);
        codes.rule(target.is_some(), "invalid_key");
        let above: Vec<_> = self.granters(key).iter().map(|key| &*key.grant.label).collect();
        let may = match self.is_root(&signers[0]) {
            true => self.enough_roots(signers),
            false => signers.iter().all(|label| label == key || above.contains(&&**label)),
        };
        codes.rule(may, "out_of_scope");
        let adds = match target.and_then(|key| key.revoked) {
            None => true,
            Some(fell_with_all) => !fell_with_all && subtree,
        };
        codes.rule(adds && !self.fell_from_above(key), "duplicate");
    }

    fn judge_manifest(&self, signers: &[String], action: &Action, codes: &mut Codes) {
        let Action::Manifest { wide, rounds, roots, threshold, stale, .. } = action else { return };
        let added = self.new_roots(action);
        let used: BTreeSet<&str> = self.heads.keys().map(|chain| &*chain.2).collect();
        let kept = |rounds: &[&'static str]| {
            rounds.iter().filter(|round| used.contains(**round)).copied().collect::<Vec<_>>()
        };
        codes.rule(kept(rounds) == kept(&self.rounds), "invalid_rounds");
        let extra_used = self.heads.keys().any(|chain| chain.0 == "dpd:31");
        codes.rule(*wide || !extra_used, "invalid_registers");
        codes.rule(!stale, "invalid_previous");
        codes.rule((1..=roots.len()).contains(threshold), "invalid_threshold");
        codes.rule(roots.iter().all(|root| !self.retired.contains(root)), "duplicate");
        let signed = |root: &&str| signers.iter().any(|label| label == root);
        codes.rule(added.iter().all(signed), "out_of_scope");
        let old: Vec<_> =
            signers.iter().filter(|label| !added.contains(&&***label)).cloned().collect();
        codes.rule(self.enough_roots(&old), "out_of_scope");
    }

    /// Takes what was judged to be right.
    pub fn take(&mut self, signers: &[String], action: &Action, leaf: Hash) {
        self.size += 1;
        if matches!(action, Action::State { .. }) {
            self.covered = self.size;
            return;
        }
        let author = &signers[0];
        match action {
            Action::Tally { contest, unit, round, seq, .. } => {
                self.tallies.insert(leaf, (contest, unit));
                self.spoken.push((contest, unit, round));
                let owner = self.owner(author);
                let chain = (contest.to_string(), unit.to_string(), round.to_string(), owner);
                self.heads.insert(chain, (leaf, *seq));
            }
            Action::Attestation { leaf, .. } => {
                self.attested.insert((*leaf, author.clone()));
            }
            Action::State { .. } => {}
            Action::Mandate { keys } => {
                let granter = (!self.is_root(author)).then(|| author.clone());
                let depth = granter.as_ref().map_or(0, |label| self.keys[label].depth) + 1;
                for grant in keys {
                    let (grant, granter) = (grant.clone(), granter.clone());
                    let known = Known { grant, granter, depth, revoked: None };
                    self.keys.insert(known.grant.label.clone(), known);
                }
            }
            Action::Revocation { key, subtree } => {
                self.keys.get_mut(key).unwrap().revoked = Some(*subtree);
            }
            Action::Manifest { without_station_two, wide, rounds, roots, threshold, .. } => {
                (self.without_station_two, self.wide) = (*without_station_two, *wide);
                self.retired.extend(self.roots.iter().filter(|root| !roots.contains(root)));
                (self.rounds, self.roots) = (rounds.clone(), roots.clone());
                self.threshold = *threshold;
            }
            Action::Freeze => self.frozen = true,
        }
    }
}
