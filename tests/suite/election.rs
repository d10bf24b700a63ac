//! A small election whose keys come from fixed seeds, and the entries of its log.
//!
//! Entry 0 is the manifest, entry 1 mandates all keys, entry 2 revokes one of them, and every
//! further one opens a chain of its own, so these can be submitted in any order.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use jejak_proofs::{
    merkle::{ENTRY_LEN_MAX, Hash, leaf_hash, sha256},
    note::{KeyKind, Policy, SigningKey},
    tally::{
        Body, Contest, ContestRegister, Entry, FileRef, Freeze, FreezeReason, Id, KeyRef, LogKey,
        Mandate, MandatedKey, Manifest, ManifestReason, Reason, Registers, Revocation,
        RevocationReason, Role, Sexes, Tally, Unit, UnitCode, UnitRegister, Voters, Word,
    },
};

pub const ORIGIN: &str = "log.example/test";
pub const NAME: &str = "test";
/// Entries that are not tallies.
pub const BASE: u64 = 3;

const STATIONS: u64 = 120;
const ROUNDS: [&str; 6] = ["regular", "pss", "psl", "psu", "recount", "court"];
const OBSERVERS: u64 = 20;
/// Chains that one key can open.
const CHAINS: u64 = STATIONS * ROUNDS.len() as u64;
/// Longest code among the units that exist only to lengthen mandates.
const RULER_MAX: usize = 24;

/// One election of one log.
pub struct Election {
    pub log_key: SigningKey,
    pub root: SigningKey,
    pub units: String,
    pub contests: String,
    pub manifest: String,
    pub policy: String,
    pub genesis: Hash,
    keys: Keys,
}

struct Keys {
    /// Speaks in the official chain, for the whole nation.
    official: SigningKey,
    /// Each speaks in a chain of its own, for the whole nation.
    observers: Vec<SigningKey>,
    /// For village 1 only.
    local: SigningKey,
    supervisor: SigningKey,
    /// Entry 2 revokes it.
    revoked: SigningKey,
    /// Nobody mandates it.
    stranger: SigningKey,
}

static ELECTION: LazyLock<Election> = LazyLock::new(|| Election::new(ORIGIN));
static ENTRIES: LazyLock<Mutex<BTreeMap<u64, Vec<u8>>>> = LazyLock::new(Mutex::default);

/// The election of [`ORIGIN`].
pub fn election() -> &'static Election {
    &ELECTION
}

/// An entry that the log of [`ORIGIN`] admits, another one for each `number`: see [`Election::entry`].
pub fn entry(number: u64) -> Vec<u8> {
    let known = ENTRIES.lock().unwrap().get(&number).cloned();
    known.unwrap_or_else(|| {
        let entry = election().entry(number);
        ENTRIES.lock().unwrap().insert(number, entry.clone());
        entry
    })
}

/// Like [`entry`], but the form breaks rules A1 and A3.
pub fn flagged(number: u64) -> Vec<u8> {
    let (mut tally, key) = election().tally(number);
    tally.valid = Some(161);
    tally.total = Some(166);
    Body::Tally(Box::new(tally)).sign(&[key]).into_bytes()
}

pub fn key(name: &str, label: &str) -> SigningKey {
    let seed = *sha256(format!("{name} {label}").as_bytes()).as_bytes();
    SigningKey::from_seed(name, KeyKind::Ed25519, seed).unwrap()
}

