//! A small election for the tests of SPEC.md: two root keys of which both sign, an officer who may
//! grant and an observer who may not, six units, two contests.

use std::sync::Arc;

use jejak_proofs::{
    merkle::{Hash, sha256},
    note::{Checkpoint, KeyKind, Policy, Receipt, SigningKey},
    tally::{
        Attestation, AttestationVerdict, Body, Contest, ContestRegister, Entry, FileRef, Freeze,
        FreezeReason, Id, KeyRef, Ledger, LogKey, Mandate, MandatedKey, Manifest, Outcome, Reason,
        Refusal, Registers, Revocation, RevocationReason, Role, Sexes, State, Tally, Unit,
        UnitCode, UnitRegister, Word,
    },
};

use super::oracle;

pub const ORIGIN: &str = "log.example/rules";
pub const ROOTS: [&str; 2] = ["root/A", "root/B"];
/// Mandated by the roots: official for the province 31, observer everywhere.
pub const OFFICER: &str = "official/31";
pub const OBSERVER: &str = "observer/ID";

pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, KeyKind::Ed25519, *sha256(name.as_bytes()).as_bytes()).unwrap()
}

/// Another key of the same name.
pub fn other_key(name: &str) -> SigningKey {
    let seed = *sha256(format!("other {name}").as_bytes()).as_bytes();
    SigningKey::from_seed(name, KeyKind::Ed25519, seed).unwrap()
}

pub fn by(key: &SigningKey) -> KeyRef {
    KeyRef::new(key.name(), key.verifier().id())
}

pub fn vkey(key: &SigningKey) -> Box<str> {
    key.verifier().to_string().into()
}

pub fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub fn code(text: &str) -> UnitCode {
    text.parse().unwrap()
}

pub fn words(texts: &[&str]) -> Vec<Word> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub fn unit(unit: &str, parent: &str, kind: &str) -> Unit {
    let station = kind != "nation" && kind != "province";
    let registered = Sexes { l: station.then_some(100), p: station.then_some(110) };
    let name = if station { String::new() } else { format!("Unit {unit}") };
    let parent = (!parent.is_empty()).then(|| code(parent));
    Unit { code: code(unit), parent, kind: kind.parse().unwrap(), name, registered }
}

pub fn units() -> Vec<Unit> {
    vec![
        unit("ID", "", "nation"),
        unit("31", "ID", "province"),
        unit("31.1", "31", "tps"),
        unit("31.K", "31", "box"),
        unit("32", "ID", "province"),
        unit("32.1", "32", "tps"),
    ]
}

pub fn contest(name: &str, options: &[&str], scope: &str) -> Contest {
    let options = options.iter().map(|option| id(option)).collect();
    Contest { id: id(name), options, scope: vec![code(scope)] }
}

pub fn contests() -> Vec<Contest> {
    vec![contest("dpd:31", &["a", "b"], "31"), contest("ppwp", &["01", "02"], "ID")]
}

/// Both registers in their one spelling.
pub fn spell(units: &[Unit], contests: &[Contest]) -> [String; 2] {
    [UnitRegister::spell(units).unwrap(), ContestRegister::spell(contests).unwrap()]
}

pub fn named(registers: &[String; 2]) -> Registers {
    let file =
        |text: &String| FileRef { bytes: text.len() as u64, sha256: sha256(text.as_bytes()) };
    Registers { contests: file(&registers[1]), units: file(&registers[0]) }
}

pub fn log_key() -> SigningKey {
    key(ORIGIN)
}

