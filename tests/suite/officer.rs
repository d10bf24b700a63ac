//! An officer, a granter and a citizen at the command line: what they see when things go wrong.

use std::fs;

use jejak_proofs::note::{CosigningKey, KeyKind};
use serde_json::{Value, json};

use super::program::{Serving, example_log, jejak, root};

#[test]
fn forms_are_signed_now_and_sent_later_and_never_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let sign = ["sign", "-p", "log/policy", "-k", "officer.key", "--election", "2024", "form.json"];
    jejak(dir, &sign).exit(0);
    let signed = fs::read(dir.join("form.note")).unwrap();
    let submit = ["submit", "-p", "log/policy", "--url", &server.url, "form.note"];
    assert!(jejak(dir, &submit).exit(0).stdout.contains("logged: entry 2 of 3"));
    // The receipt is there, so a second run does nothing; without it the log knows the bytes.
    assert!(jejak(dir, &submit).exit(0).stdout.contains("already logged"));
    fs::remove_file(dir.join("form.tlog-proof")).unwrap();
    assert!(jejak(dir, &submit).exit(0).stdout.contains("was logged before: entry 2"));
    assert_eq!(fs::read(dir.join("form.note")).unwrap(), signed);
    // A form that was changed after it was signed is not silently sent as it was.
    let form = fs::read_to_string(dir.join("form.json")).unwrap().replace("154", "153");
    fs::write(dir.join("form.json"), form).unwrap();
    let submit = ["submit", "-p", "log/policy", "-k", "officer.key", "form.json"];
    jejak(dir, &submit).exit(78);
}

#[test]
fn a_second_form_for_a_unit_is_a_conflict_that_names_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let submit = |file: &str| {
        let key = ["-p", "log/policy", "--url", &server.url, "-k", "officer.key"];
        jejak(dir, &[&["submit"][..], &key, &[file]].concat())
    };
    submit("form.json").exit(0);
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    fs::write(dir.join("other.json"), form.replace("154", "153")).unwrap();
    let refused = submit("other.json").exit(1);
    assert!(refused.stderr.contains("conflict"), "{}", refused.stderr);
    let prev = refused.stderr.split("\"prev\":\"").nth(1).unwrap()[..64].to_owned();
    // The officer does what the message says.
    let decision = "2".repeat(64);
    let more = format!(
        "{{\"seq\": 1, \"prev\": \"{prev}\", \"reason\": \"clerical\", \
         \"decision\": \"{decision}\","
    );
    let revision = form.replace("154", "153").replacen('{', &more, 1);
    fs::write(dir.join("revision.json"), revision).unwrap();
    submit("revision.json").exit(0);
}

#[test]
fn receipts_fail_with_the_code_of_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let submit = ["submit", "-p", "log/policy", "--url", &server.url, "-k", "officer.key"];
    jejak(dir, &[&submit[..], &["form.json"]].concat()).exit(0);
    let verify = ["verify", "-p", "log/policy", "form.note", "form.tlog-proof"];
    jejak(dir, &verify).exit(0);
    let note = fs::read_to_string(dir.join("form.note")).unwrap();
    let proof = fs::read_to_string(dir.join("form.tlog-proof")).unwrap();

    // Another entry under the same receipt: the inclusion proof fails.
    fs::write(dir.join("form.note"), note.replace("\"total\":154", "\"total\":155")).unwrap();
    jejak(dir, &verify).exit(15);
    fs::write(dir.join("form.note"), &note).unwrap();
    // Another size under the same signature: the log's signature fails.
    let tampered = proof.replacen("\n3\n", "\n4\n", 1);
    assert_ne!(tampered, proof);
    fs::write(dir.join("form.tlog-proof"), tampered).unwrap();
    jejak(dir, &verify).exit(13);
    fs::write(dir.join("form.tlog-proof"), "index 1\n").unwrap();
    jejak(dir, &verify).exit(1);
    fs::write(dir.join("form.tlog-proof"), &proof).unwrap();
    // A policy that demands a witness: the quorum fails.
    let policy = fs::read_to_string(dir.join("log/policy")).unwrap();
    let key = CosigningKey::from_seed("witness.example/w", KeyKind::CosignatureV1, [3; 32]);
    let witness = format!("witness w {}", key.unwrap().verifier());
    let strict = policy.replace("quorum none", &format!("{witness}\nquorum w"));
    fs::write(dir.join("strict"), strict).unwrap();
    let verify = ["verify", "-p", "strict", "form.note", "form.tlog-proof"];
    jejak(dir, &verify).exit(14);
    // No policy at all is a usage error, no log to ask is an unreachable one.
    jejak(dir, &["verify", "form.note", "form.tlog-proof"]).exit(2);
    drop(server);
    let submit = ["mandate", "-p", "log/policy", "--url", "http://127.0.0.1:9", "--by"];
    let more = ["log/keys/root", "--role", "official", "--units", "ID", "--new", "k"];
    jejak(dir, &[&submit[..], &more].concat()).exit(69);
}

