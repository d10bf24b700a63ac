//! Rules that one entry, or two, break whatever else stands in the log.
//!
//! The ledger judges an entry by all that stands before it. Who has a few entries and no more can
//! still say of some that no honest log holds them, and only of those is said so here: every rule
//! below follows from the entries at hand alone, however many others stand between them. What
//! takes more (scope by the register, power to grant, sums) is left to a replay.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    entry::{Body, Entry},
    ids::KeyRef,
    keybook::KeyBook,
    ledger::Ledger,
    mandate::{Mandate, Revocation},
    manifest::{Manifest, ROOT_ROLE},
    refusal::{Field, Refusal},
    statement::Tally,
};
use crate::{merkle::Hash, note::VerifierKey};

/// A rule that the entries of a log break by themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// An entry that no log may take, whatever stands before it.
    #[error("it should have been refused with `{code}`: {0}", code = .0.code())]
    Refused(Refusal),
    /// The same bytes at two places.
    #[error("the same bytes stand twice")]
    Twice,
    /// Another election or genesis than that of entry 0.
    #[error("the later one names another election or genesis than entry 0")]
    Place,
    /// Something other than its state after a freeze.
    #[error("the earlier one ended the log, and the later one is not the state that covers it")]
    Ended,
    /// A state right after a state.
    #[error("two states in a row")]
    TwoStates,
    /// Two tallies with one `prev`.
    #[error("two tallies extend the same one")]
    Forked,
    /// A tally that does not fit what it names as `prev`.
    #[error("a tally names the other one as `prev` and is not its revision")]
    Chain,
    /// Two tallies of one chain with one `seq`, under one manifest.
    #[error("two tallies hold one place in a chain")]
    SamePlace,
    /// Two attestations by one key about one tally.
    #[error("one key attests twice to one tally")]
    Attested,
    /// An attestation about something that is no earlier tally about its contest and unit.
    #[error("an attestation names the other one, which is no tally that it can be about")]
    Target,
    /// A public key, or a name and key id, that two entries bring.
    #[error("both bring the same key")]
    KnownKey,
    /// A key that speaks after its revocation.
    #[error("a key speaks after its revocation")]
    Revoked,
    /// A revocation that changes nothing.
    #[error("a key is revoked twice")]
    RevokedTwice,
    /// A key that speaks before its mandate.
    #[error("a key speaks before its mandate")]
    Early,
    /// A key that speaks about a contest outside its mandate.
    #[error("a key speaks about a contest that its mandate does not cover")]
    Contest,
    /// Two manifests of which neither can follow the other.
    #[error("the later manifest cannot follow the earlier one")]
    Succession,
}

impl Breach {
    /// The rule of SPEC.md, without brackets.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Refused(_) => "D1",
            Self::Twice => "D2",
            Self::Place => "E11",
            Self::Ended => "F2",
            Self::TwoStates => "E37",
            Self::Forked | Self::Chain | Self::SamePlace => "H2",
            Self::Attested => "E34",
            Self::Target => "E31",
            Self::KnownKey => "M5",
            Self::Revoked => "M8",
            Self::RevokedTwice => "M9",
            Self::Early => "D5",
            Self::Contest => "H4",
            Self::Succession => "S1",
        }
    }
}

/// An entry at its place in the log, and the keys that it brings: those of a mandate, the roots of
/// a manifest.
#[derive(Clone, Debug)]
pub struct Placed {
    index: u64,
    entry: Entry,
    keys: Vec<VerifierKey>,
}

impl Placed {
    /// This entry at this 0-based index. One whose keys cannot be read brings none.
    pub fn new(index: u64, entry: Entry) -> Self {
        let keys = match entry.body() {
            Body::Mandate(mandate) => mandate.verifiers().unwrap_or_default(),
            Body::Manifest(manifest) => manifest.root_verifiers().unwrap_or_default(),
            _ => Vec::new(),
        };
        Self { index, entry, keys }
    }

    /// The 0-based index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether every line of an entry by a key that this one brings verifies.
    pub fn lines_hold(&self, of: &Entry) -> bool {
        self.keys.iter().all(|key| of.signed_by(key) != Some(false))
    }