pub fn manifest() -> Manifest {
    let role = |name: &str, official: bool, grants: &[&str]| Role {
        forms: words(&["c-hasil", "d-hasil"]),
        id: id(name),
        may_grant: grants.iter().map(|role| id(role)).collect(),
        may_open: words(&["box", "province", "tps"]),
        may_revise: words(&["tps"]),
        official,
    };
    let mut roots = ROOTS.map(|name| key(name).verifier());
    roots.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
    Manifest {
        bases: words(&["form_signed", "renvoi"]),
        decision: None,
        election: id("rules"),
        exempt_kinds: words(&["box"]),
        genesis: None,
        levels: words(&["nation", "province", "tps", "box"]),
        log: ORIGIN.into(),
        log_keys: vec![LogKey { from: 0, until: None, vkey: vkey(&log_key()) }],
        previous: None,
        reason: None,
        refusal_key: None,
        registers: named(&spell(&units(), &contests())),
        roles: vec![role("observer", false, &[]), role("official", true, &["official"])],
        root_keys: roots.iter().map(|root| root.to_string().into()).collect(),
        rounds: words(&["regular", "psu"]),
        station_kinds: words(&["box", "tps"]),
        station_max: 300,
        threshold: 2,
        version: 1,
    }
}

#[derive(Clone)]
pub struct World {
    pub ledger: Ledger,
    /// Every entry that was taken.
    pub entries: Vec<String>,
    pub leaves: Vec<Hash>,
}

impl World {
    /// A log without entries, at which the registers are.
    pub fn empty() -> Self {
        let mut world = Self { ledger: Ledger::new(ORIGIN), entries: vec![], leaves: vec![] };
        world.provide(&spell(&units(), &contests()));
        world
    }

    /// A log with manifest, officer and observer.
    pub fn new() -> Self {
        let mut world = Self::empty();
        world.take(&Body::Manifest(Box::new(manifest())), &ROOTS);
        let keys =
            vec![mandated(&key(OFFICER), &["31"], None), mandated(&key(OBSERVER), &["ID"], None)];
        world.take(&world.mandate(ROOTS[0], keys), &ROOTS);
        world
    }

    pub fn provide(&mut self, registers: &[String; 2]) {
        let [units, contests] = registers;
        let contests = ContestRegister::parse(contests.as_bytes()).unwrap();
        self.ledger.provide_units(Arc::new(UnitRegister::parse(units.as_bytes()).unwrap()));
        self.ledger.provide_contests(Arc::new(contests));
    }

    pub fn genesis(&self) -> Hash {
        self.leaves.first().copied().unwrap_or(sha256(b"no genesis"))
    }

    pub fn last(&self) -> Hash {
        *self.leaves.last().unwrap()
    }

    /// Offers a body under the signatures of these keys, the log's rules applied in full.
    pub fn offer(&mut self, body: &Body, signers: &[&str]) -> Result<Outcome, Refusal> {
        let keys: Vec<SigningKey> = signers.iter().map(|name| key(name)).collect();
        self.offer_signed(&body.sign(&keys.iter().collect::<Vec<_>>()))
    }

    /// Offers bytes. Checks that a refusal changes nothing.
    // SPEC [D1]: a refusal changes nothing. Every refusal of these tests comes by here.
    pub fn offer_signed(&mut self, bytes: &str) -> Result<Outcome, Refusal> {
        let checked = Entry::parse(bytes.as_bytes())?.check(self.ledger.keys())?;
        let before = format!("{:?}", self.ledger);
        let outcome = self.ledger.apply(&checked);
        match &outcome {
            Ok(_) => {
                self.leaves.push(checked.entry().leaf());
                self.entries.push(bytes.to_owned());
            }
            Err(refusal) => {
                assert!(before == format!("{:?}", self.ledger), "{refusal} changed the ledger");
            }
        }
        outcome
    }

