//! The state of affairs at the audited head: where the tallies that count contradict each other,
//! what was declared above them, or what was published of them.
//!
//! Computed anew from the ledger each time, for all of it may be different after the next entry.

use std::collections::BTreeMap;

use jejak_proofs::tally::{
    Contest, ContestRecap, Count, Election, Flags, Ledger, Place, Recap, Record, Standing,
    UnitFacts, check_counts, counter,
};

use super::{
    fields,
    finding::{FieldNumbers, Finding, Proof, Rule, Side},
    revision,
    summary::{COUNTED, ContestSummary, RegionSummary, RuleCounts},
};

/// Regions that one finding about coverage names.
const REGIONS_NAMED_MAX: usize = 100;

/// Counts what stands in the ledger, and tells `found` every finding about it. Sums of regions are
/// those that were settled last.
pub fn survey(ledger: &Ledger, found: &mut dyn FnMut(Finding)) -> Vec<ContestSummary> {
    let (Some(election), Some(recap)) = (ledger.election(), ledger.recap()) else {
        return Vec::new();
    };
    let survey = |recap| Survey::new(ledger, election, recap).run(found);
    Recap::contests(recap).iter().map(survey).collect()
}

/// One contest on the way.
struct Survey<'a> {
    ledger: &'a Ledger,
    election: &'a Election,
    recap: &'a ContestRecap,
    summary: ContestSummary,
    /// Row of the region below the top that is being walked through.
    region: Option<usize>,
}

impl<'a> Survey<'a> {
    fn new(ledger: &'a Ledger, election: &'a Election, recap: &'a ContestRecap) -> Self {
        let contest = recap.contest();
        let boxes = fields::boxes(contest);
        let summary = ContestSummary {
            contest: contest.id.clone(),
            whole: row(recap, 0),
            regions: Vec::new(),
            official: 0,
            observer: 0,
            declared: 0,
            official_rules: RuleCounts::default(),
            observer_rules: RuleCounts::default(),
            differing: vec![0; boxes.len()],
            misdeclared: BTreeMap::new(),
            counters: recap.counters(0),
            boxes,
        };
        Self { ledger, election, recap, summary, region: None }
    }

