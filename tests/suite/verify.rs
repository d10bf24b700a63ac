//! `jejak verify` against a log, a static copy, and what is neither; and what it takes files for.

use std::{fs, path::Path};

use super::{
    export::Static,
    program::{Ended, Serving, example_log, jejak},
};

/// A log with the example form in it, `form.note` and its receipt beside it.
fn submitted(dir: &Path) -> Serving {
    let server = example_log(dir);
    let submit = ["submit", "-p", "log/policy", "--url", &server.url, "-k", "officer.key"];
    jejak(dir, &[&submit[..], &["form.json"]].concat()).exit(0);
    server
}

/// Another log, of its own name, under `other/`.
fn other_log(dir: &Path) -> Serving {
    let init = ["init", "other", "--origin", "log.example/other", "--units", "units.csv"];
    jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(0);
    Serving::start(dir, "other")
}

/// The form with another number, signed by the same officer, in `altered.note`.
fn alter(dir: &Path) {
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    fs::write(dir.join("altered.json"), form.replace("154", "153")).unwrap();
    let sign = ["sign", "-p", "log/policy", "-k", "officer.key", "--election", "2024"];
    jejak(dir, &[&sign[..], &["altered.json"]].concat()).exit(0);
}

/// `jejak verify -p log/policy --against URL FILES`.
fn against(dir: &Path, url: &str, files: &[&str]) -> Ended {
    let verify = ["verify", "-p", "log/policy", "--against", url];
    jejak(dir, &[&verify[..], files].concat())
}

// SPEC [L4] [L5]
#[test]
fn a_log_and_its_static_copy_answer_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), submitted(dir.path()));
    alter(dir);
    // Other entries after the receipt, so that there is something to prove.
    for name in ["one.key", "two.key", "three.key"] {
        let by = ["--by", "log/keys/root", "--role", "official", "--units", "31"];
        let what = ["-p", "log/policy", "--url", &server.url, "--new", name];
        jejak(dir, &[&["mandate"][..], &by, &what].concat()).exit(0);
    }
    jejak(dir, &["export", "log", "copy"]).exit(0);
    let copy = Static::serve(&dir.join("copy"));
    // States come by the clock, so indexes and sizes are those of this run.
    let receipt = fs::read_to_string(dir.join("form.tlog-proof")).unwrap();
    let index = receipt.lines().find_map(|line| line.strip_prefix("index ")).unwrap();
    for url in [&server.url, &copy.base] {
        let files = ["form.note", "form.tlog-proof"];
        let ended = against(dir, url, &files).exit(0);
        assert!(ended.stdout.contains("still extends it: "), "{}", ended.stdout);
        against(dir, url, &["form.tlog-proof", "form.note"]).exit(0);
        let found = against(dir, url, &["form.note"]).exit(0);
        assert!(found.stdout.starts_with(&format!("ok: entry {index} of ")), "{}", url);
        // An entry that is not logged, and one that claims the place of another.
        let ended = against(dir, url, &["altered.note"]).exit(10);
        assert!(ended.stderr.contains("none of the "), "{}", ended.stderr);
        let ended = against(dir, url, &["altered.note", "form.tlog-proof"]).exit(11);
        assert!(
            ended.stderr.contains(&format!("is not entry {index} of the log")),
            "{}",
            ended.stderr
        );
    }
    // Offline nobody knows what else stands there.
    let verify = ["verify", "-p", "log/policy", "altered.note", "form.tlog-proof"];
    jejak(dir, &verify).exit(15);
    // A copy that serves something else in its place, under tiles that are right.
    let mut bundles = fs::read_dir(dir.join("copy/tile/entries/000.p")).unwrap();
    let bundle = bundles.next().unwrap().unwrap().path();
    let bytes = fs::read(&bundle).unwrap();
    let changed = String::from_utf8_lossy(&bytes).contains("\"total\":154");
    assert!(changed, "the form is in the bundle");
    let at = bytes.windows(11).position(|window| window == b"\"total\":154").unwrap();
    let mut bytes = bytes;
    bytes[at + 10] = b'3';
    fs::write(&bundle, bytes).unwrap();
    against(dir, &copy.base, &["form.note", "form.tlog-proof"]).exit(11);
    against(dir, &copy.base, &["form.note"]).exit(0);
}

