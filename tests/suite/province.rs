//! One province of a real election, from table to audit, with a kill in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::Path,
    thread,
    time::Duration,
};

use flate2::read::MultiGzDecoder;

use super::program::{Serving, free_address, jejak, real_data};

/// A province of eight thousand stations.
const PROVINCE: &str = "27";

fn read_gz(path: &Path) -> String {
    let mut text = String::new();
    let bytes = fs::read(path).unwrap();
    MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
    text
}

/// The lines of a table whose first field lies in the province, after its header.
fn of_province(table: &str, also: &[&str]) -> String {
    let (header, rows) = table.split_once('\n').unwrap();
    let inside = |row: &&str| {
        let unit = row.split(',').next().unwrap();
        unit.starts_with(PROVINCE) || also.contains(&unit)
    };
    let rows: Vec<&str> = rows.lines().filter(inside).collect();
    format!("{header}\n{}\n", rows.join("\n"))
}

/// Rules A1 and A2 by a plain loop over the table, which shares no code with the ledger.
fn broken_rules(results: &str) -> BTreeMap<&'static str, u64> {
    let mut broken = BTreeMap::from([("A1", 0), ("A2", 0)]);
    for row in results.lines().skip(1) {
        let n: Vec<Option<u64>> = row.split(',').skip(1).map(|cell| cell.parse().ok()).collect();
        let &[first, second, valid, invalid, total] = &n[..] else { panic!("{row}") };
        if let (Some(first), Some(second), Some(valid)) = (first, second, valid) {
            *broken.get_mut("A1").unwrap() += u64::from(first + second != valid);
        }
        if let (Some(valid), Some(invalid), Some(total)) = (valid, invalid, total) {
            *broken.get_mut("A2").unwrap() += u64::from(valid + invalid != total);
        }
    }
    broken
}

#[test]
fn a_real_province_survives_a_kill_and_is_audited_to_the_last_row() {
    let Some(data) = real_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let units = of_province(&read_gz(&data.join("units.csv.gz")), &["ID"]);
    let results = of_province(&read_gz(&data.join("official.csv.gz")), &[]);
    let rows = results.lines().count() as u64 - 1;
    assert!(rows > 5_000, "{rows} stations");
    fs::write(dir.join("units.csv"), units).unwrap();
    fs::write(dir.join("results.csv"), &results).unwrap();

    let init = ["init", "log", "--origin", "log.example/2019", "--units", "units.csv"];
    jejak(dir, &[&init[..], &["--contest", "ppwp=01,02"]].concat()).exit(0);
    let listen = free_address();
    let serve = || Serving::with(dir, &["serve", "log", "--listen", &listen]);
    let server = serve();
    let url = server.url.clone();
    let by = ["--by", "log/keys/root", "--role", "official", "--units", "ID"];
    let at = ["--url", &url, "-p", "log/policy", "--new", "k"];
    jejak(dir, &[&["mandate"][..], &by, &at].concat()).exit(0);

    // The server dies in the middle and comes back; the import waits for it and goes on.
    let import = || {
        let what = ["-k", "k", "--contest", "ppwp", "results.csv", "import"];
        jejak(dir, &[&["--json", "import", "-p", "log/policy", "--url", &url][..], &what].concat())
    };
    let (first, server) = thread::scope(|scope| {
        let importing = scope.spawn(import);
        thread::sleep(Duration::from_millis(400));
        server.kill();
        let server = serve();
        (importing.join().unwrap().exit(0).json(), server)
    });
    assert_eq!(first["refused"], serde_json::json!({}), "every row is in the log");
    assert_eq!(first["new"].as_u64().unwrap() + first["known"].as_u64().unwrap(), rows);

    let again = import().exit(0).json();
    assert_eq!((again["new"].as_u64(), again["done"].as_u64()), (Some(0), Some(rows)));

    let monitor = ["monitor", "-p", "log/policy", "--url", &url, "--state", "watch"];
    let audit = jejak(dir, &[&["--json"][..], &monitor, &["--once"]].concat()).exit(0);
    let findings: Vec<serde_json::Value> =
        audit.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (rule, count) in broken_rules(&results) {
        let found = findings.iter().filter(|finding| finding["id"] == rule).count() as u64;
        assert_eq!(found, count, "{rule}");
    }

    let stations: BTreeSet<&str> =
        results.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    for unit in stations.iter().step_by(stations.len() / 10) {
        jejak(dir, &["receipt", "-p", "log/policy", "import", unit, "-o", "cut"]).exit(0);
        let (note, proof) = (format!("cut/{unit}.note"), format!("cut/{unit}.tlog-proof"));
        jejak(dir, &["verify", "-p", "log/policy", &note, &proof]).exit(0);
    }
    jejak(dir, &["fsck", "log"]).exit(0);
    drop(server);
    jejak(dir, &["fsck", "log"]).exit(0);
}