    /// The key that it brings and that entries name so.
    pub fn key(&self, named: &KeyRef) -> Option<&VerifierKey> {
        self.keys.iter().find(|key| key_ref(key) == *named)
    }
}

type Judgement = Result<(), Breach>;

fn fair(ok: bool, breach: Breach) -> Judgement {
    if ok { Ok(()) } else { Err(breach) }
}

fn refused(refusal: Refusal) -> Breach {
    Breach::Refused(refusal)
}

/// Judges the entry at `index` of the log `origin` by its bytes alone, and by the leaf hash of
/// entry 0 where that is pinned.
///
/// # Errors
/// Fails with the first rule that no honest log would have let it break.
pub fn judge_alone(
    origin: &str,
    genesis: Option<&Hash>,
    index: u64,
    bytes: &[u8],
) -> Result<Placed, Breach> {
    let entry = Entry::parse(bytes).map_err(refused)?;
    check_place(origin, genesis, index, &entry).map_err(refused)?;
    let about_votes = matches!(entry.body(), Body::Tally(_) | Body::Attestation(_));
    match entry.body() {
        Body::Manifest(manifest) if index == 0 => check_first(origin, manifest, &entry),
        Body::Manifest(manifest) => check_later(manifest, &entry),
        Body::Mandate(mandate) => check_mandate(mandate),
        Body::Tally(tally) if !tally.docs_fit() => Err(Refusal::Invalid(Field::Docs)),
        Body::Tally(tally) => tally.check_place_in_chain(),
        Body::State(state) if state.size != index || index == 0 => Err(Refusal::State),
        _ => Ok(()),
    }
    .map_err(refused)?;
    // A root key has no unit and no contest: what it signs beside them is never a statement.
    let root = |key: &KeyRef| key.name().split('/').next() == Some(ROOT_ROLE);
    if about_votes && entry.signers().any(root) {
        return Err(refused(Refusal::OutOfScope));
    }
    Ok(Placed::new(index, entry))
}

/// Whether the entry says that it is for this log, as far as that shows.
fn check_place(
    origin: &str,
    pinned: Option<&Hash>,
    index: u64,
    entry: &Entry,
) -> Result<(), Refusal> {
    let invalid = |ok: bool, field| if ok { Ok(()) } else { Err(Refusal::Invalid(field)) };
    let Some((log, _, genesis)) = entry.body().place() else { return Ok(()) };
    invalid(log == origin, Field::Log)?;
    let first = matches!(entry.body(), Body::Manifest(_)) && genesis.is_none();
    match (index, pinned) {
        (0, None) => invalid(first, Field::Genesis),
        (0, Some(pinned)) => invalid(first && entry.leaf() == *pinned, Field::Genesis),
        (_, None) => invalid(genesis.is_some(), Field::Genesis),
        (_, pinned) => invalid(genesis == pinned, Field::Genesis),
    }
}

/// Entry 0 is judged by nothing but itself, up to the registers that it names.
fn check_first(origin: &str, manifest: &Manifest, entry: &Entry) -> Result<(), Refusal> {
    manifest.root_verifiers()?;
    let checked = entry.clone().check(&KeyBook::new())?;
    match Ledger::new(origin).check_manifest(&checked) {
        Err(Refusal::Invalid(Field::Registers)) => Ok(()),
        judged => judged,
    }
}

/// A manifest that replaces another: which one is not known here.
fn check_later(manifest: &Manifest, entry: &Entry) -> Result<(), Refusal> {
    let invalid = |ok: bool, field| if ok { Ok(()) } else { Err(Refusal::Invalid(field)) };
    let roots = manifest.root_verifiers()?;
    // A root key has one public key under its name and id, whichever manifest brought it.
    if roots.iter().any(|root| entry.signed_by(root) == Some(false)) {
        return Err(Refusal::BadSignature);
    }
    manifest.check_shape()?;
    invalid(manifest.previous.is_some(), Field::Previous)?;
    invalid(manifest.version > 1, Field::Version)?;
    invalid(manifest.reason.is_some(), Field::Reason)?;
    invalid(manifest.decision.is_some(), Field::Decision)
}

