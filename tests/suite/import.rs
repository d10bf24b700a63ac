//! Importing tables: nulls, refusals, resuming, revising, and cutting receipts.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::program::{Ended, Serving, example_log, jejak};

const DECISION: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Imports `table` with further arguments.
fn import(dir: &Path, server: &Serving, table: &str, more: &[&str]) -> Ended {
    fs::write(dir.join("results.csv"), table).unwrap();
    let what = ["-p", "log/policy", "-k", "officer.key", "--url", &server.url];
    let table = ["results.csv", "import"];
    jejak(dir, &[&["--json", "import"][..], &what, more, &table].concat())
}

/// The body of the newest entry about a unit, out of the import directory.
fn newest(dir: &Path, unit: &str) -> Value {
    jejak(dir, &["receipt", "-p", "log/policy", "import", unit, "-o", "cut"]).exit(0);
    let (note, proof) = (format!("cut/{unit}.note"), format!("cut/{unit}.tlog-proof"));
    jejak(dir, &["verify", "-p", "log/policy", &note, &proof]).exit(0);
    let note = fs::read_to_string(dir.join(note)).unwrap();
    serde_json::from_str(note.lines().nth(1).unwrap()).unwrap()
}

#[test]
fn empty_cells_are_null_and_sections_are_absent_or_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let table = "unit,votes.01,votes.02,valid,invalid,ballots.used\n3173001,100,,150,3,\n";
    let report = import(dir, &server, table, &["--contest", "ppwp"]).exit(0).json();
    assert_eq!((report["new"].as_u64(), &report["refused"]), (Some(1), &json!({})));
    let body = newest(dir, "3173001");
    assert_eq!(body["votes"], json!({"01": 100, "02": null}));
    assert_eq!(body["total"], Value::Null);
    let nulls = json!({"received": null, "returned": null, "unused": null, "used": null});
    assert_eq!(body["ballots"], nulls);
    assert!(body.get("voters").is_none() && body.get("registered").is_none());
}

#[test]
fn a_table_that_is_none_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    for table in [
        "unit,votes.01,votes.02,sum\n3173001,1,2,3\n",
        "unit,votes.01,votes.01\n3173001,1,2\n",
        "unit,valid\n3173001,1\n",
        "votes.01,votes.02\n1,2\n",
        "unit,votes.01,votes.02\n3173001,1,-2\n",
        "unit,votes.01,votes.02\n3173001,1,2.0\n",
        "unit,votes.01,votes.02\n3173001,1,4294967296\n",
        "unit,votes.01,votes.02\n3173001,1\n",
        "unit,votes.01,votes.02\nlower,1,2\n",
        "unit,votes.01,votes.02\n3173001,1,2\n3173001,1,2\n",
    ] {
        import(dir, &server, table, &["--contest", "ppwp"]).exit(78);
    }
    assert!(!dir.join("import").join("import.json").exists());
}

