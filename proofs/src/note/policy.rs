//! Trust policies (C2SP tlog-policy): which logs, which witnesses, which quorum.
//!
//! ```text
//! # jejak-genesis example.com/tally 5df6e0e2761359d30a8275058e299fcc03815345...
//! log example.com/tally+1a2b3c4d+AekyeRrm... https://log.example.com/tally
//!
//! witness W1 witness.example/w1+5e6f7a8b+BMlm...
//! witness W2 witness.example/w2+9c0d1e2f+BBcV...
//! group both all W1 W2
//! quorum both
//! ```
//!
//! The first line is ours: other readers skip it as a comment, ours demand it. It pins entry 0 by
//! its leaf hash, so that one file pins log keys, quorum and history.

use alloc::{format, string::String, vec::Vec};

use super::{Checkpoint, CheckpointError, KeyError, KeyKind, SignedNote, UnverifiedCheckpoint};
use super::{SignatureError, VerifierKey, Window};
use crate::merkle::Hash;

/// Bytes of a policy that are read.
pub const POLICY_LEN_MAX: usize = 1024 * 1024;

/// Log lines that are read, and genesis comments: as many as C2SP tlog-policy asks for. With as
/// many witnesses they fit the signature lines of one checkpoint.
pub const POLICY_LOGS_MAX: usize = 32;

/// Witness lines that are read.
pub const POLICY_WITNESSES_MAX: usize = 32;

/// Group lines that are read.
pub const POLICY_GROUPS_MAX: usize = 32;

/// Why a policy was refused, or does not answer what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy{}: {kind}", OnLine(*line))]
pub struct PolicyError {
    /// The line, from 1; 0 if it is not about one line.
    pub line: usize,
    /// What is wrong.
    pub kind: PolicyErrorKind,
}

/// Where in a file an error is: `, line <n>`, or nothing.
pub(super) struct OnLine(pub(super) usize);

impl core::fmt::Display for OnLine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ", line {}", self.0) }
    }
}

/// What is wrong with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyErrorKind {
    /// Longer than [`POLICY_LEN_MAX`].
    #[error("longer than {POLICY_LEN_MAX} bytes")]
    TooLong,
    /// The last line does not end in a newline; it may have been cut off.
    #[error("the last line does not end in a newline")]
    NoFinalNewline,
    /// A control character other than tab and newline, such as a carriage return.
    #[error("a control character other than tab and newline")]
    ControlCharacter,
    /// The first word is not `log`, `witness`, `group` or `quorum`.
    #[error("expected log, witness, group or quorum")]
    Keyword,
    /// Too few or too many words.
    #[error("too few or too many words")]
    Words,
    /// Not a vkey, or one that is refused.
    #[error("{0}")]
    Key(KeyError),
    /// A URL that is not valid UTF-8.
    #[error("a URL that is not valid UTF-8")]
    Url,
    /// A log whose name is reserved for other messages: `jejak/...` or `cosignature/v1`.
    #[error("an origin that is reserved for other messages")]
    Origin,
    /// A public key, or a name with a key id, that an earlier line has.
    #[error("a key that an earlier line has, perhaps under another name")]
    DuplicateKey,
    /// A witness or group with a name that an earlier one has.
    #[error("a name that an earlier line defines")]
    DuplicateName,
    /// `none` as the name of a witness, a group or a member.
    #[error("the name none is reserved")]
    ReservedName,
    /// A name that no line before defines.
    #[error("a name that no line before defines")]
    UnknownName,
    /// A member that is one already, of this group or of another.
    #[error("a name that is a member of a group already")]
    MemberTwice,
    /// Not `all`, `any` or a number from 1 to the number of members.
    #[error("expected all, any, or a number from 1 to the number of members")]
    Threshold,
    /// A second quorum line.
    #[error("a second quorum line")]
    SecondQuorum,
    /// No quorum line.
    #[error("no quorum line")]
    NoQuorum,
    /// More log lines or genesis comments than [`POLICY_LOGS_MAX`].
    #[error("more than {POLICY_LOGS_MAX} logs")]
    TooManyLogs,
    /// More witness lines than [`POLICY_WITNESSES_MAX`].
    #[error("more than {POLICY_WITNESSES_MAX} witnesses")]
    TooManyWitnesses,
    /// More group lines than [`POLICY_GROUPS_MAX`].
    #[error("more than {POLICY_GROUPS_MAX} groups")]
    TooManyGroups,
    /// A genesis comment that is not `# jejak-genesis <origin> <hex>`.
    #[error("expected # jejak-genesis <origin> <64 lower-case hexadecimal digits>")]
    Genesis,
    /// A recount comment that does not name witnesses of the lines above it.
    #[error("expected # jejak-recount and the names of witnesses that are defined above")]
    Recount,
    /// A second genesis comment for one origin.
    #[error("a second genesis of the same origin")]
    SecondGenesis,
    /// No genesis comment for the origin that was asked for.
    #[error("no comment # jejak-genesis <origin> <hex> for this origin")]
    NoGenesis,
    /// No log line.
    #[error("no log line")]
    NoLog,
    /// Log lines of several origins where one was asked for.
    #[error("several logs, where one is needed")]
    SeveralLogs,
}

