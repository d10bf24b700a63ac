//! An election of several levels, with observers, re-votes and declared recaps, whose log seals.

use std::sync::Arc;

use jejak_proofs::{
    merkle::{Hash, leaf_hash, sha256},
    note::{KeyKind, SigningKey},
    tally::{Body, Contest, ContestRegister, Entry, Ledger, State, UnitRegister},
};
use serde_json::{Value, json};

use super::{
    Run,
    election::{ORIGIN, key, key_ref, sign},
    fake::{Desk, Fake},
};

pub const OFFICIAL: &str = "official/ID";
pub const OBSERVER: &str = "observer/ID";

/// Stations of each of the two districts of the first province.
pub const STATIONS: u64 = 5;

pub fn station(district: &str, number: u64) -> String {
    format!("{district}.{number:03}")
}

/// Two provinces with a name that no page may take for more than a name.
pub fn units() -> String {
    let mut text = format!("{}\nID,,nation,Nation,,\n", jejak_proofs::tally::UNIT_HEADER);
    for (province, name) in [("11", "North <b>& Sons</b>"), ("12", "South")] {
        text.push_str(&format!("{province},ID,province,{name},,\n"));
        for district in [1, 2] {
            let code = format!("{province}.{district}");
            text.push_str(&format!("{code},{province},district,District {district},,\n"));
            for number in 0..STATIONS {
                text.push_str(&format!("{},{code},tps,,50,60\n", station(&code, number)));
            }
        }
    }
    UnitRegister::parse(text.as_bytes()).expect("a register in its one spelling");
    text
}

pub fn contests() -> String {
    let contest = Contest {
        id: "ppwp".parse().unwrap(),
        options: vec!["01".parse().unwrap(), "02".parse().unwrap()],
        scope: vec!["ID".parse().unwrap()],
    };
    ContestRegister::spell(&[contest]).unwrap()
}

/// A log under way.
pub struct Wide {
    pub entries: Vec<Vec<u8>>,
    ledger: Ledger,
}

/// Numbers of a form that adds up.
pub fn form(votes: (u32, u32)) -> Value {
    let valid = votes.0 + votes.1;
    json!({
        "invalid": 3, "total": valid + 3, "valid": valid, "votes": {"01": votes.0, "02": votes.1},
    })
}

/// One object with the fields of all.
pub fn joined(objects: &[&Value]) -> Value {
    let fields = objects.iter().flat_map(|object| object.as_object().unwrap().clone());
    Value::Object(fields.collect())
}

impl Wide {
    /// Manifest, mandates and the first states.
    pub fn new() -> Self {
        let mut ledger = Ledger::new(ORIGIN);
        ledger.provide_units(Arc::new(UnitRegister::parse(units().as_bytes()).unwrap()));
        ledger.provide_contests(Arc::new(ContestRegister::parse(contests().as_bytes()).unwrap()));
        let mut log = Self { entries: Vec::new(), ledger };
        log.push(manifest());
        log.seal();
        for name in ["official/ID", "observer/ID", "observer/11"] {
            let (role, unit) = name.split_once('/').unwrap();
            let vkey = key(name).verifier().to_string();
            let keys = json!([{"contests": null, "role": role, "units": [unit], "vkey": vkey}]);
            let body = log.body("root/ID", &json!({"keys": keys}));
            log.push(sign("mandate", &body, &key("root/ID")));
        }
        log.seal();
        log
    }

    pub fn genesis(&self) -> Hash {
        leaf_hash(&self.entries[0])
    }

    fn body(&self, by: &str, more: &Value) -> Value {
        let place = json!({
            "by": key_ref(&key(by)), "election": "id-2024", "genesis": self.genesis(),
            "log": ORIGIN,
        });
        joined(&[&place, more])
    }

