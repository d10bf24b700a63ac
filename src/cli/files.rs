//! Files that commands read and write.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use flate2::read::MultiGzDecoder;
use jejak_proofs::note::{
    CosigningKey, KeyError, NoteSigner, Policy, SignError, SigningKey, VerifierKey,
};
use zeroize::Zeroizing;

use super::exit::Failure;
use crate::agent::{self, AgentKey};

/// The policy: log keys, quorum and genesis, in one file.
#[derive(Clone, Debug, Args)]
pub struct PolicyArg {
    /// The policy file: log keys, quorum and genesis.
    #[arg(short, long, value_name = "FILE", env = "JEJAK_POLICY")]
    pub policy: PathBuf,
}

impl PolicyArg {
    /// Reads the policy, and the windows of its keys in the file beside it, if there is one.
    pub fn read(&self) -> Result<Policy, Failure> {
        let refused = |path: &Path, error: &dyn std::fmt::Display| {
            Failure::config(format!("{}: {error}", path.display()))
        };
        let text = read_text(&self.policy)?;
        let policy = Policy::parse(&text).map_err(|error| refused(&self.policy, &error))?;
        let windows = windows_of(&self.policy);
        match fs::read(&windows) {
            Ok(bytes) => policy.with_windows(&bytes).map_err(|error| refused(&windows, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(policy),
            Err(error) => Err(unreadable(&windows, &error)),
        }
    }
}

/// The file of windows beside a policy: its name with `.windows` behind it.
fn windows_of(policy: &Path) -> PathBuf {
    let mut name = policy.file_name().unwrap_or_default().to_owned();
    name.push(".windows");
    policy.with_file_name(name)
}

/// The policy of a command that judges what a log signed.
#[derive(Clone, Debug, Args)]
pub struct JudgeArgs {
    #[command(flatten)]
    policy: PolicyArg,
    #[command(flatten)]
    strict: StrictArg,
}

impl JudgeArgs {
    /// Reads the policy.
    pub fn read(&self) -> Result<Policy, Failure> {
        Ok(self.strict.apply(self.policy.read()?))
    }
}

/// How much a policy is made to ask for.
#[derive(Clone, Copy, Debug, Args)]
pub struct StrictArg {
    /// Demand an ML-DSA-44 signature of the log on every checkpoint, beside its Ed25519 one. A
    /// receipt as the log gave it on submission has none: take a later one.
    #[arg(long)]
    require_pq: bool,
}

impl StrictArg {
    /// The policy, as strict as was asked for.
    pub fn apply(self, policy: Policy) -> Policy {
        if self.require_pq { policy.require_pq() } else { policy }
    }
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

/// Reads a whole text file.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// Reads a file that may be compressed with gzip, which its first bytes tell.
pub fn read_maybe_gzip(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(&*bytes)
        .read_to_end(&mut plain)
        .map_err(|error| unreadable(path, &error))?;
    Ok(plain)
}

/// A key that signs notes, as its file has it: the private key, or a word that an ssh-agent has it.
#[derive(Clone)]
pub struct HeldKey {
    signer: Arc<dyn NoteSigner>,
    /// What the file says.
    text: Zeroizing<String>,
}

impl HeldKey {
    /// The name of the key.
    pub fn name(&self) -> &str {
        self.public().name()
    }

    /// The public key, to be given away.
    pub fn verifier(&self) -> VerifierKey {
        self.public().clone()
    }

    /// Whoever signs, to be shared.
    pub fn signer(&self) -> Arc<dyn NoteSigner> {
        self.signer.clone()
    }
}

impl NoteSigner for HeldKey {
    fn public(&self) -> &VerifierKey {
        self.signer.public()
    }

    fn try_sign_line(&self, text: &str) -> Result<String, SignError> {
        self.signer.try_sign_line(text)
    }
}

impl From<SigningKey> for HeldKey {
    fn from(key: SigningKey) -> Self {
        Self { text: key.to_private_string(), signer: Arc::new(key) }
    }
}

impl fmt::Debug for HeldKey {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldKey({})", self.public())
    }
}

/// Reads a key that signs notes, and refuses a file that others can read.
pub fn read_key(path: &Path) -> Result<HeldKey, Failure> {
    let key = parse_key(path, |text| match agent::referred(text) {
        Some(_) => Ok(Err(text.to_owned())),
        None => SigningKey::parse(text).map(Ok),
    })?;
    match key {
        Ok(key) => Ok(HeldKey::from(key)),
        Err(text) => {
            let signer = Arc::new(find_in_agent(path, &text)?);
            Ok(HeldKey { signer, text: text.into() })
        }
    }
}

/// The key of a reference, which the agent must hold; `path` is where people find the key.
pub fn find_in_agent(path: &Path, reference: &str) -> Result<AgentKey, Failure> {
    AgentKey::find(reference).map_err(|error| {
        Failure::config(format!("{}: {error}", path.display()))
            .next("start an ssh-agent, give it the key with ssh-add, and keep SSH_AUTH_SOCK set")
    })
}

/// As [`read_key`], of a file that must hold the private key itself.
pub fn read_private_key(path: &Path) -> Result<SigningKey, Failure> {
    parse_key(path, SigningKey::parse)
}

/// Reads a private key that signs checkpoints with their time, of either kind, as [`read_key`].
pub fn read_cosigning_key(path: &Path) -> Result<CosigningKey, Failure> {
    parse_key(path, CosigningKey::parse)
}

/// Reads a private key and gives its text to `parse`.
pub fn parse_key<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, KeyError>,
) -> Result<T, Failure> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let message = format!("{} can be read by others", path.display());
        return Err(Failure::config(message).next(format!("chmod 600 {}", path.display())));
    }
    let text = Zeroizing::new(read_text(path)?);
    parse(text.trim_end_matches('\n'))
        .map_err(|error| Failure::config(format!("{}: {error}", path.display())))
}

