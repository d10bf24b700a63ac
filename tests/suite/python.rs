//! The second implementation, in Python, against this one: bodies, states, recap proofs.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use jejak_proofs::{
    merkle::{Hash, push_entry, sha256},
    note::Policy,
    tally::{Attestation, AttestationVerdict, Body, Contest, Manifest, RecapProof, Tally, Unit},
};
use tempfile::TempDir;

use super::{
    program::{example_log, jejak, skipped},
    spec::root,
    spec_example::{Example, ORIGIN as EXAMPLE, STATION},
    spec_world::{
        OBSERVER, ORIGIN, ROOTS, World, code, contest, id, key, mandated, manifest, named, spell,
        tally, unit, words,
    },
};

/// The interpreter, if it has what the verifier needs; says so if not.
pub fn python() -> Option<PathBuf> {
    let python = env::var_os("JEJAK_PYTHON").unwrap_or("python3".into());
    let probe = Command::new(&python)
        .args(["-c", "import cryptography.hazmat.primitives.asymmetric.mldsa"])
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python.into());
    }
    skipped("no Python with the package `cryptography`, 50 or newer");
    None
}

pub fn run(python: &Path, script: &str, args: &[&str]) -> Output {
    let script = root().join("tests").join(script);
    Command::new(python).arg("-B").arg(script).args(args).output().unwrap()
}

/// Exit code and stdout of the verifier.
pub fn verify(python: &Path, args: &[&str]) -> (i32, String) {
    let output = run(python, "verify.py", args);
    let (out, err) =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).into();
    let code = output.status.code().unwrap();
    assert!(code == 0 || !err.contains("Traceback"), "{err}");
    (code, if code == 0 { out } else { err })
}

pub struct Files {
    pub dir: TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn registers<'a>(&self, registers: impl Iterator<Item = &'a String>) {
        for register in registers {
            self.write(&sha256(register.as_bytes()).to_string(), register);
        }
    }

    fn entries(&self, entries: &[String]) -> String {
        let mut bytes = vec![];
        entries.iter().for_each(|entry| push_entry(&mut bytes, entry.as_bytes()).unwrap());
        self.write("entries", bytes)
    }

    /// What the verifier says of a log with these entries.
    fn replay(&self, python: &Path, origin: &str, entries: &[String]) -> (i32, String) {
        let file = self.entries(entries);
        verify(python, &["replay", origin, &file, self.dir.path().to_str().unwrap()])
    }
}

#[test]
fn the_verifier_knows_the_answers_of_the_standards() {
    let Some(python) = python() else { return };
    assert_eq!(verify(&python, &["selftest"]).0, 0);
}

/// `canonical.py` writes bodies, whole and broken, each with its own verdict.
#[test]
fn both_take_and_refuse_the_same_bodies() {
    let Some(python) = python() else { return };
    let output = run(&python, "canonical.py", &["20000", "3"]);
    let (mut rest, mut taken, mut count) = (&output.stdout[..], 0, 0);
    while let Some((verdict, after)) = rest.split_first() {
        let (len, after) = after.split_first_chunk::<4>().unwrap();
        let (document, after) = after.split_at(u32::from_be_bytes(*len) as usize);
        let text = std::str::from_utf8(document).unwrap();
        let (kind, json) = text.split_once('\n').unwrap();
        let ours = Body::from_canonical(kind, json).is_ok();
        assert_eq!(ours, *verdict == b'1', "{text}");
        taken += u32::from(ours);
        (rest, count) = (after, count + 1);
    }
    assert_eq!(count, 20_000);
    assert!(taken > 5_000, "{taken}");
}

