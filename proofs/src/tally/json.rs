//! Canonical JSON: one value has one spelling.
//!
//! Keys sorted bytewise, no white space, integers without sign, leading zero or exponent, ASCII.
//! There is no canonical parser to get wrong: a value is read by `serde_json`, written again from
//! its type, and the two texts are compared. That refuses duplicate keys, unknown fields, arrays
//! in place of objects, needless escapes, `-0`, `1e3` and white space in one step.

use alloc::string::String;

use serde::{Serialize, de::DeserializeOwned};

/// Text that is not the one spelling of a value of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON, or not of this type: a field unknown, missing, or of the wrong shape.
    #[error("not the JSON object that its first line announces")]
    Schema,
    /// The right value in another spelling.
    #[error("JSON is not in canonical form")]
    NotCanonical,
}

/// Reads a value whose canonical form is exactly `text`.
///
/// `T` must declare its fields in bytewise order of their names.
///
/// # Errors
/// Fails on anything but the canonical spelling of a `T`.
pub fn from_canonical<T: Serialize + DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    // Nesting is bounded by the types and by serde_json's recursion limit, size by the caller.
    let value: T = serde_json::from_str(text).map_err(|_| JsonError::Schema)?;
    if to_canonical(&value) == text { Ok(value) } else { Err(JsonError::NotCanonical) }
}

/// The canonical form of `value`: one line, without a newline at its end.
pub fn to_canonical<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("bodies hold only strings, integers, lists and maps")
}