fn check_mandate(mandate: &Mandate) -> Result<(), Refusal> {
    let keys = mandate.verifiers()?;
    let public: BTreeSet<&[u8]> = keys.iter().map(VerifierKey::public_bytes).collect();
    let names: BTreeSet<KeyRef> = keys.iter().map(key_ref).collect();
    let once = public.len() == keys.len() && names.len() == keys.len();
    if once { Ok(()) } else { Err(Refusal::Duplicate) }
}

fn key_ref(key: &VerifierKey) -> KeyRef {
    KeyRef::new(key.name(), key.id())
}

/// Judges the signature lines of an entry by the keys that another one brings, wherever it stands:
/// a name and key id stand for one public key, for ever.
///
/// # Errors
/// [`Breach::Refused`] with `bad_signature` if a line of such a key does not verify.
pub fn judge_lines(placed: &Placed, giver: &Placed) -> Result<(), Breach> {
    fair(giver.lines_hold(&placed.entry), refused(Refusal::BadSignature))
}

/// Judges two entries of one log, the earlier one first.
///
/// # Errors
/// Fails with the first rule that no honest log would have let them break.
pub fn judge_pair(a: &Placed, b: &Placed) -> Result<(), Breach> {
    fair(a.entry.leaf() != b.entry.leaf(), Breach::Twice)?;
    if a.index == 0 {
        judge_origin(&a.entry, &b.entry)?;
    }
    judge_names(a, b)?;
    judge_keys(a, b)?;
    match (a.entry.body(), b.entry.body()) {
        (Body::Freeze(_), Body::State(_)) => fair(b.index == a.index + 1, Breach::Ended),
        (Body::Freeze(_), _) => Err(Breach::Ended),
        (Body::State(_), Body::State(_)) => fair(b.index > a.index + 1, Breach::TwoStates),
        (Body::Tally(a), Body::Tally(b)) => {
            fair(a.prev.is_none() || a.prev != b.prev, Breach::Forked)
        }
        (Body::Attestation(a), Body::Attestation(b)) => {
            fair(a.by != b.by || a.leaf != b.leaf, Breach::Attested)
        }
        (Body::Revocation(a), Body::Revocation(b)) => judge_revocations(a, b),
        (Body::Manifest(first), Body::Manifest(next)) => {
            let follows = next.previous != first.previous && next.version > first.version;
            let named = next.previous == Some(a.entry.leaf());
            let whole = !named || Some(next.version) == first.version.checked_add(1);
            fair(follows && whole, Breach::Succession)
        }
        _ => Ok(()),
    }
}

/// What every entry shares with entry 0.
fn judge_origin(first: &Entry, later: &Entry) -> Judgement {
    let (Some((_, election, _)), Some((_, of, genesis))) =
        (first.body().place(), later.body().place())
    else {
        return Ok(());
    };
    fair(election == of && genesis == Some(&first.leaf()), Breach::Place)
}

/// An entry that names another by its leaf hash: what it names stands before it and fits.
fn judge_names(a: &Placed, b: &Placed) -> Judgement {
    let (first, later) = (a.entry.leaf(), b.entry.leaf());
    let prev = |entry: &Entry| match entry.body() {
        Body::Tally(tally) => tally.prev,
        _ => None,
    };
    let target = |entry: &Entry| match entry.body() {
        Body::Attestation(attestation) => Some(attestation.leaf),
        _ => None,
    };
    let previous = |entry: &Entry| match entry.body() {
        Body::Manifest(manifest) => manifest.previous,
        _ => None,
    };
    // Nothing names what follows it.
    fair(prev(&a.entry) != Some(later), Breach::Chain)?;
    fair(target(&a.entry) != Some(later), Breach::Target)?;
    fair(previous(&a.entry) != Some(later), Breach::Succession)?;
    if previous(&b.entry) == Some(first) {
        fair(matches!(a.entry.body(), Body::Manifest(_)), Breach::Succession)?;
    }
    match (a.entry.body(), b.entry.body()) {
        (Body::Tally(old), Body::Tally(new)) if new.prev == Some(first) => {
            let same = old.contest == new.contest && old.unit == new.unit;
            let next = old.round == new.round && old.seq.checked_add(1) == Some(new.seq);
            fair(same && next, Breach::Chain)
        }
        (_, Body::Tally(new)) => fair(new.prev != Some(first), Breach::Chain),
        (Body::Tally(tally), Body::Attestation(said)) if said.leaf == first => {
            fair(tally.contest == said.contest && tally.unit == said.unit, Breach::Target)
        }
        (_, Body::Attestation(said)) => fair(said.leaf != first, Breach::Target),
        _ => Ok(()),
    }
}