// SPEC [L3]
#[test]
fn another_log_is_no_misconduct() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), submitted(dir.path()));
    let other = other_log(dir);
    let pair = ["form.note", "form.tlog-proof"];
    let cases: [(&[&str], &str); 5] = [
        (&["-p", "other/policy", "form.note", "form.tlog-proof"], "receipt is of another log"),
        (&["-p", "other/policy", "form.note"], "the policy pins log.example/other"),
        (&["-p", "other/policy", "log/manifest.note"], "the policy pins log.example/other"),
        (&["-p", "swapped", "form.note"], "the policy pins "),
        (&["-p", "swapped", "form.note", "form.tlog-proof"], "the policy pins "),
    ];
    // The same log from another beginning.
    let policy = fs::read_to_string(dir.join("log/policy")).unwrap();
    let (_, rest) = policy.split_once('\n').unwrap();
    let pin = format!("# jejak-genesis log.example/2024 {}", "0".repeat(64));
    fs::write(dir.join("swapped"), format!("{pin}\n{rest}")).unwrap();
    for (args, says) in cases {
        let ended = jejak(dir, &[&["verify"][..], args].concat()).exit(78);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("next: "), "{args:?}: {}", ended.stderr);
    }
    jejak(dir, &["verify", "-p", "log/policy", "form.note"]).exit(0);
    jejak(dir, &["verify", "-p", "log/policy", "log/manifest.note"]).exit(0);
    // A URL that leads elsewhere: to another log, to no log, to nothing.
    for files in [&pair[..], &pair[..1]] {
        assert!(against(dir, &other.url, files).exit(78).stderr.contains("next: check the URL"));
        let parent = server.url.trim_end_matches("/2024");
        let ended = against(dir, parent, files).exit(69);
        assert!(ended.stderr.contains("it has no checkpoint"), "{}", ended.stderr);
        assert!(ended.stderr.contains("next: check the URL"), "{}", ended.stderr);
        against(dir, "http://127.0.0.1:9", files).exit(69);
    }
}

#[test]
fn files_are_known_by_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), submitted(dir.path()));
    let policy = fs::read_to_string(dir.join("log/policy")).unwrap();
    let evidence = "jejak/evidence/v1\n{}\n";
    let damaged = policy.replace("\nlog ", "\nlgo ");
    let pinless = policy
        .replace("# jejak-genesis", "# a policy of somebody")
        .replace("quorum none", "quorum x");
    for (name, text) in [
        ("evidence.txt", evidence),
        ("damaged", &damaged),
        ("pinless", &pinless),
        ("letter.evidence", "Dear officer,\n"),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    let cases = [
        ("log/policy", 0, ""),
        ("form.note", 0, ""),
        ("form.tlog-proof", 1, "a receipt proves nothing without the entry"),
        ("evidence.txt", 1, "not an evidence file"),
        ("damaged", 78, "damaged: policy, line 2: expected log, witness, group or quorum"),
        ("pinless", 78, "pinless: policy, line 4"),
        ("letter.evidence", 1, "neither an entry, a receipt, a recap proof, evidence nor a policy"),
        ("form.json", 1, "neither an entry, a receipt, a recap proof, evidence nor a policy"),
    ];
    for (file, exit, says) in cases {
        let ended = jejak(dir, &["verify", "-p", "log/policy", file]).exit(exit);
        assert!(ended.stderr.contains(says), "{file}: {}", ended.stderr);
        // Nothing is asked about them, and that is said.
        if file != "form.note" {
            against(dir, &server.url, &[file]).exit(2);
        }
    }
    // An entry cannot be looked up without a policy.
    jejak(dir, &["verify", "--against", &server.url, "form.note"]).exit(2);
}