    /// Appends an entry that the log must take, and gives its index.
    pub fn push(&mut self, entry: Vec<u8>) -> usize {
        let parsed = Entry::parse(&entry).unwrap();
        let checked = parsed.check(self.ledger.keys()).unwrap();
        self.ledger.apply(&checked).unwrap();
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// Mandates of keys that nobody needs, at most a hundred thousand; they are not appended.
    pub fn mandates(&self, count: u64) -> Vec<Vec<u8>> {
        let (root, place) = (key("root/ID"), self.body("root/ID", &json!({})));
        let mandate = |number: u64| {
            // Key ids have 32 bits: under one name two of so many keys would share one.
            let district = ["11.1", "11.2", "12.1", "12.2"][number as usize % 4];
            let unit = station(district, number / 4 % STATIONS);
            let seed = *sha256(&number.to_be_bytes()).as_bytes();
            let new = SigningKey::from_seed(&format!("observer/{unit}"), KeyKind::Ed25519, seed);
            let vkey = new.unwrap().verifier().to_string();
            let keys =
                json!([{"contests": null, "role": "observer", "units": [unit], "vkey": vkey}]);
            sign("mandate", &joined(&[&place, &json!({"keys": keys})]), &root)
        };
        (0..count).map(mandate).collect()
    }

    /// Appends the state that is due.
    pub fn seal(&mut self) -> usize {
        let state = self.due();
        self.push(Body::State(state).text().into_bytes())
    }

    pub fn due(&mut self) -> State {
        self.ledger.next_state().expect("something new")
    }

    /// The first tally of a chain, and gives its index.
    pub fn tally(&mut self, by: &str, unit: &str, votes: (u32, u32), more: Value) -> usize {
        let first = json!({
            "basis": "form_signed", "children": null, "contest": "ppwp", "decision": null,
            "docs": [], "form": "c-hasil", "issued_at": "2024-02-14T12:00Z", "prev": null,
            "reason": null, "round": "regular", "seq": 0, "unit": unit,
        });
        let body = self.body(by, &joined(&[&first, &form(votes), &more]));
        self.push(sign("tally", &body, &key(by)))
    }

    /// A revision of the entry at `head`, which is its chain's `seq` before.
    pub fn revise(&mut self, by: &str, head: (usize, u32), unit: &str, more: &Value) -> usize {
        let revision = json!({
            "decision": sha256(b"decision"), "prev": leaf_hash(&self.entries[head.0]),
            "reason": "clerical", "seq": head.1 + 1,
        });
        self.tally(by, unit, (0, 0), joined(&[&revision, more]))
    }

    /// The index and leaf hash of an entry, as findings name it.
    pub fn proof(&self, index: usize) -> Value {
        json!({"index": index, "leaf": leaf_hash(&self.entries[index])})
    }
}

/// What takes a statement back.
pub fn withdrawal() -> Value {
    json!({
        "invalid": null, "reason": "withdrawn", "total": null, "valid": null,
        "votes": {"01": null, "02": null},
    })
}

fn manifest() -> Vec<u8> {
    let file = |text: &str| json!({"bytes": text.len(), "sha256": sha256(text.as_bytes())});
    let levels = ["nation", "province", "district", "tps"];
    let role = |id: &str, official: bool| {
        json!({
            "forms": ["c-hasil", "d-hasil"], "id": id, "may_grant": [], "may_open": levels,
            "may_revise": levels, "official": official,
        })
    };
    let body = json!({
        "bases": ["form_signed", "renvoi", "machine_reading", "observer"],
        "decision": null,
        "election": "id-2024",
        "exempt_kinds": [],
        "genesis": null,
        "levels": levels,
        "log": ORIGIN,
        "log_keys": [{"from": 0, "until": null, "vkey": key(ORIGIN).verifier().to_string()}],
        "previous": null,
        "reason": null,
        "registers": {"contests": file(&contests()), "units": file(&units())},
        "roles": [role("official", true), role("observer", false)],
        "root_keys": [key("root/ID").verifier().to_string()],
        "rounds": ["regular", "psu"],
        "station_kinds": ["tps"],
        "station_max": 300,
        "threshold": 1,
        "version": 1,
    });
    sign("manifest", &body, &key("root/ID"))
}

/// A log that a monitor audited from nothing, and of which it convicted nobody.
pub fn audited(log: &Wide) -> Run {
    let run = Desk::of(&log.entries).run(&Fake::serve(&log.entries), &[]);
    assert_eq!(run.exit, 0, "{:?} {}", run.lines, run.errors);
    run
}
