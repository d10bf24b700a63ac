//! The recap once more, from the bytes of the entries alone: bodies as untyped JSON, registers
//! split by hand, every unit of every contest computed anew by recursion, every byte that is
//! hashed written here. It shares SHA-256 with the crate and nothing else.

use std::collections::BTreeMap;

use jejak_proofs::merkle::sha256;
use serde_json::Value;

pub type Digest = [u8; 32];

const ZEROS: Digest = [0; 32];

/// (contest, unit).
type About = (String, String);

/// The newest tally of a chain.
#[derive(Clone, Debug)]
struct Head {
    index: u64,
    leaf: Digest,
    body: Value,
}

/// What stands in the log so far. Takes only what a log has taken.
#[derive(Clone, Default)]
pub struct RecapModel {
    size: u64,
    manifest: Option<(Value, Digest)>,
    /// By what they are about, then by round and owner; the official chain has an empty owner.
    heads: BTreeMap<About, BTreeMap<(String, String), Head>>,
    entries: BTreeMap<About, Vec<(u64, Digest)>>,
}

/// One unit in one contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    /// 0 none, 1 disputed, 2 corrected, 3 single.
    pub status: u8,
    pub head: Option<(u64, Digest)>,
    /// Indexes of all entries about it.
    pub entries: Vec<u64>,
    pub trail: Digest,
    pub counters: Vec<u64>,
    pub hash: Digest,
    /// Of a region: its children that take part, and the root over them.
    pub below: Option<(Vec<String>, Digest)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputedContest {
    pub id: String,
    pub options: Vec<String>,
    pub units: BTreeMap<String, Computed>,
    pub hash: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputedRecap {
    pub size: u64,
    pub manifest: Digest,
    pub contests: Vec<ComputedContest>,
    pub root: Digest,
}

pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(parts: &[&[u8]]) -> Digest {
    *sha256(&parts.concat()).as_bytes()
}

fn string(value: &Value) -> String {
    value.as_str().expect("a string").to_string()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(string).collect()
}

/// A string with its length before it.
fn text(text: &str) -> Vec<u8> {
    [&[(text.len() >> 8) as u8, text.len() as u8], text.as_bytes()].concat()
}

/// Counters with their number before them.
fn row(counters: &[u64]) -> Vec<u8> {
    let mut bytes = vec![(counters.len() >> 8) as u8, counters.len() as u8];
    counters.iter().for_each(|counter| bytes.extend(counter.to_be_bytes()));
    bytes
}

/// One line of the unit register; names in these tests have no comma.
struct Unit {
    code: String,
    parent: String,
    kind: String,
    registered: u64,
}

fn read_units(register: &str) -> Vec<Unit> {
    let unit = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [code, parent, kind, _, l, p] = fields[..] else { panic!("{line}") };
        let number = |text: &str| text.parse().unwrap_or(0_u64);
        let registered = number(l) + number(p);
        Unit { code: code.into(), parent: parent.into(), kind: kind.into(), registered }
    };
    register.lines().skip(1).map(unit).collect()
}

impl Head {
    fn withdrawn(&self) -> bool {
        self.body["reason"] == "withdrawn"
    }

    /// Votes in the order of the options, valid, invalid.
    fn results(&self, options: &[String]) -> Vec<Option<u64>> {
        let votes = options.iter().map(|option| self.body["votes"][option].as_u64());
        votes.chain(["valid", "invalid"].map(|field| self.body[field].as_u64())).collect()
    }
}

impl RecapModel {
    /// Takes the next entry.
    pub fn push(&mut self, entry: &[u8]) {
        let leaf = digest(&[&[0], entry]);
        let mut lines = std::str::from_utf8(entry).unwrap().lines();
        let (kind, body) = (lines.next().unwrap(), lines.next().unwrap());
        let body: Value = serde_json::from_str(body).unwrap();
        let about = || (string(&body["contest"]), string(&body["unit"]));
        match kind {
            "jejak/manifest/v1" => self.manifest = Some((body, leaf)),
            "jejak/tally/v1" => {
                let chain = (string(&body["round"]), self.owner(&string(&body["by"])));
                self.entries.entry(about()).or_default().push((self.size, leaf));
                let heads = self.heads.entry(about()).or_default();
                heads.insert(chain, Head { index: self.size, leaf, body });
            }
            "jejak/attestation/v1" => {
                self.entries.entry(about()).or_default().push((self.size, leaf));
            }
            _ => {}
        }
        self.size += 1;
    }

