//! What holds at the audited head: contradictions that the next entry may settle, said once.

use std::fs;

use serde_json::{Value, json};

use super::{
    Run,
    fake::{Desk, Fake},
    wide::{OBSERVER, OFFICIAL, STATIONS, Wide, audited, form, joined, station, withdrawal},
};

fn units(run: &Run, id: &str) -> Vec<String> {
    let unit = |finding: &&Value| finding["unit"].as_str().unwrap().to_owned();
    run.findings(id).iter().map(unit).collect()
}

fn summary(run: &Run) -> &Value {
    &run.last()["summary"]
}

#[test]
fn official_and_counter_tally_differ() {
    let mut log = Wide::new();
    let ours = log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    let theirs = log.tally(OBSERVER, "11.1.000", (29, 30), json!({"total": 62, "valid": 50}));
    // The same; what cannot be read; what was taken back; what nobody official has said.
    log.tally(OFFICIAL, "11.1.001", (20, 30), json!({}));
    log.tally(OBSERVER, "11.1.001", (20, 30), json!({}));
    log.tally(OFFICIAL, "11.1.002", (20, 30), json!({"invalid": null}));
    log.tally(OBSERVER, "11.1.002", (20, 30), json!({"invalid": 9, "valid": null}));
    log.tally(OFFICIAL, "11.1.003", (20, 30), json!({}));
    let gone = log.tally(OBSERVER, "11.1.003", (21, 30), json!({}));
    log.revise(OBSERVER, (gone, 0), "11.1.003", &withdrawal());
    log.tally(OBSERVER, "11.1.004", (21, 30), json!({}));
    let run = audited(&log);
    assert_eq!(units(&run, "X1"), ["11.1.000"]);
    let found = run.findings("X1")[0];
    assert_eq!(found["entries"], json!([log.proof(ours), log.proof(theirs)]));
    let fields = json!([
        {"field": "votes.01", "official": 20, "counter": 29},
        {"field": "total", "official": 53, "counter": 62},
    ]);
    assert_eq!((&found["fields"], &found["severity"]), (&fields, &json!("high")));
    let detail = found["detail"].as_str().unwrap();
    for part in ["; the official tally adds up, that of observer/ID+", " breaks A1 and A2"] {
        assert!(detail.contains(part), "{detail}");
    }
    let want = json!({
        "fields": {"invalid": 0, "total": 1, "valid": 0, "votes.01": 1, "votes.02": 0},
        "units": 1,
    });
    assert_eq!(summary(&run)["X1"], want);
}

#[test]
fn the_heads_of_the_round_that_counts_are_compared() {
    let mut log = Wide::new();
    let psu = json!({"round": "psu"});
    // Both differ in the first round, which a re-vote has replaced.
    log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    log.tally(OBSERVER, "11.1.000", (29, 30), json!({}));
    log.tally(OFFICIAL, "11.1.000", (25, 30), psu.clone());
    // They agree in the first, and differ in the re-vote; two observers are one station.
    log.tally(OFFICIAL, "11.1.001", (20, 30), json!({}));
    log.tally(OBSERVER, "11.1.001", (20, 30), json!({}));
    log.tally(OFFICIAL, "11.1.001", (25, 30), psu.clone());
    log.tally(OBSERVER, "11.1.001", (26, 30), psu.clone());
    log.tally("observer/11", "11.1.001", (25, 31), psu.clone());
    let run = audited(&log);
    assert_eq!(units(&run, "X1"), ["11.1.001", "11.1.001"]);
    let x1 = &summary(&run)["X1"];
    assert_eq!((&x1["units"], &x1["fields"]["valid"]), (&json!(1), &json!(1)));
    assert_eq!((&x1["fields"]["votes.01"], &x1["fields"]["votes.02"]), (&json!(1), &json!(1)));
}

