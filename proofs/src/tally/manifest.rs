//! The manifest: the rules of one election, and the registers that they refer to.

use alloc::{boxed::Box, collections::BTreeSet, format, string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    form::UnitFacts,
    ids::{Id, UnitCode, Word},
    recap::Shape,
    refusal::{Field, Refusal},
    register::{ContestRegister, Slot, UnitRegister},
};
use crate::{
    merkle::Hash,
    note::{KeyKind, VerifierKey, Window},
};

/// Most root keys; the limit of signature lines of one entry.
pub const ROOT_KEYS_MAX: usize = super::SIGNATURES_MAX;
/// Most rounds, roles, levels, bases or log keys of a manifest.
pub const LIST_MAX: usize = 64;
/// The role of root keys: `root/<unit>`. No manifest may define a role of this name.
pub const ROOT_ROLE: &str = "root";

/// The body of a `jejak/manifest/v1` entry. Fields stand in bytewise order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What a tally may rest on.
    pub bases: Vec<Word>,
    /// SHA-256 of the decision that orders the change; null in entry 0.
    pub decision: Option<Hash>,
    /// The election id.
    pub election: Id,
    /// Station kinds that the limits of A6 and A7 do not bind: post, mobile, special locations.
    pub exempt_kinds: Vec<Word>,
    /// Leaf hash of entry 0; null in entry 0 itself.
    pub genesis: Option<Hash>,
    /// The kinds of units, top first; a unit's kind stands after its parent's.
    pub levels: Vec<Word>,
    /// Origin of the log.
    pub log: Box<str>,
    /// The keys that sign checkpoints, each with the tree sizes for which it counts.
    pub log_keys: Vec<LogKey>,
    /// Leaf hash of the manifest that this one replaces; null in entry 0.
    pub previous: Option<Hash>,
    /// Why it changes; null in entry 0.
    pub reason: Option<ManifestReason>,
    /// The vkey that signs refusals, named `<origin>/refusal`; absent if the log signs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_key: Option<Box<str>>,
    /// The two register files.
    pub registers: Registers,
    /// What each role may do.
    pub roles: Vec<Role>,
    /// The vkeys that may change the manifest and mandate keys of any role.
    pub root_keys: Vec<Box<str>>,
    /// Rounds, lowest precedence first.
    pub rounds: Vec<Word>,
    /// Which levels are polling stations.
    pub station_kinds: Vec<Word>,
    /// The largest plausible number at an ordinary station (A7).
    pub station_max: u32,
    /// How many root keys must sign what the root signs.
    pub threshold: u32,
    /// 1 in entry 0, then one more each time.
    pub version: u32,
}

/// A key that signs checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKey {
    /// The first tree size for which it counts.
    pub from: u64,
    /// The first tree size for which it no longer counts; null for no end.
    pub until: Option<u64>,
    /// The key; its name is the origin.
    pub vkey: Box<str>,
}

/// Why a manifest replaces another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ManifestReason {
    /// A court's decision.
    Court,
    /// Root or log keys change.
    Keys,
    /// Units or contests change.
    Registers,
    /// Roles, rounds, bases or limits change.
    Rules,
}

/// The two register files of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registers {
    /// The contest register.
    pub contests: FileRef,
    /// The unit register.
    pub units: FileRef,
}

/// A file, by hash and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Hash,
}

/// What the keys of one role may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Forms that it may submit.
    pub forms: Vec<Word>,
    /// Its id; the first part of its keys' names.
    pub id: Id,
    /// Roles that it may mandate, below its own units.
    pub may_grant: Vec<Id>,
    /// Kinds of units for which it may open a chain.
    pub may_open: Vec<Word>,
    /// Kinds of units for which it may revise a chain.
    pub may_revise: Vec<Word>,
    /// Whether it speaks in the one official chain of a unit, or in a chain of its own.
    pub official: bool,
}

