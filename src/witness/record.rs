//! What is durable about one log: one value, so that nothing of it is lost alone.

use jejak_proofs::{
    merkle::{Hash, sha256},
    note::{Checkpoint, CosigningKey, SignedNote, UnverifiedCheckpoint, VerifierKey},
};
use serde::{Deserialize, Serialize};

use super::judge::Known;

/// Convictions, and reports, that are kept of one log. One convicts for ever; anybody may send old
/// heads that the log signed, so those are counted apart.
pub const KEPT_MAX: usize = 16;

/// A log that the witness knows.
#[derive(Clone, Debug)]
pub struct Record {
    /// The origin.
    pub origin: String,
    /// The keys that sign for it, at least one.
    pub keys: Vec<VerifierKey>,
    /// Keys that did when what is stored was signed.
    pub former: Vec<VerifierKey>,
    /// Where its entries are, for a recount.
    pub url: Option<String>,
    /// Leaf hash of entry 0, for a recount.
    pub genesis: Option<Hash>,
    /// What was cosigned last.
    pub last: Option<Cosigned>,
    /// Names of the files of evidence and of reports.
    pub kept: [Vec<String>; 2],
}

/// A cosigned head.
#[derive(Clone, Debug)]
pub struct Cosigned {
    /// The checkpoint with the log's own lines.
    pub checkpoint: Checkpoint,
    /// The cosignature with its newline.
    pub line: String,
    /// Its time in POSIX seconds.
    pub time: u64,
}

impl Cosigned {
    /// The whole signed head, as the monitoring route serves it.
    pub fn note(&self) -> String {
        format!("{}{}", self.checkpoint.note(), self.line)
    }
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    origin: String,
    keys: Vec<String>,
    former: Vec<String>,
    url: Option<String>,
    genesis: Option<Hash>,
    note: Option<String>,
    kept: [Vec<String>; 2],
}

/// A stored log that is not as the witness left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not in the form in which records are stored.
    #[error("not a record of a log")]
    Form,
    /// Under the key of another origin.
    #[error("the record of another log")]
    OtherOrigin,
    /// The stored head is not one that the log signed and this witness cosigned.
    #[error("a head that does not verify")]
    Head,
}

/// The name of a log in the state and in the monitoring route: the SHA-256 of its origin.
pub fn id_of(origin: &str) -> Hash {
    sha256(origin.as_bytes())
}

impl Record {
    /// A log that was never cosigned.
    pub fn new(
        origin: &str,
        keys: Vec<VerifierKey>,
        url: Option<String>,
        genesis: Option<Hash>,
    ) -> Self {
        let (former, kept) = (Vec::new(), [Vec::new(), Vec::new()]);
        Self { origin: origin.to_owned(), keys, former, url, genesis, last: None, kept }
    }

    /// Its name in the state and in the monitoring route.
    pub fn id(&self) -> Hash {
        id_of(&self.origin)
    }

    /// Where the state has it.
    pub fn key(&self) -> String {
        key_of(self.id())
    }

    /// What a judgement needs.
    pub fn known(&self) -> Known<'_> {
        let last = self.last.as_ref().map(|last| (&last.checkpoint, last.time));
        Known { origin: &self.origin, keys: &self.keys, last }
    }

    /// The value to store.
    pub fn to_value(&self) -> Vec<u8> {
        let strings = |keys: &[VerifierKey]| keys.iter().map(VerifierKey::to_string).collect();
        let stored = Stored {
            origin: self.origin.clone(),
            keys: strings(&self.keys),
            former: strings(&self.former),
            url: self.url.clone(),
            genesis: self.genesis,
            note: self.last.as_ref().map(Cosigned::note),
            kept: self.kept.clone(),
        };
        serde_json::to_vec(&stored).expect("a record is text and lists of text")
    }

    /// Reads what [`Record::to_value`] wrote, and verifies the head in it: by a key of the log, and
    /// by the witness's own.
    ///
    /// # Errors
    /// As [`RecordError`] says: then the state is not what the witness left, and it must stop.
    pub fn parse(id: Hash, value: &[u8], own: &VerifierKey) -> Result<Self, RecordError> {
        let stored: Stored = serde_json::from_slice(value).map_err(|_| RecordError::Form)?;
        if id_of(&stored.origin) != id {
            return Err(RecordError::OtherOrigin);
        }
        let keys = |texts: &[String]| {
            let keys: Result<Vec<_>, _> = texts.iter().map(|text| text.parse()).collect();
            keys.map_err(|_| RecordError::Form)
        };
        let mut record = Self {
            keys: keys(&stored.keys)?,
            former: keys(&stored.former)?,
            ..Self::new(&stored.origin, Vec::new(), stored.url, stored.genesis)
        };
        record.kept = stored.kept;
        record.last = match &stored.note {
            Some(note) => Some(record.cosigned(note, own).ok_or(RecordError::Head)?),
            None => None,
        };
        Ok(record)
    }

    /// The head out of its note, of which the last line is the witness's.
    fn cosigned(&self, whole: &str, own: &VerifierKey) -> Option<Cosigned> {
        let note = SignedNote::parse(whole.as_bytes()).ok()?;
        let (line, of_log) = note.lines().split_last()?;
        if !line.is_by(own) {
            return None;
        }
        let time = own.verify_cosignature(note.text(), line.signature()).ok()?;
        let lines: Vec<String> = of_log.iter().map(|line| format!("{}\n", line.text())).collect();
        let bare = jejak_proofs::note::compose(note.text(), &lines);
        let bare = UnverifiedCheckpoint::parse(bare.as_bytes()).ok()?;
        let keys = self.keys.iter().chain(&self.former);
        let checkpoint = bare.verify(&self.origin, keys).ok()?;
        Some(Cosigned { checkpoint, line: format!("{}\n", line.text()), time })
    }

    /// Cosigns: the record with the new head, to be stored before anybody sees the line.
    pub fn cosign(&mut self, checkpoint: Checkpoint, time: u64, key: &CosigningKey) -> &Cosigned {
        let line = key.cosign(&checkpoint, time).expect("a judgement gives a time in range");
        self.last.insert(Cosigned { checkpoint, line, time })
    }

    /// Whether keys, url and genesis are the same.
    pub fn has_the_settings_of(&self, other: &Self) -> bool {
        let keys = |record: &Self| {
            let mut all: Vec<String> = record.keys.iter().map(VerifierKey::to_string).collect();
            all.sort();
            all
        };
        (&self.url, self.genesis) == (&other.url, other.genesis) && keys(self) == keys(other)
    }

    /// Takes other keys, url and genesis; what is stored stays explained.
    pub fn replace(&mut self, new: Self) {
        let gone = self.keys.drain(..).filter(|key| !new.keys.contains(key));
        self.former.extend(gone);
        (self.keys, self.url, self.genesis) = (new.keys, new.url, new.genesis);
    }
}

/// Where the state has the log with this id.
pub fn key_of(id: Hash) -> String {
    format!("{LOGS}{id}")
}

/// What the keys of all logs begin with.
pub const LOGS: &str = "log/";
