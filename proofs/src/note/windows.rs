//! Windows of keys: the sizes of trees for which a key of a policy counts.
//!
//! ```text
//! # the old key signed up to the rotation, the new one from there on
//! example.com/tally+5f701849 from 0 until 120000
//! example.com/tally+9c0d1e2f from 120000
//! ```
//!
//! C2SP tlog-policy knows no validity, so this is a file of ours beside the policy. `from` and
//! `until` mean what they mean in the `log_keys` of a manifest.

use alloc::vec::Vec;
use core::str::from_utf8;

use super::policy::OnLine;
use super::{KeyId, NumberError, POLICY_LEN_MAX, Policy, decimal};

/// The sizes of trees for which a key counts: from `from` on, and below `until` if it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first size.
    pub from: u64,
    /// The first size for which it counts no more.
    pub until: Option<u64>,
}

impl Window {
    /// Whether it holds trees of `size` entries.
    pub fn covers(&self, size: u64) -> bool {
        self.from <= size && self.until.is_none_or(|until| size < until)
    }
}

/// Why a file of windows was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("windows{}: {kind}", OnLine(*line))]
pub struct WindowsError {
    /// The line, from 1; 0 if it is not about one line.
    pub line: usize,
    /// What is wrong.
    pub kind: WindowsErrorKind,
}

/// What is wrong with a file of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowsErrorKind {
    /// Longer than [`POLICY_LEN_MAX`].
    #[error("longer than {POLICY_LEN_MAX} bytes")]
    TooLong,
    /// The last line does not end in a newline; it may have been cut off.
    #[error("the last line does not end in a newline")]
    NoFinalNewline,
    /// Not `<name>+<key id> from <size>`, or with ` until <size>` behind it.
    #[error("expected <name>+<key id> from <size> [until <size>]")]
    Form,
    /// A size that is not spelled right.
    #[error("tree size: {0}")]
    Size(NumberError),
    /// `until` is not above `from`: the key would count for no size.
    #[error("until is not above from")]
    Empty,
    /// No line of the policy has this key.
    #[error("the policy has no such key")]
    UnknownKey,
    /// A second window of one key.
    #[error("a second window of the same key")]
    SecondWindow,
}

impl Policy {
    /// The policy with the windows of a file beside it. A key without a window counts for all
    /// sizes; for other sizes a line by it is that of an unknown key.
    ///
    /// # Errors
    /// Names the line and what is wrong with it. It never panics.
    pub fn with_windows(mut self, bytes: &[u8]) -> Result<Self, WindowsError> {
        use WindowsErrorKind as Kind;
        if bytes.len() > POLICY_LEN_MAX {
            return Err(WindowsError { line: 0, kind: Kind::TooLong });
        }
        let mut seen = Vec::new();
        for (line, number) in bytes.split_inclusive(|&b| b == b'\n').zip(1..) {
            let error = |kind| WindowsError { line: number, kind };
            let line = line.strip_suffix(b"\n").ok_or(error(Kind::NoFinalNewline))?;
            let Some((name, id, window)) = parse_line(line).map_err(error)? else { continue };
            if seen.contains(&(name, id)) {
                return Err(error(Kind::SecondWindow));
            }
            seen.push((name, id));
            *self.window_mut(name, id).ok_or(error(Kind::UnknownKey))? = window;
        }
        Ok(self)
    }

    fn window_mut(&mut self, name: &str, id: KeyId) -> Option<&mut Window> {
        let logs = self.logs.iter_mut().map(|line| (&line.key, &mut line.window));
        let witnesses = self.witnesses.iter_mut().map(|line| (&line.key, &mut line.window));
        let mut lines = logs.chain(witnesses);
        lines.find(|(key, _)| key.name() == name && key.id() == id).map(|(_, window)| window)
    }
}

/// Name, id and window of a line; none of a comment or an empty line.
fn parse_line(line: &[u8]) -> Result<Option<(&str, KeyId, Window)>, WindowsErrorKind> {
    use WindowsErrorKind as Kind;
    let words: Vec<&[u8]> =
        line.split(|&b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
    let (key, from, until) = match words[..] {
        [] => return Ok(None),
        [word, ..] if word.starts_with(b"#") => return Ok(None),
        [key, b"from", from] => (key, from, None),
        [key, b"from", from, b"until", until] => (key, from, Some(until)),
        _ => return Err(Kind::Form),
    };
    let (name, id) = from_utf8(key).ok().and_then(|key| key.split_once('+')).ok_or(Kind::Form)?;
    let id: KeyId = id.parse().map_err(|_| Kind::Form)?;
    let size = |word| {
        let word = from_utf8(word).map_err(|_| Kind::Size(NumberError::Spelling))?;
        decimal(word, u64::MAX).map_err(Kind::Size)
    };
    let window = Window { from: size(from)?, until: until.map(size).transpose()? };
    if window.until.is_some_and(|until| until <= window.from) {
        return Err(Kind::Empty);
    }
    Ok(Some((name, id, window)))
}
