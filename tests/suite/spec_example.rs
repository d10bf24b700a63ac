//! The worked example of SPEC.md, made again from the seeds of its keys.

use std::sync::Arc;

use jejak_proofs::{
    merkle::{Frontier, Hash, Plan, TreeHead, leaf_hash, node_hash, sha256},
    note::{Checkpoint, KeyKind, Policy, Receipt, SigningKey},
    tally::{
        Body, Contest, ContestRegister, Entry, FileRef, Id, KeyRef, Ledger, LogKey, Mandate,
        MandatedKey, Manifest, Registers, Role, Sealed, Sexes, Tally, Unit, UnitCode, UnitRegister,
        Word,
    },
};

pub const ORIGIN: &str = "log.example/2024";
const URL: &str = "https://log.example/2024";
pub const STATION: &str = "31.001";

/// The log of the example, and everything that SPEC.md shows of it.
pub struct Example {
    pub log_key: SigningKey,
    pub root_key: SigningKey,
    pub officer: SigningKey,
    pub party: SigningKey,
    pub units: String,
    pub contests: String,
    /// Manifest, mandate, tally: what is submitted.
    pub entries: [String; 3],
    /// The log's own entry after them, and the recap that it commits to.
    pub state: String,
    pub sealed: Arc<Sealed>,
    pub leaves: [Hash; 4],
    /// Of the three entries before the state.
    pub unsealed: Checkpoint,
    /// Of all four.
    pub checkpoint: Checkpoint,
    /// Of the tally, under the checkpoint before the state and under the sealed one.
    pub first_receipt: String,
    pub receipt: String,
    /// Of the state, as recap proofs hold it.
    state_receipt: Receipt,
    pub policy: String,
}

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, KeyKind::Ed25519, [seed; 32]).unwrap()
}

pub fn key_ref(key: &SigningKey) -> KeyRef {
    KeyRef::new(key.name(), key.verifier().id())
}

fn vkey(key: &SigningKey) -> Box<str> {
    key.verifier().to_string().into()
}

