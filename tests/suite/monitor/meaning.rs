//! What tallies say about each other, found as they come: each finding where it belongs, and none
//! where it does not.

use jejak_proofs::merkle::{Frontier, Hash, leaf_hash, sha256};
use serde_json::{Value, json};

use super::{
    Run,
    fake::{Desk, Fake},
    wide::{OBSERVER, OFFICIAL, Wide, audited, form, joined, station, withdrawal},
};

fn only<'a>(run: &'a Run, id: &str) -> &'a Value {
    let found = run.findings(id);
    assert_eq!(found.len(), 1, "{id}: {:#?}", run.lines);
    found[0]
}

fn detail(finding: &Value) -> &str {
    finding["detail"].as_str().unwrap()
}

fn docs(names: &[&str]) -> Value {
    let mut hashes: Vec<Hash> = names.iter().map(|name| sha256(name.as_bytes())).collect();
    hashes.sort_unstable();
    let doc = |hash: &Hash| {
        json!({
            "bytes": 9, "media": "image/png", "page": 1, "sha256": hash, "sha256_public": null,
        })
    };
    json!({"docs": hashes.iter().map(doc).collect::<Vec<_>>()})
}

#[test]
fn a_revision_says_who_why_and_what_the_sums_lose() {
    let mut log = Wide::new();
    let first = log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    let second = log.revise(OFFICIAL, (first, 0), "11.1.000", &form((25, 28)));
    let run = audited(&log);
    let found = only(&run, "T1");
    assert_eq!(found["severity"], "high");
    assert_eq!(found["entries"], json!([log.proof(second), log.proof(first)]));
    let fields = json!([
        {"field": "votes.01", "old": 20, "new": 25},
        {"field": "votes.02", "old": 30, "new": 28},
        {"field": "valid", "old": 50, "new": 53},
        {"field": "total", "old": 53, "new": 56},
    ]);
    assert_eq!(found["fields"], fields);
    let revision = &found["revision"];
    assert!(revision["by"].as_str().unwrap().starts_with("official/ID+"));
    let want = json!({"total": 3, "valid": 3, "votes.01": 5, "votes.02": -2});
    let told = (&revision["net"], &revision["region"], &revision["reason"]);
    assert_eq!(told, (&want, &json!("11"), &json!("clerical")));
    let sentence = "; the sums of 11 change by votes.01 +5, votes.02 -2, valid +3, total +3";
    assert!(detail(found).ends_with(sentence), "{}", detail(found));
}

#[test]
fn only_the_official_chain_of_the_round_that_counts_moves_sums() {
    let mut log = Wide::new();
    let first = log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    log.tally(OFFICIAL, "11.1.000", (21, 31), json!({"round": "psu"}));
    log.revise(OFFICIAL, (first, 0), "11.1.000", &form((25, 28)));
    let theirs = log.tally(OBSERVER, "11.1.001", (20, 30), json!({}));
    log.revise(OBSERVER, (theirs, 0), "11.1.001", &form((25, 28)));
    let run = audited(&log);
    for found in run.findings("T1") {
        assert_eq!(found["revision"]["region"], Value::Null, "{found}");
        assert_eq!(found["revision"]["net"], Value::Null, "{found}");
    }
    let official: Vec<_> =
        run.findings("T1").iter().map(|found| found["revision"]["official"].clone()).collect();
    assert_eq!(official, [true, false]);
}

#[test]
fn a_result_set_to_zero_is_one_taken_back() {
    let mut log = Wide::new();
    let first = log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    let zeros = json!({"invalid": 0, "total": 0, "valid": 0, "votes": {"01": 0, "02": 0}});
    let second = log.revise(OFFICIAL, (first, 0), "11.1.000", &zeros);
    // From nothing to nothing is no news.
    log.revise(OFFICIAL, (second, 1), "11.1.000", &zeros);
    let other = log.tally(OFFICIAL, "11.1.001", (20, 30), json!({}));
    log.revise(OFFICIAL, (other, 0), "11.1.001", &withdrawal());
    let run = audited(&log);
    let indexes: Vec<_> = run.findings("T3").iter().map(|found| found["index"].clone()).collect();
    assert_eq!(indexes, [second, other + 1]);
    assert_eq!(run.findings("T1").len(), 1);
    let net = &run.findings("T3")[1]["revision"]["net"];
    let want = json!({
        "invalid": -3, "total": -53, "valid": -50, "votes.01": -20, "votes.02": -30,
    });
    assert_eq!(net, &want);
}