/// A `log` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// A key that signs for the log; its name is the origin.
    pub key: VerifierKey,
    /// Where the log answers.
    pub url: Option<String>,
    /// The sizes of trees for which the key counts; all, unless a file beside the policy says less.
    pub window: Window,
}

/// A `witness` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessLine {
    /// The name that the policy gives it. It means nothing outside the policy; octets that are not
    /// valid UTF-8 are shown as U+FFFD.
    pub name: String,
    /// The key that cosigns.
    pub key: VerifierKey,
    /// Where the witness answers.
    pub url: Option<String>,
    /// The sizes of trees for which the key counts; all, unless a file beside the policy says less.
    pub window: Window,
    /// Whether its cosignature also says that every entry was replayed and the state at the end is
    /// right, by the comment `# jejak-recount <name>...`.
    pub recounts: bool,
}

/// A cosignature that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature<'p> {
    /// The witness as the policy has it.
    pub witness: &'p WitnessLine,
    /// When, in POSIX seconds: the newest, if the witness cosigned the checkpoint several times.
    pub time: u64,
}

/// What a name stands for, in the order of definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The witness of this index.
    Witness(usize),
    /// At least `threshold` of the nodes `members`, all of which are defined before.
    Group { threshold: usize, members: Vec<usize> },
}

/// A policy that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub(super) logs: Vec<LogLine>,
    pub(super) witnesses: Vec<WitnessLine>,
    pub(super) nodes: Vec<Node>,
    /// The node that must have witnessed; `None` is `quorum none`.
    pub(super) quorum: Option<usize>,
    pub(super) genesis: Vec<(String, Hash)>,
    pub(super) require_pq: bool,
}

impl Policy {
    /// The text of a policy that pins one log and its genesis and asks for no witness.
    ///
    /// `keys` sign for the log and bear its origin as their name.
    ///
    /// # Errors
    /// Fails as [`Policy::parse`] does on the text, with [`PolicyErrorKind::NoLog`] without a key,
    /// and with [`PolicyErrorKind::SeveralLogs`] if the keys have several names.
    pub fn compose(
        keys: &[VerifierKey],
        url: Option<&str>,
        genesis: &Hash,
    ) -> Result<String, PolicyError> {
        Self::compose_witnessed(keys, url, genesis, &[], 0)
    }

    /// As [`Policy::compose`], with witnesses of which at least `quorum` must have cosigned.
    /// Without a witness the quorum is `none`, whatever the number.
    ///
    /// # Errors
    /// As there; [`PolicyErrorKind::Threshold`] if `quorum` is not from 1 to their number.
    pub fn compose_witnessed(
        keys: &[VerifierKey],
        url: Option<&str>,
        genesis: &Hash,
        witnesses: &[WitnessLine],
        quorum: usize,
    ) -> Result<String, PolicyError> {
        let origin = keys.first().map_or("", VerifierKey::name);
        let mut text = format!("# jejak-genesis {origin} {genesis}\n");
        for key in keys {
            text.push_str(&format!("log {key}{}\n", after_space(url)));
        }
        for WitnessLine { name, key, url, .. } in witnesses {
            text.push_str(&format!("witness {name} {key}{}\n", after_space(url.as_deref())));
        }
        let recounting: String = witnesses
            .iter()
            .filter(|line| line.recounts)
            .map(|line| format!(" {}", line.name))
            .collect();
        if !recounting.is_empty() {
            text.push_str(&format!("# jejak-recount{recounting}\n"));
        }
        if witnesses.is_empty() {
            text.push_str("quorum none\n");
        } else {
            let names: String = witnesses.iter().map(|line| format!(" {}", line.name)).collect();
            text.push_str(&format!("group witnesses {quorum}{names}\nquorum witnesses\n"));
        }
        if keys.is_empty() {
            return Err(PolicyError { line: 0, kind: PolicyErrorKind::NoLog });
        }
        // Read it back, so that whoever is given it can read it too.
        let policy = Self::parse(&text)?;
        policy.require_genesis(policy.single_origin()?)?;
        Ok(text)
    }

    /// The policy that demands an ML-DSA-44 signature of the log on every checkpoint, and one of
    /// Ed25519 too if it lists such a key: a forger has to break both.
    ///
    /// Keys count in their windows only. Receipts as a log gives them on submission stand under
    /// checkpoints with an Ed25519 line alone, and fail; those under sealed checkpoints pass.
    #[must_use]
    pub fn require_pq(self) -> Self {
        Self { require_pq: true, ..self }
    }

