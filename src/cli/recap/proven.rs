//! The part of `jejak verify` that judges recap proofs, and says what they prove and what not.

use std::path::Path;

use jejak_proofs::{
    note::{Cosignature, Policy, Receipt},
    tally::{
        Body, Count, Entry, ProvenRecap, ProvenUnit, RecapProof, RecapProofError, RecordHead,
        Tally, counter,
    },
};
use serde_json::{Value, json};

use super::counters::{Counters, FIXED_NAMES, Table, grouped, status_word};
use crate::cli::{
    exit::{Exit, Failure},
    files,
    output::Output,
    verify::{exit_of_checkpoint, exit_of_receipt},
};

/// Most options whose totals are named in a sentence.
const OPTIONS_NAMED_MAX: usize = 3;

/// What nobody but a recount proves.
const LIMITS: &str = "This proves that the log has committed in public to these numbers, and that \
    they are\ncontained in every total above. That it is the right head, and that no entry about \
    the unit was\nleft out, is proved by a witness that recounts, or by your own replay: jejak \
    recap export, jejak\nmonitor. Transparency evidence, not the official result.";

/// Reads and verifies a recap proof.
pub fn read(path: &Path, bytes: &[u8], policy: &Policy) -> Result<ProvenRecap, Failure> {
    let fail = |error: RecapProofError| {
        Failure::new(exit_of_proof(&error), format!("{}: {error}", path.display()))
    };
    RecapProof::parse(bytes).and_then(|proof| proof.verify(policy)).map_err(fail)
}

/// Prints what a recap proof shows.
pub fn verify(proven: &ProvenRecap, policy: &Policy, output: &Output) -> Result<(), Failure> {
    print(proven, policy, None, output)
}

/// Prints what a recap proof shows, and says whether the entry in `note` is the head that counts.
pub fn verify_form(
    note: &Path,
    entry: &Entry,
    proven: &ProvenRecap,
    policy: &Policy,
    output: &Output,
) -> Result<Exit, Failure> {
    let form = Form::judge(note, entry, proven, policy)?;
    print(proven, policy, Some(&form), output)?;
    Ok(form.standing.exit())
}

/// The exit code of a recap proof that does not verify.
pub fn exit_of_proof(error: &RecapProofError) -> Exit {
    match error {
        RecapProofError::Receipt(error) => match exit_of_receipt(error) {
            Exit::Failure => Exit::RecapMismatch,
            exit => exit,
        },
        _ => Exit::RecapMismatch,
    }
}

/// How a form stands to the head that counts.
enum Standing {
    /// It is the one.
    Counts,
    /// It is logged, and one that was logged later counts.
    Superseded { index: u64, by: u64 },
    /// Another one counts, or none; the form is not shown to be an older one.
    Differs,
    /// Nothing at all about the unit is in the log.
    Absent,
    /// It was logged after the proof was made.
    TooNew { index: u64 },
}

impl Standing {
    const fn exit(&self) -> Exit {
        match self {
            Self::Counts => Exit::Ok,
            Self::Superseded { .. } => Exit::Superseded,
            Self::Differs => Exit::Differs,
            Self::Absent => Exit::NotInLog,
            Self::TooNew { .. } => Exit::TryAgain,
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Superseded { .. } => "superseded",
            Self::Differs => "differs",
            Self::Absent => "absent",
            Self::TooNew { .. } => "too_new",
        }
    }
}

/// A form beside a proof of its unit.
struct Form {
    name: String,
    standing: Standing,
    /// Field, number on the form, number that counts.
    differences: Vec<(String, Count, u64)>,
}

