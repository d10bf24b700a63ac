//! The demo: every planted crime is convicted, or it fails.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::program::{jejak, root};

#[test]
fn the_demo_convicts_every_crime_and_leaves_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let ended = jejak(dir.path(), &["demo", "--once", "--dir", "d"]).exit(0);
    assert_eq!(ended.stdout.matches(" crime: ").count(), 3, "{}", ended.stdout);
    for (word, times) in [("convicted by", 3), ("found by", 4), ("verified by", 1)] {
        assert_eq!(ended.stdout.matches(word).count(), times, "{word}: {}", ended.stdout);
    }
    for text in [std::fs::read_to_string(root().join("README.md")).unwrap(), {
        jejak(dir.path(), &["--help"]).exit(0).stdout
    }] {
        assert!(text.contains("three crimes, each with its proof"), "{text}");
    }
    for file in ["form.note", "form.tlog-proof", "form.evidence", "log/policy"] {
        assert!(dir.path().join("d").join(file).exists(), "{file}");
    }
    // Its evidence convicts in other hands too; with one bit changed it does not.
    let evidence = dir.path().join("d/form.evidence");
    jejak(dir.path(), &["verify", "-p", "d/log/policy", "d/form.evidence"]).exit(0);
    let mut bytes = std::fs::read(&evidence).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&evidence, bytes).unwrap();
    let ended = jejak(dir.path(), &["verify", "-p", "d/log/policy", "d/form.evidence"]);
    assert!(matches!(ended.status, 1 | 13), "{} {}", ended.status, ended.stderr);
}

/// The findings that the demo kept are about what it planted, and the files still prove it when
/// its servers are gone.
#[test]
fn what_the_demo_finds_is_what_it_planted() {
    let dir = tempfile::tempdir().unwrap();
    let ended = jejak(dir.path(), &["--json", "demo", "--once", "--dir", "d"]).exit(0);
    assert_eq!(ended.json(), json!({"convicted": 3, "crimes": 3, "found": 5, "planted": 5}));
    let read = |name: &str| std::fs::read_to_string(dir.path().join("d").join(name)).unwrap();
    let object = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    let verify = |file: &str| {
        let file = format!("d/{file}");
        jejak(dir.path(), &["--json", "verify", &file, "-p", "d/log/policy"])
    };
    for (name, id) in
        [("corrected", "T1"), ("counter", "X1"), ("declared", "G1"), ("published", "G4")]
    {
        let findings = read(&format!("{name}.findings"));
        let lines = findings.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: Vec<Value> = lines.filter(|line| line["id"].is_string()).collect();
        let [finding] = &found[..] else { panic!("{name}: {found:#?}") };
        assert_eq!(finding["id"], id);
        if id != "G4" {
            let form = object(&format!("{name}.json"));
            assert_eq!(finding["unit"], form["unit"], "{name}");
            verify(&format!("{name}.note")).exit(0);
        }
    }
    assert_eq!(object("disputed.json")["unit"], object("counter.json")["unit"]);
    // The page differs from the recap in one number, and the proof has the other one.
    let [page, recap] = ["published.csv", "recap.csv"].map(|name| {
        let text = read(name);
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        let rows = rows.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
        rows.map(|row| (row["unit"].clone(), row)).collect::<BTreeMap<_, _>>()
    });
    let differing: Vec<_> = page
        .iter()
        .flat_map(|(unit, row)| row.iter().map(move |(field, cell)| (unit, field, cell)))
        .filter(|(unit, field, cell)| recap[*unit][*field] != **cell)
        .collect();
    let [(unit, field, _)] = differing[..] else { panic!("{differing:?}") };
    let proven = verify("province.recap-proof").exit(0).json();
    assert_eq!((&proven["unit"], field.as_str()), (&json!(unit), "votes.02"));
    assert_eq!(proven["counters"]["votes"]["02"].to_string(), recap[unit][field]);
    assert!(read("report.html").contains("G4"));
    // No server is left, and the citizen needs none.
    let station = verify("citizen.recap-proof").exit(0).json();
    assert_eq!(station["unit"], object("form.json")["unit"]);
    assert_eq!(station["counters"]["total"], object("form.json")["total"]);
    let total = station["counters"]["total"].to_string();
    let edited = read("citizen.recap-proof").replacen(&format!(",{total},"), ",1,", 1);
    std::fs::write(dir.path().join("d/citizen.recap-proof"), edited).unwrap();
    verify("citizen.recap-proof").exit(18);
}

#[test]
fn the_demo_replaces_only_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/thesis.tex"), "years of work").unwrap();
    jejak(dir.path(), &["demo", "--once", "--dir", "d"]).exit(78);
    assert!(dir.path().join("d/thesis.tex").exists());
}

/// Starts the demo, waits until its log is served, and gives the address.
fn begun(dir: &std::path::Path, more: &[&str]) -> (std::process::Child, SocketAddr) {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_jejak"))
        .args(["demo", "--dir", "d"])
        .args(more)
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let serving = lines.find(|line| line.trim_start().starts_with("http://")).unwrap();
    // Whatever else is told must not fill the pipe.
    thread::spawn(move || lines.for_each(drop));
    let address = serving.trim().strip_prefix("http://").unwrap();
    (demo, address.split('/').next().unwrap().parse().unwrap())
}

/// Killed in the middle of its story, softly or not, it leaves no server behind.
#[test]
fn no_server_outlives_the_demo() {
    for signal in ["-TERM", "-KILL"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut demo, address) = begun(dir.path(), &["--once"]);
        assert!(TcpStream::connect(address).is_ok());
        let kill = Command::new("kill").args([signal, &demo.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let ended = demo.wait().unwrap();
        assert!(!ended.success());
        let gone = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(50));
            TcpStream::connect(address).is_err()
        });
        assert!(gone, "{signal}: something still listens on {address}");
    }
}

/// What it says to try at its end does what one expects.
#[test]
fn the_honest_log_goes_on_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_jejak"))
        .args(["demo", "--dir", "d"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line.starts_with("The honest log goes on")).unwrap();
    let command = lines.find_map(|line| line.trim().strip_prefix("jejak ").map(str::to_owned));
    let command = command.unwrap();
    let ended = jejak(&dir.path().join("d"), &command.split(' ').collect::<Vec<_>>());
    let kill = Command::new("kill").arg(demo.id().to_string()).status();
    assert!(kill.unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    ended.exit(0);
}
