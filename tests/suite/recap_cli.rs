//! The recap at the command line: what is shown is proven, and a log that lies is caught.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use jejak_proofs::{
    merkle::{BundleId, Frontier, leaf_hash, parse_bundle, push_entry},
    note::{Checkpoint, SigningKey},
};
use serde_json::{Value, json};

use super::{
    program::{Ended, Serving, example_log, jejak},
    witnessed::Place,
};

/// A log of the example election with a form of 3173001, and keys of an officer and an observer.
struct Desk {
    dir: tempfile::TempDir,
    server: Serving,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = example_log(dir.path());
        let desk = Self { dir, server };
        let by = ["--by", "log/keys/root", "--role", "observer", "--units", "ID"];
        desk.ask(&[&["mandate"][..], &by, &["--new", "observer.key"]].concat()).exit(0);
        desk.submit("form", "officer.key", |_| ()).exit(0);
        desk
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command about the log.
    fn ask(&self, arguments: &[&str]) -> Ended {
        self.ask_at(&self.server.url, arguments)
    }

    fn ask_at(&self, url: &str, arguments: &[&str]) -> Ended {
        let more = ["-p", "log/policy", "--url", url];
        jejak(self.path(), &[arguments, &more].concat())
    }

    /// Runs a command offline.
    fn verify(&self, arguments: &[&str]) -> Ended {
        let words = [&["--json", "verify", "-p", "log/policy"], arguments].concat();
        jejak(self.path(), &words)
    }

    /// Submits the example form, changed, as `name.json`.
    fn submit(&self, name: &str, key: &str, change: impl FnOnce(&mut Value)) -> Ended {
        let text = fs::read_to_string(self.path().join("form.json")).unwrap();
        let mut form: Value = serde_json::from_str(&text).unwrap();
        change(&mut form);
        fs::write(self.path().join(format!("{name}.json")), form.to_string()).unwrap();
        self.ask(&["submit", "-k", key, &format!("{name}.json")])
    }

    fn leaf(&self, note: &str) -> String {
        let ended = jejak(self.path(), &["--json", "verify", note]).exit(0);
        ended.json()["leaf"].as_str().unwrap().to_owned()
    }

    /// Revises the form to 97 votes for 01.
    fn revise(&self) {
        let prev = self.leaf("form.note");
        let revised = self.submit("revision", "officer.key", |form| {
            form["votes"]["01"] = json!(97);
            form["seq"] = json!(1);
            form["prev"] = json!(prev);
            form["reason"] = json!("clerical");
            form["decision"] = json!("2".repeat(64));
        });
        revised.exit(0);
    }

