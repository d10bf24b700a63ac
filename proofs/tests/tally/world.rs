//! A small election: thirty units on five levels, three contests, three root keys of which two
//! must sign, five roles.

use std::sync::Arc;

use jejak_proofs::merkle::{Hash, sha256};
use jejak_proofs::note::{KeyKind, SigningKey};
use jejak_proofs::tally::*;

pub const ORIGIN: &str = "log.example/id-2024";
pub const REFUSAL_KEY: &str = "log.example/id-2024/refusal";
pub const ROOTS: [&str; 3] = ["root/A", "root/B", "root/C"];

/// May grant, and declares at every level above the district.
pub const KPU: &str = "kpu/ID";
/// Two districts: official, may revise their stations and grant to them.
pub const PPK: &str = "ppk/310101";
pub const PPK_ELSEWHERE: &str = "ppk/320101";
/// Two stations of the first district.
pub const KPPS: &str = "kpps/310101.001";
pub const KPPS_TWO: &str = "kpps/310101.002";
/// Two observers, each with chains of its own.
pub const OBSERVER: &str = "observer/ID";
pub const OBSERVER_TWO: &str = "observer/31";
/// A party witness of the first district: `ppwp` only, opens but never revises.
pub const SAKSI: &str = "saksi/310101";

pub const STATION: &str = "310101.001";
pub const STATION_TWO: &str = "310101.002";

/// The key of this name that the tests use; `key_n` has others of the same name.
pub fn key(name: &str) -> SigningKey {
    key_n(name, 0)
}

pub fn key_n(name: &str, n: u32) -> SigningKey {
    let seed = *sha256(format!("{name} {n}").as_bytes()).as_bytes();
    SigningKey::from_seed(name, KeyKind::Ed25519, seed).unwrap()
}

pub fn key_ref(key: &SigningKey) -> KeyRef {
    KeyRef::new(key.name(), key.verifier().id())
}

pub fn vkey(key: &SigningKey) -> Box<str> {
    key.verifier().to_string().into()
}

pub fn hash(n: u8) -> Hash {
    Hash::new([n; 32])
}

pub fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub fn code(text: &str) -> UnitCode {
    text.parse().unwrap()
}

pub fn word(text: &str) -> Word {
    text.parse().unwrap()
}

pub fn words(texts: &[&str]) -> Vec<Word> {
    texts.iter().map(|text| word(text)).collect()
}

pub fn ids(texts: &[&str]) -> Vec<Id> {
    texts.iter().map(|text| id(text)).collect()
}

pub fn codes(texts: &[&str]) -> Vec<UnitCode> {
    texts.iter().map(|text| code(text)).collect()
}

pub fn unit(unit: &str, parent: &str, kind: &str) -> Unit {
    let station = kind == "tps" || kind == "ksk";
    let registered = Sexes { l: station.then_some(100), p: station.then_some(110) };
    let name = if station { String::new() } else { format!("The {kind}") };
    let parent = (!parent.is_empty()).then(|| code(parent));
    Unit { code: code(unit), parent, kind: word(kind), name, registered }
}

/// One nation, two provinces, three regencies, four districts, and in each of these four stations
/// and a mobile box.
pub fn units() -> Vec<Unit> {
    let mut units = vec![unit("ID", "", "nation")];
    units.extend(["31", "32"].map(|code| unit(code, "ID", "province")));
    units.extend(["3101", "3102", "3201"].map(|code| unit(code, &code[..2], "regency")));
    for district in ["310101", "310102", "310201", "320101"] {
        units.push(unit(district, &district[..4], "district"));
        let stations = (1..=4).map(|n| unit(&format!("{district}.00{n}"), district, "tps"));
        units.extend(stations);
        units.push(unit(&format!("{district}.K1"), district, "ksk"));
    }
    units
}

pub fn contest(name: &str, options: &[&str], scope: &[&str]) -> Contest {
    Contest { id: id(name), options: ids(options), scope: codes(scope) }
}