#[test]
fn the_example_stands_for_both() {
    let Some(python) = python() else { return };
    let example = Example::new();
    let files = Files::new();
    files.registers([&example.units, &example.contests].into_iter());
    let mut entries = example.entries.to_vec();
    entries.push(example.state.clone());
    let recap = example.sealed.state.recap;
    assert_eq!(files.replay(&python, EXAMPLE, &entries), (0, format!("state 3 {recap}\n")));
    // A state with another root, one too early, one too many, one too late.
    let wrong = example.state.replace(&recap.to_string(), &example.leaves[0].to_string());
    let early = [&entries[..2], &entries[3..]].concat();
    let twice = [&entries[..], &entries[3..]].concat();
    let other = [&entries[..3], &[wrong]].concat();
    let first = [&entries[3..], &entries[..]].concat();
    for entries in [early, twice, other, first] {
        assert_eq!(files.replay(&python, EXAMPLE, &entries).0, 19);
    }
    let policy = files.write("policy", &example.policy);
    let (code, said) =
        verify(&python, &["recap", &policy, &files.write("proof", example.recap_proof(STATION))]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("ppwp 31.001: single [97, 84, 182, 3, 185, 251, 1, 1, 0, 0, 0]\n"));
    let proof = example.recap_proof(STATION);
    for (want, from, to) in [
        (1, "jejak/recap-proof/v1", "jejak/recap-proof/v2"),
        (1, "\"position\":0", "\"position\":00"),
        (13, "log.example/2024\n4\n", "log.example/2024\n5\n"),
        (15, "\"size\":3", "\"size\":2"),
        (18, "\"counters\":[97,", "\"counters\":[98,"),
        (18, "\"children\":1", "\"children\":2"),
        (18, "\"position\":0", "\"position\":1"),
        (18, "\"status\":\"single\"", "\"status\":\"corrected\""),
        (18, "\"contest_index\":0", "\"contest_index\":1"),
        (18, "\"options\":[\"01\",\"02\"]", "\"options\":[\"02\",\"01\"]"),
        (18, "\"options\":[\"01\",\"02\"]", "\"options\":[\"01\"]"),
        (18, "\"unit\":\"31\"}", "\"unit\":\"32\"}"),
    ] {
        let wrong = proof.replacen(from, to, 1);
        assert_ne!(wrong, proof, "{from}");
        let ours = RecapProof::parse(wrong.as_bytes());
        let ours = ours.and_then(|proof| proof.verify(&Policy::parse(&example.policy).unwrap()));
        assert!(ours.is_err(), "{to}");
        let (code, said) = verify(&python, &["recap", &policy, &files.write("wrong", wrong)]);
        assert_eq!(code, want, "{to}: {said}");
    }
}

/// A server of these bodies, by path.
fn serve(bodies: BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/2024", listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut request = [0; 4096];
            let len = socket.read(&mut request).unwrap();
            let head = String::from_utf8_lossy(&request[..len]).into_owned();
            let path = head.strip_prefix("GET /2024/").and_then(|rest| rest.split(' ').next());
            let (status, body) = match path.and_then(|path| bodies.get(path)) {
                Some(body) => ("200 OK", &body[..]),
                None => ("404 Not Found", &b""[..]),
            };
            let len = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n");
            let answer = [head.as_bytes(), b"Connection: close\r\n\r\n", body].concat();
            socket.write_all(&answer).unwrap();
        }
    });
    url
}

/// What a server of the example answers, as far as the verifier asks.
fn answers(example: &Example) -> BTreeMap<String, Vec<u8>> {
    let mut bundle = vec![];
    let entries = example.entries.iter().chain([&example.state]);
    entries.for_each(|entry| push_entry(&mut bundle, entry.as_bytes()).unwrap());
    let tile = example.leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
    let mut answers: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("checkpoint".into(), example.checkpoint.note().into()),
        ("tile/entries/000.p/4".into(), bundle),
        ("tile/0/000.p/4".into(), tile),
    ]);
    for register in [&example.units, &example.contests] {
        let hash = sha256(register.as_bytes());
        answers.insert(format!("register/{hash}"), register.clone().into());
    }
    answers
}

#[test]
fn the_answers_about_units_are_those_of_the_entries() {
    let Some(python) = python() else { return };
    let example = Example::new();
    let policy = Files::new();
    let policy_file = policy.write("policy", &example.policy);
    let log = |answers: BTreeMap<String, Vec<u8>>| {
        verify(&python, &["log", &policy_file, &serve(answers)])
    };
    let mut whole = answers(&example);
    for unit in ["ID", "31", STATION] {
        whole.insert(format!("recap-proof/ppwp/{unit}"), example.recap_proof(unit).into());
        let answers = example.answers(unit).into_iter();
        whole.extend(answers.map(|(path, answer)| (path, answer.to_string().into())));
    }
    let (code, said) = log(whole.clone());
    assert_eq!((code, said.contains(" 3 units, ")), (0, true), "{said}");
    for path in ["unit/ppwp/31.001", "unit/ppwp/31/history", "recap/ppwp/31"] {
        let mut wrong = whole.clone();
        let text = String::from_utf8(wrong[path].clone()).unwrap();
        let changed = text.replacen("31", "32", 1).replacen("[2]", "[]", 1);
        wrong.insert(path.into(), changed.into());
        assert_eq!(log(wrong).0, 19, "{path}");
    }
}