    /// Waits until so many entries about 3173001 are sealed, and keeps the proof.
    fn prove(&self, entries: u64, file: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            self.ask(&["recap", "prove", "ppwp", "3173001", "-o", file]).exit(0);
            let shown = self.verify(&[file]).exit(0).json();
            if shown["record"]["entries"] == json!(entries) {
                return shown;
            }
            assert!(Instant::now() < until, "not sealed: {shown}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_citizen_finds_a_station_in_every_total_above() {
    let desk = Desk::new();
    let shown = desk.prove(1, "x.recap-proof");
    assert_eq!((&shown["status"], &shown["unit"]), (&json!("single"), &json!("3173001")));
    assert_eq!(shown["counters"]["votes"], json!({"01": 100, "02": 50}));
    let above: Vec<&Value> = shown["above"].as_array().unwrap().iter().collect();
    assert_eq!(above.iter().map(|unit| &unit["unit"]).collect::<Vec<_>>(), ["3173", "31", "ID"]);
    assert!(above.iter().all(|unit| unit["counters"]["votes"]["01"] == json!(100)));
    assert_eq!(above[2]["counters"]["registered"], json!(395));
    let text = jejak(desk.path(), &["verify", "-p", "log/policy", "x.recap-proof"]).exit(0).stdout;
    for said in [
        "Your station's 100 for 01 are inside 100 of 3173, inside 100 of 31, inside 100 of ID.",
        "not recounted: as the log computed it",
        "not the official result",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let same = ["recap", "verify", "-p", "log/policy", "x.recap-proof"];
    assert_eq!(jejak(desk.path(), &same).exit(0).stdout, text);
    // A station without a form is proven to have none.
    desk.ask(&["recap", "prove", "ppwp", "3173002"]).exit(0);
    let absent = desk.verify(&["3173002.recap-proof"]).exit(0).json();
    assert_eq!((&absent["status"], &absent["record"]["entries"]), (&json!("none"), &json!(0)));
    desk.ask(&["recap", "prove", "ppwp", "3173009"]).exit(10);
    desk.ask(&["recap", "prove", "other", "3173001"]).exit(10);
}

// SPEC [Q12]
#[test]
fn a_proof_says_who_recounted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let place = Place::new(dir);
    assert!(place.init("x").exit(78).stderr.contains("no --witness has that name"));
    place.init("w").exit(0);
    let (_witness, _log) = (place.witness(), place.serve("log"));
    let policy = ["-p", "log/policy"];
    let by = ["--by", "log/keys/root", "--role", "official", "--units", "ID", "--new", "k"];
    jejak(dir, &[&["mandate"][..], &policy, &by].concat()).exit(0);
    let submit = ["submit", "--witnessed", "20s", "-k", "k", "form.json"];
    jejak(dir, &[&submit[..], &policy].concat()).exit(0);
    let prove = ["recap", "prove", "ppwp", "3173001", "-o", "x.recap-proof"];
    jejak(dir, &[&prove[..], &policy].concat()).exit(0);
    let verify = ["verify", "x.recap-proof", "-p", "log/policy"];
    let said = jejak(dir, &verify).exit(0).stdout;
    assert!(said.contains("\nrecounted by w\n") && !said.contains("not recounted"), "{said}");
    let object = jejak(dir, &[&["--json"][..], &verify].concat()).exit(0).json();
    assert_eq!(object["recounted"], json!(["w"]));
    let said = jejak(dir, &["recap", "show", "ppwp", "-p", "log/policy"]).exit(0).stdout;
    assert!(said.contains("\nrecounted by w\n"), "{said}");
    // A policy that does not say so of the witness says so of nobody.
    let text = fs::read_to_string(dir.join("log/policy")).unwrap();
    fs::write(dir.join("other"), text.replace("# jejak-recount w\n", "")).unwrap();
    let said = jejak(dir, &["verify", "x.recap-proof", "-p", "other"]).exit(0).stdout;
    assert!(said.contains("seen by w\n") && said.contains("not recounted"), "{said}");
}

#[test]
fn a_form_counts_or_is_superseded_or_differs() {
    let desk = Desk::new();
    desk.prove(1, "old.recap-proof");
    let form = |arguments: &[&str], exit: i32| {
        let ended = desk.verify(arguments).exit(exit).json();
        ended["form"]["standing"].as_str().unwrap().to_owned()
    };
    assert_eq!(form(&["form.note", "old.recap-proof"], 0), "counts");
    // Another form of the same station, never sent.
    let note = fs::read_to_string(desk.path().join("form.note")).unwrap();
    let edited = note.replace("\"total\":154", "\"total\":153");
    fs::write(desk.path().join("edited.note"), edited).unwrap();
    fs::copy(desk.path().join("form.tlog-proof"), desk.path().join("edited.tlog-proof")).unwrap();
    let ended = desk.verify(&["edited.note", "old.recap-proof"]).exit(11).json();
    assert_eq!(ended["form"]["differences"], json!({"total": {"counted": 154, "written": 153}}));
    desk.revise();
    desk.prove(2, "new.recap-proof");
    assert_eq!(form(&["form.note", "new.recap-proof"], 12), "superseded");
    assert_eq!(form(&["revision.note", "new.recap-proof"], 0), "counts");
    assert_eq!(form(&["revision.note", "old.recap-proof"], 75), "too_new");
    // Nobody can tell that a form was replaced which is not shown to have been logged.
    fs::remove_file(desk.path().join("form.tlog-proof")).unwrap();
    assert_eq!(form(&["form.note", "new.recap-proof"], 11), "differs");
}

#[test]
fn what_does_not_verify_has_its_code() {
    let desk = Desk::new();
    desk.prove(1, "x.recap-proof");
    let proof = fs::read_to_string(desk.path().join("x.recap-proof")).unwrap();
    let other = proof.replace("\"counters\":[100,", "\"counters\":[101,");
    let malformed = proof.replacen("{\"contest\"", "{ \"contest\"", 1);
    let (path, receipt) = proof.split_once("c2sp.org").unwrap();
    // Origin, size and root of the checkpoint follow the empty line.
    let size = receipt.split_once("\n\n").unwrap().1.lines().nth(1).unwrap();
    let larger: u64 = size.parse::<u64>().unwrap() + 1;
    let unsigned = receipt.replace(&format!("\n{size}\n"), &format!("\n{larger}\n"));
    let unsigned = format!("{path}c2sp.org{unsigned}");
    let index = larger - 2;
    let elsewhere = receipt.replace(&format!("index {index}\n"), "index 0\n");
    let elsewhere = format!("{path}c2sp.org{elsewhere}");
    for (text, exit) in
        [(other, 18), (malformed, 18), (unsigned, 13), (elsewhere, 15), ("nothing".to_owned(), 1)]
    {
        assert_ne!(text, proof);
        fs::write(desk.path().join("bad.recap-proof"), text).unwrap();
        desk.verify(&["bad.recap-proof"]).exit(exit);
    }
    jejak(desk.path(), &["verify", "x.recap-proof"]).exit(2);
}

#[test]
fn a_history_is_whole_and_says_what_changed() {
    let desk = Desk::new();
    desk.revise();
    let counter = desk.submit("counter", "observer.key", |form| {
        form["form"] = json!("c-salinan");
        form["votes"]["02"] = Value::Null;
    });
    counter.exit(0);
    desk.ask(&["attest", "-k", "observer.key", "form.note", "--verdict", "disagrees"]).exit(0);
    desk.prove(4, "x.recap-proof");
    let ended = desk.ask(&["--json", "history", "ppwp", "3173001"]).exit(0);
    let lines: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, revision, counter, attestation, whole] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&first["counts"], &first["changes"]), (&json!(false), &json!({})));
    assert_eq!(revision["changes"], json!({"votes.01": [100, 97]}));
    assert_eq!((&revision["reason"], &revision["seq"]), (&json!("clerical"), &json!(1)));
    assert_eq!((&counter["role"], &counter["votes"]["02"]), (&json!("observer"), &Value::Null));
    assert_eq!(attestation["about"], first["index"]);
    assert_eq!(attestation["verdict"], json!("disagrees"));
    assert_eq!((&whole["complete"], &whole["entries"]), (&json!(true), &json!(4)));
    assert_eq!(whole["status"], json!("disputed"));
    let text = desk.ask(&["history", "ppwp", "3173001"]).exit(0).stdout;
    assert!(text.contains("votes.01: 100 -> 97"), "{text}");
    assert!(text.contains("none was left out"), "{text}");
    assert!(desk.ask(&["history", "ppwp", "3173002"]).exit(0).stdout.contains("complete: 0"));
}

