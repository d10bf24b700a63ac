//! The keys that sign for a log, and which of them sign a tree: those whose window in the
//! manifest in force holds its size ([C7] in SPEC.md). While windows overlap, each signs, so that a
//! reader who knows only the old key and one who knows only the new one both follow.

use std::sync::Arc;

use jejak_proofs::{
    merkle::TreeHead,
    note::{
        Checkpoint, CheckpointError, CosigningKey, NoteSigner, Policy, SigningKey, VerifierKey,
    },
    tally::Manifest,
};

use super::recovery::OpenError;

/// The private keys of a log, or who signs with them.
#[derive(Clone, Debug)]
pub struct LogKeys {
    /// Sign checkpoints; at least one.
    pub note: Vec<Arc<dyn NoteSigner>>,
    /// Add a line with a time to sealed ones (C2SP tlog-cosignature).
    pub timestamped: Vec<CosigningKey>,
    /// Sign refusals, while the manifest in force names them.
    pub refusals: Vec<SigningKey>,
}

impl From<SigningKey> for LogKeys {
    fn from(key: SigningKey) -> Self {
        Self { note: vec![Arc::new(key)], timestamped: Vec::new(), refusals: Vec::new() }
    }
}

/// Keys with their vkeys, which manifests name them by.
pub(super) struct Signers {
    note: Vec<(Arc<dyn NoteSigner>, String)>,
    timestamped: Vec<(Arc<CosigningKey>, String)>,
}

impl Signers {
    /// All of them must be in the policy.
    pub fn new(keys: LogKeys, policy: &Policy) -> Result<Self, OpenError> {
        let listed = |key: &VerifierKey| match policy.logs().any(|log| log.key == *key) {
            true => Ok(key.to_string()),
            false => Err(OpenError::LogKey(key.to_string())),
        };
        let (mut note, mut timestamped) = (Vec::new(), Vec::new());
        for key in keys.note {
            let vkey = listed(key.public())?;
            note.push((key, vkey));
        }
        for key in keys.timestamped {
            let vkey = listed(&key.verifier())?;
            timestamped.push((Arc::new(key), vkey));
        }
        Ok(Self { note, timestamped })
    }

    /// The origin: the name of every key.
    pub fn origin(&self) -> &str {
        self.note.first().map_or("", |(key, _)| key.public().name())
    }

    /// The vkeys that sign checkpoints, for people.
    pub fn vkeys(&self) -> String {
        let vkeys: Vec<&str> = self.note.iter().map(|(_, vkey)| vkey.as_str()).collect();
        vkeys.join(", ")
    }

    /// Whether one of them may sign a tree of this size.
    pub fn may_sign(&self, manifest: &Manifest, size: u64) -> bool {
        self.note.iter().any(|(_, vkey)| manifest.log_key_counts(vkey, size))
    }

    /// The checkpoint of a head by every key that may sign it; `None` if none may. The bytes follow
    /// from head, keys and manifest alone.
    pub fn sign(
        &self,
        head: TreeHead,
        manifest: &Manifest,
    ) -> Result<Option<Checkpoint>, CheckpointError> {
        let counts = |(_, vkey): &&(_, String)| manifest.log_key_counts(vkey, head.size);
        let mut keys = self.note.iter().filter(counts).map(|(key, _)| key);
        let Some(first) = keys.next() else { return Ok(None) };
        let checkpoint = Checkpoint::sign(head, &**first)?;
        let lines = keys.map(|key| key.try_sign_line(checkpoint.text()));
        let lines = lines.collect::<Result<Vec<String>, _>>()?;
        match lines.is_empty() {
            true => Ok(Some(checkpoint)),
            false => checkpoint.with_lines(&lines).map(Some),
        }
    }

    /// What the first key signs where the manifest is not known yet: not to leave memory.
    pub fn draft(&self, head: TreeHead) -> Result<Checkpoint, CheckpointError> {
        let (key, _) = self.note.first().ok_or(CheckpointError::Unsigned)?;
        Checkpoint::sign(head, &**key)
    }

    /// The keys that add a time to a tree of this size.
    pub fn with_time(&self, manifest: &Manifest, size: u64) -> Vec<Arc<CosigningKey>> {
        let counts = |(_, vkey): &&(_, String)| manifest.log_key_counts(vkey, size);
        self.timestamped.iter().filter(counts).map(|(key, _)| key.clone()).collect()
    }

    /// Whether there is a key that adds a time, ever.
    pub fn has_time(&self) -> bool {
        !self.timestamped.is_empty()
    }
}
