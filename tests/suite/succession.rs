//! A second manifest with other registers, by the commands that an authority and an operator type.

use std::{fs, path::Path};

use jejak_proofs::merkle::{leaf_hash, sha256};
use serde_json::{Value, json};

use super::program::{Serving, example_log, jejak};

/// The units of the example with one station more, in an order of their own.
fn write_registers(dir: &Path) {
    let units = fs::read_to_string(dir.join("units.csv")).unwrap();
    let (header, rows) = units.split_once('\n').unwrap();
    let station = rows.lines().rfind(|row| row.split(',').nth(3) == Some("")).unwrap();
    let (code, rest) = station.split_once(',').unwrap();
    let new = format!("{}9,{rest}", &code[..code.len() - 1]);
    assert!(!units.contains(&format!("\n{new}")));
    fs::write(dir.join("more.csv"), format!("{header}\n{rows}{new}\n")).unwrap();
    let contest = "{\"scope\": [\"ID\"], \"options\": [\"01\", \"02\"], \"id\": \"ppwp\"}\n";
    fs::write(dir.join("more.jsonl"), contest).unwrap();
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    let mut form: Value = serde_json::from_str(&form).unwrap();
    form["unit"] = new.split(',').next().unwrap().into();
    fs::write(dir.join("new.json"), form.to_string()).unwrap();
}

/// Writes the second manifest: the first one with what a successor has to say.
fn write_manifest(dir: &Path, file: &str, registers: &Value) {
    let first = fs::read_to_string(dir.join("log/manifest.note")).unwrap();
    let genesis = leaf_hash(first.as_bytes());
    let mut manifest: Value = serde_json::from_str(first.lines().nth(1).unwrap()).unwrap();
    for (field, value) in [
        ("genesis", json!(genesis)),
        ("previous", json!(genesis)),
        ("version", json!(2)),
        ("reason", json!("registers")),
        ("decision", json!(sha256(b"decision"))),
        ("registers", registers.clone()),
    ] {
        manifest[field] = value;
    }
    fs::write(dir.join(file), manifest.to_string()).unwrap();
}

// SPEC [Z1]
#[test]
fn a_key_for_refusals_that_the_log_does_not_have_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let submit = |server: &Serving| {
        let submit = ["submit", "-p", "log/policy", "--url", &server.url, "--patience", "0s"];
        jejak(dir, &[&submit[..], &["next.note"]].concat())
    };
    write_registers(dir);
    let files = ["--units", "more.csv", "--contests", "more.jsonl"];
    let add = ["--json", "manifest", "add-registers", "log"];
    let registers = jejak(dir, &[&add[..], &files].concat()).exit(0).json();
    write_manifest(dir, "next.json", &registers);
    let new = ["key", "new", "stranger.key", "--name", "log.example/2024/refusal"];
    let vkey = jejak(dir, &new).exit(0).stdout;
    let text = fs::read_to_string(dir.join("next.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["refusal_key"] = json!(vkey.trim_end());
    fs::write(dir.join("next.json"), manifest.to_string()).unwrap();
    jejak(dir, &["sign", "next.json", "-p", "log/policy", "-k", "log/keys/root"]).exit(0);
    let refused = submit(&server);
    assert!(matches!(refused.status, 69 | 75), "{} {}", refused.status, refused.stderr);
    // Once it has the key, the log answers for it.
    server.terminate();
    fs::rename(dir.join("stranger.key"), dir.join("log/keys/refusal-next")).unwrap();
    let server = Serving::start(dir, "log");
    submit(&server).exit(0);
}

#[test]
fn a_second_manifest_brings_its_registers() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let at = |server: &Serving, more: &[&str]| {
        jejak(dir, &[&["submit", "-p", "log/policy", "--url", &server.url], more].concat())
    };
    write_registers(dir);
    at(&server, &["-k", "officer.key", "form.json"]).exit(0);
    let refused = at(&server, &["-k", "officer.key", "new.json"]).exit(1);
    assert!(refused.stderr.contains("invalid_unit"), "{}", refused.stderr);

    let add = ["manifest", "add-registers", "log"];
    let files = ["--units", "more.csv", "--contests", "more.jsonl"];
    let told = jejak(dir, &[&add[..], &files].concat()).exit(0).stdout;
    assert!(told.contains("next: jejak sign ") && told.contains("then: jejak submit "), "{told}");
    let registers = jejak(dir, &[&["--json"], &add[..], &files].concat()).exit(0).json();
    for name in ["units", "contests"] {
        let hash = registers[name]["sha256"].as_str().unwrap();
        assert!(told.contains(hash), "{told}");
        let file = fs::read(dir.join("log/log/register").join(hash)).unwrap();
        assert_eq!(sha256(&file).to_string(), hash);
        assert_eq!(registers[name]["bytes"], file.len());
    }

    // One register that is not at the server, then both that are.
    let mut missing = registers.clone();
    missing["units"]["sha256"] = json!(sha256(b"nowhere"));
    for (file, registers) in [("missing.json", &missing), ("next.json", &registers)] {
        write_manifest(dir, file, registers);
        jejak(dir, &["sign", file, "-p", "log/policy", "-k", "log/keys/root"]).exit(0);
    }
    let refused = at(&server, &["missing.note"]).exit(1);
    assert!(refused.stderr.contains("invalid_registers"), "{}", refused.stderr);
    assert!(at(&server, &["next.note"]).exit(0).stdout.contains("logged: entry "));
    // It was set aside when the log refused it.
    assert!(!dir.join("new.note").exists());
    at(&server, &["-k", "officer.key", "new.json"]).exit(0);

    let monitor = ["monitor", "-p", "log/policy", "--url", &server.url, "--state", "watch"];
    jejak(dir, &[&monitor[..], &["--once"]].concat()).exit(0);
    server.kill();
    let again = Serving::start(dir, "log");
    assert!(at(&again, &["next.note"]).exit(0).stdout.contains("already logged"));
    jejak(dir, &["fsck", "log"]).exit(0);
}

#[test]
fn registers_that_are_none_do_not_reach_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, _server) = (dir.path(), example_log(dir.path()));
    write_registers(dir);
    let names = || {
        let files = fs::read_dir(dir.join("log/log/register")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let elsewhere = fs::read_to_string(dir.join("more.jsonl")).unwrap().replace("\"ID\"", "\"XX\"");
    fs::write(dir.join("elsewhere.jsonl"), elsewhere).unwrap();
    fs::write(dir.join("orphan.csv"), "unit,parent,kind,name\nA,B,tps,\n").unwrap();
    let add = |log: &str, files: &[&str]| {
        jejak(dir, &[&["manifest", "add-registers", log], files].concat())
    };
    add("log", &["--units", "more.csv", "--contests", "elsewhere.jsonl"]).exit(78);
    add("log", &["--units", "orphan.csv", "--contests", "more.jsonl"]).exit(78);
    add("log", &["--units", "more.csv", "--contests", "none.jsonl"]).exit(78);
    add("nowhere", &["--units", "more.csv"]).exit(78);
    add("log", &[]).exit(2);
    assert_eq!(names(), before);
    add("log", &["--units", "more.csv"]).exit(0);
    assert_eq!(names().len(), before.len() + 1, "one of them may stay as it is");
}