impl Manifest {
    /// The parsed root keys, ascending by (name, key id).
    ///
    /// # Errors
    /// Fails if there is none or more than [`ROOT_KEYS_MAX`], or if one is malformed, weak, of
    /// another type than Ed25519, not named `root/<unit>`, or stands twice.
    pub fn root_verifiers(&self) -> Result<Vec<VerifierKey>, Refusal> {
        let refusal = Refusal::Invalid(Field::RootKeys);
        if !(1..=ROOT_KEYS_MAX).contains(&self.root_keys.len()) {
            return Err(refusal);
        }
        let mut keys = Vec::new();
        for vkey in &self.root_keys {
            let key = super::mandate::entry_key(vkey).map_err(|_| refusal.clone())?;
            let unit = key.name().strip_prefix(ROOT_ROLE).and_then(|rest| rest.strip_prefix('/'));
            if unit.is_none_or(|unit| unit.parse::<UnitCode>().is_err()) {
                return Err(refusal);
            }
            keys.push(key);
        }
        let public: BTreeSet<&[u8]> = keys.iter().map(VerifierKey::public_bytes).collect();
        let rising = keys.is_sorted_by(|a, b| (a.name(), a.id()) < (b.name(), b.id()));
        if rising && public.len() == keys.len() { Ok(keys) } else { Err(refusal) }
    }

    /// Whether a key of the log signs checkpoints of trees of `size` entries while this manifest is
    /// in force.
    pub fn log_key_counts(&self, vkey: &str, size: u64) -> bool {
        let covers = |key: &LogKey| Window { from: key.from, until: key.until }.covers(size);
        self.log_keys.iter().any(|key| *key.vkey == *vkey && covers(key))
    }

    /// Checks what can be checked without the registers and without the manifest before.
    ///
    /// The root keys were checked when they were read: [`Manifest::root_verifiers`].
    pub(super) fn check_shape(&self) -> Result<(), Refusal> {
        let invalid = |ok: bool, field| if ok { Ok(()) } else { Err(Refusal::Invalid(field)) };
        let known = |kinds: &[Word], of: &[Word]| kinds.iter().all(|kind| of.contains(kind));
        // The first line keeps the messages of a key apart: an origin must not look like ours.
        let ours = self.log.starts_with("jejak/") || &*self.log == "cosignature/v1";
        invalid(!ours, Field::Log)?;
        let threshold = usize::try_from(self.threshold).unwrap_or(usize::MAX);
        invalid((1..=self.root_keys.len()).contains(&threshold), Field::Threshold)?;
        invalid(is_set(&self.levels) && !self.levels.is_empty(), Field::Levels)?;
        let stations = is_set(&self.station_kinds) && !self.station_kinds.is_empty();
        invalid(stations && known(&self.station_kinds, &self.levels), Field::StationKinds)?;
        let exempt = is_set(&self.exempt_kinds) && known(&self.exempt_kinds, &self.station_kinds);
        invalid(exempt, Field::ExemptKinds)?;
        invalid(is_set(&self.rounds) && !self.rounds.is_empty(), Field::Rounds)?;
        invalid(is_set(&self.bases) && !self.bases.is_empty(), Field::Bases)?;
        invalid(self.check_roles(), Field::Roles)?;
        invalid(self.check_log_keys(), Field::LogKeys)?;
        invalid(self.check_refusal_key(), Field::RefusalKey)
    }

    fn check_roles(&self) -> bool {
        let ids: Vec<&Id> = self.roles.iter().map(|role| &role.id).collect();
        let levels =
            |kinds: &[Word]| is_set(kinds) && kinds.iter().all(|k| self.levels.contains(k));
        let role = |role: &Role| {
            role.id.as_str() != ROOT_ROLE
                && is_set(&role.forms)
                && is_set(&role.may_grant)
                && role.may_grant.iter().all(|granted| ids.contains(&granted))
                && levels(&role.may_open)
                && levels(&role.may_revise)
        };
        !ids.is_empty() && is_set(&ids) && self.roles.iter().all(role)
    }

    /// A key of its own: neither the log's nor a root's.
    fn check_refusal_key(&self) -> bool {
        let Some(vkey) = &self.refusal_key else { return true };
        let own = |key: &VerifierKey| {
            let others = self.log_keys.iter().map(|key| &key.vkey).chain(&self.root_keys);
            let mut others = others.filter_map(|vkey| VerifierKey::parse(vkey).ok());
            others.all(|other| other.public_bytes() != key.public_bytes())
        };
        let named = refusal_key_name(&self.log);
        VerifierKey::parse(vkey)
            .is_ok_and(|key| key.kind() == KeyKind::Ed25519 && key.name() == named && own(&key))
    }

