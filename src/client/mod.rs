//! The client's side of HTTP: bounded, typed, and patient where patience helps.

mod fetch;
mod submit;

pub use fetch::{
    Answer, Fetch, FetchError, FetchLimits, Head, PATIENCE_MAX, Refusal, UnreachableKind,
};
pub use submit::{
    BatchItem, BatchRefusal, BatchStatus, BatchSubmitted, SubmitError, Submitted, submit,
    submit_batch,
};
