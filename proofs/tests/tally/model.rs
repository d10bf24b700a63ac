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
        rounds: Vec<&'static str>,
        roots: Vec<&'static str>,
        threshold: usize,
        stale: bool,
    },
    Freeze,
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
    pub frozen: bool,
}

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
            frozen: false,
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

    fn covers(&self, label: &str, unit: &str, contest: Option<&str>) -> bool {
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

    /// Every code with which this may be refused; none if it must be taken.
    pub fn judge(&self, signers: &[String], action: &Action) -> BTreeSet<&'static str> {
        let mut codes = BTreeSet::new();
        let mut rule = |holds: bool, code| {
            if !holds {
                codes.insert(code);
            }
        };
        rule(!self.frozen, "log_frozen");
        let new_roots: Vec<&str> = match action {
            Action::Manifest { roots, .. } => roots
                .iter()
                .filter(|root| !self.roots.contains(root) && !self.retired.contains(**root))
                .copied()
                .collect(),
            _ => Vec::new(),
        };
        let added = |label: &str| new_roots.contains(&label);
        for label in signers.iter().filter(|label| !added(label)) {
            let refused = self.line(label);
            rule(refused.is_none(), refused.unwrap_or_default());
        }
        let author = &signers[0];
        match action {
            Action::Tally { contest, unit, round, seq, prev } => {
                let takes_part = *contest != "dpr:3101"
                    || upwards(unit).contains(&"3101")
                    || upwards("3101").contains(unit);
                rule(self.exists(unit) && takes_part, "invalid_unit");
                rule(self.rounds.contains(round), "invalid_round");
                for label in signers {
                    rule(self.covers(label, unit, Some(contest)), "out_of_scope");
                }
                let role = self.keys.get(author).map_or("", |key| key.grant.role);
                let may = if *seq == 0 { may_open } else { may_revise };
                rule(may(role, level(unit)), "out_of_scope");
                let head = self.head(author, contest, unit, round);
                let extends = match head {
                    None => *seq == 0,
                    Some((leaf, head)) => *seq == head + 1 && *prev == Some(leaf),
                };
                rule(extends, "conflict");
            }
            Action::Mandate { keys } => {
                let mut labels = BTreeSet::new();
                for grant in keys {
                    rule(self.exists(grant.unit), "invalid_unit");
                    let new = !self.keys.contains_key(&grant.label) && labels.insert(&grant.label);
                    rule(new, "duplicate");
                    for label in signers.iter().filter(|_| !self.is_root(author)) {
                        let able = self.keys.get(label).is_some_and(|key| {
                            let contest = key.grant.contest.is_none() || grant.contest.is_some();
                            may_grant(key.grant.role, grant.role) && key.depth < 8 && contest
                        });
                        rule(able && self.covers(label, grant.unit, grant.contest), "out_of_scope");
                    }
                }
                rule(!self.is_root(author) || self.enough_roots(signers), "out_of_scope");
            }
            Action::Revocation { key, subtree } => {
                let target = self.keys.get(key);
                rule(target.is_some(), "invalid_key");
                let above: Vec<_> =
                    self.granters(key).iter().map(|key| &*key.grant.label).collect();
                let may = match self.is_root(author) {
                    true => self.enough_roots(signers),
                    false => signers.iter().all(|label| label == key || above.contains(&&**label)),
                };
                rule(may, "out_of_scope");
                let adds = match target.and_then(|key| key.revoked) {
                    None => true,
                    Some(fell_with_all) => !fell_with_all && *subtree,
                };
                rule(adds && !self.fell_from_above(key), "duplicate");
            }
            Action::Manifest { without_station_two: _, rounds, roots, threshold, stale } => {
                let used: BTreeSet<&str> = self.heads.keys().map(|chain| &*chain.2).collect();
                let kept = |rounds: &[&'static str]| {
                    rounds
                        .iter()
                        .filter(|round| used.contains(**round))
                        .copied()
                        .collect::<Vec<_>>()
                };
                rule(kept(rounds) == kept(&self.rounds), "invalid_rounds");
                rule(!stale, "invalid_previous");
                rule((1..=roots.len()).contains(threshold), "invalid_threshold");
                rule(roots.iter().all(|root| !self.retired.contains(root)), "duplicate");
                let signed = |root: &&str| signers.iter().any(|label| label == root);
                rule(roots.iter().filter(|root| added(root)).all(signed), "out_of_scope");
                let old: Vec<_> = signers.iter().filter(|label| !added(label)).cloned().collect();
                rule(self.enough_roots(&old), "out_of_scope");
            }
            Action::Freeze => rule(self.enough_roots(signers), "out_of_scope"),
        }
        codes
    }

    /// Takes what was judged to be right.
    pub fn take(&mut self, signers: &[String], action: &Action, leaf: Hash) {
        let author = &signers[0];
        match action {
            Action::Tally { contest, unit, round, seq, .. } => {
                let owner = self.owner(author);
                let chain = (contest.to_string(), unit.to_string(), round.to_string(), owner);
                self.heads.insert(chain, (leaf, *seq));
            }
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
            Action::Manifest { without_station_two, rounds, roots, threshold, .. } => {
                self.without_station_two = *without_station_two;
                self.retired.extend(self.roots.iter().filter(|root| !roots.contains(root)));
                (self.rounds, self.roots) = (rounds.clone(), roots.clone());
                self.threshold = *threshold;
            }
            Action::Freeze => self.frozen = true,
        }
    }
}
