//! What a run found, for people: counts by rule, and what must be published at once.

use std::{collections::BTreeMap, fmt};

use jejak_proofs::tally::Severity;
use serde_json::{Value, json};

use super::finding::{Rule, Verdict, severity_word};

/// How many findings of each rule there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    counts: BTreeMap<Rule, u64>,
}

impl Summary {
    /// Counts one more.
    pub fn add(&mut self, rule: Rule) {
        *self.counts.entry(rule).or_default() += 1;
    }

    /// How many findings of this rule there are.
    pub fn count(&self, rule: Rule) -> u64 {
        self.counts.get(&rule).copied().unwrap_or(0)
    }

    /// The worst that the findings convict the log of.
    pub fn verdict(&self) -> Option<Verdict> {
        self.counts.keys().filter_map(|rule| rule.verdict()).min()
    }

    /// The findings that stay true whatever the log shows later.
    pub fn lasting(&self) -> Self {
        let lasting = self.counts.iter().filter(|(rule, _)| rule.lasts());
        Self { counts: lasting.map(|(rule, count)| (*rule, *count)).collect() }
    }

    /// Adds findings that are not in here yet; a rule that is counted in both keeps the larger count.
    pub fn merge(&mut self, other: &Self) {
        for (rule, count) in &other.counts {
            let ours = self.counts.entry(*rule).or_default();
            *ours = (*ours).max(*count);
        }
    }

    /// The worst severity among the findings.
    pub fn severity(&self) -> Option<Severity> {
        self.counts.keys().map(|rule| rule.severity()).max()
    }

    /// The counts by id, as `--json` prints them.
    pub fn json(&self) -> Value {
        let mut by_id: BTreeMap<&str, u64> = BTreeMap::new();
        for (rule, count) in &self.counts {
            *by_id.entry(rule.id()).or_default() += count;
        }
        json!(by_id)
    }
}

impl fmt::Display for Summary {
    /// A table, the most severe first; a line that says so if there is nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts.is_empty() {
            return write!(f, "no findings");
        }
        let mut rows: Vec<_> = self.counts.iter().collect();
        rows.sort_by_key(|(rule, _)| (std::cmp::Reverse(rule.severity()), **rule));
        for (position, (rule, count)) in rows.into_iter().enumerate() {
            let newline = if position == 0 { "" } else { "\n" };
            let severity = severity_word(rule.severity());
            let (id, sentence) = (rule.id(), rule.sentence());
            write!(f, "{newline}{id:<4}{severity:<9}{count:>9}  {sentence}")?;
        }
        Ok(())
    }
}
