//! An officer, a granter and a citizen at the command line: what they see when things go wrong.

use std::fs;

use super::program::{Serving, example_log, jejak};

#[test]
fn forms_are_signed_now_and_sent_later_and_never_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let sign = ["sign", "-p", "log/policy", "-k", "officer.key", "--election", "2024", "form.json"];
    jejak(dir, &sign).exit(0);
    let signed = fs::read(dir.join("form.note")).unwrap();
    let submit = ["submit", "-p", "log/policy", "--url", &server.url, "form.note"];
    assert!(jejak(dir, &submit).exit(0).stdout.contains("logged: entry "));
    // The receipt is there, so a second run does nothing; without it the log knows the bytes.
    assert!(jejak(dir, &submit).exit(0).stdout.contains("already logged"));
    fs::remove_file(dir.join("form.tlog-proof")).unwrap();
    assert!(jejak(dir, &submit).exit(0).stdout.contains("was logged before: entry "));
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
    let size = proof.lines().skip_while(|line| !line.is_empty()).nth(2).unwrap();
    let tampered = proof.replacen(&format!("\n{size}\n"), "\n77\n", 1);
    assert_ne!(tampered, proof);
    fs::write(dir.join("form.tlog-proof"), tampered).unwrap();
    jejak(dir, &verify).exit(13);
    fs::write(dir.join("form.tlog-proof"), "index 1\n").unwrap();
    jejak(dir, &verify).exit(1);
    fs::write(dir.join("form.tlog-proof"), &proof).unwrap();
    // A policy that demands a witness: the quorum fails.
    let policy = fs::read_to_string(dir.join("log/policy")).unwrap();
    let witness = "witness w example.com/w+0abbc2e3+BOCRMsPjvJSDQBk5E8uh0KXRHnOj2bcvvKBgKuQFWPu9";
    let strict = policy.replace("quorum none", &format!("{witness}\nquorum w"));
    fs::write(dir.join("strict"), strict).unwrap();
    let verify = ["verify", "-p", "strict", "form.note", "form.tlog-proof"];
    let ended = jejak(dir, &verify);
    assert!(matches!(ended.status, 14 | 78), "{}: {}", ended.status, ended.stderr);
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
    let units = super::program::root().join("examples/units.csv");
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
    let units = super::program::root().join("examples/units.csv");
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
