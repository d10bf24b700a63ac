//! Keys that an ssh-agent holds: they sign, and never leave it.
//!
//! The protocol (draft-ietf-sshm-ssh-agent) is two requests: list the keys, sign with one. For an
//! `ssh-ed25519` key the agent's signature is the plain one of RFC 8032 over the given bytes, which
//! is what a signed note holds. Whatever the agent returns is verified before it is used.

use std::{
    env,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jejak_proofs::note::{KeyKind, NoteSigner, PUBLIC_KEY_LEN, SignError, VerifierKey};

/// A person may have to confirm each signature.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Longest answer that is read; OpenSSH's own limit.
const ANSWER_LEN_MAX: usize = 256 * 1024;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// The name of the algorithm, as it stands in keys and signatures.
const ALGORITHM: &[u8] = b"ssh-ed25519";

/// How the file of such a key begins; its vkey follows.
const PREFIX: &str = "ssh-agent ";

/// An Ed25519 key in an ssh-agent.
#[derive(Clone, Debug)]
pub struct AgentKey {
    public: VerifierKey,
    socket: PathBuf,
}

/// Why there is no such key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The text names no key that an agent can hold.
    #[error("not `ssh-agent <vkey>` with a key of type 0x01")]
    Form,
    /// No agent is named.
    #[error("SSH_AUTH_SOCK is not set")]
    NoAgent,
    /// The agent cannot be asked.
    #[error("ssh-agent: {0}")]
    Io(#[from] io::Error),
    /// The agent does not have the key.
    #[error("the ssh-agent does not hold the key {0}")]
    Missing(String),
}

impl AgentKey {
    /// The key that a key file refers to, if the agent of `SSH_AUTH_SOCK` holds it.
    ///
    /// # Errors
    /// As [`AgentError`] says.
    pub fn find(reference: &str) -> Result<Self, AgentError> {
        let public = referred(reference).and_then(|vkey| VerifierKey::parse(vkey).ok());
        let public = public.filter(|key| key.kind() == KeyKind::Ed25519).ok_or(AgentError::Form)?;
        let key = Self { public, socket: socket()? };
        let blob = key.blob();
        match identities(&key.socket)?.contains(&blob) {
            true => Ok(key),
            false => Err(AgentError::Missing(key.public.to_string())),
        }
    }

    /// The public key as SSH writes it (RFC 8709, Section 4).
    fn blob(&self) -> Vec<u8> {
        [string(ALGORITHM), string(self.public.public_bytes())].concat()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let request = [&[SIGN_REQUEST][..], &string(&self.blob()), &string(message), &[0; 4]];
        let answer = ask(&self.socket, &request.concat()).map_err(|_| SignError::Unreachable)?;
        let [SIGN_RESPONSE, rest @ ..] = answer.as_slice() else { return Err(SignError::Refused) };
        let mut rest = rest;
        let mut signature = take(&mut rest).ok_or(SignError::Invalid)?;
        let algorithm = take(&mut signature).ok_or(SignError::Invalid)?;
        let bytes = take(&mut signature).ok_or(SignError::Invalid)?;
        let whole = algorithm == ALGORITHM && rest.is_empty() && signature.is_empty();
        if whole { Ok(bytes.to_vec()) } else { Err(SignError::Invalid) }
    }
}

impl NoteSigner for AgentKey {
    fn public(&self) -> &VerifierKey {
        &self.public
    }

    fn try_sign_line(&self, text: &str) -> Result<String, SignError> {
        let signature = self.sign(text.as_bytes())?;
        self.public.line_of(text, &signature).map_err(|_| SignError::Invalid)
    }
}

/// The public key in a line of an OpenSSH public key file: `ssh-ed25519 <base64> [comment]`.
pub fn ssh_public_key(line: &str) -> Option<[u8; PUBLIC_KEY_LEN]> {
    let mut words = line.split_ascii_whitespace();
    let (kind, base64) = (words.next()?, words.next()?);
    let blob = STANDARD.decode(base64).ok()?;
    let mut rest = blob.as_slice();
    let (algorithm, key) = (take(&mut rest)?, take(&mut rest)?);
    let fits = kind.as_bytes() == ALGORITHM && algorithm == ALGORITHM && rest.is_empty();
    key.try_into().ok().filter(|_| fits)
}

/// The vkey that a key file refers to an agent for.
pub fn referred(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)
}

/// What a key file says to refer to an agent for a key.
pub fn reference(public: &VerifierKey) -> String {
    format!("{PREFIX}{public}")
}

fn socket() -> Result<PathBuf, AgentError> {
    env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).ok_or(AgentError::NoAgent)
}

/// The public keys that the agent holds.
fn identities(socket: &PathBuf) -> Result<Vec<Vec<u8>>, AgentError> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is none");
    let answer = ask(socket, &[REQUEST_IDENTITIES])?;
    let [IDENTITIES_ANSWER, rest @ ..] = answer.as_slice() else { return Err(broken().into()) };
    let (count, mut rest) = rest.split_first_chunk().ok_or_else(broken)?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (key, _comment) = (take(&mut rest), take(&mut rest));
        keys.push(key.ok_or_else(broken)?.to_vec());
    }
    Ok(keys)
}

/// One request and its answer, over a connection of its own: an agent that was restarted is no
/// reason to fail.
fn ask(socket: &PathBuf, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(&string(request))?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > ANSWER_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is too long"));
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A string of SSH (RFC 4251, Section 5): a u32 length and the bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("what is signed is short");
    [&len.to_be_bytes(), bytes].concat()
}

/// Takes a string off the front.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk()?;
    let (bytes, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = after;
    Some(bytes)
}
