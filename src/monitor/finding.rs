//! What a monitor notices, and how much each of it matters.

use std::fmt;

use jejak_proofs::{
    merkle::Hash,
    tally::{ChainHead, FormRule, RecordHead, Severity},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields;

/// A rule that was broken, or something that needs to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Rule {
    /// L1: the log showed two histories, and signed both.
    Fork,
    /// L1: the log showed an older head than before.
    Rollback,
    /// L1: entry 0 is not the one that the policy pins.
    Genesis,
    /// L1: a checkpoint without a valid signature of the log.
    Signature,
    /// L3: no new checkpoint for longer than promised.
    Stale,
    /// L4: the signed root does not follow from the entries that the log serves.
    Root,
    /// L5: the log does not serve what its signed head covers.
    Withheld,
    /// S1: an entry that the rules should have refused.
    Refused,
    /// S2: a broken chain.
    Chain,
    /// S4: the manifest changed.
    Manifest,
    /// S5: a state entry that does not follow, or none for too long.
    State,
    /// P1: something that looks like personal data.
    Personal,
    /// T1: a revision.
    Revision,
    /// T2: a revision below a region that had declared its recap.
    RevisedBelow,
    /// T3: a result was taken back, or set to nothing but zeros.
    Withdrawn,
    /// X1: official tally and counter-tally differ.
    Differ,
    /// X2: a machine reading differs from a signed form.
    Misread,
    /// X3: stations of which nothing is in the log.
    Coverage,
    /// X4: one document stands for two units.
    Document,
    /// X4: more documents than can be compared.
    DocumentsFull,
    /// G1: a declared recap is not the computed one.
    Declared,
    /// G2: a declared recap does not rest on the tallies that count below it.
    Children,
    /// G4: a published number is not the one of the recap.
    Published,
    /// A1: votes and `valid`.
    A1,
    /// A2: `valid`, `invalid` and `total`.
    A2,
    /// A3: voters and `total`.
    A3,
    /// A4: ballots.
    A4,
    /// A5: voters and registered voters.
    A5,
    /// A6: more votes than ballots or voters allow.
    A6,
    /// A7: an implausible number.
    A7,
    /// A11: one digit repairs A1.
    A11,
    /// A rule of forms that this program has no name for.
    OtherForm,
    /// L1: a checkpoint by a key that does not count for its size. States know rules by their
    /// place, so new ones come last.
    LogKey,
    /// L6: the log gives no answer.
    Silent,
}

/// What a critical finding convicts the log of, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It showed two histories, or an older one than before.
    Fork,
    /// It broke its own rules.
    RulesBroken,
    /// What was shown as its checkpoint is not signed by it.
    LogSignature,
}

