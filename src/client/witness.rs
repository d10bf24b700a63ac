//! The log's side of C2SP tlog-witness: asking a witness for its cosignature.

use jejak_proofs::{
    merkle::{TREE_SIZE_MAX, sha256},
    note::{AddCheckpoint, NOTE_LEN_MAX, UnverifiedCheckpoint, decimal},
};

use super::fetch::{Fetch, FetchError, Post};

/// What a witness answered that was asked to cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cosigned {
    /// Signature lines, each with its newline. Nothing in them is verified.
    Lines(Vec<String>),
    /// The witness holds a tree of this size, and not of the one that the proof was from.
    Holds(u64),
}

/// Asks the witness at `fetch` to cosign a checkpoint.
///
/// # Errors
/// As [`FetchError`] says; a 200 whose body is not one to 63 lines of text is
/// [`FetchError::Unexpected`].
pub fn add_checkpoint(fetch: &Fetch, request: &AddCheckpoint) -> Result<Cosigned, FetchError> {
    let body = request.to_string();
    let media_type = "text/plain; charset=utf-8";
    let len_max = NOTE_LEN_MAX as u64;
    match fetch.post(&Post::new("add-checkpoint", media_type, body.as_bytes(), len_max)) {
        Ok(answer) => {
            let lines = String::from_utf8(answer.body).ok().and_then(|text| lines(&text));
            lines.map(Cosigned::Lines).ok_or(FetchError::Unexpected { status: answer.status })
        }
        Err(FetchError::Refused(refusal)) => match &refusal.tlog_size {
            Some(size) if refusal.status == 409 => {
                let size = decimal(size.strip_suffix('\n').unwrap_or(size), TREE_SIZE_MAX);
                size.map(Cosigned::Holds).map_err(|_| FetchError::Refused(refusal))
            }
            _ => Err(FetchError::Refused(refusal)),
        },
        Err(error) => Err(error),
    }
}

/// The lines of a text that ends in a newline, each with its own.
fn lines(text: &str) -> Option<Vec<String>> {
    let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    (text.ends_with('\n') && lines.len() < 64).then_some(lines)
}

/// The newest checkpoint of `origin` that the witness serves for monitors.
///
/// # Errors
/// As [`FetchError`] says; what is not a checkpoint is [`FetchError::Unexpected`].
pub fn witnessed_checkpoint(
    fetch: &Fetch,
    origin: &str,
) -> Result<UnverifiedCheckpoint, FetchError> {
    let path = format!("{}/checkpoint", sha256(origin.as_bytes()));
    let answer = fetch.get(&path, NOTE_LEN_MAX as u64)?;
    UnverifiedCheckpoint::parse(&answer.body)
        .map_err(|_| FetchError::Unexpected { status: answer.status })
}