#[test]
fn a_revision_below_a_declared_recap_needs_a_revote_or_a_court() {
    let mut log = Wide::new();
    let early = log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    let mut heads: Vec<(usize, String)> = (1..5)
        .map(|number| station("11.1", number))
        .map(|unit| (log.tally(OFFICIAL, &unit, (20, 30), json!({})), unit))
        .collect();
    heads.push((log.tally(OFFICIAL, "11.2.000", (20, 30), json!({})), "11.2.000".to_owned()));
    let theirs = log.tally(OBSERVER, "11.1.001", (20, 30), json!({}));
    // Before the recap of the district was declared nothing stands above.
    log.revise(OFFICIAL, (early, 0), "11.1.000", &form((21, 30)));
    let declared = log.tally(OFFICIAL, "11.1", (101, 150), json!({"form": "d-hasil"}));
    let reasons = ["clerical", "psu", "court", "recount", "renvoi"];
    let mut late = Vec::new();
    for (reason, (head, unit)) in reasons.into_iter().zip(&heads) {
        let more = joined(&[&form((22, 30)), &json!({"reason": reason})]);
        late.push(log.revise(OFFICIAL, (*head, 0), unit, &more));
    }
    log.revise(OBSERVER, (theirs, 0), "11.1.001", &form((23, 30)));
    let run = audited(&log);
    let found = run.findings("T2");
    // The last stands in another district, and observers bind no committee.
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!((&found[0]["index"], &found[1]["index"]), (&json!(late[0]), &json!(late[3])));
    let entries = json!([log.proof(late[0]), log.proof(heads[0].0), log.proof(declared)]);
    assert_eq!(found[0]["entries"], entries);
    assert_eq!(found[0]["severity"], "high");
    let want = format!("clerical, while 11.1 declared its recap in entry {declared}");
    assert_eq!(detail(found[0]), want);
    assert_eq!(run.findings("T1").len(), 7);
}

#[test]
fn one_document_for_two_units() {
    let mut log = Wide::new();
    let first = log.tally(OFFICIAL, "11.1.000", (20, 30), docs(&["a", "b"]));
    let second = log.tally(OFFICIAL, "12.1.003", (20, 30), docs(&["c", "b", "a"]));
    // The same photograph of the same unit, by another hand and for a revision.
    log.tally(OBSERVER, "11.1.000", (20, 30), docs(&["a"]));
    log.revise(OFFICIAL, (second, 0), "12.1.003", &joined(&[&form((20, 30)), &docs(&["c"])]));
    log.tally(OFFICIAL, "12.1.004", (20, 30), docs(&["d"]));
    let run = audited(&log);
    let found = only(&run, "X4");
    assert_eq!(found["entries"], json!([log.proof(second), log.proof(first)]));
    assert!(detail(found).ends_with(", also of unit 11.1.000"), "{}", detail(found));
    assert_eq!((&found["unit"], &found["severity"]), (&json!("12.1.003"), &json!("high")));
}