/// Two national contests, and one of a regency.
pub fn contests() -> Vec<Contest> {
    vec![
        contest("dpd", &["a", "b"], &["ID"]),
        contest("dpr:3101", &["P1", "P2"], &["3101"]),
        contest("ppwp", &["01", "02", "03"], &["ID"]),
    ]
}

pub fn unit_register(units: &[Unit]) -> Arc<UnitRegister> {
    let text = UnitRegister::spell(units).unwrap();
    Arc::new(UnitRegister::parse(text.as_bytes()).unwrap())
}

pub fn contest_register(contests: &[Contest]) -> Arc<ContestRegister> {
    let text = ContestRegister::spell(contests).unwrap();
    Arc::new(ContestRegister::parse(text.as_bytes()).unwrap())
}

pub fn registers(units: &UnitRegister, contests: &ContestRegister) -> Registers {
    let file = |sha256, bytes: &[u8]| FileRef { bytes: bytes.len() as u64, sha256 };
    Registers {
        contests: file(contests.sha256(), contests.bytes()),
        units: file(units.sha256(), units.bytes()),
    }
}

fn roles() -> Vec<Role> {
    let role =
        |name, official, opens: &[&str], revises: &[&str], grants: &[&str], forms: &[&str]| Role {
            forms: words(forms),
            id: id(name),
            may_grant: ids(grants),
            may_open: words(opens),
            may_revise: words(revises),
            official,
        };
    let stations: &[&str] = &["tps", "ksk"];
    let district: &[&str] = &["tps", "ksk", "district"];
    let above: &[&str] = &["nation", "province", "regency"];
    let both: &[&str] = &["c-hasil", "d-hasil"];
    let all = ["kpu", "ppk", "kpps", "observer", "saksi"];
    vec![
        role("kpu", true, above, &["nation", "province", "regency", "district"], &all, both),
        role("ppk", true, &["district"], district, &["kpps"], both),
        role("kpps", true, stations, stations, &[], &["c-hasil", "c-salinan"]),
        role("observer", false, district, district, &[], &["c-salinan", "d-hasil"]),
        role("saksi", false, stations, &[], &["saksi"], &["c-salinan"]),
    ]
}

/// Entry 0 of the election.
pub fn first_manifest(registers: Registers) -> Manifest {
    let log_key = LogKey { from: 0, until: None, vkey: vkey(&key(ORIGIN)) };
    Manifest {
        bases: words(&["form_signed", "machine_reading"]),
        decision: None,
        election: id("id-2024"),
        exempt_kinds: words(&["ksk"]),
        genesis: None,
        levels: words(&["nation", "province", "regency", "district", "tps", "ksk"]),
        log: ORIGIN.into(),
        log_keys: vec![log_key],
        previous: None,
        reason: None,
        refusal_key: Some(vkey(&key(REFUSAL_KEY))),
        registers,
        roles: roles(),
        root_keys: ROOTS.map(|name| vkey(&key(name))).to_vec(),
        rounds: words(&["regular", "psu", "court"]),
        station_kinds: words(&["tps", "ksk"]),
        station_max: 300,
        threshold: 2,
        version: 1,
    }
}

/// A ledger, and the entries that it took.
#[derive(Clone)]
pub struct World {
    pub ledger: Ledger,
    pub entries: Vec<Vec<u8>>,
}

impl World {
    /// An empty log to which the registers were provided.
    pub fn empty() -> Self {
        let mut ledger = Ledger::new(ORIGIN);
        ledger.provide_units(unit_register(&units()));
        ledger.provide_contests(contest_register(&contests()));
        Self { ledger, entries: Vec::new() }
    }

    /// A log with entry 0 alone.
    pub fn founded() -> Self {
        let mut world = Self::empty();
        world.accept(&Body::Manifest(Box::new(founding_manifest())), &ROOTS.map(key));
        world
    }

