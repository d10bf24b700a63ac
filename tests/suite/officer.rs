//! An officer, a granter and a citizen at the command line: what they see when things go wrong.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use jejak::store::LOCK_WAIT_MAX;

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
    jejak(dir, &[&submit[..], &more, &["--patience", "0s"]].concat()).exit(69);
}

/// A manifest of two roots who must both sign, in `m`, and the keys `one`, `two` and `log`.
fn build_for_two_roots(dir: &Path) {
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
}

#[test]
fn separate_hands_make_a_log_together() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    build_for_two_roots(dir);
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
    // Nor is it free where the log keeps it, also behind a link.
    std::os::unix::fs::symlink(dir.join("log/keys/log"), dir.join("link")).unwrap();
    assert!(dir.join("log/keys/log.bound").exists() && dir.join("log.key.bound").exists());
    for key in ["log/keys/log", "link"] {
        fs::remove_file(dir.join("log/keys/log.bound")).ok();
        let again = ["init", "log2", "--manifest", "m/manifest.note", "--log-key", key];
        jejak(dir, &[&again[..], &registers].concat()).exit(78);
        assert!(!dir.join("log2").exists());
    }
    // Both roots mandate, neither alone.
    let server = Serving::start(dir, "log");
    let mandate = ["mandate", "-p", "log/policy", "--url", &server.url, "--by", "one.key"];
    let what = ["--role", "official", "--units", "31", "--new", "officer.key"];
    let alone = jejak(dir, &[&mandate[..], &what].concat()).exit(1);
    assert!(alone.stderr.contains("root signatures are missing"), "{}", alone.stderr);
    jejak(dir, &[&mandate[..], &what, &["--with", "two.key"]].concat()).exit(0);
}

#[test]
fn two_hands_sign_one_manifest_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    build_for_two_roots(dir);
    let note = dir.join("m/manifest.note");
    let both = ["sign", "m/manifest.json", "-o", "both.note", "-k", "one.key", "-k", "two.key"];
    jejak(dir, &both).exit(0);

    // The first hand learns whose signature is missing, and so does who makes the log too early.
    let first = jejak(dir, &["sign", "m/manifest.json", "-k", "one.key"]).exit(0);
    assert!(first.stdout.contains("next: jejak sign m/manifest.note"), "{}", first.stdout);
    assert!(first.stdout.contains("root/31+"), "{}", first.stdout);
    let init = ["init", "log", "--manifest", "m/manifest.note", "--log-key", "log.key"];
    let registers = ["--units", "m/units.csv", "--contests", "m/contests.jsonl"];
    let early = jejak(dir, &[&init[..], &registers].concat()).exit(78);
    assert!(early.stderr.contains("root signatures are missing: root/31+"), "{}", early.stderr);

    // A hand that signs the body again does not throw away the signature that is there.
    let before = fs::read(&note).unwrap();
    let again = jejak(dir, &["sign", "m/manifest.json", "-k", "two.key"]).exit(78);
    assert!(again.stderr.contains("next: jejak sign m/manifest.note"), "{}", again.stderr);
    assert_eq!(fs::read(&note).unwrap(), before);
    jejak(dir, &["sign", "m/manifest.json", "-k", "one.key"]).exit(0);

    // The second hand has the note alone; the lines stand in their one order, whoever was first.
    let second = jejak(dir, &["sign", "m/manifest.note", "-k", "two.key"]).exit(0);
    assert!(second.stdout.contains("next: jejak init D --manifest m/manifest.note"));
    assert_eq!(fs::read(&note).unwrap(), fs::read(dir.join("both.note")).unwrap());
    // Once more changes nothing; a stranger's line can be written elsewhere, and -o is kept.
    jejak(dir, &["sign", "m/manifest.note", "-k", "one.key"]).exit(0);
    assert_eq!(fs::read(&note).unwrap(), fs::read(dir.join("both.note")).unwrap());
    let elsewhere = ["sign", "m/manifest.note", "-k", "log.key", "-o", "more.note"];
    jejak(dir, &elsewhere).exit(0);
    assert_ne!(fs::read(&note).unwrap(), fs::read(dir.join("more.note")).unwrap());
    // A manifest has its rules: what would be ignored is refused.
    for ignored in [
        ["--contest", "ppwp=01,02"],
        ["--election", "2024"],
        ["--station-kind", "tps"],
        ["--exempt-kind", "tps"],
        ["--station-max", "200"],
    ] {
        jejak(dir, &[&init[..], &registers, &ignored].concat()).exit(2);
    }
    jejak(dir, &[&init[..], &registers].concat()).exit(0);
}