    fn rules(&self) -> &Value {
        &self.manifest.as_ref().expect("a log begins with its manifest").0
    }

    fn owner(&self, by: &str) -> String {
        let role = by.split('/').next().unwrap();
        let roles = self.rules()["roles"].as_array().unwrap();
        let official = roles.iter().any(|known| known["id"] == role && known["official"] == true);
        if official { String::new() } else { by.to_string() }
    }

    /// The recap under the manifest in force, whose registers are given.
    pub fn compute(&self, units: &str, contests: &str) -> ComputedRecap {
        for (name, register) in [("units", units), ("contests", contests)] {
            let named = &self.rules()["registers"][name]["sha256"];
            assert_eq!(*named, hex(&digest(&[register.as_bytes()])), "another register");
        }
        let (units, manifest) = (read_units(units), self.manifest.as_ref().unwrap().1);
        let contest = |line: &str| {
            let contest: Value = serde_json::from_str(line).unwrap();
            Counting {
                model: self,
                units: &units,
                id: string(&contest["id"]),
                options: strings(&contest["options"]),
                scope: strings(&contest["scope"]),
                found: BTreeMap::new(),
            }
            .contest(&manifest)
        };
        let contests: Vec<ComputedContest> = contests.lines().map(contest).collect();
        let leaves: Vec<Digest> =
            contests.iter().map(|contest| digest(&[&[0], &contest.hash])).collect();
        let join = |a: &Digest, b: &Digest| digest(&[&[1], a, b]);
        ComputedRecap { size: self.size, manifest, root: tree(&leaves, &join).unwrap(), contests }
    }
}

/// RFC 6962, Section 2.1, as it is written there, over any kind of node.
fn tree<T: Clone>(nodes: &[T], join: &dyn Fn(&T, &T) -> T) -> Option<T> {
    if nodes.len() < 2 {
        return nodes.first().cloned();
    }
    // The largest power of two smaller than n.
    let mut k = 1;
    while 2 * k < nodes.len() {
        k *= 2;
    }
    let (left, right) = nodes.split_at(k);
    Some(join(&tree(left, join)?, &tree(right, join)?))
}

/// One contest while it is computed.
struct Counting<'a> {
    model: &'a RecapModel,
    units: &'a [Unit],
    id: String,
    options: Vec<String>,
    scope: Vec<String>,
    found: BTreeMap<String, Computed>,
}

