//! Findings in words: what changed from old to new, who says so, and why.

use std::{collections::BTreeSet, fmt::Write as _};

use jejak_proofs::tally::{
    Count, Election, FormRule, Manifest, Slot, Tally, UnitRegister, one_digit_repairs,
};
use serde::Serialize;

/// A revision: which, by whom, why, and every number that changed.
pub(super) fn of_tally(new: &Tally, old: Option<&Tally>, old_index: u64) -> String {
    let mut text = format!("revision {} by {}, {}", new.seq, new.by, word(&new.reason));
    if let Some(decision) = new.decision {
        let _ = write!(text, ", decision {decision}");
    }
    let _ = write!(text, ", replaces entry {old_index}");
    let Some(old) = old else { return text };
    let old_counts = counts(old);
    let mut changes = counts(new)
        .into_iter()
        .filter_map(|(name, now)| {
            let before = old_counts.iter().find(|(known, _)| *known == name)?.1;
            (before != now).then(|| format!("{name} {} -> {}", shown(before), shown(now)))
        })
        .peekable();
    let _ = match changes.peek() {
        None => write!(text, "; votes and sums unchanged"),
        Some(_) => write!(text, "; {}", changes.collect::<Vec<_>>().join(", ")),
    };
    text
}

/// What a form says where it breaks a rule.
pub(super) fn of_form(rule: FormRule, tally: &Tally) -> String {
    let votes: u64 = tally.votes.values().flatten().map(|count| u64::from(*count)).sum();
    let (valid, invalid) = (shown(tally.valid), shown(tally.invalid));
    let total = shown(tally.total);
    match rule {
        FormRule::A1 => format!("votes {votes}, valid {valid}"),
        FormRule::A2 => format!("valid {valid}, invalid {invalid}, total {total}"),
        FormRule::A11 => {
            let repairs = one_digit_repairs(tally);
            let repair = |repair: &jejak_proofs::tally::Repair| {
                format!("{} {} for {}", repair.field, repair.repaired, repair.written)
            };
            repairs.iter().map(repair).collect::<Vec<_>>().join(" or ")
        }
        _ => format!("votes {votes}, valid {valid}, invalid {invalid}, total {total}"),
    }
}

/// What a manifest changes.
pub(super) fn of_manifest(manifest: &Manifest, old: &Election, new: &Election) -> String {
    let (added, removed) = (missing(&new.units, &old.units), missing(&old.units, &new.units));
    let contests = |of: &Election, beside: &Election| {
        let all = of.contests.contests().iter();
        all.filter(|contest| beside.contests.find(contest.id.as_str()).is_none()).count()
    };
    let mut text = format!(
        "version {}, {}; units +{added} -{removed}, contests +{} -{}",
        manifest.version,
        word(&manifest.reason),
        contests(new, old),
        contests(old, new),
    );
    let changed = new.contests.contests().iter().filter(|contest| {
        let before = old.contests.find(contest.id.as_str());
        before.is_some_and(|(_, before)| before.options != contest.options)
    });
    let options = changed.count();
    if options > 0 {
        let _ = write!(text, ", options of {options} contests changed");
    }
    let before = &old.manifest;
    let parts = [
        ("roles", before.roles != manifest.roles),
        ("root keys", before.root_keys != manifest.root_keys),
        ("threshold", before.threshold != manifest.threshold),
        ("log keys", before.log_keys != manifest.log_keys),
        ("rounds", before.rounds != manifest.rounds),
        ("bases", before.bases != manifest.bases),
        ("levels", before.levels != manifest.levels),
        ("station kinds", before.station_kinds != manifest.station_kinds),
        ("exempt kinds", before.exempt_kinds != manifest.exempt_kinds),
        ("station_max", before.station_max != manifest.station_max),
    ];
    for (name, _) in parts.into_iter().filter(|(_, changed)| *changed) {
        let _ = write!(text, ", {name} changed");
    }
    text
}

/// Units of one register that the other has not.
fn missing(of: &UnitRegister, beside: &UnitRegister) -> usize {
    if of.sha256() == beside.sha256() {
        return 0;
    }
    let codes: BTreeSet<&str> = (0..beside.len() as Slot).map(|slot| beside.code(slot)).collect();
    (0..of.len() as Slot).filter(|slot| !codes.contains(of.code(*slot))).count()
}

/// Every number of the form that decides something, by the name of its box.
fn counts(tally: &Tally) -> Vec<(String, Count)> {
    let votes = tally.votes.iter().map(|(option, count)| (format!("votes.{option}"), *count));
    let sums = [("valid", tally.valid), ("invalid", tally.invalid), ("total", tally.total)];
    votes.chain(sums.map(|(name, count)| (name.to_owned(), count))).collect()
}

fn shown(count: Count) -> String {
    count.map_or_else(|| "null".to_owned(), |count| count.to_string())
}

/// The word that an enum has in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "no reason".to_owned(),
    }
}