#[test]
fn a_machine_that_reads_something_else_than_the_form_says() {
    let machine = json!({"basis": "machine_reading"});
    let renvoi = json!({"basis": "renvoi"});
    let mut log = Wide::new();
    // The form after the machine.
    let read = log.tally(OFFICIAL, "11.1.000", (200, 30), machine.clone());
    let form_of = log.tally(OBSERVER, "11.1.000", (20, 30), renvoi.clone());
    // The machine after the form.
    let signed = log.tally(OFFICIAL, "11.1.001", (20, 30), json!({}));
    let misread = log.tally(OBSERVER, "11.1.001", (20, 80), machine.clone());
    // They agree; two machines differ; an observer's own count is no reading of the form; nothing
    // unreadable contradicts.
    log.tally(OFFICIAL, "11.1.002", (20, 30), json!({}));
    log.tally(OBSERVER, "11.1.002", (20, 30), machine.clone());
    log.tally(OFFICIAL, "11.1.003", (20, 30), machine.clone());
    log.tally(OBSERVER, "11.1.003", (21, 30), machine.clone());
    log.tally("observer/11", "11.1.003", (22, 30), json!({"basis": "observer"}));
    log.tally(OFFICIAL, "11.1.004", (20, 30), json!({}));
    let null = json!({
        "invalid": null, "total": null, "valid": null, "votes": {"01": null, "02": null},
    });
    log.tally(OBSERVER, "11.1.004", (0, 0), joined(&[&machine, &null]));
    let run = audited(&log);
    let found = run.findings("X2");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0]["entries"], json!([log.proof(form_of), log.proof(read)]));
    assert_eq!(found[1]["entries"], json!([log.proof(misread), log.proof(signed)]));
    let fields = json!([
        {"field": "votes.02", "form": 30, "machine": 80},
        {"field": "valid", "form": 50, "machine": 100},
        {"field": "total", "form": 53, "machine": 103},
    ]);
    assert_eq!((&found[1]["fields"], &found[1]["severity"]), (&fields, &json!("medium")));
}

/// The RFC 6962 root over the leaf hashes of some entries.
fn children(log: &Wide, entries: &[usize]) -> Value {
    let mut frontier = Frontier::new();
    entries.iter().for_each(|index| frontier.push(leaf_hash(&log.entries[*index])));
    json!({
        "children": {"count": entries.len(), "root": frontier.head().root}, "form": "d-hasil",
    })
}

#[test]
fn a_declared_recap_rests_on_the_tallies_that_count() {
    let mut log = Wide::new();
    let mut heads: Vec<usize> = (0..3)
        .map(|number| log.tally(OFFICIAL, &station("11.1", number), (20, 30), json!({})))
        .collect();
    let stale = children(&log, &heads);
    heads[1] = log.revise(OFFICIAL, (heads[1], 0), "11.1.001", &form((21, 30)));
    let late = log.tally(OFFICIAL, "11.1", (60, 90), stale);
    let good = joined(&[&children(&log, &heads), &form((61, 90))]);
    let district = log.revise(OFFICIAL, (late, 0), "11.1", &good);
    // A province rests on what its districts declared; one that declared nothing is no level, and
    // its stations stand in its place.
    let other = log.tally(OFFICIAL, "11.2.004", (20, 30), json!({}));
    let good = children(&log, &[district, other]);
    log.tally(OFFICIAL, "11", (81, 120), good);
    // Nothing named, nothing compared; an observer binds nobody.
    log.tally(OFFICIAL, "12", (0, 0), json!({"form": "d-hasil"}));
    let wrong = children(&log, &[other]);
    log.tally(OBSERVER, "12", (0, 0), wrong);
    let run = audited(&log);
    let found = only(&run, "G2");
    assert_eq!((&found["index"], &found["unit"]), (&json!(late), &json!("11.1")));
    let fields = json!([{"field": "children.count", "declared": 3, "computed": 3}]);
    assert_eq!((&found["fields"], &found["severity"]), (&fields, &json!("high")));
}

#[test]
fn what_is_remembered_outlasts_a_restart() {
    let mut log = Wide::new();
    log.tally(OFFICIAL, "11.1.000", (20, 30), docs(&["a"]));
    log.tally(OFFICIAL, "11.1.001", (20, 90), json!({"basis": "machine_reading"}));
    let seen = log.seal() + 1;
    log.tally(OFFICIAL, "11.1.002", (20, 30), docs(&["a"]));
    log.tally(OBSERVER, "11.1.001", (20, 30), json!({}));
    let fake = Fake::serve(&log.entries[..seen]);
    let desk = Desk::of(&log.entries);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    fake.show(&log.entries);
    for lost in ["", "documents", "ledger"] {
        let desk = desk.copy();
        if !lost.is_empty() {
            std::fs::remove_file(desk.state().join(lost)).unwrap();
        }
        let run = desk.run(&fake, &[]);
        assert_eq!((run.findings("X4").len(), run.findings("X2").len()), (1, 1), "{lost}");
    }
}
