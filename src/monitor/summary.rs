//! The state of affairs in numbers: what counts, what differs and what is missing, by contest and by
//! region. A pure function of the ledger, once its sums are settled.

use std::{collections::BTreeMap, fmt};

use jejak_proofs::tally::{Flags, FormRule, Id, Word, counter};
use serde_json::{Map, Value, json};

use super::fields;

/// The form rules that are counted, by what the head of a chain keeps of a form.
pub const COUNTED: [FormRule; 4] = [FormRule::A1, FormRule::A2, FormRule::A6, FormRule::A7];

/// Rows of a table that people read.
const TEXT_ROWS_MAX: usize = 60;

/// Stations whose form breaks a rule, by [`COUNTED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts([u64; COUNTED.len()]);

impl RuleCounts {
    /// Counts the station once for each rule that it breaks.
    pub fn add(&mut self, flags: Flags) {
        for (count, rule) in self.0.iter_mut().zip(COUNTED) {
            *count += u64::from(flags.contains(rule));
        }
    }

    /// Stations that break `rule`; none for a rule that is not counted.
    pub fn count(&self, rule: FormRule) -> u64 {
        let at = COUNTED.iter().position(|counted| *counted == rule);
        at.map_or(0, |at| self.0[at])
    }
}

/// A region below the top, or the top itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionSummary {
    /// Its code.
    pub unit: String,
    /// Its name.
    pub name: String,
    /// Stations that take part.
    pub stations: u64,
    /// Stations with an official tally that has a value.
    pub reported: u64,
    /// Stations of which nothing is in the log.
    pub silent: u64,
    /// Stations whose official tally breaks one of [`COUNTED`].
    pub flagged: u64,
    /// Stations at which official tally and a counter-tally differ (X1).
    pub differing: u64,
    /// Declared recaps in it that differ from the computed ones (G1).
    pub misdeclared: u64,
}

impl RegionSummary {
    /// Stations that reported, in tenths of a percent.
    pub fn coverage(&self) -> u64 {
        (self.reported * 1_000).checked_div(self.stations).unwrap_or(0)
    }

    fn json(&self) -> Value {
        json!({
            "G1": self.misdeclared,
            "X1": self.differing,
            "coverage": format!("{}.{}", self.coverage() / 10, self.coverage() % 10),
            "flagged": self.flagged,
            "name": self.name,
            "reported": self.reported,
            "silent": self.silent,
            "stations": self.stations,
            "unit": self.unit,
        })
    }
}

/// One contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContestSummary {
    /// Its id.
    pub contest: Id,
    /// `votes.<option>` of every option, `valid`, `invalid`, `total`.
    pub boxes: Vec<String>,
    /// All of it.
    pub whole: RegionSummary,
    /// The regions just below the top.
    pub regions: Vec<RegionSummary>,
    /// Stations whose official tally counts.
    pub official: u64,
    /// Tallies of other authors that stand: at each station one of each author.
    pub observer: u64,
    /// Regions whose declared recap counts.
    pub declared: u64,
    /// Stations that break a rule by the official tally.
    pub official_rules: RuleCounts,
    /// Stations that break a rule by another author's tally.
    pub observer_rules: RuleCounts,
    /// Stations at which official and counter-tally differ, by box.
    pub differing: Vec<u64>,
    /// Declared recaps that differ from the computed ones, by kind of the region.
    pub misdeclared: BTreeMap<Word, u64>,
    /// The counters at the top.
    pub counters: Vec<u64>,
}

impl ContestSummary {
    /// Whether the log holds anything about it.
    pub fn spoken_of(&self) -> bool {
        self.whole.silent < self.whole.stations || self.declared > 0
    }

    /// Sums that the recap has at the top: by box.
    pub fn recap(&self) -> impl Iterator<Item = (&str, u64)> {
        self.boxes.iter().map(String::as_str).zip(self.counters.iter().copied())
    }

    /// The counter at this place behind the options.
    pub fn counter(&self, place: usize) -> u64 {
        let options = self.boxes.len().saturating_sub(fields::SUMS);
        self.counters.get(options + place).copied().unwrap_or(0)
    }

    /// The contest in a few numbers: which rules its forms break, where counts differ, where what
    /// was declared does not follow, and the sums that do follow.
    pub fn brief(&self) -> Value {
        let differing = self.boxes.iter().zip(&self.differing);
        let differing: Map<_, _> = differing.map(|(field, n)| (field.clone(), json!(n))).collect();
        let kinds = self.misdeclared.iter().map(|(kind, n)| (kind.to_string(), json!(n)));
        let recap = self.recap().map(|(field, sum)| (field.to_owned(), json!(sum)));
        let mut object = json!({
            "G1": {
                "kinds": kinds.collect::<Map<_, _>>(),
                "units": self.misdeclared.values().sum::<u64>(),
            },
            "X1": {"fields": differing, "units": self.whole.differing},
            "recap": recap.collect::<Map<_, _>>(),
            "tallies": {
                "declared": self.declared,
                "observer": self.observer,
                "official": self.official,
            },
        });
        for rule in COUNTED {
            object[rule.id()] = json!({
                "observer": self.observer_rules.count(rule),
                "official": self.official_rules.count(rule),
            });
        }
        object
    }

    /// The contest by region, and what became of its stations.
    pub fn regional(&self) -> Value {
        json!({
            "regions": self.regions.iter().map(RegionSummary::json).collect::<Vec<_>>(),
            "status": {
                "corrected": self.counter(counter::CORRECTED),
                "disputed": self.counter(counter::DISPUTED),
                "unreadable": self.counter(counter::UNREADABLE),
            },
            "summary": self.brief(),
            "whole": self.whole.json(),
        })
    }
}

impl fmt::Display for ContestSummary {
    /// A table by region for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sums: Vec<String> = self.recap().map(|(field, sum)| format!("{field} {sum}")).collect();
        writeln!(f, "{}: {}", self.contest, sums.join(", "))?;
        write!(
            f,
            "{:<12}{:<28}{:>10}{:>10}{:>8}{:>9}{:>8}{:>7}",
            "unit", "name", "stations", "reported", "%", "flagged", "X1", "G1"
        )?;
        let shown = self.regions.iter().take(TEXT_ROWS_MAX);
        for row in shown.chain([&self.whole]) {
            let name: String = row.name.chars().take(26).collect();
            let percent = format!("{}.{}", row.coverage() / 10, row.coverage() % 10);
            write!(
                f,
                "\n{:<12}{name:<28}{:>10}{:>10}{percent:>8}{:>9}{:>8}{:>7}",
                row.unit, row.stations, row.reported, row.flagged, row.differing, row.misdeclared
            )?;
        }
        match self.regions.len().saturating_sub(TEXT_ROWS_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} regions more"),
        }
    }
}