impl Form {
    fn judge(
        note: &Path,
        entry: &Entry,
        proven: &ProvenRecap,
        policy: &Policy,
    ) -> Result<Self, Failure> {
        let name = note.display().to_string();
        let Body::Tally(tally) = entry.body() else {
            let message = format!("{name} is a {}, not a form", entry.body().kind());
            return Err(Failure::new(Exit::Failure, message));
        };
        let unit = &proven.units[0];
        if tally.contest != proven.contest || tally.unit != unit.unit {
            let message = format!(
                "{name} is about {} in {}, the proof about {} in {}",
                tally.unit, tally.contest, unit.unit, proven.contest
            );
            return Err(Failure::new(Exit::Differs, message));
        }
        // A receipt that does not fit this form says nothing about it.
        let receipt = files::read(&note.with_extension("tlog-proof")).ok();
        let receipt = receipt.and_then(|bytes| Receipt::parse(&bytes).ok());
        let logged = receipt.filter(|receipt| receipt.verify(entry.bytes(), policy).is_ok());
        let logged = logged.map(|receipt| receipt.index);
        let standing = match (unit.record.head, logged) {
            (Some(RecordHead { leaf, .. }), _) if leaf == entry.leaf() => Standing::Counts,
            (_, Some(index)) if index >= proven.state.size => Standing::TooNew { index },
            (Some(head), Some(index)) if index < head.index => {
                Standing::Superseded { index, by: head.index }
            }
            (None, _) if unit.record.entries == 0 => Standing::Absent,
            _ => Standing::Differs,
        };
        let counted = matches!(unit.record.head, Some(head) if head.leaf != entry.leaf());
        let differences = match counted && unit.below.is_none() {
            true => differences(tally, unit, proven),
            false => Vec::new(),
        };
        Ok(Self { name, standing, differences })
    }

    fn text(&self, unit: &ProvenUnit) -> String {
        let name = &self.name;
        let mut text = match self.standing {
            Standing::Counts => format!("{name} is the form that counts."),
            Standing::Superseded { index, by } => {
                format!("{name} is entry {index}; entry {by}, logged later, counts in its place.")
            }
            Standing::Differs => match unit.record.head {
                Some(head) => format!(
                    "{name} is not the form that counts: entry {} is. Whether it was ever logged \
                     shows its receipt.",
                    head.index
                ),
                None => format!("{name} does not count: no official tally of {} does.", unit.unit),
            },
            Standing::Absent => {
                format!("{name} is not in the log: nothing about {} is.", unit.unit)
            }
            Standing::TooNew { index } => format!(
                "{name} is entry {index}, logged after this proof was made.\n\
                 next: jejak recap prove"
            ),
        };
        for (field, written, counted) in &self.differences {
            let written = written.map_or("unreadable".to_owned(), |number| grouped(number.into()));
            text += &format!("\n  {field}: {written} on the form, {} counted", grouped(*counted));
        }
        text
    }

    fn json(&self) -> Value {
        let differences = self.differences.iter().map(|(field, written, counted)| {
            (field.clone(), json!({"counted": counted, "written": written}))
        });
        json!({
            "counts": matches!(self.standing, Standing::Counts),
            "differences": differences.collect::<serde_json::Map<_, _>>(),
            "file": self.name,
            "standing": self.standing.word(),
        })
    }
}

/// Where the form and the head that counts say different numbers; null counts as zero there.
fn differences(
    tally: &Tally,
    unit: &ProvenUnit,
    proven: &ProvenRecap,
) -> Vec<(String, Count, u64)> {
    let counters = Counters::new(&proven.options, &unit.counters);
    let votes = counters.votes().map(|(option, counted)| {
        (format!("votes.{option}"), tally.votes.get(option).copied().flatten(), counted)
    });
    let sums = [
        (counter::VALID, tally.valid),
        (counter::INVALID, tally.invalid),
        (counter::TOTAL, tally.total),
    ];
    let sums = sums
        .into_iter()
        .map(|(place, written)| (FIXED_NAMES[place].to_owned(), written, counters.fixed(place)));
    let differs =
        |(_, written, counted): &(String, Count, u64)| u64::from(written.unwrap_or(0)) != *counted;
    votes.chain(sums).filter(differs).collect()
}

fn print(
    proven: &ProvenRecap,
    policy: &Policy,
    form: Option<&Form>,
    output: &Output,
) -> Result<(), Failure> {
    let cosignatures = policy
        .cosignatures(&proven.checkpoint)
        .map_err(|error| Failure::new(exit_of_checkpoint(&error), error))?;
    let witnesses: Vec<&str> = cosignatures.iter().map(|line| line.witness.name.as_str()).collect();
    let recounted = recounted(&cosignatures);
    output.result(
        || text(proven, &witnesses, &recounted, form),
        &json!({
            "above": proven.units[1..].iter().map(|unit| object(proven, unit)).collect::<Vec<_>>(),
            "contest": proven.contest,
            "counters": Counters::new(&proven.options, &proven.units[0].counters).json(),
            "form": form.map(Form::json),
            "manifest": proven.state.manifest,
            "official": false,
            "ok": form.is_none_or(|form| matches!(form.standing, Standing::Counts)),
            "options": proven.options,
            "origin": proven.checkpoint.origin(),
            "proves": "committed",
            "record": proven.units[0].record,
            "recounted": recounted,
            "root": proven.checkpoint.head().root,
            "size": proven.checkpoint.head().size,
            "status": status_word(proven.units[0].record.status),
            "unit": proven.units[0].unit,
            "witnesses": witnesses,
        }),
    );
    Ok(())
}