impl Rule {
    /// The id that people and scripts see.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Fork | Self::Rollback | Self::Genesis | Self::Signature | Self::LogKey => "L1",
            Self::Stale => "L3",
            Self::Root => "L4",
            Self::Withheld => "L5",
            Self::Silent => "L6",
            Self::Refused => "S1",
            Self::Chain => "S2",
            Self::Manifest => "S4",
            Self::State => "S5",
            Self::Personal => "P1",
            Self::Revision => "T1",
            Self::RevisedBelow => "T2",
            Self::Withdrawn => "T3",
            Self::Differ => "X1",
            Self::Misread => "X2",
            Self::Coverage => "X3",
            Self::Document | Self::DocumentsFull => "X4",
            Self::Declared => "G1",
            Self::Children => "G2",
            Self::Published => "G4",
            Self::A1 => "A1",
            Self::A2 => "A2",
            Self::A3 => "A3",
            Self::A4 => "A4",
            Self::A5 => "A5",
            Self::A6 => "A6",
            Self::A7 => "A7",
            Self::A11 => "A11",
            Self::OtherForm => "A",
        }
    }

    /// How much it matters.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Fork | Self::Rollback | Self::Genesis | Self::Signature => Severity::Critical,
            Self::Root | Self::Refused | Self::Chain | Self::State => Severity::Critical,
            Self::Personal | Self::LogKey => Severity::Critical,
            Self::Stale | Self::Withheld | Self::Silent | Self::Manifest => Severity::High,
            Self::Revision | Self::RevisedBelow | Self::Withdrawn => Severity::High,
            Self::Differ | Self::Document => Severity::High,
            Self::Declared | Self::Children | Self::Published => Severity::High,
            Self::Misread => Severity::Medium,
            Self::Coverage | Self::DocumentsFull => Severity::Info,
            Self::A1 => FormRule::A1.severity(),
            Self::A2 => FormRule::A2.severity(),
            Self::A3 => FormRule::A3.severity(),
            Self::A4 => FormRule::A4.severity(),
            Self::A5 => FormRule::A5.severity(),
            Self::A6 => FormRule::A6.severity(),
            Self::A7 => FormRule::A7.severity(),
            Self::A11 => FormRule::A11.severity(),
            Self::OtherForm => Severity::Medium,
        }
    }

    /// One sentence for all findings of this rule.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Fork => "the log signed two histories",
            Self::Rollback => "the log showed an older head than before",
            Self::Genesis => "entry 0 is not the one that the policy pins",
            Self::Signature => "a checkpoint is not signed by the log",
            Self::Stale => "no new checkpoint for longer than allowed",
            Self::Root => "the signed root does not follow from the entries",
            Self::Withheld => "the log does not serve what its signed head covers",
            Self::Refused => "an entry that the rules should have refused",
            Self::Chain => "an entry that breaks its chain",
            Self::Manifest => "the manifest changed",
            Self::State => "the recap that the log committed to does not follow from its entries",
            Self::Personal => "something that looks like personal data",
            Self::Revision => "a revision",
            Self::RevisedBelow => "a revision after a region above had declared its recap",
            Self::Withdrawn => "a result was taken back",
            Self::Differ => "the official tally and a counter-tally differ",
            Self::Misread => "a machine reading differs from a signed form",
            Self::Coverage => "stations of which nothing is in the log",
            Self::Document => "the same document for two units",
            Self::DocumentsFull => "more documents than this monitor compares",
            Self::Declared => "a declared recap differs from the computed one",
            Self::Children => "a declared recap does not rest on the tallies that count below it",
            Self::Published => "a published number differs from the recap",
            Self::A1 => "the votes do not add up to `valid`",
            Self::A2 => "`valid` and `invalid` do not add up to `total`",
            Self::A3 => "the voters who came are not as many as `total`",
            Self::A4 => "the ballots do not balance",
            Self::A5 => "more registered voters came than are registered",
            Self::A6 => "more votes than ballots or registered voters allow",
            Self::A7 => "an implausibly large number",
            Self::A11 => "one digit would repair the sum of the votes",
            Self::OtherForm => "the form breaks a rule",
            Self::LogKey => "a checkpoint is signed by a key that does not count for its size",
            Self::Silent => "the log gives no answer",
        }
    }

    /// What it convicts the log of, if it is critical.
    pub const fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Fork | Self::Rollback | Self::Genesis => Some(Verdict::Fork),
            Self::Root
            | Self::Refused
            | Self::Chain
            | Self::State
            | Self::Personal
            | Self::LogKey => Some(Verdict::RulesBroken),
            Self::Signature => Some(Verdict::LogSignature),
            _ => None,
        }
    }

    /// Whether the finding stays true whatever the log shows later: it is about an entry under a
    /// signed root, or comes with evidence. The others are about what was served at the time, by
    /// the log or by something in between, and count in the run that saw them.
    pub const fn lasts(self) -> bool {
        !matches!(
            self,
            Self::Rollback
                | Self::Genesis
                | Self::Signature
                | Self::Stale
                | Self::Root
                | Self::Withheld
                | Self::Silent
        )
    }
}

impl From<FormRule> for Rule {
    fn from(rule: FormRule) -> Self {
        match rule {
            FormRule::A1 => Self::A1,
            FormRule::A2 => Self::A2,
            FormRule::A3 => Self::A3,
            FormRule::A4 => Self::A4,
            FormRule::A5 => Self::A5,
            FormRule::A6 => Self::A6,
            FormRule::A7 => Self::A7,
            FormRule::A11 => Self::A11,
            _ => Self::OtherForm,
        }
    }
}

/// The word for a severity, as findings print it.
pub const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
        _ => "unknown",
    }
}

/// Whose number it is that a finding puts beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Side {
    /// As the form has it.
    Written,
    /// Before a revision.
    Old,
    /// After it.
    New,
    /// Of the official tally.
    Official,
    /// Of the counter-tally.
    Counter,
    /// Of the machine reading.
    Machine,
    /// Of the signed form.
    Form,
    /// As a region declared it.
    Declared,
    /// As an authority published it.
    Published,
    /// As it follows from the tallies that count.
    Computed,
    /// Stations of which nothing is in the log.
    Missing,
    /// All stations.
    Stations,
}

impl Side {
    /// The word for it, as findings print it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Old => "old",
            Self::New => "new",
            Self::Official => "official",
            Self::Counter => "counter",
            Self::Machine => "machine",
            Self::Form => "form",
            Self::Declared => "declared",
            Self::Published => "published",
            Self::Computed => "computed",
            Self::Missing => "missing",
            Self::Stations => "stations",
        }
    }
}

/// A box of the form, or a code, and the numbers that stand against each other there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldNumbers {
    /// `votes.<option>`, `valid`, `invalid`, `total`, or the code of a region.
    pub field: String,
    /// The numbers, each with whose it is; `None` is unreadable.
    pub numbers: Vec<(Side, Option<u64>)>,
}

impl FieldNumbers {
    fn json(&self) -> Value {
        let mut object = json!({"field": self.field});
        for (side, number) in &self.numbers {
            object[side.word()] = json!(number);
        }
        object
    }
}

