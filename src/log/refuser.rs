//! Signed refusals (SPEC.md, "Signed refusals"): made once the answer is known, off the sequencer
//! and off the reactor, and only for an entry that was judged by the rules. Nothing of it is on the
//! way of an entry that is taken.
//!
//! Signing is bounded, so that nobody makes the log sign for nothing: by author where every line of
//! the entry verified, and for all others together, since anybody can write a name into an entry.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use bytes::Bytes;
use jejak_proofs::{
    evidence::{RefusalBody, SignedRefusal},
    note::SigningKey,
    tally::{Election, Entry, Id, KeyRef, Manifest},
};

use super::{
    Log, Shared,
    answer::{Rejection, SubmitError},
    view::View,
};
use crate::clock;

/// Refusals that are signed in a minute for one author.
pub const REFUSALS_PER_AUTHOR: u32 = 10;
/// The same for all entries together of which not every line verified.
pub const REFUSALS_UNVERIFIED: u32 = 60;
/// The same for all entries together.
pub const REFUSALS_ALL: u32 = 1_000;

/// The keys that sign refusals, and which of them the manifest in force names.
#[derive(Default)]
pub(super) struct Refuser {
    keys: OnceLock<Vec<(SigningKey, String)>>,
    named: RwLock<Option<Named>>,
    spent: Mutex<Spent>,
}

/// What the manifest in force says.
struct Named {
    /// Which of the keys.
    key: usize,
    /// Index of the manifest: refusals that are judged before it are not signed.
    manifest: u64,
    election: Id,
}

/// What was signed in this minute.
#[derive(Default)]
struct Spent {
    minute: u64,
    all: u32,
    unverified: u32,
    by_author: HashMap<KeyRef, u32>,
}

impl Refuser {
    /// Takes the keys of the log, once.
    pub fn begin(&self, keys: Vec<SigningKey>) {
        let keys = keys.into_iter().map(|key| (key.verifier().to_string(), key));
        // A log is opened once.
        let _ = self.keys.set(keys.map(|(vkey, key)| (key, vkey)).collect());
    }

    fn keys(&self) -> &[(SigningKey, String)] {
        self.keys.get().map_or(&[], Vec::as_slice)
    }

    /// Whether what this manifest names may speak for the log: no key for refusals, or one that
    /// is held here. The root keys alone could name one that signs against the log.
    pub fn holds(&self, manifest: &Manifest) -> bool {
        let named = manifest.refusal_key.as_deref();
        named.is_none_or(|named| self.keys().iter().any(|(_, vkey)| vkey == named))
    }

    /// Takes this manifest for the one in force.
    pub fn follow(&self, election: &Election) {
        let Election { manifest, index, .. } = election;
        let named = manifest.refusal_key.as_deref();
        let key = self.keys().iter().position(|(_, vkey)| Some(vkey.as_str()) == named);
        let election = manifest.election.clone();
        let named = key.map(|key| Named { key, manifest: *index, election });
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = named;
    }

    /// Whether there is a key that signs now.
    pub fn is_ready(&self) -> bool {
        self.named.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes one signature from what is left of this minute.
    fn spend(&self, author: Option<&KeyRef>) -> bool {
        let minute = clock::now_ms() / 60_000;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.minute != minute {
            *spent = Spent { minute, ..Spent::default() };
        }
        if spent.all == REFUSALS_ALL {
            return false;
        }
        let (count, max) = match author {
            Some(author) => {
                (spent.by_author.entry(author.clone()).or_default(), REFUSALS_PER_AUTHOR)
            }
            None => (&mut spent.unverified, REFUSALS_UNVERIFIED),
        };
        if *count == max {
            return false;
        }
        *count += 1;
        spent.all += 1;
        true
    }
}

impl Log {
    /// The rejection with a signed refusal, if one is due: made on a thread that may wait for a
    /// disk.
    pub(super) async fn signed(
        &self,
        entry: Bytes,
        rejection: Rejection,
        view: Arc<View>,
    ) -> SubmitError {
        if !self.0.refuser.is_ready() {
            return SubmitError::Rejected(rejection);
        }
        let (shared, judged) = (self.0.clone(), rejection.clone());
        let signing = move || shared.sign_refusal(&entry, &judged, &view);
        let signed = tokio::task::spawn_blocking(signing).await.ok().flatten();
        let refusal = signed.map(|refusal| refusal.to_string().into());
        SubmitError::Rejected(Rejection { refusal, ..rejection })
    }
}

impl Shared {
    /// The signed refusal of an entry, as of the tree that it was judged at, which `view` holds.
    /// `None` where none is due: for what is no entry, what nobody signed, over the bound, and
    /// where what was refused would be taken by now.
    pub(super) fn sign_refusal(
        &self,
        bytes: &Bytes,
        rejection: &Rejection,
        view: &View,
    ) -> Option<SignedRefusal> {
        let entry = Entry::parse(bytes).ok()?;
        let leaf = entry.leaf();
        let author = entry.signers().next()?.clone();
        let (size, author) = match rejection.judged_at {
            Some(size) => (size, Some(&author)),
            None => (view.head.size, None),
        };
        if !self.refuser.spend(author) {
            return None;
        }
        if rejection.judged_at.is_none() {
            // It was judged by the keys of some earlier moment: judged again by those that every
            // entry of the view has brought, after the same look for its bytes.
            let logged = self.index_of(&leaf).ok()?.is_some();
            let same = entry.check(&self.keys()).err()?.code() == rejection.code;
            if logged || !same {
                return None;
            }
        }
        let root = view.head_at(&self.objects, size).ok()?.root;
        let named = self.refuser.named.read().unwrap_or_else(PoisonError::into_inner);
        let named = named.as_ref().filter(|named| named.manifest < size)?;
        let body = RefusalBody {
            code: rejection.code.parse().ok()?,
            election: named.election.clone(),
            genesis: self.endorsement.policy().genesis(&self.origin)?,
            head: rejection.head.as_deref().copied().map(Into::into),
            leaf,
            log: self.origin.as_str().into(),
            root,
            size,
            time: clock::now_ms() / 1_000,
        };
        let (key, _) = self.refuser.keys().get(named.key)?;
        Some(body.sign(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_makes_the_log_sign_for_nothing() {
        let refuser = Refuser::default();
        let author = |n: u32| format!("official/{n}+0000000a").parse::<KeyRef>().unwrap();
        let spent = |author: Option<&KeyRef>, times: u32| {
            (0..times).filter(|_| refuser.spend(author)).count() as u32
        };
        let minute = clock::now_ms() / 60_000;
        let counts = [
            spent(Some(&author(1)), 2 * REFUSALS_PER_AUTHOR),
            spent(Some(&author(2)), 2 * REFUSALS_PER_AUTHOR),
            spent(None, 2 * REFUSALS_UNVERIFIED),
        ];
        let rest: u32 = (3..2_000).map(|n| spent(Some(&author(n)), 1)).sum();
        let held = refuser.spent.lock().unwrap().by_author.len();
        // Where a minute began in between, there was more to spend.
        if minute == clock::now_ms() / 60_000 {
            assert_eq!(counts, [REFUSALS_PER_AUTHOR, REFUSALS_PER_AUTHOR, REFUSALS_UNVERIFIED]);
            assert_eq!(counts.iter().sum::<u32>() + rest, REFUSALS_ALL);
            assert!(held <= REFUSALS_ALL as usize, "{held}");
        }
    }
}
