//! Exit codes: stable, so that scripts can act on them (SPEC.md, "Command line").

use std::{fmt, process::ExitCode};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Exit {
    /// Done, and all is well.
    Ok = 0,
    /// The command failed, or found what it was to report.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The entry is not in the log.
    NotInLog = 10,
    /// The entry differs from the one in the log.
    Differs = 11,
    /// The entry is in the log, and a later one has replaced it.
    Superseded = 12,
    /// The log's signature is missing or wrong.
    LogSignature = 13,
    /// The policy's quorum of witnesses is not met.
    Quorum = 14,
    /// The inclusion proof does not lead to the root.
    Inclusion = 15,
    /// The log shows two histories, or an older one than before.
    Fork = 16,
    /// The newest checkpoint is older than allowed.
    Stale = 17,
    /// The recap proof does not follow from its state, or what the log tells contradicts it.
    RecapMismatch = 18,
    /// The log broke its own rules.
    RulesBroken = 19,
    /// A server cannot be reached.
    Unreachable = 69,
    /// An internal error: refused to continue.
    Internal = 70,
    /// Try again later.
    TryAgain = 75,
    /// Files or settings are missing or wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One sentence: what went wrong, in lower case, without a full stop.
    pub message: String,
    /// The next command or step, if one helps.
    pub next: Option<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), next: None }
    }

    /// A missing or wrong file or setting.
    pub fn config(message: impl fmt::Display) -> Self {
        Self::new(Exit::Config, message)
    }

    /// The same failure, naming what to do next.
    pub fn next(self, next: impl fmt::Display) -> Self {
        Self { next: Some(next.to_string()), ..self }
    }
}
