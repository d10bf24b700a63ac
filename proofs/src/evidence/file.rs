//! The one spelling of an evidence file.

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    EVIDENCE_ENTRIES_MAX, EVIDENCE_LEN_MAX, Evidence, EvidenceError, EvidencePart, Proven,
    ProvenEntry, SignedRefusal,
};
use crate::{
    merkle::Hash,
    note::UnverifiedCheckpoint,
    tally::{from_canonical, to_canonical},
};

/// The first line.
const HEADING: &str = "jejak/evidence/v1";

/// The JSON object. Fields stand in bytewise order of their names; each kind has its own of them.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoints: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<Vec<Base64>>,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    entry: Bytes,
    hashes: Vec<Base64>,
    index: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Stands where the field is missing, and never in a file.
    #[default]
    None,
    BadEntry,
    BrokenChain,
    FalseRefusal,
    Inconsistent,
    TwoRoots,
}

/// A hash as the proofs of the log's routes spell it.
struct Base64(Hash);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_base64())
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::from_base64(&text).map(Self).map_err(D::Error::custom)
    }
}

/// Bytes that need not be text.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

fn checkpoint(note: &str, part: EvidencePart) -> Result<Box<UnverifiedCheckpoint>, EvidenceError> {
    UnverifiedCheckpoint::parse(note.as_bytes())
        .map(Box::new)
        .map_err(|error| EvidenceError::Checkpoint { part, error })
}

fn hashes(spelled: Vec<Base64>) -> Vec<Hash> {
    spelled.into_iter().map(|hash| hash.0).collect()
}

fn spelled(hashes: &[Hash]) -> Vec<Base64> {
    hashes.iter().copied().map(Base64).collect()
}

impl Evidence {
    /// Reads an evidence file.
    ///
    /// # Errors
    /// Fails on anything but the one spelling. It never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > EVIDENCE_LEN_MAX {
            return Err(EvidenceError::TooLong);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| EvidenceError::Malformed)?;
        let body = text
            .strip_prefix(HEADING)
            .and_then(|rest| rest.strip_prefix('\n'))
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(EvidenceError::Malformed)?;
        from_canonical::<Body>(body).map_err(|_| EvidenceError::Malformed)?.read()
    }
}

impl Body {
    fn read(self) -> Result<Evidence, EvidenceError> {
        let Self { checkpoint: one, checkpoints: two, entries, hashes: proof, .. } = self;
        let kind = match (self.kind, self.refusal) {
            (Kind::FalseRefusal, Some(note)) if two.is_none() && proof.is_none() => {
                let (Some(one), Some(entries)) = (one, entries) else {
                    return Err(EvidenceError::Malformed);
                };
                let refusal = SignedRefusal::parse(note.as_bytes());
                let refusal = Box::new(refusal.map_err(EvidenceError::Refusal)?);
                let refused = self.refused.map(|bytes| bytes.0);
                let proven = proven(&one, entries)?;
                return Ok(Evidence::FalseRefusal { proven, refusal, refused });
            }
            (kind, None) if self.refused.is_none() => kind,
            _ => return Err(EvidenceError::Malformed),
        };
        match (kind, one, two, entries, proof) {
            (Kind::TwoRoots, None, Some([first, second]), None, None) => {
                let first = checkpoint(&first, EvidencePart::First)?;
                Ok(Evidence::TwoRoots { first, second: checkpoint(&second, EvidencePart::Second)? })
            }
            (Kind::Inconsistent, None, Some([older, newer]), None, Some(proof)) => {
                let older = checkpoint(&older, EvidencePart::First)?;
                let newer = checkpoint(&newer, EvidencePart::Second)?;
                Ok(Evidence::Inconsistent { older, newer, hashes: hashes(proof) })
            }
            (Kind::BadEntry, Some(note), None, Some(entries), None) => {
                Ok(Evidence::BadEntry(proven(&note, entries)?))
            }
            (Kind::BrokenChain, Some(note), None, Some(entries), None) => {
                Ok(Evidence::BrokenChain(proven(&note, entries)?))
            }
            _ => Err(EvidenceError::Malformed),
        }
    }
}

fn proven(note: &str, entries: Vec<Item>) -> Result<Proven, EvidenceError> {
    if entries.len() > EVIDENCE_ENTRIES_MAX {
        return Err(EvidenceError::Entries);
    }
    let entry = |item: Item| ProvenEntry {
        bytes: item.entry.0,
        hashes: hashes(item.hashes),
        index: item.index,
    };
    let checkpoint = checkpoint(note, EvidencePart::Only)?;
    Ok(Proven { checkpoint, entries: entries.into_iter().map(entry).collect() })
}

impl fmt::Display for Evidence {
    /// The evidence file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |first: &UnverifiedCheckpoint, second: &UnverifiedCheckpoint| {
            Some([first, second].map(|checkpoint| checkpoint.note().to_owned()))
        };
        let item = |entry: &ProvenEntry| Item {
            entry: Bytes(entry.bytes.clone()),
            hashes: spelled(&entry.hashes),
            index: entry.index,
        };
        let of = |proven: &Proven, kind| Body {
            checkpoint: Some(proven.checkpoint.note().to_string()),
            entries: Some(proven.entries.iter().map(item).collect()),
            kind,
            ..Body::default()
        };
        let body = match self {
            Self::TwoRoots { first, second } => {
                Body { checkpoints: pair(first, second), kind: Kind::TwoRoots, ..Body::default() }
            }
            Self::Inconsistent { older, newer, hashes } => Body {
                checkpoints: pair(older, newer),
                hashes: Some(spelled(hashes)),
                kind: Kind::Inconsistent,
                ..Body::default()
            },
            Self::BadEntry(proven) => of(proven, Kind::BadEntry),
            Self::BrokenChain(proven) => of(proven, Kind::BrokenChain),
            Self::FalseRefusal { proven, refusal, refused } => Body {
                refusal: Some(refusal.to_string()),
                refused: refused.clone().map(Bytes),
                ..of(proven, Kind::FalseRefusal)
            },
        };
        let body = format!("{}\n", to_canonical(&body));
        write!(f, "{HEADING}\n{body}")
    }
}
