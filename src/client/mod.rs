//! The client's side of HTTP: bounded, typed, and patient where patience helps.

mod copies;
mod entries;
mod fetch;
mod recap;
mod recount;
mod replay;
pub mod source;
mod submit;
mod witness;

pub use copies::Copies;
pub use entries::{EntriesError, entries_at};
pub use fetch::{
    Answer, Fetch, FetchError, FetchLimits, Head, PATIENCE_MAX, Post, Refusal, UnreachableKind,
};
pub use recap::{
    Child, History, RecapError, Region, UnitProof, history, recap_proof, region, top_unit,
};
pub use recount::{Recount, RecountError};
pub use replay::{ReplayError, Replayed, replay};
pub use submit::{
    BatchItem, BatchRefusal, BatchStatus, BatchSubmitted, SubmitError, Submitted, submit,
    submit_batch,
};
pub use witness::{Cosigned, add_checkpoint, witnessed_checkpoint};