    /// The policy without that demand: what the log signed at all convicts it.
    #[must_use]
    pub fn accept_any_kind(self) -> Self {
        Self { require_pq: false, ..self }
    }

    /// The log lines, in order.
    pub fn logs(&self) -> impl Iterator<Item = &LogLine> {
        self.logs.iter()
    }

    /// The witness lines, in order, whether or not the quorum needs them.
    pub fn witnesses(&self) -> impl Iterator<Item = &WitnessLine> {
        self.witnesses.iter()
    }

    /// Whether anybody dates the checkpoints of a log: a quorum, or without one the log by a key
    /// of type 0x06. [`Policy::vouched_time`] has the time.
    pub fn dates(&self, origin: &str) -> bool {
        let of_log = |line: &LogLine| line.key.kind().cosigns();
        self.needs_witnesses() || self.lines_of(origin).any(of_log)
    }

    /// Whether a checkpoint needs cosignatures: false for `quorum none`.
    pub fn needs_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// The leaf hash of entry 0 of a log, from the comment `# jejak-genesis <origin> <hex>`.
    pub fn genesis(&self, origin: &str) -> Option<Hash> {
        self.genesis.iter().find(|(of, _)| of == origin).map(|&(_, hash)| hash)
    }

    /// As [`Policy::genesis`], for those who cannot do without.
    ///
    /// # Errors
    /// [`PolicyErrorKind::NoGenesis`] if there is no comment for this origin.
    pub fn require_genesis(&self, origin: &str) -> Result<Hash, PolicyError> {
        self.genesis(origin).ok_or(PolicyError { line: 0, kind: PolicyErrorKind::NoGenesis })
    }

    /// The origin of the one log of this policy; several keys of it are several lines.
    ///
    /// # Errors
    /// [`PolicyErrorKind::NoLog`] or [`PolicyErrorKind::SeveralLogs`].
    pub fn single_origin(&self) -> Result<&str, PolicyError> {
        let error = |kind| PolicyError { line: 0, kind };
        let first = self.logs.first().ok_or_else(|| error(PolicyErrorKind::NoLog))?;
        let origin = first.key.name();
        if self.logs.iter().any(|log| log.key.name() != origin) {
            return Err(error(PolicyErrorKind::SeveralLogs));
        }
        Ok(origin)
    }

    /// The keys that sign for a log, at any size.
    pub fn log_keys(&self, origin: &str) -> Vec<VerifierKey> {
        self.lines_of(origin).map(|log| log.key.clone()).collect()
    }

    /// The keys that sign for a log trees of `size` entries.
    pub fn log_keys_at(&self, origin: &str, size: u64) -> impl Iterator<Item = &VerifierKey> {
        self.lines_of(origin).filter(move |log| log.window.covers(size)).map(|log| &log.key)
    }

    /// The first URL of a log.
    pub fn url(&self, origin: &str) -> Option<&str> {
        self.lines_of(origin).find_map(|log| log.url.as_deref())
    }

    fn lines_of(&self, origin: &str) -> impl Iterator<Item = &LogLine> {
        self.logs.iter().filter(move |log| log.key.name() == origin)
    }