#[test]
fn an_attestation_is_signed_once_and_sent_once() {
    let desk = Desk::new();
    let attest = |form: &str, verdict: &str| {
        desk.ask(&["attest", "-k", "observer.key", form, "--verdict", verdict])
    };
    attest("form.note", "agrees").exit(0);
    let signed = fs::read(desk.path().join("form.attest.note")).unwrap();
    desk.verify(&["form.attest.note", "form.attest.tlog-proof"]).exit(0);
    assert!(attest("form.note", "agrees").exit(0).stdout.contains("already logged"));
    assert_eq!(fs::read(desk.path().join("form.attest.note")).unwrap(), signed);
    attest("form.note", "disagrees").exit(78);
    // By leaf hash, from another directory: the log knows that this key has spoken.
    let leaf = desk.leaf("form.note");
    let ended = attest(&leaf, "not-present").exit(1);
    assert!(ended.stderr.contains("duplicate"), "{}", ended.stderr);
    attest(&"0".repeat(64), "agrees").exit(10);
    attest("form.attest.note", "agrees").exit(78);
    // Officials do not attest.
    let official = ["attest", "-k", "officer.key", "form.note", "--verdict", "agrees"];
    desk.ask(&[&official[..], &["-o", "official.note"]].concat()).exit(1);
}

