//! The client's side of HTTP: bounded, typed, and patient where patience helps.

mod fetch;

pub use fetch::{
    Answer, Fetch, FetchError, FetchLimits, Head, PATIENCE_MAX, Refusal, UnreachableKind,
};