#[test]
fn a_co_signer_adds_a_line_to_a_signed_form() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let url = ["-p", "log/policy", "--url", &server.url];
    let witness = ["--role", "party-witness", "--units", "3173001", "--new", "witness.key"];
    let by = ["mandate", "--by", "log/keys/root"];
    jejak(dir, &[&by[..], &url, &witness].concat()).exit(0);
    let sign = ["sign", "-p", "log/policy", "--election", "2024", "-k", "officer.key"];
    jejak(dir, &[&sign[..], &["form.json"]].concat()).exit(0);
    let more = ["sign", "-p", "log/policy", "-k", "witness.key", "form.note"];
    let signed = jejak(dir, &more).exit(0);
    assert!(signed.stdout.contains("next: jejak submit -p POLICY form.note"), "{}", signed.stdout);
    jejak(dir, &[&["submit"][..], &url, &["form.note"]].concat()).exit(0);
    let note = fs::read_to_string(dir.join("form.note")).unwrap();
    let signers: Vec<&str> =
        note.lines().skip(3).map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(signers, ["official/ID", "party-witness/3173001"]);
    // A line that was spoilt is not carried on, and a form of another log is not signed.
    let at = note.rfind("= ").or(note.rfind("=\n")).unwrap() - 8;
    let other = if &note[at..=at] == "A" { "B" } else { "A" };
    fs::write(dir.join("spoilt.note"), [&note[..at], other, &note[at + 1..]].concat()).unwrap();
    jejak(dir, &["sign", "spoilt.note", "-k", "witness.key"]).exit(78);
    fs::write(dir.join("other.note"), note.replace("log.example/2024", "log.example/2025"))
        .unwrap();
    jejak(dir, &["sign", "-p", "log/policy", "other.note", "-k", "witness.key"]).exit(78);
}