fn word(text: &str) -> Word {
    text.parse().unwrap()
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn code(text: &str) -> UnitCode {
    text.parse().unwrap()
}

fn unit(
    unit: &str,
    parent: Option<&str>,
    kind: &str,
    name: &str,
    voters: [Option<u32>; 2],
) -> Unit {
    let registered = Sexes { l: voters[0], p: voters[1] };
    Unit {
        code: code(unit),
        parent: parent.map(code),
        kind: word(kind),
        name: name.into(),
        registered,
    }
}

fn registers() -> (String, String) {
    let units = [
        unit("ID", None, "nation", "Indonesia", [None; 2]),
        unit("31", Some("ID"), "province", "Jakarta", [None; 2]),
        unit(STATION, Some("31"), "tps", "", [Some(120), Some(131)]),
    ];
    let options = vec![id("01"), id("02")];
    let contest = Contest { id: id("ppwp"), options, scope: vec![code("ID")] };
    (UnitRegister::spell(&units).unwrap(), ContestRegister::spell(&[contest]).unwrap())
}

fn manifest(log_key: &SigningKey, root: &SigningKey, units: &str, contests: &str) -> Manifest {
    let file = |text: &str| FileRef { bytes: text.len() as u64, sha256: sha256(text.as_bytes()) };
    let role = |name: &str, official| Role {
        forms: vec![word("c-hasil")],
        id: id(name),
        may_grant: vec![],
        may_open: vec![word("tps")],
        may_revise: vec![word("tps")],
        official,
    };
    Manifest {
        bases: vec![word("form_signed"), word("renvoi")],
        decision: None,
        election: id("2024"),
        exempt_kinds: vec![],
        genesis: None,
        levels: vec![word("nation"), word("province"), word("tps")],
        log: ORIGIN.into(),
        log_keys: vec![LogKey { from: 0, until: None, vkey: vkey(log_key) }],
        previous: None,
        reason: None,
        refusal_key: None,
        registers: Registers { contests: file(contests), units: file(units) },
        roles: vec![role("official", true), role("party-witness", false)],
        root_keys: vec![vkey(root)],
        rounds: vec![word("regular"), word("psu")],
        station_kinds: vec![word("tps")],
        station_max: 300,
        threshold: 1,
        version: 1,
    }
}

fn mandated(role: &str, key: &SigningKey) -> MandatedKey {
    MandatedKey { contests: None, role: id(role), units: vec![code(STATION)], vkey: vkey(key) }
}

fn head(leaves: &[Hash]) -> TreeHead {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.head()
}

/// The ledger after these entries, and after the state that follows from them.
fn seal(units: &str, contests: &str, entries: &[String]) -> Arc<Sealed> {
    let mut ledger = Ledger::new(ORIGIN);
    ledger.provide_units(Arc::new(UnitRegister::parse(units.as_bytes()).unwrap()));
    ledger.provide_contests(Arc::new(ContestRegister::parse(contests.as_bytes()).unwrap()));
    let take = |ledger: &mut Ledger, entry: &str| {
        let checked = Entry::parse(entry.as_bytes()).unwrap().check(ledger.keys()).unwrap();
        ledger.apply(&checked).unwrap();
    };
    entries.iter().for_each(|entry| take(&mut ledger, entry));
    let state = Body::State(ledger.next_state().unwrap()).text();
    take(&mut ledger, &state);
    ledger.sealed().unwrap().clone()
}

impl Example {
    pub fn new() -> Self {
        let (log_key, root_key) = (key(ORIGIN, 1), key("root/ID", 2));
        let (officer, party) = (key("official/31.001", 3), key("party-witness/31.001", 4));
        let (units, contests) = registers();
        let manifest = manifest(&log_key, &root_key, &units, &contests);
        let manifest = Body::Manifest(Box::new(manifest)).sign(&[&root_key]);
        let genesis = leaf_hash(manifest.as_bytes());
        let mandate = Body::Mandate(Mandate {
            by: key_ref(&root_key),
            election: id("2024"),
            genesis,
            keys: vec![mandated("official", &officer), mandated("party-witness", &party)],
            log: ORIGIN.into(),
        });
        let mandate = mandate.sign(&[&root_key]);
        let tally = Body::Tally(Box::new(Self::tally_of(&officer, genesis, [97, 84])));
        let tally = tally.sign(&[&party, &officer]);
        let entries = [manifest, mandate, tally];
        let sealed = seal(&units, &contests, &entries);
        let state = Body::State(sealed.state.clone()).text();
        let leaf = |i: usize| leaf_hash(entries.get(i).unwrap_or(&state).as_bytes());
        let leaves = [0, 1, 2, 3].map(leaf);
        let sign = |size: usize| Checkpoint::sign(head(&leaves[..size]), &log_key).unwrap();
        let (unsealed, checkpoint) = (sign(3), sign(4));
        let receipt = |index, proof: &[Hash], checkpoint: &Checkpoint| Receipt {
            index,
            proof: proof.to_vec(),
            checkpoint: checkpoint.clone().into(),
            extra: None,
        };
        let node = node_hash(&leaves[0], &leaves[1]);
        let first_receipt = receipt(2, &[node], &unsealed).to_string();
        let state_receipt = receipt(3, &[leaves[2], node], &checkpoint);
        let receipt = receipt(2, &[leaves[3], node], &checkpoint).to_string();
        let policy = Policy::compose(&[log_key.verifier()], Some(URL), &genesis).unwrap();
        Self {
            log_key,
            root_key,
            officer,
            party,
            units,
            contests,
            entries,
            state,
            sealed,
            leaves,
            unsealed,
            checkpoint,
            first_receipt,
            receipt,
            state_receipt,
            policy,
        }
    }

    fn tally_of(by: &SigningKey, genesis: Hash, votes: [u32; 2]) -> Tally {
        Tally {
            ballots: None,
            basis: word("form_signed"),
            by: key_ref(by),
            children: None,
            contest: id("ppwp"),
            decision: None,
            docs: vec![],
            election: id("2024"),
            form: word("c-hasil"),
            genesis,
            invalid: Some(3),
            issued_at: "2024-02-14T09:30Z".parse().unwrap(),
            log: ORIGIN.into(),
            prev: None,
            reason: None,
            registered: None,
            round: word("regular"),
            seq: 0,
            total: Some(185),
            unit: code(STATION),
            valid: Some(182),
            voters: None,
            votes: [(id("01"), Some(votes[0])), (id("02"), Some(votes[1]))].into(),
        }
    }

    /// A tally of the officer with these votes, that opens the chain.
    pub fn tally(&self, votes: [u32; 2]) -> Tally {
        Self::tally_of(&self.officer, self.leaves[0], votes)
    }

    /// What `GET recap-proof/ppwp/<unit>` answers.
    pub fn recap_proof(&self, unit: &str) -> String {
        let unsealed = self.sealed.prove("ppwp", unit).unwrap();
        unsealed.with(self.state_receipt.clone()).to_text()
    }

    /// What `GET proof/batch/4/1-2` answers.
    pub fn batch_proof(&self) -> String {
        let plan = Plan::batch(4, &[1, 2]).unwrap();
        assert_eq!(plan.nodes().len(), 2, "{plan:?}");
        let [zero, three] = [0, 3].map(|i: usize| self.leaves[i].to_base64());
        format!("{{\"hashes\":[\"{zero}\",\"{three}\"],\"indexes\":[1,2],\"size\":4}}")
    }

    /// What a second tally without `prev` is answered.
    pub fn conflict(&self) -> String {
        format!(
            concat!(
                r#"{{"type":"about:blank","title":"Conflict","status":409,"code":"conflict","#,
                r#""detail":"`seq` and `prev` do not extend the head of the chain","#,
                r#""head":{{"index":2,"leaf":"{}","seq":0}}}}"#
            ),
            self.leaves[2]
        )
    }

    /// The code blocks of the chapter "Example", in order.
    pub fn blocks(&self) -> Vec<String> {
        let keys = [&self.log_key, &self.root_key, &self.officer, &self.party];
        let line = |key: &&SigningKey| format!("{}\n", key.verifier());
        let [zero, one, two, three] = self.leaves;
        let (left, right) = (node_hash(&zero, &one), node_hash(&two, &three));
        let root = self.checkpoint.head().root;
        assert_eq!(root, node_hash(&left, &right));
        let tree = format!(
            "leaf 0       {zero}\nleaf 1       {one}\nleaf 2       {two}\nleaf 3       {three}\n\
             node 0..2    {left}\nnode 2..4    {right}\nroot of 4    {root}\n"
        );
        let [manifest, mandate, tally] = self.entries.clone();
        vec![
            keys.iter().map(line).collect(),
            self.units.clone(),
            self.contests.clone(),
            manifest,
            mandate,
            tally,
            self.state.clone(),
            tree,
            self.checkpoint.note().to_owned(),
            self.receipt.clone(),
            self.batch_proof() + "\n",
            self.recap_proof(STATION),
            self.policy.clone(),
            self.conflict() + "\n",
        ]
    }
}