    /// Checks that one of the logs signed this checkpoint, whichever of its keys, and that a quorum
    /// of the witnesses cosigned it.
    ///
    /// # Security
    /// The times of the cosignatures are not looked at, as C2SP tlog-proof has it: an old
    /// checkpoint stays valid. [`Policy::vouched_time`] tells how old it is.
    ///
    /// # Errors
    /// The errors of [`Policy::verify_log`] first, then those of [`Policy::cosignatures`], then
    /// [`CheckpointError::Quorum`]. It never panics.
    pub fn verify(&self, checkpoint: UnverifiedCheckpoint) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = self.verify_log(checkpoint)?;
        let cosignatures = self.cosignatures(&checkpoint)?;
        if let Some(quorum) = self.quorum {
            self.quorum_time(quorum, &cosignatures)?;
        }
        Ok(checkpoint)
    }

    /// Checks that one of the logs signed this checkpoint, and asks for no witness. A line by a key
    /// outside its window is that of an unknown key.
    ///
    /// # Errors
    /// [`CheckpointError::OtherOrigin`] if the policy has no log of that origin, else as
    /// [`UnverifiedCheckpoint::verify`]; then [`CheckpointError::RequirePq`] if the policy
    /// [asks for more](Policy::require_pq).
    pub fn verify_log(
        &self,
        checkpoint: UnverifiedCheckpoint,
    ) -> Result<Checkpoint, CheckpointError> {
        let origin = String::from(checkpoint.origin());
        if self.lines_of(&origin).next().is_none() {
            return Err(CheckpointError::OtherOrigin);
        }
        let keys: Vec<&VerifierKey> =
            self.log_keys_at(&origin, checkpoint.claimed_head().size).collect();
        // A policy without a key of type 0x06 cannot give what is asked for: it fails, and is not
        // taken for one that asks for nothing.
        let also = keys.iter().any(|key| key.kind() == KeyKind::Ed25519);
        let kinds: &[KeyKind] = match (self.require_pq, also) {
            (false, _) => &[],
            (true, false) => &[KeyKind::MlDsa44],
            (true, true) => &[KeyKind::MlDsa44, KeyKind::Ed25519],
        };
        checkpoint.verify_kinds(&origin, keys, kinds)
    }

    /// Verifies every cosignature by a witness of this policy; lines by others, and by witnesses
    /// outside their window, are ignored.
    ///
    /// A line with the name and id of a witness that does not verify refuses the checkpoint, even
    /// where the others make a quorum. C2SP tlog-policy is silent here and tlog-cosignature refers
    /// to signed-note, which says: "If a signature from a known key fails to verify, clients SHOULD
    /// reject the whole note." Who hands on a checkpoint can drop such a line and lose nothing.
    ///
    /// # Errors
    /// [`CheckpointError::Cosignature`] if one does not verify. It never panics.
    pub fn cosignatures(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<Cosignature<'_>>, CheckpointError> {
        let note = checkpoint.as_unverified().signed_note()?;
        let size = checkpoint.head().size;
        let mut found = Vec::new();
        for witness in self.witnesses.iter().filter(|witness| witness.window.covers(size)) {
            let key = witness.key.id();
            let time = newest_time(&note, &witness.key, VerifierKey::verify_cosignature)
                .map_err(|_| CheckpointError::Cosignature { key })?;
            found.extend(time.map(|time| Cosignature { witness, time }));
        }
        Ok(found)
    }

    /// The newest time, in POSIX seconds, such that the witnesses that cosigned then or later make
    /// a quorum; where the policy needs none, the newest of the log's own lines of type 0x06.
    /// `None` if nobody dates the checkpoint. Its age is now minus this time.
    ///
    /// # Errors
    /// [`CheckpointError::Quorum`] if those that cosigned are not a quorum, else as
    /// [`Policy::cosignatures`]; [`CheckpointError::LogSignature`] if a line of the log of type
    /// 0x06 does not verify.
    pub fn vouched_time(&self, checkpoint: &Checkpoint) -> Result<Option<u64>, CheckpointError> {
        let cosignatures = self.cosignatures(checkpoint)?;
        match self.quorum {
            Some(quorum) => self.quorum_time(quorum, &cosignatures).map(Some),
            None => self.log_time(checkpoint),
        }
    }

    /// The newest time that the log itself put on its checkpoint.
    fn log_time(&self, checkpoint: &Checkpoint) -> Result<Option<u64>, CheckpointError> {
        let note = checkpoint.as_unverified().signed_note()?;
        let mut newest = None;
        for key in self.log_keys_at(checkpoint.origin(), checkpoint.head().size) {
            if key.kind().cosigns() {
                let time = newest_time(&note, key, VerifierKey::verify_timestamped)
                    .map_err(|_| CheckpointError::LogSignature { key: key.id() })?;
                newest = newest.max(time);
            }
        }
        // The time 0 makes no statement.
        Ok(newest.filter(|&time| time > 0))
    }

    fn quorum_time(
        &self,
        quorum: usize,
        cosignatures: &[Cosignature<'_>],
    ) -> Result<u64, CheckpointError> {
        // The same question for each node in turn; members come before their group.
        let mut times: Vec<Option<u64>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let time = match node {
                Node::Witness(index) => cosignatures
                    .iter()
                    .find(|found| found.witness.key == self.witnesses[*index].key)
                    .map(|found| found.time),
                Node::Group { threshold, members } => {
                    let mut of: Vec<u64> = members.iter().filter_map(|&m| times[m]).collect();
                    of.sort_unstable_by(|a, b| b.cmp(a));
                    of.get(threshold - 1).copied()
                }
            };
            times.push(time);
        }
        times[quorum].ok_or(CheckpointError::Quorum)
    }
}

fn after_space(url: Option<&str>) -> String {
    url.map_or(String::new(), |url| format!(" {url}"))
}

/// Verifies the lines of a note by one key, and gives the newest of their times.
fn newest_time(
    note: &SignedNote<'_>,
    key: &VerifierKey,
    verify: fn(&VerifierKey, &str, &[u8]) -> Result<u64, SignatureError>,
) -> Result<Option<u64>, SignatureError> {
    let mut newest = None;
    for line in note.lines().iter().filter(|line| line.is_by(key)) {
        newest = newest.max(Some(verify(key, note.text(), line.signature())?));
    }
    Ok(newest)
}