#[test]
fn separate_hands_make_a_log_together() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let units = root().join("examples/units.csv");
    fs::copy(units, dir.join("units.csv")).unwrap();
    let new = |file: &str, name: &str| {
        jejak(dir, &["key", "new", file, "--name", name]).exit(0).stdout.trim_end().to_owned()
    };
    let (one, two) = (new("one.key", "root/ID"), new("two.key", "root/31"));
    let log = new("log.key", "log.example/2024");
    let origin =
        ["--origin", "log.example/2024", "--units", "units.csv", "--contest", "ppwp=01,02"];
    let keys = ["--log-key", &log, "--root", &one, "--root", &two, "--threshold", "2", "-o", "m"];
    jejak(dir, &[&["manifest", "build"][..], &origin, &keys].concat()).exit(0);
    let sign = ["sign", "m/manifest.json", "-o", "m/manifest.note", "-k", "one.key"];
    let init = ["init", "log", "--manifest", "m/manifest.note", "--log-key", "log.key"];
    let registers = ["--units", "m/units.csv", "--contests", "m/contests.jsonl"];
    // One of the two roots is not enough, and nothing is left behind that stands in the way.
    jejak(dir, &sign).exit(0);
    jejak(dir, &[&init[..], &registers].concat()).exit(78);
    assert!(!dir.join("log").join("log").exists());
    jejak(dir, &[&sign[..], &["-k", "two.key"]].concat()).exit(0);
    jejak(dir, &[&init[..], &registers].concat()).exit(0);
    // The key belongs to this log now; a second one under the same key is refused.
    let again = ["init", "log2", "--manifest", "m/manifest.note", "--log-key", "log.key"];
    jejak(dir, &[&again[..], &registers].concat()).exit(78);
    // Both roots mandate, neither alone.
    let server = Serving::start(dir, "log");
    let mandate = ["mandate", "-p", "log/policy", "--url", &server.url, "--by", "one.key"];
    let what = ["--role", "official", "--units", "31", "--new", "officer.key"];
    jejak(dir, &[&mandate[..], &what].concat()).exit(1);
    jejak(dir, &[&mandate[..], &what, &["--with", "two.key"]].concat()).exit(0);
}

#[test]
fn several_logs_share_a_process_and_a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let units = root().join("examples/units.csv");
    fs::copy(units, dir.join("units.csv")).unwrap();
    for name in ["a", "b"] {
        let origin = format!("log.example/{name}");
        let what = ["--units", "units.csv", "--contest", "ppwp=01,02"];
        jejak(dir, &[&["init", name, "--origin", &origin][..], &what].concat()).exit(0);
    }
    let server = Serving::with(dir, &["serve", "a", "b", "--listen", "127.0.0.1:0"]);
    let base = server.url.trim_end_matches("/a").to_owned();
    for name in ["a", "b"] {
        let url = format!("{base}/{name}");
        let policy = format!("{name}/policy");
        let state = format!("watch-{name}");
        let monitor = ["monitor", "-p", &policy, "--url", &url, "--state", &state, "--once"];
        jejak(dir, &monitor).exit(0);
    }
    let ended = jejak(dir, &["serve", "a", "--listen", "127.0.0.1:0"]).exit(75);
    assert!(ended.stderr.contains("in use by process"), "{}", ended.stderr);
}

#[test]
fn a_register_error_names_line_and_unit_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let header = "unit,parent,kind,name,registered.l,registered.p";
    let cases = [
        ("ID,,nation,N,,\n31,XX,tps,,1,2", "units.csv line 3, unit 31: parent is unknown"),
        ("ID,,nation,N,,\n\n31,XX,tps,,1,2", "units.csv line 4, unit 31: parent is unknown"),
        ("ID,,nation,N,,\r\n31,XX,tps,,1,2\r", "units.csv line 3, unit 31: parent is unknown"),
        ("ID,,nation,N,,\n31,ID,tps,,1,2\n31,ID,tps,,1,2", "units.csv line 4, unit 31: code st"),
        ("ID,,nation,N,,\n31,,tps,,1,2", "units.csv line 3, unit 31: there must be exactly one"),
        ("ID,,nation,123456,,", "units.csv line 2, unit ID: name is not plain text"),
        ("ID,,nation,N,,\nid,ID,tps,,1,2", "units.csv line 3: unit code"),
        ("ID,,nation,N,,\n31,ID,tps,,x,2", "units.csv line 3: field 4"),
        ("31,31,tps,,1,2", "units.csv: there must be exactly one unit without a parent"),
    ];
    let init = ["init", "log", "--origin", "log.example/2024", "--units", "units.csv"];
    for (units, says) in cases {
        fs::write(dir.join("units.csv"), format!("{header}\n{units}\n")).unwrap();
        let ended = jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(78);
        assert!(ended.stderr.contains(says), "{units}: {}", ended.stderr);
        assert!(!ended.stderr.contains("register line"), "{}", ended.stderr);
    }
    fs::copy(root().join("examples/units.csv"), dir.join("units.csv")).unwrap();
    let line = |id: &str, options: Value| {
        json!({"id": id, "options": options, "scope": ["ID"]}).to_string()
    };
    let cases = [
        ([line("b", json!(["1"])), line("a", json!([]))].join("\n"), "line 2, contest a: "),
        ([line("b", json!(["1"])), line("b", json!(["1"]))].join("\n"), "line 2, contest b: "),
        (line("b", json!(["1"])) + "\n{}", "c.jsonl line 2: "),
    ];
    for (contests, says) in cases {
        fs::write(dir.join("c.jsonl"), contests).unwrap();
        let ended = jejak(dir, &[&init[..], &["--contests", "c.jsonl"]].concat()).exit(78);
        assert!(ended.stderr.contains(says), "{says}: {}", ended.stderr);
    }
    let ended = jejak(dir, &[&init[..], &["--contest", "ppwp=01,01"]].concat()).exit(78);
    assert!(ended.stderr.contains("--contest ppwp=01,01: "), "{}", ended.stderr);
}