/// Writes a private key to a new file that only its owner can read. Never overwrites one.
pub fn write_key(path: &Path, key: &SigningKey) -> Result<(), Failure> {
    write_private(path, &key.to_private_string())
}

/// As [`write_key`], for a key that may be in an agent.
pub fn write_held_key(path: &Path, key: &HeldKey) -> Result<(), Failure> {
    write_private(path, &key.text)
}

/// Writes the word that an ssh-agent has this key, to a new file.
pub fn write_reference(path: &Path, public: &VerifierKey) -> Result<(), Failure> {
    write_private(path, &agent::reference(public))
}

/// As [`write_key`], for a key that signs checkpoints with their time.
pub fn write_cosigning_key(path: &Path, key: &CosigningKey) -> Result<(), Failure> {
    write_private(path, &key.to_private_string())
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| unwritable(path, &error))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n"));
    written.and_then(|()| file.sync_all()).map_err(|error| unwritable(path, &error))
}

/// Writes a file whole: under another name, synced, then renamed, the directory synced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    try_write(path, bytes).map_err(|error| unwritable(path, &error))
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    try_stream(path, |file| file.write_all(bytes))
}

/// Writes a file as [`write`], by pieces.
pub fn stream(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Failure> {
    try_stream(path, |file| {
        let mut buffer = BufWriter::new(file.try_clone()?);
        fill(&mut buffer).and_then(|()| buffer.flush())
    })
    .map_err(|error| unwritable(path, &error))
}

fn try_stream(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    if let Err(error) = fill(&mut file) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(parent(path))?.sync_all()
}

/// The directory that holds `path`.
pub fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<(), Failure> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| unwritable(path, &error))
}

/// Removes a file.
pub fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| unwritable(path, &error))
}

/// Gives a file another name, in place of whatever had it.
pub fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(|error| unwritable(to, &error))
}

/// Makes a directory and those above it.
pub fn make_dir(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| unwritable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::config(format!("cannot read {}: {error}", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::config(format!("cannot write {}: {error}", path.display()))
}