#[test]
fn a_mandate_that_waits_does_not_say_that_its_key_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, _server) = (dir.path(), example_log(dir.path()));
    let by = ["mandate", "-p", "log/policy", "--by", "log/keys/root", "--election", "2024"];
    let what = ["--role", "official", "--units", "31", "--new", "k", "--out", "m.note"];
    let ended = jejak(dir, &[&by[..], &what].concat()).exit(0);
    assert!(ended.stdout.contains("next: jejak submit -p POLICY m.note"), "{}", ended.stdout);
    let speaks = "once the mandate is logged: jejak submit -p POLICY -k k form.json";
    assert!(ended.stdout.contains(speaks), "{}", ended.stdout);
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
    let started = Instant::now();
    let ended = jejak(dir, &["serve", "a", "--listen", "127.0.0.1:0"]).exit(75);
    assert!(ended.stderr.contains("in use by process"), "{}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(LOCK_WAIT_MAX < Duration::from_secs(2));
    drop(server);
    // Named twice it would wait for itself.
    std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
    for twice in [["a", "a"], ["a", "./a/"], ["b", "a/../b"], ["a", "link"]] {
        let ended = jejak(dir, &[&["serve"], &twice[..], &["--listen", "127.0.0.1:0"]].concat());
        let ended = ended.exit(78);
        assert!(ended.stderr.contains("is named twice"), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_is_told_to_stop_does_not_wait_for_slow_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let server = example_log(dir.path());
    let address = server.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let drip = move |mut socket: TcpStream| {
        let head = "POST /2024/entries HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n\
                    Content-Length: 60000\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        while socket.write_all(b"j").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    };
    let slow: Vec<_> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let slow: Vec<_> = slow.into_iter().map(|socket| thread::spawn(move || drip(socket))).collect();
    thread::sleep(Duration::from_millis(300));
    let (code, took) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    slow.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_form_is_signed_while_the_log_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let away = ["--url", "http://127.0.0.1:9", "--patience", "0s"];
    let submit = |policy: &str, file: &str, more: &[&str]| {
        let what = ["submit", "-p", policy, "-k", "officer.key", file];
        jejak(dir, &[&what[..], &away, more].concat())
    };
    // The manifest stands beside the policy.
    submit("log/policy", "form.json", &[]).exit(69);
    assert!(dir.join("form.note").exists());
    // A policy alone does not say the election: either the officer does, or the log has once.
    fs::create_dir(dir.join("tps")).unwrap();
    fs::copy(dir.join("log/policy"), dir.join("tps/policy")).unwrap();
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    for name in ["a.json", "b.json", "c.json", "d.json"] {
        let form = form.replace("3173001", "3173002");
        fs::write(dir.join(name), form).unwrap();
    }
    submit("tps/policy", "a.json", &[]).exit(69);
    assert!(!dir.join("a.note").exists());
    submit("tps/policy", "a.json", &["--election", "2024"]).exit(69);
    assert!(dir.join("a.note").exists());
    let there = ["submit", "-p", "tps/policy", "-k", "officer.key", "--url", &server.url];
    jejak(dir, &[&there[..], &["b.json"]].concat()).exit(0);
    assert!(dir.join("tps/policy.genesis").exists());
    submit("tps/policy", "c.json", &[]).exit(69);
    assert!(dir.join("c.note").exists());
    jejak(dir, &["sign", "-p", "tps/policy", "-k", "officer.key", "d.json"]).exit(0);
}

#[test]
fn a_refused_form_is_set_aside_and_its_correction_goes_in() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let submit = |key: &str, files: &[&str]| {
        let what = ["submit", "-p", "log/policy", "--url", &server.url, "-k", key];
        jejak(dir, &[&what[..], files].concat())
    };
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    fs::write(dir.join("form.json"), form.replace("3173001", "999")).unwrap();
    let refused = submit("officer.key", &["form.json"]).exit(1);
    let sentence = "invalid_unit: not in the unit register, or not taking part in the contest";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing was logged"), "{}", refused.stderr);
    assert!(dir.join("form.refused").exists() && !dir.join("form.note").exists());
    // The wrong key is refused, and the right one signs anew.
    fs::write(dir.join("form.json"), &form).unwrap();
    jejak(dir, &["key", "new", "other.key", "--name", "official/ID"]).exit(0);
    assert!(submit("other.key", &["form.json"]).exit(1).stderr.contains("unknown_key"));
    submit("officer.key", &["form.json"]).exit(0);
    // What is signed is never sent under another key than was asked for.
    fs::remove_file(dir.join("form.tlog-proof")).unwrap();
    for file in ["form.json", "form.note"] {
        let ended = submit("other.key", &[file]).exit(78);
        assert!(ended.stderr.contains("form.note is signed by official/ID+"), "{}", ended.stderr);
    }
    submit("officer.key", &["form.json"]).exit(0);
    // A note that came from elsewhere stays where it is.
    fs::write(dir.join("late.json"), form.replace("154", "153")).unwrap();
    jejak(dir, &["sign", "-p", "log/policy", "-k", "officer.key", "late.json"]).exit(0);
    assert!(submit("officer.key", &["late.note"]).exit(1).stderr.contains("conflict"));
    assert!(dir.join("late.note").exists() && !dir.join("late.refused").exists());
}

#[test]
fn a_bad_file_does_not_keep_the_others_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    fs::write(dir.join("cut.json"), &form[..40]).unwrap();
    fs::write(dir.join("unknown.json"), form.replace("3173001", "999")).unwrap();
    fs::write(dir.join("note.note"), "not an entry\n").unwrap();
    fs::write(dir.join("last.json"), form.replace("3173001", "3173002")).unwrap();
    let files = ["cut.json", "none.json", "form.json", "unknown.json", "note.note", "last.json"];
    let what = ["submit", "-p", "log/policy", "--url", &server.url, "-k", "officer.key"];
    let ended = jejak(dir, &[&what[..], &files].concat()).exit(1);
    for bad in ["cut.json", "none.json", "unknown.json", "note.note"] {
        assert!(ended.stderr.contains(bad), "{bad}: {}", ended.stderr);
    }
    assert!(dir.join("form.tlog-proof").exists() && dir.join("last.tlog-proof").exists());
    // A log that is away ends it all, and everything is signed.
    fs::write(dir.join("more.json"), form.replace("3173001", "3173")).unwrap();
    let away = ["--url", "http://127.0.0.1:9", "--patience", "0s", "more.json", "cut.json"];
    let what = ["submit", "-p", "log/policy", "-k", "officer.key"];
    jejak(dir, &[&what[..], &away].concat()).exit(69);
    assert!(dir.join("more.note").exists());
}

#[test]
fn a_form_that_says_two_things_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, _server) = (dir.path(), example_log(dir.path()));
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    let sign = |text: String| {
        fs::write(dir.join("odd.json"), text).unwrap();
        jejak(dir, &["sign", "-p", "log/policy", "-k", "officer.key", "odd.json"])
    };
    for (from, to) in [("\"01\": 100,", "\"01\": 10, \"01\": 100,"), ("{", "{\"valid\": 1,")] {
        let ended = sign(form.replacen(from, to, 1)).exit(78);
        assert!(ended.stderr.contains("stands twice"), "{}", ended.stderr);
    }
    let ended = sign(form.replace("150", "\"150\"")).exit(78);
    assert!(ended.stderr.contains("odd.json: valid: invalid type"), "{}", ended.stderr);
    assert!(!dir.join("odd.note").exists());
    // Nor does a doubled key pass as what was signed.
    sign(form.clone()).exit(0);
    fs::write(dir.join("odd.json"), form.replacen('{', "{\"valid\": 1,", 1)).unwrap();
    jejak(dir, &["submit", "-p", "log/policy", "-k", "officer.key", "odd.json"]).exit(78);
}