/// An entry of the log that proves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Its index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

impl From<ChainHead> for Proof {
    fn from(head: ChainHead) -> Self {
        Self { index: head.index, leaf: head.leaf }
    }
}

impl From<RecordHead> for Proof {
    fn from(head: RecordHead) -> Self {
        Self { index: head.index, leaf: head.leaf }
    }
}

/// A revision in parts, for those who count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The author.
    pub by: String,
    /// Why, as the entry says.
    pub reason: String,
    /// Place in the chain.
    pub seq: u32,
    /// Whether it is in the official chain.
    pub official: bool,
    /// If the recap changed by it: the region below the top whose sums did.
    pub region: Option<String>,
}

/// Something that a monitor noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that was broken.
    pub rule: Rule,
    /// Index of the entry, if it is about one.
    pub index: Option<u64>,
    /// Leaf hash of the entry.
    pub leaf: Option<Hash>,
    /// Further entries that prove it.
    pub others: Vec<Proof>,
    /// The numbers that it is about.
    pub fields: Vec<FieldNumbers>,
    /// If it is about a revision, what that is.
    pub revision: Option<Revision>,
    /// The contest of the tally.
    pub contest: Option<String>,
    /// The unit of the tally.
    pub unit: Option<String>,
    /// What exactly: numbers, codes and hashes, never text out of an entry that is not a code.
    pub detail: String,
    /// The evidence file, relative to the state directory.
    pub evidence: Option<String>,
}

impl Finding {
    /// A finding about the log as a whole.
    pub fn of_log(rule: Rule, detail: impl fmt::Display) -> Self {
        Self {
            rule,
            index: None,
            leaf: None,
            others: Vec::new(),
            fields: Vec::new(),
            revision: None,
            contest: None,
            unit: None,
            detail: detail.to_string(),
            evidence: None,
        }
    }

    /// A finding about the entry at `index`.
    pub fn of_entry(rule: Rule, index: u64, leaf: Hash, detail: impl fmt::Display) -> Self {
        Self { index: Some(index), leaf: Some(leaf), ..Self::of_log(rule, detail) }
    }

    /// A finding about a contest in a unit, proved by `entries`.
    pub fn of_unit(rule: Rule, contest: &str, unit: &str, entries: &[Proof]) -> Self {
        let (first, others) = entries.split_first().map_or((None, &[][..]), |(a, b)| (Some(a), b));
        Self {
            index: first.map(|first| first.index),
            leaf: first.map(|first| first.leaf),
            others: others.to_vec(),
            contest: Some(contest.to_owned()),
            unit: Some(unit.to_owned()),
            ..Self::of_log(rule, "")
        }
    }

    /// Every entry that proves it, the one that it is about first.
    pub fn entries(&self) -> impl Iterator<Item = Proof> + '_ {
        let first = self.index.zip(self.leaf).map(|(index, leaf)| Proof { index, leaf });
        first.into_iter().chain(self.others.iter().copied())
    }

    /// What a revision adds to the sums above it, box by box; nothing if the recap did not change.
    pub fn net(&self) -> impl Iterator<Item = (&str, i64)> {
        let counts = self.revision.as_ref().is_some_and(|revision| revision.region.is_some());
        let changes = self.fields.iter().filter(move |_| counts);
        changes.map(|change| (change.field.as_str(), fields::net(change)))
    }

    /// The finding as `--json` prints it.
    pub fn json(&self) -> Value {
        let revision = self.revision.as_ref().map(|revision| {
            let net = self.net().map(|(field, net)| (field.to_owned(), json!(net)));
            json!({
                "by": revision.by,
                "net": revision.region.is_some().then(|| net.collect::<serde_json::Map<_, _>>()),
                "official": revision.official,
                "reason": revision.reason,
                "region": revision.region,
                "seq": revision.seq,
            })
        });
        let proof = |proof: Proof| json!({"index": proof.index, "leaf": proof.leaf});
        json!({
            "contest": self.contest,
            "detail": self.detail,
            "entries": self.entries().map(proof).collect::<Vec<_>>(),
            "fields": self.fields.iter().map(FieldNumbers::json).collect::<Vec<_>>(),
            "evidence": self.evidence,
            "id": self.rule.id(),
            "index": self.index,
            "leaf": self.leaf,
            "revision": revision,
            "rule": self.rule.sentence(),
            "severity": severity_word(self.rule.severity()),
            "unit": self.unit,
        })
    }
}

impl fmt::Display for Finding {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = severity_word(self.rule.severity());
        write!(f, "{} {severity}: {}", self.rule.id(), self.rule.sentence())?;
        if let Some(index) = self.index {
            write!(f, "; entry {index}")?;
        }
        if let (Some(contest), Some(unit)) = (&self.contest, &self.unit) {
            write!(f, ", {contest} of unit {unit}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}