/// A log as `jejak` makes and serves it.
#[test]
fn a_served_log_passes() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (dir, server) = (dir.path(), example_log(dir.path()));
    let submit = ["submit", "-p", "log/policy", "--url", &server.url, "-k", "officer.key"];
    jejak(dir, &[&submit[..], &["form.json"]].concat()).exit(0);
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let policy = file("log/policy");
    let (code, said) = verify(&python, &["log", &policy, &server.url]);
    assert_eq!(code, 0, "{said}");
    let receipt = ["receipt", &policy, &file("form.note"), &file("form.tlog-proof")];
    assert_eq!(verify(&python, &receipt).0, 0);
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// A number of a form: mostly the same, so that tallies differ in little.
    fn count(&mut self) -> Option<u32> {
        match self.below(20) {
            0 => None,
            1 => Some(0),
            2 => Some(2),
            _ => Some(1),
        }
    }
}

const AUTHORS: [&str; 4] = ["official/ID", "official/31", OBSERVER, "observer/31"];

/// A random log: tallies of every role and round, withdrawals, attestations, declared recaps,
/// manifests that move units, change scopes and kinds, and a state now and then.
struct History {
    world: World,
    dice: Dice,
    registers: Vec<String>,
    /// By contest, unit, round and author, 0 for all officials: `seq` and leaf hash of the head.
    heads: BTreeMap<(String, String, String, usize), (u32, Hash)>,
    /// Contest, unit and leaf hash of every tally.
    tallies: Vec<(String, String, Hash)>,
    states: String,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut history = Self {
            world: World::empty(),
            dice: Dice(seed),
            registers: vec![],
            heads: BTreeMap::new(),
            tallies: vec![],
            states: String::new(),
        };
        history.manifest(manifest());
        let unit = |name: &str| name.split('/').next_back().unwrap().to_owned();
        let keys = AUTHORS.map(|name| mandated(&key(name), &[&unit(name)], None));
        history.world.take(&history.world.mandate(ROOTS[0], keys.into()), &ROOTS);
        history
    }

    /// Units and contests at random: some of those that there can be, in any place.
    fn manifest(&mut self, old: Manifest) {
        let dice = &mut self.dice;
        let stations = if dice.below(3) > 0 { vec!["box", "tps"] } else { vec!["tps"] };
        let mut units = vec![unit("ID", "", "nation"), unit("31", "ID", "province")];
        let add = |units: &mut Vec<Unit>, code: &str, parent: &str, kind: &str, voters| {
            let mut new = unit(code, parent, kind);
            new.registered.l = voters;
            if !stations.contains(&kind) {
                (new.registered.l, new.registered.p) = (None, None);
                new.name = "A region".into();
            }
            units.push(new);
        };
        let homes: Vec<usize> = (0..8).map(|_| dice.below(3)).collect();
        for (place, province) in ["31", "32"].into_iter().enumerate() {
            if place == 1 {
                units.push(unit("32", "ID", "province"));
            }
            for (number, _) in homes.iter().enumerate().filter(|(_, home)| **home == place) {
                let kind = if number < 6 { "tps" } else { "box" };
                add(&mut units, &format!("S{number}"), province, kind, dice.count());
            }
        }
        let scope =
            |dice: &mut Dice| dice.pick(&[vec!["31"], vec!["32"], vec!["ID"], vec!["31", "32"]]);
        let of = |id: &str, options: &[&str], scope: Vec<&str>| Contest {
            scope: scope.into_iter().map(code).collect(),
            ..contest(id, options, "ID")
        };
        let mut contests = vec![of("dpd", &["a", "b", "c"], scope(dice))];
        if dice.below(2) > 0 {
            contests.push(of("new", &["x"], scope(dice)));
        }
        contests.push(of("ppwp", &["01", "02"], scope(dice)));
        let registers = spell(&units, &contests);
        self.world.provide(&registers);
        let rounds = dice.pick(&[
            vec!["regular", "psu"],
            vec!["pss", "regular", "psu"],
            vec!["regular", "court", "psu"],
        ]);
        let mut next = Manifest { registers: named(&registers), rounds: words(&rounds), ..old };
        next.station_kinds = words(&stations);
        next.exempt_kinds = vec![];
        let all = words(&["nation", "province", "tps", "box"]);
        for role in &mut next.roles {
            (role.may_open, role.may_revise) = (all.clone(), all.clone());
        }
        self.registers.extend(registers);
        let _ = self.world.offer(&Body::Manifest(Box::new(next)), &ROOTS);
    }

    fn tally(&mut self) {
        let dice = &mut self.dice;
        let author = dice.below(4);
        let contest = dice.pick(&["dpd", "new", "ppwp", "ppwp"]);
        let unit = dice.pick(&["ID", "31", "32", "S0", "S1", "S2", "S3", "S6", "S7"]);
        let round = dice.pick(&["regular", "regular", "psu", "pss"]);
        let chain = (contest.into(), unit.into(), round.into(), author.max(1));
        let options = match contest {
            "dpd" => &["a", "b", "c"][..],
            "new" => &["x"],
            _ => &["01", "02"],
        };
        let name = AUTHORS[author];
        let mut new = match self.heads.get(&chain) {
            Some((seq, leaf)) => self.world.revision(name, unit, seq + 1, *leaf),
            None => self.world.opening(name, unit),
        };
        new.round = words(&[round])[0].clone();
        new.contest = id(contest);
        new.votes = options.iter().map(|option| (id(option), dice.count())).collect();
        (new.valid, new.invalid, new.total) = (dice.count(), dice.count(), dice.count());
        if new.seq > 0 && dice.below(3) == 0 {
            new.reason = Some(jejak_proofs::tally::Reason::Withdrawn);
            new.votes.values_mut().for_each(|count| *count = None);
            (new.valid, new.invalid, new.total) = (None, None, None);
        }
        let Tally { seq, .. } = new;
        if self.world.offer(&tally(new), &[name]).is_ok() {
            let leaf = self.world.last();
            self.heads.insert(chain, (seq, leaf));
            self.tallies.push((contest.into(), unit.into(), leaf));
        }
    }

    fn attestation(&mut self) {
        if self.tallies.is_empty() {
            return;
        }
        let (contest, unit, leaf) = self.dice.pick(&self.tallies);
        let name = self.dice.pick(&AUTHORS[1..]);
        let verdict = AttestationVerdict::Disagrees;
        let said = self.world.attestation(name, &unit, leaf);
        let said = Attestation { contest: id(&contest), verdict, ..said };
        let _ = self.world.offer(&Body::Attestation(said), &[name]);
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0 => self.manifest(self.world.successor()),
            1..=3 => self.attestation(),
            4..=7 if self.world.ledger.unsealed() > 0 => {
                let state = self.world.seal();
                self.states += &format!("state {} {}\n", state.size, state.recap);
            }
            _ => self.tally(),
        }
    }
}