impl Counting<'_> {
    fn contest(mut self, manifest: &Digest) -> ComputedContest {
        let units = self.units;
        let top = units.iter().find(|unit| unit.parent.is_empty()).unwrap();
        self.unit(top, false);
        let top = &self.found[&top.code];
        let mut bytes = vec![0x13];
        bytes.extend(text(&self.id));
        bytes.extend((self.options.len() as u16).to_be_bytes());
        self.options.iter().for_each(|option| bytes.extend(text(option)));
        bytes.extend(manifest);
        bytes.extend(row(&top.counters));
        bytes.extend(top.hash);
        let hash = digest(&[&bytes]);
        ComputedContest { id: self.id, options: self.options, units: self.found, hash }
    }

    /// Computes a unit and all below it; says whether it takes part.
    fn unit(&mut self, unit: &Unit, scope_above: bool) -> bool {
        let in_scope = scope_above || self.scope.contains(&unit.code);
        let kinds = strings(&self.model.rules()["station_kinds"]);
        if kinds.contains(&unit.kind) {
            if in_scope {
                let computed = self.station(unit);
                self.found.insert(unit.code.clone(), computed);
            }
            return in_scope;
        }
        let units = self.units;
        let below = units.iter().filter(|child| child.parent == unit.code);
        let below: Vec<String> = below
            .filter(|child| self.unit(child, in_scope))
            .map(|child| child.code.clone())
            .collect();
        let takes_part = !below.is_empty() || unit.parent.is_empty();
        if takes_part {
            let computed = self.region(unit, below);
            self.found.insert(unit.code.clone(), computed);
        }
        takes_part
    }

    fn about(&self, unit: &Unit) -> About {
        (self.id.clone(), unit.code.clone())
    }

    /// The official head that counts: of the last round that has one with a value.
    fn official(&self, unit: &Unit) -> Option<(&str, &Head)> {
        let heads = self.model.heads.get(&self.about(unit))?;
        let rounds = self.model.rules()["rounds"].as_array().unwrap();
        let of_round = |round: &'_ Value| {
            let ((round, _), head) =
                heads.iter().find(|((of, owner), _)| *round == **of && owner.is_empty())?;
            (!head.withdrawn()).then_some((round.as_str(), head))
        };
        rounds.iter().rev().find_map(of_round)
    }

    fn disputed(&self, unit: &Unit, round: &str, head: &Head) -> bool {
        let ours = head.results(&self.options);
        self.model.heads[&self.about(unit)].iter().any(|((of, _), other)| {
            let theirs = other.results(&self.options);
            let mut pairs = ours.iter().zip(&theirs);
            let differ =
                |(a, b): (&Option<u64>, &Option<u64>)| a.is_some() && b.is_some() && a != b;
            of == round && !other.withdrawn() && pairs.any(differ)
        })
    }

    /// A unit with everything but counters, hash and what is below; and the bytes of its record.
    fn record(&self, unit: &Unit) -> (Computed, Vec<u8>) {
        let official = self.official(unit);
        let head = official.map(|(_, head)| (head.index, head.leaf));
        let status = match official {
            None => 0,
            Some((round, head)) if self.disputed(unit, round, head) => 1,
            Some((_, head)) if head.body["seq"] != 0 => 2,
            Some(_) => 3,
        };
        let none = Vec::new();
        let entries = self.model.entries.get(&self.about(unit)).unwrap_or(&none);
        let trail = entries.iter().fold(ZEROS, |trail, (index, leaf)| {
            digest(&[&[0x14], &trail, &index.to_be_bytes(), leaf])
        });
        let mut bytes = vec![status];
        bytes.extend((entries.len() as u32).to_be_bytes());
        bytes.extend(head.map_or(0, |(index, _)| index).to_be_bytes());
        bytes.extend(head.map_or(ZEROS, |(_, leaf)| leaf));
        bytes.extend(trail);
        let entries = entries.iter().map(|(index, _)| *index).collect();
        let (counters, hash) = (Vec::new(), ZEROS);
        (Computed { status, head, entries, trail, counters, hash, below: None }, bytes)
    }

    fn station(&self, unit: &Unit) -> Computed {
        let (mut computed, record) = self.record(unit);
        let mut numbers: Vec<Option<u64>> = vec![Some(0); self.options.len() + 3];
        if let Some((_, head)) = self.official(unit) {
            numbers = head.results(&self.options);
            numbers.push(head.body["total"].as_u64());
        }
        let unreadable = numbers.iter().filter(|number| number.is_none()).count() as u64;
        let mut counters: Vec<u64> =
            numbers.into_iter().map(|number| number.unwrap_or(0)).collect();
        let is = |status| u64::from(computed.status == status);
        counters.extend([unit.registered, 1, 1 - is(0), is(2), is(1), unreadable]);
        let (id, code) = (text(&self.id), text(&unit.code));
        computed.hash = digest(&[&[0x10], &id, &code, &record, &row(&counters)]);
        computed.counters = counters;
        computed
    }

    fn region(&self, unit: &Unit, below: Vec<String>) -> Computed {
        let (mut computed, record) = self.record(unit);
        let nodes: Vec<(Digest, Vec<u64>)> = below
            .iter()
            .map(|child| (self.found[child].hash, self.found[child].counters.clone()))
            .collect();
        let join = |a: &(Digest, Vec<u64>), b: &(Digest, Vec<u64>)| {
            let sums = a.1.iter().zip(&b.1).map(|(a, b)| a + b).collect();
            (digest(&[&[0x11], &a.0, &row(&a.1), &b.0, &row(&b.1)]), sums)
        };
        let nothing = || (digest(&[]), vec![0; self.options.len() + 9]);
        let (root, counters) = tree(&nodes, &join).unwrap_or_else(nothing);
        let (id, code) = (text(&self.id), text(&unit.code));
        let count = (below.len() as u32).to_be_bytes();
        let parts: [&[u8]; 7] = [&[0x12], &id, &code, &record, &count, &row(&counters), &root];
        computed.hash = digest(&parts);
        (computed.counters, computed.below) = (counters, Some((below, root)));
        computed
    }
}