fn object(proven: &ProvenRecap, unit: &ProvenUnit) -> Value {
    let counters = Counters::new(&proven.options, &unit.counters).json();
    json!({"counters": counters, "record": unit.record, "unit": unit.unit})
}

/// Those who cosigned only after a replay.
pub fn recounted<'p>(cosignatures: &[Cosignature<'p>]) -> Vec<&'p str> {
    let recounts = cosignatures.iter().filter(|cosignature| cosignature.witness.recounts);
    recounts.map(|cosignature| cosignature.witness.name.as_str()).collect()
}

/// Who vouches that the sums follow from all entries.
pub fn recounted_by(names: &[&str]) -> String {
    match names.is_empty() {
        true => "not recounted: as the log computed it".to_owned(),
        false => format!("recounted by {}", names.join(", ")),
    }
}

fn text(
    proven: &ProvenRecap,
    witnesses: &[&str],
    recounted: &[&str],
    form: Option<&Form>,
) -> String {
    let unit = &proven.units[0];
    let seen = match witnesses.is_empty() {
        true => "no witness".to_owned(),
        false => witnesses.join(", "),
    };
    let size = proven.checkpoint.head().size;
    let counts = form.is_none_or(|form| matches!(form.standing, Standing::Counts));
    let verdict = form.map_or(String::new(), |form| form.text(unit) + "\n");
    let inside = inside(proven).map_or(String::new(), |inside| inside + "\n");
    format!(
        "{}: {} in {}, under the sealed checkpoint of {size} entries of {}, seen by {seen}\n\
         status: {}\n{verdict}{}\n{inside}{}\n{LIMITS}",
        if counts { "ok" } else { "the proof is good" },
        unit.unit,
        proven.contest,
        proven.checkpoint.origin(),
        status(unit),
        table(proven),
        recounted_by(recounted),
    )
}

fn status(unit: &ProvenUnit) -> String {
    let record = &unit.record;
    let entries = match record.entries {
        0 => "nothing about it is in the log".to_owned(),
        1 => "one entry about it".to_owned(),
        count => format!("{count} entries about it"),
    };
    let declared = if unit.below.is_some() { " (of its declared recaps)" } else { "" };
    match record.head {
        Some(head) => format!(
            "{}{declared}: entry {} counts, {entries}",
            status_word(record.status),
            head.index
        ),
        None => {
            format!("{}{declared}: no official tally counts, {entries}", status_word(record.status))
        }
    }
}

/// A row for each counter, a column for the unit and each region above.
fn table(proven: &ProvenRecap) -> Table {
    let mut table = Table::new(1);
    let rows: Vec<Counters<'_>> =
        proven.units.iter().map(|unit| Counters::new(&proven.options, &unit.counters)).collect();
    let codes = proven.units.iter().map(|unit| unit.unit.to_string());
    table.push([String::new()].into_iter().chain(codes).collect());
    for (place, option) in proven.options.iter().enumerate() {
        let votes = rows.iter().map(|row| row.votes().nth(place).map_or(0, |(_, votes)| votes));
        table.push([option.to_string()].into_iter().chain(votes.map(grouped)).collect());
    }
    for (place, name) in FIXED_NAMES.iter().enumerate() {
        let values = rows.iter().map(|row| grouped(row.fixed(place)));
        table.push([(*name).to_owned()].into_iter().chain(values).collect());
    }
    table
}

/// What being contained means, in numbers.
fn inside(proven: &ProvenRecap) -> Option<String> {
    let (unit, above) = proven.units.split_first()?;
    if above.is_empty() {
        return None;
    }
    let what = if unit.below.is_some() { "region" } else { "station" };
    let line = |place: usize| {
        let option = &proven.options[place];
        let regions = above
            .iter()
            .map(|region| format!("{} of {}", grouped(region.counters[place]), region.unit));
        let regions: Vec<String> = regions.collect();
        format!(
            "Your {what}'s {} for {option} are inside {}.",
            grouped(unit.counters[place]),
            regions.join(", inside ")
        )
    };
    let shown = proven.options.len().min(OPTIONS_NAMED_MAX);
    Some((0..shown).map(line).collect::<Vec<_>>().join("\n"))
}
