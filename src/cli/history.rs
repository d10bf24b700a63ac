//! `jejak history`: everything that was ever said about a unit.

use std::collections::{BTreeMap, HashMap};

use clap::Args;
use jejak_proofs::{
    merkle::Hash,
    tally::{Attestation, AttestationVerdict, Body, Count, Entry, Id, Reason, Tally, UnitCode},
};
use serde_json::{Map, Value, json};

use super::{
    exit::{Exit, Failure},
    output::Output,
    place::LogArgs,
    recap::{self, grouped, status_word},
};
use crate::client::{self, History};

/// Fields in which two tallies of a chain differ by their nature.
const CHAIN_FIELDS: [&str; 7] =
    ["by", "children", "decision", "docs", "issued_at", "prev", "reason"];

/// What the comparison with the trail shows, and what it does not.
const LIMITS: &str = "They lead to the trail of the recap proof, so none was left out and none \
    added. That the log\ncomputed the trail right, and that the authors were mandated, shows a \
    replay: jejak monitor.\nTransparency evidence, not the official result.";

/// Show every entry about a unit, old to new: who said what, why, and what it changed.
///
/// Each entry is checked against the tree, and all of them together against the trail of the unit's
/// recap proof: none was left out and none added, or the command fails (exit 18).
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The contest.
    contest: Id,
    /// The code of the unit: a polling station, or a region with its declared recaps.
    unit: UnitCode,
}

pub fn run(args: HistoryArgs, output: &Output) -> Result<Exit, Failure> {
    let place = args.log.place()?;
    let HistoryArgs { contest, unit, .. } = &args;
    let history = client::history(&place.fetch()?, &place.policy, contest, unit)
        .map_err(|error| recap::failure(error, contest, unit))?;
    let told = Told::new(&history);
    for (index, entry) in &history.entries {
        match entry.body() {
            Body::Tally(tally) => told.tally(*index, entry, tally, output),
            Body::Attestation(attestation) => told.attestation(*index, entry, attestation, output),
            _ => unreachable!("only tallies and attestations are about a unit"),
        }
    }
    let proven = &history.proof.proven;
    let (record, head) = (&history.proof.unit().record, proven.checkpoint.head());
    output.result(
        || {
            let status = status_word(record.status);
            let counts = match record.head {
                Some(head) => format!("{status}, entry {} counts", head.index),
                None => format!("{status}, no official tally counts"),
            };
            format!(
                "{unit} in {contest}: {counts}\n\
                 complete: {} entries under the sealed checkpoint of {} entries\n{LIMITS}",
                record.entries, head.size
            )
        },
        &json!({
            "complete": true,
            "contest": contest,
            "entries": record.entries,
            "head": record.head,
            "origin": proven.checkpoint.origin(),
            "root": head.root,
            "size": head.size,
            "status": status_word(record.status),
            "trail": record.trail,
            "unit": unit,
        }),
    );
    Ok(Exit::Ok)
}

/// What the entries are to each other.
struct Told<'a> {
    history: &'a History,
    /// Place of each entry by its leaf hash.
    by_leaf: HashMap<Hash, usize>,
}

impl<'a> Told<'a> {
    fn new(history: &'a History) -> Self {
        let leaves = history.entries.iter().map(|(_, entry)| entry.leaf()).zip(0..);
        Self { history, by_leaf: leaves.collect() }
    }

