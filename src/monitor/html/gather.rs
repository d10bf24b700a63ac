//! What a report shows of the findings: all of them counted, the first of each rule in full.

use std::collections::BTreeMap;

use crate::monitor::finding::{Finding, Rule};

/// Findings of one rule that are listed.
pub const ROWS_MAX: usize = 250;

/// Parts of the log over which revisions are counted.
pub const SPANS: usize = 60;

/// Regions whose sums are followed through the revisions.
const REGIONS_MAX: usize = 10_000;

/// The findings of one rule.
#[derive(Default)]
pub struct OfRule {
    pub count: u64,
    /// The first ones.
    pub rows: Vec<Finding>,
}

/// What the revisions in one region add to the sums of one contest, by box.
pub type Effects = BTreeMap<(String, String), BTreeMap<String, i64>>;

/// All findings, as far as a page has room for them.
pub struct Gathered {
    size: u64,
    pub rules: BTreeMap<Rule, OfRule>,
    /// Revisions by where in the log they stand.
    pub revisions: [u64; SPANS],
    pub effects: Effects,
}

impl Gathered {
    /// Nothing yet, of a log with this many entries.
    pub fn new(size: u64) -> Self {
        let (rules, effects) = (BTreeMap::new(), BTreeMap::new());
        Self { size, rules, revisions: [0; SPANS], effects }
    }

    pub fn add(&mut self, finding: Finding) {
        if let (Some(revision), Some(index)) = (&finding.revision, finding.index) {
            let span = index.saturating_mul(SPANS as u64).checked_div(self.size).unwrap_or(0);
            self.revisions[(span as usize).min(SPANS - 1)] += 1;
            if let (Some(contest), Some(region)) = (&finding.contest, &revision.region) {
                self.effect((contest.clone(), region.clone()), &finding);
            }
        }
        let of_rule = self.rules.entry(finding.rule).or_default();
        of_rule.count += 1;
        if of_rule.rows.len() < ROWS_MAX {
            of_rule.rows.push(finding);
        }
    }

    fn effect(&mut self, place: (String, String), finding: &Finding) {
        if self.effects.len() >= REGIONS_MAX && !self.effects.contains_key(&place) {
            return;
        }
        let sums = self.effects.entry(place).or_default();
        for (field, net) in finding.net() {
            let sum = sums.entry(field.to_owned()).or_default();
            *sum = sum.saturating_add(net);
        }
    }

    /// Index of the first entry of a span.
    pub fn span_start(&self, span: usize) -> u64 {
        self.size.saturating_mul(span as u64) / SPANS as u64
    }
}