    /// A log with entry 0 and one mandate for every key named above.
    pub fn new() -> Self {
        let mut world = Self::founded();
        let all = [KPU, PPK, PPK_ELSEWHERE, KPPS, KPPS_TWO, OBSERVER, OBSERVER_TWO, SAKSI];
        let granted = all.map(|name| grant(&key(name)));
        let mandate = world.mandate(&key(ROOTS[0]), &granted);
        world.accept(&mandate, &[key(ROOTS[0]), key(ROOTS[1])]);
        world
    }

    /// Everything that the ledger holds.
    pub fn state(&self) -> String {
        serde_json::to_string(&self.ledger.snapshot()).unwrap()
    }

    /// Offers bytes; a refusal must change nothing.
    pub fn submit(&mut self, bytes: &[u8]) -> Result<Outcome, Refusal> {
        let before = self.state();
        let result = Entry::parse(bytes)
            .and_then(|entry| entry.check(self.ledger.keys()))
            .and_then(|checked| self.ledger.apply(&checked));
        match &result {
            Ok(_) => self.entries.push(bytes.to_vec()),
            Err(_) => assert_eq!(self.state(), before, "a refusal changed the ledger"),
        }
        assert_eq!(self.ledger.size(), self.entries.len() as u64);
        result
    }

    /// Offers `body`, signed by `keys`.
    pub fn say(&mut self, body: &Body, keys: &[SigningKey]) -> Result<Outcome, Refusal> {
        self.submit(&signed(body, keys))
    }

    /// The same for what must be taken; gives the leaf hash.
    pub fn accept(&mut self, body: &Body, keys: &[SigningKey]) -> Hash {
        let bytes = signed(body, keys);
        if let Err(refusal) = self.submit(&bytes) {
            panic!("refused with {}: {}", refusal.code(), body.text());
        }
        Entry::parse(&bytes).unwrap().leaf()
    }

    /// The same for what must be refused.
    pub fn refuse(&mut self, body: &Body, keys: &[SigningKey]) -> Refusal {
        self.say(body, keys).map(|_| body.text()).unwrap_err()
    }

    pub fn genesis(&self) -> Hash {
        self.ledger.genesis().unwrap_or(hash(0))
    }

    /// A tally that breaks no rule: ten votes for every option, the first of its chain.
    pub fn tally(&self, author: &SigningKey, contest: &str, unit: &str) -> Tally {
        let election = self.ledger.election().unwrap();
        let options = election.contests.find(contest).map(|(_, found)| found.options.clone());
        let votes = options.unwrap_or(ids(&["01"])).into_iter().map(|id| (id, Some(10)));
        let votes: std::collections::BTreeMap<_, _> = votes.collect();
        let valid = 10 * votes.len() as u32;
        let role = author.name().split('/').next().unwrap();
        let form = match (role, unit.contains('.')) {
            ("observer" | "saksi", true) => "c-salinan",
            (_, true) => "c-hasil",
            (_, false) => "d-hasil",
        };
        Tally {
            ballots: None,
            basis: word("form_signed"),
            by: key_ref(author),
            children: None,
            contest: id(contest),
            decision: None,
            docs: Vec::new(),
            election: id("id-2024"),
            form: word(form),
            genesis: self.genesis(),
            invalid: Some(2),
            issued_at: "2024-02-14T13:05Z".parse().unwrap(),
            log: ORIGIN.into(),
            prev: None,
            reason: None,
            registered: None,
            round: word("regular"),
            seq: 0,
            total: Some(valid + 2),
            unit: code(unit),
            valid: Some(valid),
            voters: None,
            votes,
        }
    }

    pub fn attestation(&self, author: &SigningKey, contest: &str, unit: &str, leaf: Hash) -> Body {
        Body::Attestation(Attestation {
            by: key_ref(author),
            contest: id(contest),
            election: id("id-2024"),
            genesis: self.genesis(),
            leaf,
            log: ORIGIN.into(),
            unit: code(unit),
            verdict: AttestationVerdict::Disagrees,
        })
    }

