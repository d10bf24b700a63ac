//! A small election: keys, registers, and entries that a log would take.

use jejak_proofs::{
    merkle::{Hash, leaf_hash, sha256},
    note::{KeyKind, SigningKey},
    tally::{Body, Contest, ContestRegister, KeyRef, UnitRegister},
};
use serde_json::{Value, json};

pub const ORIGIN: &str = "log.example/test";
pub const STATIONS: u64 = 500;

/// A key of the tests, by its name alone.
pub fn key(name: &str) -> SigningKey {
    let seed = *sha256(name.as_bytes()).as_bytes();
    SigningKey::from_seed(name, KeyKind::Ed25519, seed).unwrap()
}

pub fn key_ref(key: &SigningKey) -> String {
    let verifier = key.verifier();
    KeyRef::new(verifier.name(), verifier.id()).to_string()
}

pub fn station(number: u64) -> String {
    format!("31.{number:04}")
}

/// The unit register with this many stations.
pub fn units(stations: u64) -> String {
    let mut text = format!("{}\nID,,nation,Nation,,\n", jejak_proofs::tally::UNIT_HEADER);
    text.push_str("31,ID,village,Village,,\n");
    for number in 0..stations {
        text.push_str(&format!("{},31,tps,,120,130\n", station(number)));
    }
    UnitRegister::parse(text.as_bytes()).expect("a register in its one spelling");
    text
}

/// A contest register; the second contest has an id that looks like an identity number.
pub fn contests() -> String {
    let contest = |id: &str| Contest {
        id: id.parse().unwrap(),
        options: vec!["01".parse().unwrap(), "02".parse().unwrap()],
        scope: vec!["ID".parse().unwrap()],
    };
    ContestRegister::spell(&[contest("ppwp"), contest("3173011005110001")]).unwrap()
}

/// Makes entries that name their log.
#[derive(Clone)]
pub struct Clerk {
    pub election: String,
    pub genesis: Option<Hash>,
    pub manifest: Vec<u8>,
    pub log_keys: Value,
}

impl Clerk {
    pub fn new() -> Self {
        let vkey = key(ORIGIN).verifier().to_string();
        Self::with(json!([{"from": 0, "until": null, "vkey": vkey}]))
    }

    /// Whose manifest lets these keys sign checkpoints.
    pub fn with(log_keys: Value) -> Self {
        let election = "id-2024".to_owned();
        let mut clerk = Self { election, genesis: None, manifest: Vec::new(), log_keys };
        clerk.manifest = clerk.manifest_entry(1, STATIONS, None);
        clerk.genesis = Some(leaf_hash(&clerk.manifest));
        clerk
    }

    pub fn manifest_entry(&self, version: u32, stations: u64, previous: Option<Hash>) -> Vec<u8> {
        let file = |text: &str| json!({"bytes": text.len(), "sha256": sha256(text.as_bytes())});
        let role = |id: &str, official: bool, grants: &[&str]| {
            json!({
                "forms": ["c-hasil"], "id": id, "may_grant": grants, "may_open": ["tps"],
                "may_revise": ["tps"], "official": official,
            })
        };
        let decision = previous.map(|_| sha256(b"decision"));
        let body = json!({
            "bases": ["form_signed"],
            "decision": decision,
            "election": self.election,
            "exempt_kinds": [],
            "genesis": self.genesis,
            "levels": ["nation", "village", "tps"],
            "log": ORIGIN,
            "log_keys": self.log_keys,
            "previous": previous,
            "reason": previous.map(|_| "registers"),
            "registers": {"contests": file(&contests()), "units": file(&units(stations))},
            "roles": [role("official", true, &["clerk"]), role("clerk", false, &[])],
            "root_keys": [key("root/ID").verifier().to_string()],
            "rounds": ["regular"],
            "station_kinds": ["tps"],
            "station_max": 300,
            "threshold": 1,
            "version": version,
        });
        sign("manifest", &body, &key("root/ID"))
    }

    fn body(&self, by: &SigningKey, more: Value) -> Value {
        let mut body = json!({
            "by": key_ref(by), "election": self.election, "genesis": self.genesis, "log": ORIGIN,
        });
        let fields = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        body
    }

    /// `by` mandates the key `name` for its unit.
    pub fn mandate(&self, by: &str, name: &str) -> Vec<u8> {
        let (role, unit) = name.split_once('/').unwrap();
        let vkey = key(name).verifier().to_string();
        let keys = json!([{"contests": null, "role": role, "units": [unit], "vkey": vkey}]);
        sign("mandate", &self.body(&key(by), json!({"keys": keys})), &key(by))
    }

    pub fn revocation(&self, by: &str, name: &str) -> Vec<u8> {
        let more = json!({"key": key_ref(&key(name)), "reason": "ended", "subtree": false});
        sign("revocation", &self.body(&key(by), more), &key(by))
    }

    pub fn freeze(&self) -> Vec<u8> {
        let more = json!({"decision": sha256(b"end"), "reason": "completed"});
        sign("freeze", &self.body(&key("root/ID"), more), &key("root/ID"))
    }

    /// The first tally of a station: `votes` for two options, all sums as they should be.
    pub fn tally(&self, by: &str, number: u64, votes: (u32, u32)) -> Vec<u8> {
        self.tally_with(by, number, votes, json!({}))
    }

    /// The same with some fields replaced.
    pub fn tally_with(&self, by: &str, number: u64, votes: (u32, u32), more: Value) -> Vec<u8> {
        let valid = votes.0 + votes.1;
        let mut body = self.body(
            &key(by),
            json!({
                "basis": "form_signed", "children": null, "contest": "ppwp", "decision": null,
                "docs": [], "form": "c-hasil", "invalid": 3, "issued_at": "2024-02-14T12:00Z",
                "prev": null, "reason": null, "round": "regular", "seq": 0, "total": valid + 3,
                "unit": station(number), "valid": valid, "votes": {"01": votes.0, "02": votes.1},
            }),
        );
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sign("tally", &body, &key(by))
    }

    /// A revision of the entry `head`.
    pub fn revision(
        &self,
        by: &str,
        number: u64,
        votes: (u32, u32),
        head: (&[u8], u32),
    ) -> Vec<u8> {
        let more = json!({
            "decision": sha256(b"decision"), "prev": leaf_hash(head.0), "reason": "clerical",
            "seq": head.1 + 1,
        });
        self.tally_with(by, number, votes, more)
    }
}

fn sign(kind: &str, body: &Value, by: &SigningKey) -> Vec<u8> {
    Body::from_canonical(kind, &body.to_string()).unwrap().sign(&[by]).into_bytes()
}
