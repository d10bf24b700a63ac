//! What holds at the audited head, said once: findings that the next entry may undo are computed
//! anew by each poll, and what is kept of them is only that they were said.

use jejak_proofs::{merkle::sha256, tally::Ledger};

use super::{
    Monitor, PollError, Source, Watch,
    affairs::{Published, survey},
    audit::Auditor,
    finding::{Finding, Rule},
    memory::Memory,
    report::Summary,
    summary::ContestSummary,
};
use crate::state::StateError;

const CURRENT: &str = "current";

/// A part of a hash, by which a finding is known again.
type Print = [u8; 16];

/// The state of affairs at a head.
#[derive(Debug)]
pub(super) struct Affairs {
    /// Entries that it rests on.
    size: u64,
    contests: Vec<ContestSummary>,
    counts: Summary,
}

/// Prints of the findings that held at the last head, ascending.
pub(super) fn known(memory: &Memory) -> Result<Vec<Print>, StateError> {
    let bytes = memory.derived(CURRENT)?.unwrap_or_default();
    let mut prints = bytes.as_chunks().0.to_vec();
    prints.sort_unstable();
    Ok(prints)
}

/// Coverage changes with every entry: it is news only once.
fn print(finding: &Finding) -> Print {
    let text = match finding.rule {
        Rule::Coverage => format!("X3 {:?}", finding.contest),
        _ => finding.json().to_string(),
    };
    *sha256(text.as_bytes()).as_bytes().first_chunk().expect("a hash is longer")
}

/// Every finding about the state of affairs, and what there is to count.
fn look(
    ledger: &Ledger,
    published: Option<&Published>,
    found: &mut dyn FnMut(Finding),
) -> Vec<ContestSummary> {
    let contests = survey(ledger, found);
    if let Some(published) = published {
        published.compare(ledger, found);
    }
    contests
}

impl<S: Source> Monitor<'_, S> {
    /// Finds what holds now, if everything is audited and there is something new to look at.
    pub(super) fn assess(&mut self, watch: &Watch<'_>) -> Result<(), PollError> {
        let size = self.memory.frontier().size();
        let Some(auditor) = self.auditor.as_mut() else { return Ok(()) };
        let looked = self.affairs.as_ref().is_some_and(|affairs| affairs.size == size);
        let ledger = auditor.ledger();
        if looked || ledger.size() < size {
            return Ok(());
        }
        let (mut counts, mut prints) = (Summary::default(), Vec::new());
        let known = &self.known;
        let contests = look(ledger, self.published.as_ref(), &mut |finding| {
            counts.add(finding.rule);
            let print = print(&finding);
            prints.push(print);
            if known.binary_search(&print).is_err() {
                (watch.found)(&finding);
            }
        });
        prints.sort_unstable();
        if prints != self.known {
            self.memory.save_derived(CURRENT, |file| file.write_all(prints.as_flattened()))?;
            self.known = prints;
        }
        self.affairs = Some(Affairs { size, contests, counts });
        Ok(())
    }

    /// Each contest in numbers, as of the last head that was audited whole.
    pub fn contests(&self) -> &[ContestSummary] {
        self.affairs.as_ref().map_or(&[], |affairs| &affairs.contests)
    }

    /// Counts of the findings about the state of affairs that hold at that head.
    pub(super) fn current(&self) -> Summary {
        self.affairs.as_ref().map(|affairs| affairs.counts.clone()).unwrap_or_default()
    }

    /// Compares published numbers with the recap of every head from now on.
    pub fn compare_with(&mut self, published: Published) {
        self.published = Some(published);
        self.affairs = None;
    }

    /// Whether the log has what the published numbers are about; nothing is known before the first
    /// head is audited.
    ///
    /// # Errors
    /// Says what the log has not.
    pub fn published_fits(&mut self) -> Result<(), String> {
        match (&self.published, self.auditor.as_mut()) {
            (Some(published), Some(auditor)) if self.affairs.is_some() => {
                published.fits(auditor.ledger())
            }
            _ => Ok(()),
        }
    }

    /// Visits every finding about the state of affairs at the head that was audited last, in this
    /// run or before.
    pub(super) fn each_current(
        &mut self,
        found: &mut dyn FnMut(Finding),
    ) -> Result<Vec<ContestSummary>, StateError> {
        if self.auditor.is_none() {
            self.auditor = Some(Auditor::restore(&self.memory, self.origin)?);
        }
        let Some(auditor) = self.auditor.as_mut() else { return Ok(Vec::new()) };
        let ledger = auditor.ledger();
        if ledger.size() < self.memory.audited() {
            return Ok(Vec::new());
        }
        Ok(look(ledger, self.published.as_ref(), found))
    }
}