fn key_ref(key: &SigningKey) -> KeyRef {
    KeyRef::new(key.verifier().name(), key.verifier().id())
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn words(list: &[&str]) -> Vec<Word> {
    list.iter().map(|word| parse(word)).collect()
}

impl Election {
    pub fn new(origin: &str) -> Self {
        let (log_key, root) = (key(origin, "log"), key("root/0", "root"));
        let units = UnitRegister::spell(&units()).unwrap();
        let scope = vec![parse("0")];
        let options = vec![parse("01"), parse("02")];
        let contest = Contest { id: parse("ppwp"), options, scope };
        let contests = ContestRegister::spell(&[contest]).unwrap();
        let manifest = manifest(origin, &log_key, &root, &units, &contests);
        let manifest = Body::Manifest(Box::new(manifest)).sign(&[&root]);
        let genesis = leaf_hash(manifest.as_bytes());
        let policy = Policy::compose(&[log_key.verifier()], None, &genesis).unwrap();
        let keys = Keys {
            official: key("official/0", "official"),
            observers: (0..OBSERVERS).map(|n| key("observer/0", &n.to_string())).collect(),
            local: key("observer/1", "local"),
            supervisor: key("supervisor/0", "supervisor"),
            revoked: key("observer/0", "revoked"),
            stranger: key("observer/0", "stranger"),
        };
        Self { log_key, root, units, contests, manifest, policy, genesis, keys }
    }

    /// Entry `number`: manifest, mandate, revocation, then tallies that open chains.
    pub fn entry(&self, number: u64) -> Vec<u8> {
        match number {
            0 => self.manifest.clone().into_bytes(),
            1 => {
                let keys = &self.keys;
                let all = [&keys.official, &keys.local, &keys.supervisor, &keys.revoked];
                self.mandate(&all.into_iter().chain(&keys.observers).collect::<Vec<_>>())
            }
            2 => self.revocation(&self.keys.revoked),
            _ => {
                let (tally, key) = self.tally(number);
                Body::Tally(Box::new(tally)).sign(&[key]).into_bytes()
            }
        }
    }

    /// The statement of entry `number`, from 3, and who signs it.
    fn tally(&self, number: u64) -> (Tally, &SigningKey) {
        let place = number - BASE;
        let signer = match place / CHAINS {
            0 => &self.keys.official,
            n => &self.keys.observers[n as usize - 1],
        };
        let station = place % STATIONS;
        let unit = format!("{}.{:03}", station / 60 + 1, station % 60);
        let round = ROUNDS[(place % CHAINS / STATIONS) as usize];
        (self.statement(signer, &unit, round), signer)
    }

    fn statement(&self, by: &SigningKey, unit: &str, round: &str) -> Tally {
        let sexes = |l, p| Sexes { l: Some(l), p: Some(p) };
        let none = sexes(0, 0);
        Tally {
            ballots: None,
            basis: parse("form_signed"),
            by: key_ref(by),
            children: None,
            contest: parse("ppwp"),
            decision: None,
            docs: vec![],
            election: parse(NAME),
            form: parse("c-hasil"),
            genesis: self.genesis,
            invalid: Some(5),
            issued_at: parse("2024-02-14T15:00Z"),
            log: self.log_key.name().into(),
            prev: None,
            reason: None,
            registered: None,
            round: parse(round),
            seq: 0,
            total: Some(155),
            unit: parse(unit),
            valid: Some(150),
            voters: Some(Voters { dpk: none, dpt: sexes(80, 75), dptb: none }),
            votes: [(parse("01"), Some(100)), (parse("02"), Some(50))].into(),
        }
    }

    /// Entry `number` and `revisions` revisions of it, each on the head before.
    pub fn chain(&self, number: u64, revisions: u32) -> Vec<Vec<u8>> {
        let mut chain = vec![self.entry(number)];
        for seq in 1..=revisions {
            let prev = leaf_hash(&chain[seq as usize - 1]);
            chain.push(self.revision(number, seq, prev));
        }
        chain
    }

    /// A revision of entry `number` that says to follow `prev`.
    pub fn revision(&self, number: u64, seq: u32, prev: Hash) -> Vec<u8> {
        let (mut tally, key) = self.tally(number);
        tally.seq = seq;
        tally.prev = Some(prev);
        tally.reason = Some(Reason::Clerical);
        tally.decision = Some(sha256(b"decision"));
        Body::Tally(Box::new(tally)).sign(&[key]).into_bytes()
    }

    /// Opens the same chain as entry `number` and says something else.
    pub fn rival(&self, number: u64) -> Vec<u8> {
        let (mut tally, key) = self.tally(number);
        tally.issued_at = parse("2024-02-14T16:00Z");
        Body::Tally(Box::new(tally)).sign(&[key]).into_bytes()
    }

    /// The text of entry `number` with a co-signer's line more.
    pub fn cosigned(&self, number: u64) -> Vec<u8> {
        let (tally, key) = self.tally(number);
        Body::Tally(Box::new(tally)).sign(&[key, &self.keys.supervisor]).into_bytes()
    }

    /// An observer's tally of a station in village 2, in the round `regular`.
    pub fn observed(&self, by: &SigningKey) -> Vec<u8> {
        let tally = self.statement(by, "2.001", "regular");
        Body::Tally(Box::new(tally)).sign(&[by]).into_bytes()
    }

    /// Mandates keys, each for the unit and the role in its name.
    pub fn mandate(&self, keys: &[&SigningKey]) -> Vec<u8> {
        let mandated = |key: &&SigningKey| {
            let (role, unit) = key.name().split_once('/').unwrap();
            let vkey = key.verifier().to_string().into();
            MandatedKey { contests: None, role: parse(role), units: vec![parse(unit)], vkey }
        };
        self.sign_mandate(keys.iter().map(mandated).collect())
    }

    fn sign_mandate(&self, keys: Vec<MandatedKey>) -> Vec<u8> {
        let (election, log) = (parse(NAME), self.log_key.name().into());
        let mandate =
            Mandate { by: key_ref(&self.root), election, genesis: self.genesis, keys, log };
        Body::Mandate(mandate).sign(&[&self.root]).into_bytes()
    }

    pub fn revocation(&self, key: &SigningKey) -> Vec<u8> {
        self.revocation_for(key, RevocationReason::Ended)
    }

    fn revocation_for(&self, key: &SigningKey, reason: RevocationReason) -> Vec<u8> {
        let revocation = Revocation {
            by: key_ref(&self.root),
            election: parse(NAME),
            genesis: self.genesis,
            key: key_ref(key),
            log: self.log_key.name().into(),
            reason,
            subtree: false,
        };
        Body::Revocation(revocation).sign(&[&self.root]).into_bytes()
    }

    /// Revokes the key that signs entries 3 to 722.
    pub fn revoke_official(&self) -> Vec<u8> {
        self.revocation(&self.keys.official)
    }

    pub fn freeze(&self) -> Vec<u8> {
        let freeze = Freeze {
            by: key_ref(&self.root),
            decision: sha256(b"decision"),
            election: parse(NAME),
            genesis: self.genesis,
            log: self.log_key.name().into(),
            reason: FreezeReason::Completed,
        };
        Body::Freeze(freeze).sign(&[&self.root]).into_bytes()
    }

    /// An admissible entry of exactly `len` bytes, another one for each length: a mandate of as
    /// many new keys as fit, the first one with units for the bytes that are missing.
    pub fn sized(&self, len: usize) -> Vec<u8> {
        let new = |n: usize| {
            let key = key("official/0", &format!("filler {len} {n}"));
            let vkey = key.verifier().to_string().into();
            let mut units = vec![parse("0")];
            if n > 0 {
                // With two long units each, fewer keys than a mandate may name fill an entry.
                units.extend(
                    [RULER_MAX - 1, RULER_MAX].map(|len| parse::<UnitCode>(&"R".repeat(len))),
                );
            }
            MandatedKey { contests: None, role: parse("official"), units, vkey }
        };
        let mut keys = vec![new(0)];
        let one = self.sign_mandate(keys.clone()).len();
        keys.push(new(1));
        let each = self.sign_mandate(keys.clone()).len() - one;
        let count = (len - one - 2 * RULER_MAX) / each + 1;
        keys = (0..count).map(new).collect();
        let mut missing = len - self.sign_mandate(keys.clone()).len();
        let units = &mut keys[0].units;
        for ruler in (1..=RULER_MAX).rev() {
            // `,"RRR"`; nothing shorter than `,"R"` can be added after it.
            let added = ruler + 3;
            if missing == added || missing >= added + 4 {
                units.push(parse(&"R".repeat(ruler)));
                missing -= added;
            }
        }
        units.sort_unstable();
        let entry = self.sign_mandate(keys);
        assert_eq!(entry.len(), len);
        entry
    }

    /// A manifest that adds village 3 with one station, and its unit register.
    pub fn successor(&self) -> (Vec<u8>, String) {
        let mut all = units();
        all.push(Unit { code: parse("3"), ..all[1].clone() });
        all.push(Unit { code: parse("3.001"), parent: Some(parse("3")), ..all[2].clone() });
        let units = UnitRegister::spell(&all).unwrap();
        let first =
            manifest(self.log_key.name(), &self.log_key, &self.root, &units, &self.contests);
        let next = Manifest {
            decision: Some(sha256(b"decision")),
            genesis: Some(self.genesis),
            previous: Some(self.genesis),
            reason: Some(ManifestReason::Registers),
            version: 2,
            ..first
        };
        (Body::Manifest(Box::new(next)).sign(&[&self.root]).into_bytes(), units)
    }

    /// A manifest for entry 0 with these keys of the log.
    pub fn founded_with(&self, log_keys: Vec<LogKey>) -> Vec<u8> {
        let (log_key, root) = (&self.log_key, &self.root);
        let first = manifest(log_key.name(), log_key, root, &self.units, &self.contests);
        let first = Manifest { log_keys, ..first };
        Body::Manifest(Box::new(first)).sign(&[root]).into_bytes()
    }

    /// A second manifest that changes the keys of the log alone.
    pub fn rekeyed(&self, log_keys: Vec<LogKey>) -> Vec<u8> {
        let (log_key, root) = (&self.log_key, &self.root);
        let next = Manifest {
            decision: Some(sha256(b"decision")),
            genesis: Some(self.genesis),
            log_keys,
            previous: Some(self.genesis),
            reason: Some(ManifestReason::Keys),
            version: 2,
            ..manifest(log_key.name(), log_key, root, &self.units, &self.contests)
        };
        Body::Manifest(Box::new(next)).sign(&[root]).into_bytes()
    }

    /// A second manifest that names a key for refusals.
    pub fn naming(&self, refusal_key: &SigningKey) -> Vec<u8> {
        let Body::Manifest(next) = Entry::parse(&self.rekeyed(vec![LogKey {
            from: 0,
            until: None,
            vkey: self.log_key.verifier().to_string().into(),
        }]))
        .unwrap()
        .body()
        .clone() else {
            panic!()
        };
        let vkey = refusal_key.verifier().to_string();
        let next = Manifest { refusal_key: Some(vkey.into()), ..*next };
        Body::Manifest(Box::new(next)).sign(&[&self.root]).into_bytes()
    }

    /// The official tally of a unit, in the round `regular`.
    pub fn tally_at(&self, unit: &str) -> Vec<u8> {
        let tally = self.statement(&self.keys.official, unit, "regular");
        Body::Tally(Box::new(tally)).sign(&[&self.keys.official]).into_bytes()
    }

    /// Entries that a log of entries 0 to 3 refuses, each with status and code.
    pub fn refused(&self) -> Vec<(Vec<u8>, u16, &'static str)> {
        let mut forged = self.entry(4);
        let last = forged.len() - 10;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        let (mut nowhere, signer) = self.tally(5);
        nowhere.unit = parse("404");
        let nowhere = Body::Tally(Box::new(nowhere)).sign(&[signer]).into_bytes();
        let weak = format!("official/0+00000000+{}", "A".repeat(44));
        let weak = MandatedKey {
            contests: None,
            role: parse("official"),
            units: vec![parse("0")],
            vkey: weak.into(),
        };
        vec![
            (b"not an entry\n".to_vec(), 400, "malformed"),
            (forged, 403, "bad_signature"),
            (self.observed(&self.keys.stranger), 403, "unknown_key"),
            (self.observed(&self.keys.revoked), 403, "key_revoked"),
            (self.observed(&self.keys.local), 403, "out_of_scope"),
            (self.rival(3), 409, "conflict"),
            (self.revision(6, 1, sha256(b"no head")), 409, "conflict"),
            (self.cosigned(3), 409, "duplicate"),
            (self.entry(0).into_iter().chain(*b"\n").collect(), 400, "malformed"),
            (nowhere, 422, "invalid_unit"),
            (self.sign_mandate(vec![weak]), 422, "invalid_key"),
            (self.revocation_for(&self.keys.revoked, RevocationReason::Lost), 409, "duplicate"),
        ]
    }
}

fn units() -> Vec<Unit> {
    let unit = |code: &str, parent: Option<&str>, kind: &str, name: &str| Unit {
        code: parse(code),
        parent: parent.map(parse::<UnitCode>),
        kind: parse(kind),
        name: name.to_owned(),
        registered: match kind {
            "station" => Sexes { l: Some(150), p: Some(150) },
            _ => Sexes { l: None, p: None },
        },
    };
    let mut units = vec![unit("0", None, "nation", "Nation")];
    for village in ["1", "2"] {
        units.push(unit(village, Some("0"), "village", "Village"));
        for station in 0..STATIONS / 2 {
            units.push(unit(&format!("{village}.{station:03}"), Some(village), "station", ""));
        }
    }
    let rulers = (1..=RULER_MAX).map(|len| unit(&"R".repeat(len), Some("2"), "station", ""));
    units.extend(rulers);
    units
}

/// A manifest with the rules that `jejak init` writes.
fn manifest(
    origin: &str,
    log_key: &SigningKey,
    root: &SigningKey,
    units: &str,
    contests: &str,
) -> Manifest {
    let file = |text: &str| FileRef { bytes: text.len() as u64, sha256: sha256(text.as_bytes()) };
    let levels = words(&["nation", "village", "station"]);
    let roles = [("observer", false), ("official", true), ("supervisor", false)];
    let role = |(id, official): (&str, bool)| Role {
        forms: words(&["c-hasil", "c-salinan", "d-hasil"]),
        id: parse(id),
        may_grant: vec![parse::<Id>(id)],
        may_open: levels.clone(),
        may_revise: levels.clone(),
        official,
    };
    Manifest {
        bases: words(&["form_signed", "machine_reading"]),
        decision: None,
        election: parse(NAME),
        exempt_kinds: vec![],
        genesis: None,
        levels: levels.clone(),
        log: origin.into(),
        log_keys: vec![LogKey {
            from: 0,
            until: None,
            vkey: log_key.verifier().to_string().into(),
        }],
        previous: None,
        reason: None,
        refusal_key: None,
        registers: Registers { contests: file(contests), units: file(units) },
        roles: roles.map(role).into(),
        root_keys: vec![root.verifier().to_string().into()],
        rounds: words(&ROUNDS),
        station_kinds: words(&["station"]),
        station_max: 300,
        threshold: 1,
        version: 1,
    }
}

#[test]
fn sized_entries_have_their_size() {
    for len in (2_000..2_400).step_by(7).chain([ENTRY_LEN_MAX]) {
        assert_eq!(election().sized(len).len(), len);
    }
}
