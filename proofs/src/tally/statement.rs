//! The tally: one signed statement of numbers for one (contest, unit, form, round).

use alloc::{collections::BTreeMap, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    ids::{Id, KeyRef, Minute, UnitCode, Word},
    refusal::{Field, Refusal},
};
use crate::merkle::Hash;

/// A number on a form; `None` (JSON `null`) is unreadable, which is not zero.
pub type Count = Option<u32>;

/// Most documents that one tally may name.
pub const DOCS_MAX: usize = 64;

/// The body of a `jejak/tally/v1` entry: the numbers exactly as on the paper, even if they do not
/// add up. Fields stand in bytewise order of their names, as canonical JSON demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Section II of the form, or absent as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ballots: Option<Ballots>,
    /// What the statement rests on: a signed form, a machine reading, ... A basis of the manifest.
    pub basis: Word,
    /// The author: the key whose line comes first.
    pub by: KeyRef,
    /// Declared recaps only: which child leaves the recap was made from.
    pub children: Option<Children>,
    /// The race.
    pub contest: Id,
    /// SHA-256 of the decision that orders a revision; null when `seq` is 0.
    pub decision: Option<Hash>,
    /// Photographs and scans of the form, by hash, at most [`DOCS_MAX`].
    pub docs: Vec<Doc>,
    /// The election id.
    pub election: Id,
    /// Which paper this is; a form that the manifest allows the author's role.
    pub form: Word,
    /// Leaf hash of entry 0 of the log.
    pub genesis: Hash,
    /// Invalid votes (V.B).
    pub invalid: Count,
    /// When the submitter says that the form was issued. Never trusted as time of logging.
    pub issued_at: Minute,
    /// Origin of the log.
    pub log: alloc::boxed::Box<str>,
    /// Leaf hash of the head of the chain; null when `seq` is 0.
    pub prev: Option<Hash>,
    /// Why the head is revised; null when `seq` is 0.
    pub reason: Option<Reason>,
    /// Registered voters (I.A) as the form has them, or absent as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<Sexes>,
    /// The round; one of the manifest's.
    pub round: Word,
    /// Place in the chain, from 0.
    pub seq: u32,
    /// Valid and invalid votes together (V.C).
    pub total: Count,
    /// The station, or the region of a declared recap.
    pub unit: UnitCode,
    /// Valid votes (V.A).
    pub valid: Count,
    /// Voters who came (I.B), or absent as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voters: Option<Voters>,
    /// Every option of the contest exactly once.
    pub votes: BTreeMap<Id, Count>,
}

/// Section II of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ballots {
    /// Ballots received, the reserve included.
    pub received: Count,
    /// Returned spoiled or wrongly marked.
    pub returned: Count,
    /// Not used.
    pub unused: Count,
    /// Used.
    pub used: Count,
}

/// A count of men (`l`) and of women (`p`), as the forms give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sexes {
    /// Men.
    pub l: Count,
    /// Women.
    pub p: Count,
}

impl Sexes {
    /// Women and men together, if both are readable.
    pub fn sum(&self) -> Option<u64> {
        Some(u64::from(self.l?) + u64::from(self.p?))
    }
}

/// Section I.B: voters who came, by the list that admitted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voters {
    /// Without registration, by identity card.
    pub dpk: Sexes,
    /// Registered at this station.
    pub dpt: Sexes,
    /// Registered elsewhere and transferred.
    pub dptb: Sexes,
}

/// A photographed or scanned page, by hash; the page itself never enters the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doc {
    /// Length of the file in bytes.
    pub bytes: u32,
    /// What the file is.
    pub media: Media,
    /// Page of the form, from 1.
    pub page: u32,
    /// SHA-256 of the file.
    pub sha256: Hash,
    /// SHA-256 of its redacted rendition for the public, if there is one.
    pub sha256_public: Option<Hash>,
}

/// Media types of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Media {
    /// PDF.
    #[serde(rename = "application/pdf")]
    Pdf,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
    /// PNG.
    #[serde(rename = "image/png")]
    Png,
    /// WebP.
    #[serde(rename = "image/webp")]
    Webp,
}

/// Which child leaves a declared recap was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Children {
    /// How many.
    pub count: u32,
    /// RFC 6962 root over their leaf hashes, in order of the register.
    pub root: Hash,
}

/// Why a head is revised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// A slip of the pen or of the keyboard.
    Clerical,
    /// A court's decision.
    Court,
    /// A machine misread the paper.
    OcrCorrection,
    /// A re-vote.
    Psu,
    /// The ballots were counted again.
    Recount,
    /// An initialled correction on the paper.
    Renvoi,
    /// The statement is taken back: every number is null.
    Withdrawn,
}

impl Tally {
    /// Whether this revision takes the statement back.
    pub fn withdrawn(&self) -> bool {
        self.reason == Some(Reason::Withdrawn)
    }

    /// Whether the documents are at most [`DOCS_MAX`] and stand strictly ascending by page, from 1,
    /// and hash (SPEC.md, [E22]).
    pub(super) fn docs_fit(&self) -> bool {
        let rises = |a: &Doc, b: &Doc| (a.page, a.sha256) < (b.page, b.sha256);
        let pages = self.docs.iter().all(|doc| doc.page > 0) && self.docs.is_sorted_by(rises);
        pages && self.docs.len() <= DOCS_MAX
    }

    /// Checks that `prev`, reason and decision stand exactly where `seq` asks for them, and that
    /// a withdrawal holds no number: what a tally has to be whatever stands around it.
    ///
    /// # Errors
    /// Fails with `invalid_prev`, `invalid_reason` or `invalid_decision`.
    pub(super) fn check_place_in_chain(&self) -> Result<(), Refusal> {
        let invalid = |ok: bool, field| if ok { Ok(()) } else { Err(Refusal::Invalid(field)) };
        let revision = self.seq > 0;
        invalid(self.prev.is_some() == revision, Field::Prev)?;
        invalid(self.reason.is_some() == revision, Field::Reason)?;
        invalid(self.decision.is_some() == revision, Field::Decision)?;
        invalid(!self.withdrawn() || self.blank(), Field::Reason)
    }

    /// Whether no number stands in the statement at all.
    pub(super) fn blank(&self) -> bool {
        let sections = self.ballots.is_none() && self.registered.is_none() && self.voters.is_none();
        let sums = [self.valid, self.invalid, self.total];
        sections && self.votes.values().chain(&sums).all(Option::is_none)
    }
}