#[test]
fn declared_recaps_beside_computed_ones() {
    let d = json!({"form": "d-hasil"});
    let mut log = Wide::new();
    for number in 0..STATIONS {
        log.tally(OFFICIAL, &station("11.1", number), (20, 30), json!({}));
    }
    log.tally(OFFICIAL, "11.2.000", (10, 10), json!({"invalid": null, "total": null}));
    // It follows; a null in a station is a zero in a sum, and a declared one is not compared.
    log.tally(OFFICIAL, "11.1", (100, 150), joined(&[&d, &json!({"invalid": 15, "total": 265})]));
    log.tally(OFFICIAL, "11.2", (10, 10), joined(&[&d, &json!({"invalid": 0, "total": null})]));
    // It does not; nor does what was declared of stations that said nothing.
    let wrong = log.tally(OFFICIAL, "11", (120, 160), joined(&[&d, &json!({"invalid": 15})]));
    log.tally(OFFICIAL, "12.1", (7, 0), joined(&[&d, &json!({"invalid": 0, "total": 7})]));
    // Not official.
    log.tally(OBSERVER, "12.2", (7, 0), d.clone());
    let run = audited(&log);
    assert_eq!(units(&run, "G1"), ["11", "12.1"]);
    let found = run.findings("G1")[0];
    let fields = json!([
        {"field": "votes.01", "declared": 120, "computed": 110},
        {"field": "valid", "declared": 280, "computed": 270},
        {"field": "total", "declared": 283, "computed": 265},
    ]);
    assert_eq!((&found["fields"], &found["severity"]), (&fields, &json!("high")));
    assert_eq!(found["entries"], json!([log.proof(wrong)]));
    let want = json!({"kinds": {"district": 1, "province": 1}, "units": 2});
    assert_eq!(summary(&run)["G1"], want);
    let rows = &run.last()["contests"]["ppwp"]["regions"];
    assert_eq!((&rows[0]["G1"], &rows[1]["G1"]), (&json!(1), &json!(1)));
}

#[test]
fn coverage_is_one_finding_by_region() {
    let mut log = Wide::new();
    let silent = audited(&log);
    assert!(silent.findings("X3").is_empty(), "nobody has spoken yet");
    for number in 0..STATIONS {
        log.tally(OFFICIAL, &station("11.1", number), (20, 30), json!({}));
        log.tally(OFFICIAL, &station("11.2", number), (20, 30), json!({}));
        log.tally(OBSERVER, &station("12.1", number), (20, 30), json!({}));
    }
    let run = audited(&log);
    let found = run.findings("X3");
    assert_eq!(found.len(), 1);
    let fields = json!([{"field": "12", "missing": 5, "stations": 10}]);
    assert_eq!((&found[0]["fields"], &found[0]["severity"]), (&fields, &json!("info")));
    assert_eq!(found[0]["detail"], "5 of 20 stations; 12: missing 5, stations 10");
    for number in 0..STATIONS {
        log.tally(OFFICIAL, &station("12.2", number), (20, 30), json!({}));
    }
    assert!(audited(&log).findings("X3").is_empty());
}

#[test]
fn what_holds_is_said_once_and_forgotten_when_it_is_settled() {
    let mut log = Wide::new();
    let ours = log.tally(OFFICIAL, "11.1.000", (20, 30), json!({}));
    log.tally(OBSERVER, "11.1.000", (29, 30), json!({}));
    let differ = log.entries.len();
    let next = log.tally(OFFICIAL, "11.1.001", (20, 30), json!({}));
    let third = log.revise(OFFICIAL, (ours, 0), "11.1.000", &form((29, 30)));
    log.revise(OFFICIAL, (third, 1), "11.1.000", &form((20, 30)));
    let (desk, fake) = (Desk::of(&log.entries), Fake::serve(&log.entries[..differ]));
    // Entries shown, new findings, and those that hold: the last one differs by another entry.
    let steps = [(differ, 1, 1), (next + 1, 0, 1), (third + 1, 0, 0), (third + 2, 1, 1)];
    for (size, new, hold) in steps {
        fake.show(&log.entries[..size]);
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 0);
        let count = run.counts()["X1"].as_u64().unwrap_or(0);
        assert_eq!((run.findings("X1").len(), count), (new, hold), "{size}");
        let again = desk.run(&fake, &[]);
        assert_eq!((again.findings("X1").len(), again.counts()), (0, run.counts()), "{size}");
        assert!(again.findings("X3").is_empty());
    }
    assert_eq!(desk.run(&fake, &["--fail-on", "high"]).exit, 1);
}

