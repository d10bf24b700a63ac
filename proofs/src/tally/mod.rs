//! Entries, the registers, mandates, form rules and the ledger.
//!
//! An entry passes three steps, each with its type: [`Entry::parse`] (grammar), [`Entry::check`]
//! (signatures: pure and parallel) and [`Ledger::apply`] (who may say what, in which order:
//! sequential). The log uses them to admit, every monitor uses the very same to audit.

mod attestation;
mod authority;
mod breach;
mod chains;
mod entry;
mod form;
mod ids;
mod json;
mod keybook;
mod ledger;
mod mandate;
mod manifest;
mod recap;
mod refusal;
mod register;
mod saved;
mod snapshot;
mod standing;
mod state;
mod statement;

pub use attestation::{Attestation, AttestationVerdict};
pub use breach::{Breach, Placed, judge_alone, judge_lines, judge_pair, judge_place};
pub use chains::{ChainHead, ChainOwner};
pub use entry::{Body, CheckedEntry, Entry, SIGNATURES_MAX};
pub use form::{
    FORM_NUMBER_MAX, Flags, FormRule, Repair, Severity, UnitFacts, check_counts, check_form,
    one_digit_repairs,
};
pub use ids::{ID_LEN_MAX, Id, KeyRef, Minute, ShapeError, UnitCode, Word};
pub use json::{JsonError, from_canonical, to_canonical};
pub use keybook::{Key, KeyBook};
pub use ledger::{Ledger, Outcome};
pub use mandate::{
    DELEGATION_DEPTH_MAX, Freeze, FreezeReason, MANDATE_KEYS_MAX, Mandate, MandatedKey, Revocation,
    RevocationReason, SCOPE_MAX,
};
pub use manifest::{
    Election, FileRef, LIST_MAX, LogKey, Manifest, ManifestReason, ROOT_KEYS_MAX, ROOT_ROLE,
    Registers, Role, refusal_key_name,
};
pub use recap::{
    Below, ContestRecap, FIXED_COUNTERS, Level, Place, ProvenRecap, ProvenUnit,
    RECAP_PROOF_LEN_MAX, Recap, RecapProof, RecapProofError, Record, RecordHead, Sealed, Shape,
    Sibling, Status, Unsealed, Values, contest_hash, counter, inner_hash, region_hash,
    station_hash, trail_hash,
};
pub use refusal::{Field, Refusal};
pub use register::{
    Contest, ContestRegister, NAME_DIGITS_MAX, NAME_LEN_MAX, OPTIONS_MAX, REGISTER_LEN_MAX,
    RegisterError, RegisterErrorKind, Slot, SpellError, UNIT_HEADER, Unit, UnitRegister,
};
pub use snapshot::{Snapshot, SnapshotError, SnapshotView};
pub use standing::Standing;
pub use state::{STATE_GAP_MAX, STATE_LEN_MAX, State};
pub use statement::{Ballots, Children, Count, DOCS_MAX, Doc, Media, Reason, Sexes, Tally, Voters};