#[test]
fn urls_and_origins_are_checked_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let units = super::program::root().join("examples/units.csv");
    fs::copy(units, dir.join("units.csv")).unwrap();
    let init = |origin: &str, more: &[&str]| {
        let what = ["init", "log", "--origin", origin, "--units", "units.csv"];
        jejak(dir, &[&what[..], &["--contest", "ppwp=01,02"], more].concat())
    };
    for url in [
        "localhost:80",
        "log.example/2024",
        "ftp://log.example/2024",
        "https://log.example/2024?a=b",
        "https://log.example/2024#a",
        "https://me@log.example/2024",
        "https://log.example/20 24",
        "https://",
        "",
    ] {
        init("log.example/2024", &["--url", url]).exit(78);
    }
    let log = jejak(dir, &["key", "new", "k", "--name", "log.example/2024"]).exit(0).stdout;
    let build = |origin: &str| {
        let what = ["manifest", "build", "--origin", origin, "--units", "units.csv", "-o", "m"];
        let keys =
            ["--contest", "ppwp=01,02", "--log-key", log.trim_end(), "--root", log.trim_end()];
        jejak(dir, &[&what[..], &keys].concat())
    };
    for origin in [
        "https://log.example/2024",
        "log.example//2024",
        "log.example/2024/",
        "/2024",
        "log.example/..",
        "log.example/2024?a",
        "log.example/20%24",
        "log.example/t\u{e9}",
        "log example/2024",
        "log.example+x/2024",
        "jejak/2024",
        "cosignature/v1",
        "",
    ] {
        init(origin, &["--election", "2024"]).exit(78);
        build(origin).exit(78);
    }
    assert!(!dir.join("log").exists() && !dir.join("m").exists());
    init("log.example:8080/2024", &["--url", "https://log.example/2024"]).exit(0);
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

#[test]
fn init_leaves_a_whole_log_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::copy(super::program::root().join("examples/units.csv"), dir.join("units.csv")).unwrap();
    let init = |name: &str| {
        let what = ["--origin", "log.example/a", "--units", "units.csv", "--contest", "ppwp=01,02"];
        jejak(dir, &[&["init", name][..], &what].concat())
    };
    let names = || {
        let names = fs::read_dir(dir).unwrap().map(|name| name.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    // Something else is there: it is not touched.
    fs::create_dir_all(dir.join("used/keys")).unwrap();
    init("used").exit(78);
    // Where the log cannot get its name, nothing of it stays.
    fs::write(dir.join("file"), "").unwrap();
    init("file/log").exit(78);
    assert_eq!(names(), ["file", "units.csv", "used"]);
    fs::create_dir(dir.join("empty")).unwrap();
    for name in ["empty", "new/log"] {
        init(name).exit(0);
        assert!(dir.join(name).join("keys/log.bound").exists());
        jejak(dir, &["fsck", name]).exit(0);
        init(name).exit(78);
    }
    assert_eq!(names(), ["empty", "file", "new", "units.csv", "used"]);
    // A copy is another directory than the log, under whatever name.
    std::os::unix::fs::symlink(dir.join("empty"), dir.join("link")).unwrap();
    for out in ["empty", "empty/log", "empty/copy", "link", "link/copy/deep", "."] {
        jejak(dir, &["export", "empty", out]).exit(78);
    }
    assert!(!dir.join("empty/copy").exists());
    jejak(dir, &["export", "empty", "copy"]).exit(0);
    jejak(dir, &["fsck", "empty"]).exit(0);
}