    fn contest(&self) -> &'a Contest {
        self.recap.contest()
    }

    fn run(mut self, found: &mut dyn FnMut(Finding)) -> ContestSummary {
        let shape = self.recap.shape();
        for place in 0..shape.count() as Place {
            let station = shape.is_station(place);
            if shape.parent(place) == Some(0) {
                self.region = (!station).then_some(self.summary.regions.len());
                self.summary.regions.extend((!station).then(|| row(self.recap, place)));
            }
            let record = self.recap.record(place);
            if station {
                self.station(place, &record, found);
            } else if record.head.is_some() {
                self.declared(place, &record, found);
            }
        }
        if self.summary.spoken_of() {
            self.coverage(found);
        }
        self.summary
    }

    /// Counts in the region that is being walked through and in the whole.
    fn count(&mut self, count: impl Fn(&mut RegionSummary)) {
        count(&mut self.summary.whole);
        if let Some(region) = self.region {
            count(&mut self.summary.regions[region]);
        }
    }

    fn standings(&self, place: Place) -> Vec<Standing> {
        self.ledger.standings(self.contest().id.as_str(), self.recap.code(place))
    }

    fn station(&mut self, place: Place, record: &Record, found: &mut dyn FnMut(Finding)) {
        self.count(|row| row.stations += 1);
        if record.entries == 0 {
            self.count(|row| row.silent += 1);
            return;
        }
        let facts = self.election.unit_facts(self.recap.shape().slot(place));
        let standings = self.standings(place);
        self.observers(&standings, &facts);
        let Some(official) = counting(&standings, record) else { return };
        self.summary.official += 1;
        self.count(|row| row.reported += 1);
        let flags = check_counts(&official.counts, &facts);
        self.summary.official_rules.add(flags);
        if COUNTED.iter().any(|rule| flags.contains(*rule)) {
            self.count(|row| row.flagged += 1);
        }
        self.differing(place, official, &standings, &facts, found);
    }

    /// The newest tally of every other author, by the rounds of the manifest.
    fn observers(&mut self, standings: &[Standing], facts: &UnitFacts) {
        let rounds = &self.election.manifest.rounds;
        let rank = |standing: &Standing| rounds.iter().position(|r| *r == standing.round);
        let others = || standings.iter().filter(|s| s.owner.is_some() && !s.withdrawn);
        let mut broken = Flags::default();
        for standing in others() {
            let later =
                |other: &Standing| other.owner == standing.owner && rank(other) > rank(standing);
            if !others().any(later) {
                self.summary.observer += 1;
                broken = broken.union(check_counts(&standing.counts, facts));
            }
        }
        self.summary.observer_rules.add(broken);
    }

    /// X1: one finding for each counter-tally of the round that counts.
    fn differing(
        &mut self,
        place: Place,
        official: &Standing,
        standings: &[Standing],
        facts: &UnitFacts,
        found: &mut dyn FnMut(Finding),
    ) {
        let mut differing = vec![false; self.summary.boxes.len()];
        let ours = fields::wide(&official.counts);
        for counter in standings {
            let (Some(author), false) = (&counter.owner, counter.withdrawn) else { continue };
            if counter.round != official.round {
                continue;
            }
            let theirs = fields::wide(&counter.counts);
            let fields = fields::differences(
                &self.summary.boxes,
                (Side::Official, &ours),
                (Side::Counter, &theirs),
            );
            if fields.is_empty() {
                continue;
            }
            for (differs, (a, b)) in differing.iter_mut().zip(ours.iter().zip(&theirs)) {
                *differs |= a.zip(*b).is_some_and(|(a, b)| a != b);
            }
            let detail = format!(
                "{}; the official tally {}, that of {author} {}",
                revision::list(&fields),
                fields::self_consistency(&official.counts, facts),
                fields::self_consistency(&counter.counts, facts),
            );
            let proof = [official.head.into(), counter.head.into()];
            found(self.finding(Rule::Differ, place, &proof, fields, detail));
        }
        if differing.contains(&true) {
            self.count(|row| row.differing += 1);
            for (count, differs) in self.summary.differing.iter_mut().zip(differing) {
                *count += u64::from(differs);
            }
        }
    }

    /// G1: a declared recap beside the sums of the tallies that count below it.
    fn declared(&mut self, place: Place, record: &Record, found: &mut dyn FnMut(Finding)) {
        let standings = self.standings(place);
        let Some(declared) = counting(&standings, record) else { return };
        self.summary.declared += 1;
        let counters = self.recap.counters(place);
        let sums = counters.iter().copied().map(Some);
        let sums: Vec<Option<u64>> = sums.take(self.summary.boxes.len()).collect();
        let fields = fields::differences(
            &self.summary.boxes,
            (Side::Declared, &fields::wide(&declared.counts)),
            (Side::Computed, &sums),
        );
        if fields.is_empty() {
            return;
        }
        self.count(|row| row.misdeclared += 1);
        let kind = self.election.units.kind(self.recap.shape().slot(place)).clone();
        let options = self.contest().options.len();
        let [stations, reported] = [counter::STATIONS, counter::REPORTED]
            .map(|at| counters.get(options + at).copied().unwrap_or(0));
        let detail = format!(
            "{}; {reported} of {stations} stations of this {kind} have a result",
            revision::list(&fields)
        );
        *self.summary.misdeclared.entry(kind).or_default() += 1;
        found(self.finding(Rule::Declared, place, &[declared.head.into()], fields, detail));
    }

    /// X3: stations of which nothing is in the log, by region.
    fn coverage(&self, found: &mut dyn FnMut(Finding)) {
        let ContestSummary { whole, regions, .. } = &self.summary;
        if whole.silent == 0 {
            return;
        }
        let silent: Vec<_> = regions.iter().filter(|row| row.silent > 0).collect();
        let fields = silent.iter().take(REGIONS_NAMED_MAX).map(|row| FieldNumbers {
            field: row.unit.clone(),
            numbers: vec![(Side::Missing, Some(row.silent)), (Side::Stations, Some(row.stations))],
        });
        let fields: Vec<FieldNumbers> = fields.collect();
        let mut detail = format!("{} of {} stations", whole.silent, whole.stations);
        if !fields.is_empty() {
            detail = format!("{detail}; {}", revision::list(&fields));
        }
        if silent.len() > REGIONS_NAMED_MAX {
            detail = format!("{detail}; and {} regions more", silent.len() - REGIONS_NAMED_MAX);
        }
        found(self.finding(Rule::Coverage, 0, &[], fields, detail));
    }

    fn finding(
        &self,
        rule: Rule,
        place: Place,
        proof: &[Proof],
        fields: Vec<FieldNumbers>,
        detail: String,
    ) -> Finding {
        let (contest, unit) = (self.contest().id.as_str(), self.recap.code(place));
        Finding { fields, detail, ..Finding::of_unit(rule, contest, unit, proof) }
    }
}