    /// Seals everything so far.
    pub fn seal(&mut self) -> State {
        let state = self.ledger.next_state().unwrap();
        let bytes = Body::State(state.clone()).text().into_bytes();
        self.submit(&bytes).unwrap();
        state
    }

    pub fn mandate(&self, author: &SigningKey, keys: &[MandatedKey]) -> Body {
        Body::Mandate(Mandate {
            by: key_ref(author),
            election: id("id-2024"),
            genesis: self.genesis(),
            keys: keys.to_vec(),
            log: ORIGIN.into(),
        })
    }

    pub fn revocation(&self, author: &SigningKey, key: &SigningKey, subtree: bool) -> Body {
        Body::Revocation(Revocation {
            by: key_ref(author),
            election: id("id-2024"),
            genesis: self.genesis(),
            key: key_ref(key),
            log: ORIGIN.into(),
            reason: RevocationReason::Compromised,
            subtree,
        })
    }

    pub fn freeze(&self, author: &SigningKey) -> Body {
        Body::Freeze(Freeze {
            by: key_ref(author),
            decision: hash(9),
            election: id("id-2024"),
            genesis: self.genesis(),
            log: ORIGIN.into(),
            reason: FreezeReason::Completed,
        })
    }

    /// A manifest that replaces the one in force and changes nothing yet.
    pub fn next_manifest(&self) -> Manifest {
        let old = self.ledger.election().unwrap();
        Manifest {
            decision: Some(hash(8)),
            genesis: self.ledger.genesis(),
            previous: Some(old.leaf),
            reason: Some(ManifestReason::Rules),
            version: old.manifest.version + 1,
            ..old.manifest.clone()
        }
    }

    /// Such a manifest with other registers, which are provided.
    pub fn manifest_with(&mut self, units: &[Unit], contests: &[Contest]) -> Manifest {
        let (units, contests) = (unit_register(units), contest_register(contests));
        let registers = registers(&units, &contests);
        self.ledger.provide_units(units);
        self.ledger.provide_contests(contests);
        Manifest { registers, reason: Some(ManifestReason::Registers), ..self.next_manifest() }
    }

    pub fn head(&self, contest: &str, unit: &str) -> Option<ChainHead> {
        self.ledger.head(contest, unit, "regular", ChainOwner::Official)
    }
}

pub fn founding_manifest() -> Manifest {
    first_manifest(registers(&unit_register(&units()), &contest_register(&contests())))
}

/// The bytes of an entry.
pub fn signed(body: &Body, keys: &[SigningKey]) -> Vec<u8> {
    body.sign(&keys.iter().collect::<Vec<_>>()).into_bytes()
}

/// What a mandate says of a key: the unit of its name, and all contests but for party witnesses.
pub fn grant(key: &SigningKey) -> MandatedKey {
    let (role, unit) = key.name().split_once('/').unwrap();
    let contests = (role == "saksi").then(|| ids(&["ppwp"]));
    MandatedKey { contests, role: id(role), units: codes(&[unit]), vkey: vkey(key) }
}

pub fn tally(tally: &Tally) -> Body {
    Body::Tally(Box::new(tally.clone()))
}

pub fn manifest(manifest: &Manifest) -> Body {
    Body::Manifest(Box::new(manifest.clone()))
}

/// The revision of a chain whose head is `leaf`.
pub fn revision(of: &Tally, leaf: Hash) -> Tally {
    Tally {
        decision: Some(hash(7)),
        prev: Some(leaf),
        reason: Some(Reason::Clerical),
        seq: of.seq + 1,
        ..of.clone()
    }
}

/// A revision that takes the statement back.
pub fn withdrawal(of: &Tally, leaf: Hash) -> Tally {
    Tally {
        invalid: None,
        reason: Some(Reason::Withdrawn),
        total: None,
        valid: None,
        votes: of.votes.keys().map(|option| (option.clone(), None)).collect(),
        ..revision(of, leaf)
    }
}