    /// The code of the refusal, or `ok`.
    pub fn code(&mut self, body: &Body, signers: &[&str]) -> &'static str {
        self.offer(body, signers).map_or_else(|refusal| refusal.code(), |_| "ok")
    }

    pub fn take(&mut self, body: &Body, signers: &[&str]) -> Outcome {
        self.offer(body, signers).unwrap()
    }

    /// The first tally of a chain, by this key.
    pub fn opening(&self, author: &str, unit: &str) -> Tally {
        Tally {
            ballots: None,
            basis: "form_signed".parse().unwrap(),
            by: by(&key(author)),
            children: None,
            contest: id("ppwp"),
            decision: None,
            docs: vec![],
            election: id("rules"),
            form: "c-hasil".parse().unwrap(),
            genesis: self.genesis(),
            invalid: Some(1),
            issued_at: "2024-02-14T09:30Z".parse().unwrap(),
            log: ORIGIN.into(),
            prev: None,
            reason: None,
            registered: None,
            round: "regular".parse().unwrap(),
            seq: 0,
            total: Some(31),
            unit: code(unit),
            valid: Some(30),
            voters: None,
            votes: [(id("01"), Some(10)), (id("02"), Some(20))].into(),
        }
    }

    /// The same as a revision of the head `prev`.
    pub fn revision(&self, author: &str, unit: &str, seq: u32, prev: Hash) -> Tally {
        Tally {
            decision: Some(sha256(b"decision")),
            prev: Some(prev),
            reason: Some(Reason::Clerical),
            seq,
            ..self.opening(author, unit)
        }
    }

    /// What this key says of the tally with this leaf hash.
    pub fn attestation(&self, author: &str, unit: &str, leaf: Hash) -> Attestation {
        Attestation {
            by: by(&key(author)),
            contest: id("ppwp"),
            election: id("rules"),
            genesis: self.genesis(),
            leaf,
            log: ORIGIN.into(),
            unit: code(unit),
            verdict: AttestationVerdict::Agrees,
        }
    }

    /// The state that is due, taken.
    pub fn seal(&mut self) -> State {
        let state = self.ledger.next_state().unwrap();
        self.offer_signed(&Body::State(state.clone()).text()).unwrap();
        state
    }

    /// The recap proof of a unit under the checkpoint of all entries, the last of them a state.
    pub fn recap_proof(&self, contest: &str, unit: &str) -> String {
        let unsealed = self.ledger.sealed().unwrap().prove(contest, unit).unwrap();
        unsealed.with(self.receipt_of_last()).to_text()
    }

    /// The receipt of the last entry.
    pub fn receipt_of_last(&self) -> Receipt {
        let index = self.leaves.len() - 1;
        let checkpoint = Checkpoint::sign(oracle::head(&self.leaves), &log_key()).unwrap();
        Receipt {
            index: index as u64,
            proof: oracle::path(&self.leaves, index),
            checkpoint: checkpoint.into(),
            extra: None,
        }
    }

    pub fn policy(&self) -> String {
        Policy::compose(&[log_key().verifier()], None, &self.genesis()).unwrap()
    }

    pub fn mandate(&self, author: &str, keys: Vec<MandatedKey>) -> Body {
        Body::Mandate(Mandate {
            by: by(&key(author)),
            election: id("rules"),
            genesis: self.genesis(),
            keys,
            log: ORIGIN.into(),
        })
    }

    pub fn revocation(&self, author: &str, revoked: &str, subtree: bool) -> Body {
        Body::Revocation(Revocation {
            by: by(&key(author)),
            election: id("rules"),
            genesis: self.genesis(),
            key: by(&key(revoked)),
            log: ORIGIN.into(),
            reason: RevocationReason::Lost,
            subtree,
        })
    }

    pub fn freeze(&self) -> Body {
        Body::Freeze(Freeze {
            by: by(&key(ROOTS[0])),
            decision: sha256(b"decision"),
            election: id("rules"),
            genesis: self.genesis(),
            log: ORIGIN.into(),
            reason: FreezeReason::Completed,
        })
    }

    /// The manifest that would replace the one in force, unchanged but for that.
    pub fn successor(&self) -> Manifest {
        let old = self.ledger.election().unwrap();
        Manifest {
            decision: Some(sha256(b"decision")),
            genesis: Some(self.genesis()),
            previous: Some(old.leaf),
            reason: Some(jejak_proofs::tally::ManifestReason::Rules),
            version: old.manifest.version + 1,
            ..old.manifest.clone()
        }
    }
}

/// A key of the role that its name says.
pub fn mandated(key: &SigningKey, units: &[&str], contests: Option<&[&str]>) -> MandatedKey {
    MandatedKey {
        contests: contests.map(|ids| ids.iter().map(|text| id(text)).collect()),
        role: id(key.name().split('/').next().unwrap()),
        units: units.iter().map(|unit| code(unit)).collect(),
        vkey: vkey(key),
    }
}

pub fn tally(tally: Tally) -> Body {
    Body::Tally(Box::new(tally))
}