// SPEC [U1] [U2] [U3] [U4] [U5] [U6] [U7] [U8] [U9] [U10] [U11]
#[test]
fn random_histories_have_the_same_states() {
    let Some(python) = python() else { return };
    let mut states = 0;
    for seed in 0..12 {
        let mut history = History::new(seed);
        (0..150).for_each(|_| history.step());
        let files = Files::new();
        files.registers(history.registers.iter());
        let (code, said) = files.replay(&python, ORIGIN, &history.world.entries);
        assert_eq!((code, said.as_str()), (0, history.states.as_str()), "seed {seed}");
        states += history.states.lines().count();
        // The proof of some unit of some contest.
        if history.world.ledger.unsealed() > 0 {
            history.world.seal();
        }
        let policy = files.write("policy", history.world.policy());
        let sealed = history.world.ledger.sealed().unwrap().clone();
        let recap = history.dice.pick(sealed.recap().contests());
        let place = history.dice.below(recap.shape().count()) as u32;
        let file = history.world.recap_proof(recap.contest().id.as_str(), recap.code(place));
        let (code, said) = verify(&python, &["recap", &policy, &files.write("proof", &file)]);
        assert_eq!(code, 0, "seed {seed}: {said}");
        assert!(said.contains(&format!("{:?}", recap.counters(place))), "{said}");
    }
    assert!(states > 200, "{states}");
}