#[test]
fn forms_that_break_rules_are_counted_once_a_station_by_their_heads() {
    let mut log = Wide::new();
    // A1 and A2 by the official tally, mended by a revision at the second.
    log.tally(OFFICIAL, "11.1.000", (20, 30), json!({"total": 90, "valid": 49}));
    let mended = log.tally(OFFICIAL, "11.1.001", (20, 30), json!({"valid": 49}));
    log.revise(OFFICIAL, (mended, 0), "11.1.001", &form((20, 30)));
    // 110 are registered, so A6 allows 113; 301 are too many for A7 as well.
    log.tally(OFFICIAL, "11.1.002", (50, 61), json!({}));
    log.tally(OFFICIAL, "11.1.003", (50, 59), json!({"total": 113, "invalid": 4}));
    log.tally(OFFICIAL, "11.1.004", (301, 0), json!({}));
    // Two observers at one station, and a rule that lacks a number.
    log.tally(OBSERVER, "11.1.000", (20, 30), json!({"valid": 49}));
    log.tally("observer/11", "11.1.000", (20, 30), json!({"valid": 48}));
    log.tally(OBSERVER, "11.2.001", (20, 30), json!({"invalid": null, "total": 99}));
    let run = audited(&log);
    let brief = summary(&run);
    let want = json!({
        "A1": {"observer": 1, "official": 1},
        "A2": {"observer": 1, "official": 1},
        "A6": {"observer": 0, "official": 2},
        "A7": {"observer": 0, "official": 1},
    });
    for rule in ["A1", "A2", "A6", "A7"] {
        assert_eq!(brief[rule], want[rule], "{rule}");
    }
    assert_eq!(brief["tallies"], json!({"declared": 0, "observer": 3, "official": 5}));
    let recap = json!({
        "invalid": 16, "total": 674, "valid": 620, "votes.01": 441, "votes.02": 180,
    });
    assert_eq!(brief["recap"], recap);
    let contest = &run.last()["contests"]["ppwp"];
    assert_eq!(&contest["summary"], brief);
    assert_eq!(contest["regions"][0]["flagged"], 3);
    assert_eq!(contest["regions"][0]["coverage"], "50.0");
    assert_eq!(contest["whole"]["stations"], 20);
    assert_eq!(contest["status"], json!({"corrected": 1, "disputed": 1, "unreadable": 0}));
}

/// A log with some results, and a desk to audit it at.
fn counted() -> (Wide, Desk, Fake) {
    let mut log = Wide::new();
    for number in 0..STATIONS {
        log.tally(OFFICIAL, &station("11.1", number), (20, 30), json!({}));
    }
    let (desk, fake) = (Desk::of(&log.entries), Fake::serve(&log.entries));
    (log, desk, fake)
}

#[test]
fn published_numbers_beside_the_recap() {
    let (log, desk, fake) = counted();
    let table = desk.dir.path().join("published.csv");
    fs::write(
        &table,
        "unit,votes.01,votes.02,valid,invalid,total\n\
         ID,100,150,250,15,265\n11,100,,251,15,265\n11.1.003,20,31,50,3,53\n\
         12,0,0,0,0,\n99,1,1,2,0,2\n",
    )
    .unwrap();
    let published = table.to_str().unwrap();
    let run = desk.run(&fake, &["--published", published, "--contest", "ppwp"]);
    assert_eq!(run.exit, 0, "{:?} {}", run.lines, run.errors);
    assert_eq!(units(&run, "G4"), ["11", "11.1.003", "99"]);
    let found = run.findings("G4");
    let fields = json!([{"field": "valid", "published": 251, "computed": 250}]);
    assert_eq!((&found[0]["fields"], &found[0]["severity"]), (&fields, &json!("high")));
    assert_eq!(found[1]["fields"], json!([{"field": "votes.02", "published": 31, "computed": 30}]));
    let entry = found[1]["index"].as_u64().unwrap() as usize;
    assert_eq!(found[1]["entries"], json!([log.proof(entry)]));
    assert!(found[2]["detail"].as_str().unwrap().ends_with("takes no part in the contest"));
    assert_eq!(run.counts()["G4"], 3);
    // Without the table there is nothing to compare with.
    assert_eq!(desk.run(&fake, &[]).counts()["G4"], Value::Null);
}

#[test]
fn a_table_that_cannot_be_compared_is_refused() {
    let (_, desk, fake) = counted();
    let table = desk.dir.path().join("published.csv");
    let cases = [
        ("unit,votes.01\n11,1\n", "dpr", "no contest dpr"),
        ("unit,votes.03\n11,1\n", "ppwp", "has no votes.03"),
        ("unit,votes.01\n11,x\n", "ppwp", "not a number"),
        ("unit,votes.01\n11,1\n11,1\n", "ppwp", "stands twice"),
    ];
    for (text, contest, message) in cases {
        fs::write(&table, text).unwrap();
        let published = table.to_str().unwrap();
        let run = desk.run(&fake, &["--published", published, "--contest", contest]);
        assert_eq!(run.exit, 78, "{message}: {}", run.errors);
        assert!(run.errors.contains(message), "{message}: {}", run.errors);
    }
    assert_eq!(desk.run(&fake, &["--contest", "ppwp"]).exit, 2);
}