#[test]
fn what_is_shown_adds_up_and_what_is_exported_is_the_same() {
    let desk = Desk::new();
    desk.prove(1, "x.recap-proof");
    let top = desk.ask(&["--json", "recap", "show", "ppwp"]).exit(0).json();
    assert_eq!((&top["unit"], &top["children"][0]["unit"]), (&json!("ID"), &json!("31")));
    let district = desk.ask(&["--json", "recap", "show", "ppwp", "3173"]).exit(0).json();
    assert_eq!(district["children"][1]["status"], json!("none"));
    assert_eq!(district["counters"], top["counters"]);
    let text = desk.ask(&["recap", "show", "ppwp", "31"]).exit(0).stdout;
    assert!(text.contains("SATU, DUA") && text.contains("1/2"), "{text}");
    let table = desk.ask(&["recap", "show", "ppwp", "3173", "--csv"]).exit(0).stdout;
    assert!(table.contains("\n3173001,tps,,single,100,50,150,3,154,210,1,1,0,0,0\n"), "{table}");
    let station = desk.ask(&["--json", "recap", "show", "ppwp", "3173001"]).exit(0).json();
    assert_eq!(station["record"]["status"], json!("single"));

    let export =
        |format: &str| desk.ask(&["recap", "export", "ppwp", "--format", format]).exit(0).stdout;
    let rows = export("csv");
    assert_eq!(rows.lines().count(), 6);
    assert!(rows.contains("\n3173,31,district,\"SATU, DUA\",none,0,,,100,50,"), "{rows}");
    let whole: Value = serde_json::from_str(&export("json")).unwrap();
    assert_eq!(whole["units"][0]["counters"], top["counters"]);
    assert_eq!((&whole["root"], &whole["official"]), (&top["root"], &json!(false)));
    let report: Value = serde_json::from_str(&export("nist")).unwrap();
    assert_eq!(report["@type"], json!("ElectionResults.ElectionReport"));
    let contest = &report["Election"][0]["Contest"][0];
    assert_eq!(contest["@type"], json!("ElectionResults.CandidateContest"));
    let counts = contest["ContestSelection"][0]["VoteCounts"].as_array().unwrap();
    assert_eq!(counts.len(), 4, "a station without a form has no count: {counts:?}");
    assert!(counts.iter().all(|count| count["Count"] == json!(100)));
    desk.ask(&["recap", "export", "ppwp", "-o", "all.csv"]).exit(0);
    assert_eq!(fs::read_to_string(desk.path().join("all.csv")).unwrap(), rows);
    assert!(desk.path().join("all.csv.checkpoint").exists());
    desk.ask(&["recap", "export", "other"]).exit(10);
}

/// Hands every request on to a log, and changes some answers.
struct Liar {
    url: String,
    lies: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Liar {
    fn of(log: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/2024", listener.local_addr().unwrap());
        let host = log.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let lies = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = lies.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (lies, host) = (shared.clone(), host.clone());
                thread::spawn(move || pass(socket.unwrap(), &host, &lies));
            }
        });
        Self { url, lies }
    }

    fn says(&self, path: &str, answer: impl Into<Vec<u8>>) {
        self.lies.lock().unwrap().insert(format!("/2024/{path}"), answer.into());
    }
}

/// Answers one request, and closes.
fn pass(mut socket: TcpStream, host: &str, lies: &Mutex<BTreeMap<String, Vec<u8>>>) {
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let lie = lies.lock().unwrap().get(&path).cloned();
    let body = lie.unwrap_or_else(|| get(host, &path));
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = socket.write_all(&[head.as_bytes(), &body].concat());
}

fn get(host: &str, path: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(host).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}

