//! Findings in words: what changed from old to new, who says so, and why.

use std::fmt::Write as _;

use jejak_proofs::tally::{
    Election, FormRule, Id, Manifest, Slot, Tally, UnitRegister, one_digit_repairs,
};
use serde::Serialize;

use super::finding::{FieldNumbers, Finding};

/// Codes that a sentence names before it only counts them.
const CODES_MAX: usize = 20;

/// A revision: which, by whom, why, and every number that changed.
pub(super) fn of_tally(new: &Tally, old: Option<&Tally>, old_index: u64, of: &Finding) -> String {
    let mut text = format!("revision {} by {}, {}", new.seq, new.by, word(&new.reason));
    if let Some(decision) = new.decision {
        let _ = write!(text, ", decision {decision}");
    }
    let _ = write!(text, ", replaces entry {old_index}");
    if old.is_none() {
        return text;
    }
    let changes = of.fields.iter().map(|change| {
        let [before, now] = [0, 1].map(|side| shown(change.numbers[side].1));
        format!("{} {before} -> {now}", change.field)
    });
    let _ = match of.fields.is_empty() {
        true => write!(text, "; votes and sums unchanged"),
        false => write!(text, "; {}", changes.collect::<Vec<_>>().join(", ")),
    };
    if let Some(region) = of.revision.as_ref().and_then(|revision| revision.region.as_ref()) {
        let net: Vec<String> = of.net().map(|(field, net)| format!("{field} {net:+}")).collect();
        if !net.is_empty() {
            let _ = write!(text, "; the sums of {region} change by {}", net.join(", "));
        }
    }
    text
}

/// Fields with the numbers that stand against each other there.
pub(super) fn list(fields: &[FieldNumbers]) -> String {
    let field = |field: &FieldNumbers| {
        let mut numbers = field.numbers.iter();
        let number = numbers.by_ref().map(|(side, n)| format!("{} {}", side.word(), shown(*n)));
        format!("{}: {}", field.field, number.collect::<Vec<_>>().join(", "))
    };
    fields.iter().map(field).collect::<Vec<_>>().join("; ")
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
    let contests = |of: &Election, beside: &Election| -> Vec<String> {
        let ids = of.contests.contests().iter().map(|contest| contest.id.as_str());
        ids.filter(|id| beside.contests.find(id).is_none()).map(str::to_owned).collect()
    };
    let (opened, closed) = (contests(new, old), contests(old, new));
    let mut text = format!(
        "version {}, {}; units +{} -{}, contests +{} -{}",
        manifest.version,
        word(&manifest.reason),
        added.len(),
        removed.len(),
        opened.len(),
        closed.len(),
    );
    let options = changed_options(old, new);
    let lists = [
        ("units added", added),
        ("units removed", removed),
        ("contests added", opened),
        ("contests removed", closed),
        ("options added", options.0),
        ("options removed", options.1),
        ("other order of options", options.2),
    ];
    for (name, codes) in lists.into_iter().filter(|(_, codes)| !codes.is_empty()) {
        let _ = write!(text, "; {name}: {}", codes[..codes.len().min(CODES_MAX)].join(" "));
        if codes.len() > CODES_MAX {
            let _ = write!(text, " and {} more", codes.len() - CODES_MAX);
        }
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
fn missing(of: &UnitRegister, beside: &UnitRegister) -> Vec<String> {
    if of.sha256() == beside.sha256() {
        return Vec::new();
    }
    let codes = (0..of.len() as Slot).map(|slot| of.code(slot));
    codes.filter(|code| beside.slot(code).is_none()).map(str::to_owned).collect()
}

/// Options added and removed, each as `contest option`, and contests in which only their order is
/// another.
fn changed_options(old: &Election, new: &Election) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut added, mut removed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for contest in new.contests.contests() {
        let Some((_, before)) = old.contests.find(contest.id.as_str()) else { continue };
        let lacking = |of: &[Id], beside: &[Id]| -> Vec<String> {
            let options = of.iter().filter(|option| !beside.contains(option));
            options.map(|option| format!("{}/{option}", contest.id)).collect()
        };
        let (more, less) = (
            lacking(&contest.options, &before.options),
            lacking(&before.options, &contest.options),
        );
        if more.is_empty() && less.is_empty() && contest.options != before.options {
            moved.push(contest.id.to_string());
        }
        added.extend(more);
        removed.extend(less);
    }
    (added, removed, moved)
}

pub(super) fn shown(count: Option<impl ToString>) -> String {
    count.map_or_else(|| "null".to_owned(), |count| count.to_string())
}

/// The word that an enum has in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "no reason".to_owned(),
    }
}