    /// The entry with this leaf hash, with its index.
    fn entry(&self, leaf: &Hash) -> Option<&'a (u64, Entry)> {
        self.by_leaf.get(leaf).map(|place| &self.history.entries[*place])
    }

    fn counts(&self, entry: &Entry) -> bool {
        self.history.proof.unit().record.head.is_some_and(|head| head.leaf == entry.leaf())
    }

    fn tally(&self, index: u64, entry: &Entry, tally: &Tally, output: &Output) {
        let before = tally.prev.and_then(|prev| self.entry(&prev));
        let changes = before.map_or(BTreeMap::new(), |(_, before)| changes(before, entry));
        let counts = self.counts(entry);
        let mut object = attributes(index, entry, "tally");
        object.extend([
            ("basis".to_owned(), json!(tally.basis)),
            ("changes".to_owned(), json!(changes)),
            ("counts".to_owned(), json!(counts)),
            ("decision".to_owned(), json!(tally.decision)),
            ("form".to_owned(), json!(tally.form)),
            ("invalid".to_owned(), json!(tally.invalid)),
            ("issued_at".to_owned(), json!(tally.issued_at)),
            ("prev".to_owned(), json!(tally.prev)),
            ("reason".to_owned(), json!(tally.reason)),
            ("round".to_owned(), json!(tally.round)),
            ("seq".to_owned(), json!(tally.seq)),
            ("total".to_owned(), json!(tally.total)),
            ("valid".to_owned(), json!(tally.valid)),
            ("votes".to_owned(), json!(tally.votes)),
        ]);
        output.result(
            || {
                let marker = if counts { " <- counts" } else { "" };
                let mut text = format!(
                    "entry {index}  tally by {}, round {}, seq {}{marker}\n  {} ({}): {}",
                    tally.by,
                    tally.round,
                    tally.seq,
                    tally.form,
                    tally.basis,
                    numbers(tally, &self.history.proof.proven.options)
                );
                if let (Some(reason), Some(decision)) = (tally.reason, &tally.decision) {
                    let old = before.map_or(String::new(), |(index, _)| format!(" entry {index}"));
                    text += &format!(
                        "\n  revises{old}: {}, by decision {decision}",
                        reason_word(reason)
                    );
                }
                for (field, [old, new]) in &changes {
                    text += &format!("\n  {field}: {} -> {}", plain(old), plain(new));
                }
                text
            },
            &object,
        );
    }

    fn attestation(&self, index: u64, entry: &Entry, body: &Attestation, output: &Output) {
        let about = self.entry(&body.leaf).map(|(index, _)| *index);
        let mut object = attributes(index, entry, "attestation");
        object.extend([
            ("about".to_owned(), json!(about)),
            ("about_leaf".to_owned(), json!(body.leaf)),
            ("verdict".to_owned(), json!(body.verdict)),
        ]);
        output.result(
            || {
                let about = about.map_or(body.leaf.to_string(), |index| format!("entry {index}"));
                let verdict = match body.verdict {
                    AttestationVerdict::Agrees => format!("agrees with {about}"),
                    AttestationVerdict::Disagrees => format!("disagrees with {about}"),
                    AttestationVerdict::NotPresent => format!("was not present: {about}"),
                    AttestationVerdict::Unreadable => format!("cannot read {about}"),
                    _ => about,
                };
                format!("entry {index}  attestation by {}\n  {verdict}", body.by)
            },
            &object,
        );
    }
}

/// What every entry has.
fn attributes(index: u64, entry: &Entry, kind: &str) -> Map<String, Value> {
    let author = entry.body().author();
    let role = author.and_then(|author| author.name().split_once('/')).map(|(role, _)| role);
    let cosigners: Vec<String> = entry.signers().skip(1).map(ToString::to_string).collect();
    let attributes = [
        ("by", json!(author)),
        ("cosigners", json!(cosigners)),
        ("index", json!(index)),
        ("kind", json!(kind)),
        ("leaf", json!(entry.leaf())),
        ("role", json!(role)),
    ];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn numbers(tally: &Tally, options: &[Id]) -> String {
    if tally.withdrawn() {
        return "taken back".to_owned();
    }
    let number =
        |count: Count| count.map_or("unreadable".to_owned(), |count| grouped(u64::from(count)));
    let votes = options.iter().filter_map(|option| {
        let votes = tally.votes.get(option)?;
        Some(format!("{option} {}", number(*votes)))
    });
    format!(
        "{}; valid {}, invalid {}, total {}",
        votes.collect::<Vec<_>>().join(", "),
        number(tally.valid),
        number(tally.invalid),
        number(tally.total)
    )
}

fn reason_word(reason: Reason) -> String {
    plain(&json!(reason)).replace('_', " ")
}

/// A value as people read it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Every field that says something else than in the tally before: old and new.
fn changes(before: &Entry, after: &Entry) -> BTreeMap<String, [Value; 2]> {
    let [old, new] = [before, after].map(fields);
    let names = old.keys().chain(new.keys());
    let value = |fields: &BTreeMap<String, Value>, name| fields.get(name).cloned();
    names
        .map(|name| {
            let [old, new] = [&old, &new].map(|all| value(all, name).unwrap_or(Value::Null));
            (name.clone(), [old, new])
        })
        .filter(|(_, [old, new])| old != new)
        .collect()
}

/// The fields of a tally by their dotted names.
fn fields(entry: &Entry) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let json = entry.text().split_once('\n').map_or("", |(_, json)| json);
    if let Ok(Value::Object(object)) = serde_json::from_str(json) {
        for (name, value) in object {
            if !CHAIN_FIELDS.contains(&&*name) && name != "seq" {
                flatten(name, value, &mut all);
            }
        }
    }
    all
}

fn flatten(name: String, value: Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            object
                .into_iter()
                .for_each(|(key, value)| flatten(format!("{name}.{key}"), value, all));
        }
        value => {
            all.insert(name, value);
        }
    }
}
