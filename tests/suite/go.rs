//! The log as the Go implementation reads it: `oracles/go/reader.go`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jejak_proofs::note::{KeyKind, Policy, SigningKey};

use super::program::{Serving, jejak, root, skipped};

/// Where Debian puts the sources of its Go packages.
const GOPATH: &str = "/usr/share/gocode";

/// Proofs of each kind: 1,000 in all.
const COUNT: &str = "500";

/// The program, built; `None` is said aloud.
fn reader(dir: &Path) -> Option<PathBuf> {
    let there = PathBuf::from(GOPATH).join("src/golang.org/x/mod/sumdb/tlog").exists();
    if !there || Command::new("go").arg("version").output().is_err() {
        skipped("no Go with golang.org/x/mod (Debian: golang-go golang-golang-x-mod-dev)");
        return None;
    }
    let program = dir.join("reader");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(root().join("oracles/go/reader.go"))
        .envs([("GO111MODULE", "off"), ("GOPATH", GOPATH), ("GOFLAGS", "")])
        .env("GOCACHE", dir.join("cache"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

/// Stations: enough that the tree has tiles on two levels, full ones and partial ones.
const STATIONS: usize = 3_000;

/// A served log with a tally of every station.
fn log(dir: &Path) -> Serving {
    let mut units =
        "unit,parent,kind,name,registered.l,registered.p\nID,,nation,ALL,,\n".to_owned();
    let mut results = "unit,votes.01,votes.02,valid,invalid,total\n".to_owned();
    for station in 1..=STATIONS {
        units += &format!("{station:04},ID,tps,,150,150\n");
        results += &format!("{station:04},{},7,{},0,{0}\n", station % 200, station % 200 + 7);
    }
    fs::write(dir.join("units.csv"), units).unwrap();
    fs::write(dir.join("results.csv"), results).unwrap();
    let init = ["init", "log", "--origin", "log.example/go", "--units", "units.csv"];
    jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(0);
    let serving = Serving::start(dir, "log");
    let at = ["-p", "log/policy", "--url", &serving.url];
    let role = ["--by", "log/keys/root", "--role", "official", "--units", "ID", "--new", "k"];
    jejak(dir, &[&["mandate"][..], &at, &role].concat()).exit(0);
    let table = ["-k", "k", "--contest", "ppwp", "results.csv", "import"];
    jejak(dir, &[&["import"][..], &at, &table].concat()).exit(0);
    // Until all of it is sealed.
    jejak(dir, &[&["monitor"][..], &at, &["--state", "watch", "--once"]].concat()).exit(0);
    serving
}

#[test]
fn the_go_implementation_agrees_on_a_thousand_proofs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Some(reader) = reader(dir) else { return };
    let serving = log(dir);
    let policy = fs::read(dir.join("log/policy")).unwrap();
    let policy = Policy::parse(&String::from_utf8(policy).unwrap()).unwrap();
    let keys = policy.log_keys(policy.single_origin().unwrap());
    let ed25519 = keys.iter().find(|key| key.kind() == KeyKind::Ed25519).unwrap().to_string();
    let read = |url: &str, vkey: &str| -> Output {
        Command::new(&reader).args([url, vkey, COUNT]).output().unwrap()
    };
    let agreed = read(&serving.url, &ed25519);
    let said = String::from_utf8_lossy(&agreed.stdout).into_owned();
    assert!(agreed.status.success(), "{said}{}", String::from_utf8_lossy(&agreed.stderr));
    assert!(said.contains("500 inclusion and 500 consistency proofs agree"), "{said}");
    let entries: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(entries > STATIONS, "{said}");
    // It would have said so if another key had signed.
    let other = SigningKey::from_seed("log.example/go", KeyKind::Ed25519, [9; 32])
        .unwrap()
        .verifier()
        .to_string();
    assert!(!read(&serving.url, &other).status.success());
}