    fn check_log_keys(&self) -> bool {
        let key = |key: &LogKey| {
            let signs = |k: VerifierKey| k.name() == &*self.log && k.kind().signs_logs();
            VerifierKey::parse(&key.vkey).is_ok_and(signs)
                && key.until.is_none_or(|until| key.from < until)
        };
        (1..=LIST_MAX).contains(&self.log_keys.len()) && self.log_keys.iter().all(key)
    }
}

/// The name of the key that signs refusals of the log with this origin.
pub fn refusal_key_name(origin: &str) -> String {
    format!("{origin}/refusal")
}

fn is_set<T: Ord>(list: &[T]) -> bool {
    list.len() <= LIST_MAX && list.iter().collect::<BTreeSet<_>>().len() == list.len()
}

/// The manifest in force with both its registers: everything that scope is judged by.
#[derive(Clone, Debug)]
pub struct Election {
    /// The manifest.
    pub manifest: Manifest,
    /// Index of its entry.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The units.
    pub units: Arc<UnitRegister>,
    /// The contests.
    pub contests: Arc<ContestRegister>,
    /// For each contest of the register, the units that take part.
    shapes: Vec<Arc<Shape>>,
}

impl Election {
    /// Joins a manifest with the registers that it names.
    ///
    /// # Errors
    /// Fails if a register is not the one named, or if the two do not fit the manifest: a kind
    /// that is no level, a child not below its parent's level, a station with a name or children,
    /// a region with registered voters, a scope that names no unit.
    pub fn new(
        manifest: Manifest,
        index: u64,
        leaf: Hash,
        units: Arc<UnitRegister>,
        contests: Arc<ContestRegister>,
    ) -> Result<Self, Refusal> {
        let refusal = Refusal::Invalid(Field::Registers);
        let same = |file: &FileRef, hash, bytes: &[u8]| {
            file.sha256 == hash && file.bytes == bytes.len() as u64
        };
        if !same(&manifest.registers.units, units.sha256(), units.bytes())
            || !same(&manifest.registers.contests, contests.sha256(), contests.bytes())
            || !levels_fit(&manifest, &units)
        {
            return Err(refusal);
        }
        let is_station = |slot| manifest.station_kinds.contains(units.kind(slot));
        let shape = |contest| Some(Arc::new(Shape::new(contest, &units, is_station)?));
        let shapes = contests.contests().iter().map(shape).collect::<Option<Vec<_>>>();
        Ok(Self { shapes: shapes.ok_or(refusal)?, manifest, index, leaf, units, contests })
    }

    /// The role with this id.
    pub fn role(&self, id: &str) -> Option<&Role> {
        self.manifest.roles.iter().find(|role| role.id.as_str() == id)
    }

    /// For each contest of the register, the units that take part.
    pub fn shapes(&self) -> &[Arc<Shape>] {
        &self.shapes
    }

    /// Whether the unit is a polling station.
    pub fn is_station(&self, slot: Slot) -> bool {
        self.manifest.station_kinds.contains(self.units.kind(slot))
    }

    /// What the form rules need to know of a unit.
    pub fn unit_facts(&self, slot: Slot) -> UnitFacts {
        UnitFacts {
            registered: self.units.registered(slot),
            station: self.is_station(slot),
            exempt: self.manifest.exempt_kinds.contains(self.units.kind(slot)),
            station_max: self.manifest.station_max,
        }
    }
}

/// Whether every unit's kind is a level below its parent's, with voters at stations and names
/// above them.
fn levels_fit(manifest: &Manifest, units: &UnitRegister) -> bool {
    let rank = |slot| manifest.levels.iter().position(|level| level == units.kind(slot));
    (0..units.len() as Slot).all(|slot| {
        let (rank_here, rank_above) = (rank(slot), units.parent(slot).map(rank));
        let descends = rank_here.is_some() && rank_above.is_none_or(|above| above < rank_here);
        let registered = units.registered(slot);
        let leaf = units.subtree(slot).len() == 1;
        descends
            && if manifest.station_kinds.contains(units.kind(slot)) {
                leaf && units.name(slot).is_empty()
            } else {
                registered.l.is_none() && registered.p.is_none()
            }
    })
}