#[test]
fn a_refused_row_is_named_and_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let table = "unit,votes.01,votes.02\n3173001,1,2\n9999,1,2\n3173002,3,4\n";
    let ended = import(dir, &server, table, &["--contest", "ppwp"]).exit(1);
    assert_eq!(ended.json()["new"], 2);
    assert_eq!(ended.json()["refused"], json!({"invalid_unit": 1}));
    // SPEC [L2]: results and the rest are objects, one a line.
    assert_eq!(ended.json()["refused_rows"], json!([{"unit": "9999", "code": "invalid_unit"}]));
    let said: Value = serde_json::from_str(ended.stderr.trim_end()).unwrap();
    assert_eq!(said, json!({"unit": "9999", "refused": "invalid_unit"}));
    // The log has judged it, so it keeps nobody from importing a corrected table.
    let table = "unit,votes.01,votes.02\n3173001,1,2\n3173002,3,4\n3173,5,6\n";
    let report = import(dir, &server, table, &[]).exit(0).json();
    assert_eq!((report["new"].as_u64(), report["done"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_lost_batch_file_is_sent_again_as_the_same_bytes() {
    // SPEC [I1] [I2]
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let table = "unit,votes.01,votes.02\n3173001,1,2\n3173002,3,4\n";
    import(dir, &server, table, &["--contest", "ppwp"]).exit(0);
    fs::remove_file(dir.join("import/batch/000000.json")).unwrap();
    let report = import(dir, &server, table, &["--contest", "ppwp"]).exit(0).json();
    assert_eq!((report["new"].as_u64(), report["known"].as_u64()), (Some(0), Some(2)));
    let report = import(dir, &server, table, &["--contest", "ppwp"]).exit(0).json();
    assert_eq!(report["done"], 2);
}

#[test]
fn another_table_needs_a_reason_and_makes_revisions_of_what_changed() {
    // SPEC [I3]
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let first = "unit,votes.01,votes.02\n3173001,1,2\n3173002,3,4\n";
    import(dir, &server, first, &["--contest", "ppwp"]).exit(0);
    let second = "unit,votes.01,votes.02\n3173001,1,2\n3173002,30,4\n";
    import(dir, &server, second, &["--contest", "ppwp"]).exit(78);
    let revise = ["--revise", "clerical", "--decision", DECISION];
    let report = import(dir, &server, second, &revise).exit(0).json();
    assert_eq!((report["new"].as_u64(), report["done"].as_u64()), (Some(1), Some(1)));
    let body = newest(dir, "3173002");
    assert_eq!((&body["seq"], &body["reason"]), (&json!(1), &json!("clerical")));
    assert_eq!(body["votes"]["01"], 30);
    assert_eq!(newest(dir, "3173001")["seq"], 0);
    // The same again is done; the monitor agrees with all of it.
    assert_eq!(import(dir, &server, second, &revise).exit(0).json()["done"], 2);
    let monitor = ["monitor", "-p", "log/policy", "--url", &server.url, "--state", "w"];
    jejak(dir, &[&monitor[..], &["--once"]].concat()).exit(0);
}

#[test]
fn rows_in_flight_are_finished_under_their_own_terms_before_anything_else_begins() {
    // SPEC [I1] [I2] [I4]
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let first = "unit,votes.01,votes.02\n3173001,1,2\n3173002,3,4\n";
    import(dir, &server, first, &["--contest", "ppwp"]).exit(0);
    // As after a crash between the log's answer and the book.
    let lost = dir.join("import/batch/000000.json");
    fs::remove_file(&lost).unwrap();
    let second = "unit,votes.01,votes.02\n3173001,1,2\n3173002,30,4\n";
    let revise = ["--revise", "clerical", "--decision", DECISION];
    let ended = import(dir, &server, second, &revise).exit(78);
    assert!(ended.stderr.contains("finish first: jejak import OLD.csv"), "{}", ended.stderr);
    let grown = "unit,votes.01,votes.02\n3173001,1,2\n3173002,3,4\n3173,5,6\n";
    import(dir, &server, grown, &[]).exit(78);
    let report = import(dir, &server, first, &[]).exit(0).json();
    assert_eq!((report["new"].as_u64(), report["known"].as_u64()), (Some(0), Some(2)));
    import(dir, &server, second, &revise).exit(0);

    // An older table comes back under its own terms, and what was revised since stays revised.
    fs::remove_file(&lost).unwrap();
    import(dir, &server, second, &[]).exit(78);
    let report = import(dir, &server, first, &[]).exit(0).json();
    assert_eq!((report["new"].as_u64(), report["known"].as_u64()), (Some(0), Some(1)));
    assert_eq!(import(dir, &server, second, &[]).exit(0).json()["done"], 2);
    assert_eq!(newest(dir, "3173002")["votes"]["01"], 30);
    assert_eq!(newest(dir, "3173001")["seq"], 0);
    // Back to the first numbers is a revision like any other.
    let report = import(dir, &server, first, &["--revise", "court", "--decision", DECISION]);
    assert_eq!(report.exit(0).json()["new"], 1);
    assert_eq!(newest(dir, "3173002")["seq"], 2);
}

#[test]
fn a_table_that_only_grew_needs_no_reason() {
    // SPEC [I3]
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let first = "unit,votes.01,votes.02\n3173001,1,2\n";
    import(dir, &server, first, &["--contest", "ppwp"]).exit(0);
    let grown = "unit,votes.01,votes.02\n3173001,1,2\n3173002,3,4\n";
    let report = import(dir, &server, grown, &[]).exit(0).json();
    assert_eq!((report["new"].as_u64(), report["done"].as_u64()), (Some(1), Some(1)));
    assert_eq!(newest(dir, "3173002")["seq"], 0);
    // A row that changed meanwhile is no growth.
    let changed = "unit,votes.01,votes.02\n3173001,9,2\n3173002,3,4\n3173,5,6\n";
    import(dir, &server, changed, &[]).exit(78);
}

#[test]
fn a_directory_keeps_its_terms_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let table = "unit,votes.01,votes.02\n3173001,1,2\n";
    import(dir, &server, table, &[]).exit(2);
    // Of a run of which the log took nothing no terms remain.
    import(dir, &server, table, &["--contest", "typo"]).exit(1);
    assert!(!dir.join("import/import.json").exists());
    let terms = ["--contest", "ppwp", "--form", "c-salinan"];
    import(dir, &server, table, &terms).exit(0);
    import(dir, &server, table, &terms).exit(0);
    for other in
        [["--contest", "x"], ["--form", "d-hasil"], ["--round", "psu"], ["--basis", "renvoi"]]
    {
        let ended = import(dir, &server, table, &other).exit(78);
        assert!(ended.stderr.contains(other[0]), "{}", ended.stderr);
    }
    assert_eq!(newest(dir, "3173001")["form"], "c-salinan");
}