#[test]
fn a_log_that_lies_in_unsigned_answers_is_caught() {
    let desk = Desk::new();
    desk.revise();
    desk.prove(2, "x.recap-proof");
    let liar = Liar::of(&desk.server.url);
    let ask = |arguments: &[&str]| desk.ask_at(&liar.url, arguments);
    let host = desk.server.url.trim_start_matches("http://").split('/').next().unwrap();
    let bytes = |path: &str| get(host, &format!("/2024/{path}"));
    let told = |path: &str| String::from_utf8(bytes(path)).unwrap();
    ask(&["recap", "show", "ppwp", "3173"]).exit(0);
    ask(&["history", "ppwp", "3173001"]).exit(0);

    // Votes that a child does not have.
    let children = told("recap/ppwp/3173");
    liar.says("recap/ppwp/3173", children.replacen("[97,", "[98,", 1));
    ask(&["recap", "show", "ppwp", "3173"]).exit(18);
    // A station that is left out.
    let mut fewer: Value = serde_json::from_str(&children).unwrap();
    fewer["children"].as_array_mut().unwrap().pop();
    liar.says("recap/ppwp/3173", fewer.to_string());
    ask(&["recap", "show", "ppwp", "3173"]).exit(18);
    // An older state, for ever.
    let mut older: Value = serde_json::from_str(&children).unwrap();
    older["size"] = json!(2);
    liar.says("recap/ppwp/3173", older.to_string());
    ask(&["recap", "show", "ppwp", "3173"]).exit(75);

    // A revision that is left out, and an entry too many.
    let history: Value = serde_json::from_str(&told("unit/ppwp/3173001/history")).unwrap();
    for indexes in [json!([history["indexes"][0]]), json!([0, 1]), json!([1, 2, 3])] {
        let mut lie = history.clone();
        lie["indexes"] = indexes;
        liar.says("unit/ppwp/3173001/history", lie.to_string());
        ask(&["history", "ppwp", "3173001"]).exit(18);
    }
    liar.says("unit/ppwp/3173001/history", history.to_string());
    // Another text at an index.
    let first = history["indexes"][0].as_u64().unwrap();
    let entry = told(&format!("entry/{first}"));
    liar.says(&format!("entry/{first}"), entry.replace("154", "153"));
    ask(&["history", "ppwp", "3173001"]).exit(15);

    // The proof of another station, and another top.
    liar.says("recap-proof/ppwp/3173001", told("recap-proof/ppwp/3173002"));
    ask(&["recap", "prove", "ppwp", "3173001", "-o", "no.recap-proof"]).exit(18);
    assert!(!desk.path().join("no.recap-proof").exists());
    let description: Value = serde_json::from_str(&told("log.json")).unwrap();
    let register = format!("register/{}", description["manifest"]["units"].as_str().unwrap());
    liar.says(&register, told(&register).replacen("\nID,,", "\n3173,,", 1));
    liar.says("recap/ppwp/3173", children);
    ask(&["recap", "show", "ppwp"]).exit(18);
    // A replay believes neither the register nor an entry.
    ask(&["recap", "export", "ppwp"]).exit(1);
    liar.says(&register, told(&register));
    ask(&["recap", "export", "ppwp"]).exit(0);
    // Entries that somebody changed on the way do not make the log a breaker of rules.
    let size = history["size"].as_u64().unwrap();
    let bundle = format!("tile/entries/000.p/{size}");
    let mut changed = bytes(&bundle);
    let at = changed.windows(3).position(|three| three == b"154").unwrap();
    changed[at + 2] = b'5';
    liar.says(&bundle, changed);
    ask(&["recap", "export", "ppwp"]).exit(15);
}

#[test]
fn a_replay_tells_who_broke_which_rule() {
    let desk = Desk::new();
    let size = desk.prove(1, "x.recap-proof")["size"].as_u64().unwrap();
    let host = desk.server.url.trim_start_matches("http://").split('/').next().unwrap();
    let id = BundleId { index: 0, width: size.try_into().unwrap() };
    let bundle = get(host, &format!("/2024/{}", id.path()));
    let honest: Vec<&[u8]> = parse_bundle(id, &bundle).unwrap();
    let key = fs::read_to_string(desk.path().join("log/keys/log")).unwrap();
    let key = SigningKey::parse(key.trim_end()).unwrap();
    // What the log would show if it had these entries, signed with its own key.
    let export = |entries: &[&[u8]]| {
        let liar = Liar::of(&desk.server.url);
        let (mut frontier, mut bundle) = (Frontier::new(), Vec::new());
        for entry in entries {
            frontier.push(leaf_hash(entry));
            push_entry(&mut bundle, entry).unwrap();
        }
        let checkpoint = Checkpoint::sign(frontier.head(), &key).unwrap();
        let id = BundleId { width: entries.len().try_into().unwrap(), ..id };
        liar.says("checkpoint", checkpoint.note());
        liar.says(&id.path(), bundle);
        desk.ask_at(&liar.url, &["recap", "export", "ppwp"])
    };
    export(&honest).exit(0);
    // The form a second time: the log should have known it.
    let [.., form, state] = honest[..] else { panic!("{size} entries") };
    let broken = export(&[&honest[..], &[form]].concat()).exit(19);
    assert!(broken.stderr.contains(&format!("entry {size} breaks")), "{}", broken.stderr);
    // A state that is not the one that follows.
    let state = String::from_utf8(state.to_vec()).unwrap();
    let forged = state.replace("\"contests\":1", "\"contests\":2");
    let before = &honest[..honest.len() - 1];
    export(&[before, &[forged.as_bytes()]].concat()).exit(19);
    // No state at the end: nothing is committed to yet.
    export(before).exit(75);
    // Another entry 0.
    export(&[form]).exit(16);
}