/// The official tally that counts, among the chains of its unit.
fn counting<'s>(standings: &'s [Standing], record: &Record) -> Option<&'s Standing> {
    let head = record.head?;
    standings.iter().find(|standing| {
        standing.owner.is_none() && standing.head.index == head.index && !standing.withdrawn
    })
}

fn row(recap: &ContestRecap, place: Place) -> RegionSummary {
    let (unit, slot) = (recap.code(place).to_owned(), recap.shape().slot(place));
    RegionSummary { unit, name: recap.units().name(slot).to_owned(), ..RegionSummary::default() }
}

/// What an authority published, to be compared with the recap.
#[derive(Clone, Debug)]
pub struct Published {
    /// The contest.
    pub contest: String,
    /// What it is called in findings: the SHA-256 of the file.
    pub name: String,
    /// Units with their numbers by box; what is not there is not compared.
    pub rows: Vec<(String, Vec<(String, Count)>)>,
}

impl Published {
    /// Whether the election of the log has this contest and all options that are named.
    ///
    /// # Errors
    /// Says what it has not.
    pub fn fits(&self, ledger: &Ledger) -> Result<(), String> {
        let found = ledger.recap().and_then(|recap| recap.find(&self.contest));
        let (_, recap) = found.ok_or_else(|| format!("the log has no contest {}", self.contest))?;
        let boxes = fields::boxes(recap.contest());
        let mut named = self.rows.iter().flat_map(|(_, numbers)| numbers);
        match named.find(|(field, _)| !boxes.contains(field)) {
            Some((field, _)) => Err(format!("contest {} has no {field}", self.contest)),
            None => Ok(()),
        }
    }

    /// G4: tells `found` every unit whose published numbers are not those of the recap.
    pub fn compare(&self, ledger: &Ledger, found: &mut dyn FnMut(Finding)) {
        let Some((_, recap)) = ledger.recap().and_then(|recap| recap.find(&self.contest)) else {
            return;
        };
        let boxes = fields::boxes(recap.contest());
        for (unit, numbers) in &self.rows {
            let Some(place) = recap.find(unit) else {
                let detail = format!("{}: this unit takes no part in the contest", self.name);
                let finding = Finding::of_unit(Rule::Published, &self.contest, unit, &[]);
                found(Finding { detail, ..finding });
                continue;
            };
            let published: Vec<Option<u64>> = boxes
                .iter()
                .map(|field| numbers.iter().find(|(named, _)| named == field))
                .map(|number| number.and_then(|(_, count)| count.map(u64::from)))
                .collect();
            let sums: Vec<_> = recap.counters(place).into_iter().map(Some).collect();
            let fields =
                fields::differences(&boxes, (Side::Published, &published), (Side::Computed, &sums));
            if fields.is_empty() {
                continue;
            }
            let proof: Vec<Proof> = match recap.shape().is_station(place) {
                true => recap.record(place).head.map(Proof::from).into_iter().collect(),
                false => Vec::new(),
            };
            let detail = format!("{}: {}", self.name, revision::list(&fields));
            let finding = Finding::of_unit(Rule::Published, &self.contest, unit, &proof);
            found(Finding { fields, detail, ..finding });
        }
    }
}