/// Who brought which key, and who used it when.
fn judge_keys(one: &Placed, two: &Placed) -> Judgement {
    let (a, b) = (&one.entry, &two.entry);
    if let Body::Revocation(revocation) = a.body() {
        fair(b.signers().all(|signer| *signer != revocation.key), Breach::Revoked)?;
    }
    let manifests = matches!((a.body(), b.body()), (Body::Manifest(_), Body::Manifest(_)));
    let (brought, later) = (&one.keys, &two.keys);
    if !manifests {
        let same = |key: &VerifierKey, other: &VerifierKey| {
            key.public_bytes() == other.public_bytes() || key_ref(key) == key_ref(other)
        };
        let known = later.iter().any(|key| brought.iter().any(|other| same(key, other)));
        fair(!known, Breach::KnownKey)?;
    }
    if let Body::Mandate(_) = b.body() {
        let early = later.iter().any(|key| a.signers().any(|signer| *signer == key_ref(key)));
        fair(!early, Breach::Early)?;
    }
    let about = match b.body() {
        Body::Tally(tally) => &tally.contest,
        Body::Attestation(attestation) => &attestation.contest,
        _ => return Ok(()),
    };
    let Body::Mandate(mandate) = a.body() else { return Ok(()) };
    let outside = mandate.keys.iter().zip(brought).any(|(granted, key)| {
        let covers = granted.contests.as_ref().is_none_or(|contests| contests.contains(about));
        !covers && b.signers().any(|signer| *signer == key_ref(key))
    });
    fair(!outside, Breach::Contest)
}

/// Nothing falls twice, but what was granted through a key may fall after it.
fn judge_revocations(a: &Revocation, b: &Revocation) -> Judgement {
    fair(a.key != b.key || (!a.subtree && b.subtree), Breach::RevokedTwice)
}

/// Judges two tallies with the manifest under which both were taken: `manifest` stands before
/// them, and `state`, behind them, names it as the one in force.
///
/// Only one manifest between makes an author's chain another one, so without these two the same
/// `seq` twice says nothing.
///
/// # Errors
/// [`Breach::SamePlace`] if both are of one chain and have one `seq`.
pub fn judge_place(
    a: &Placed,
    b: &Placed,
    manifest: &Placed,
    state: &Placed,
) -> Result<(), Breach> {
    let (Body::Tally(one), Body::Tally(two)) = (a.entry.body(), b.entry.body()) else {
        return Ok(());
    };
    let (Body::Manifest(rules), Body::State(sealed)) = (manifest.entry.body(), state.entry.body())
    else {
        return Ok(());
    };
    let around = manifest.index < a.index && b.index < state.index;
    if !around || sealed.manifest != manifest.entry.leaf() {
        return Ok(());
    }
    fair(!(same_chain(rules, one, two) && one.seq == two.seq), Breach::SamePlace)
}

fn same_chain(rules: &Manifest, one: &Tally, two: &Tally) -> bool {
    let official = |tally: &Tally| {
        let role = tally.by.name().split('/').next().unwrap_or_default();
        rules.roles.iter().any(|of| of.id.as_str() == role && of.official)
    };
    let about = one.contest == two.contest && one.unit == two.unit && one.round == two.round;
    about && (one.by == two.by || (official(one) && official(two)))
}
