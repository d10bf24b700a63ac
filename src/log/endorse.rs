//! Which sealed head `checkpoint` serves: the newest one that has what the policy asks for.
//!
//! A sealed head is *published* once the log has signed it, and *witnessed* once a quorum of the
//! policy's witnesses has cosigned it. Without a quorum the two are one. The **notary**, a thread,
//! adds the log's timestamped signature, and makes it anew every minute, so that the age of a head
//! is the age of what somebody vouches for and not of the last entry.
//!
//! Who asks the witnesses is not known here: they take heads from [`Endorsement::to_cosign`] and
//! bring back lines.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use jejak_proofs::note::{Checkpoint, CheckpointError, CosigningKey, Policy, UnverifiedCheckpoint};
use tokio::sync::watch;

use super::{Shared, recovery::OpenError, sealed::SealedView, sequencer::Fatal};
use crate::{clock, store::Objects};

/// How often the newest sealed head is signed, and cosigned, anew.
pub const ENDORSE_EVERY: Duration = Duration::from_secs(60);

/// What is known of a witness since the log was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The largest head that it cosigned.
    pub size: u64,
    /// When it last cosigned, in POSIX seconds; 0 if it has not.
    pub time: u64,
    /// Answers that were cosignatures.
    pub cosigned: u64,
    /// Other answers, and none.
    pub failed: u64,
    /// Why it did not cosign the last time it was asked; empty if it did.
    pub fault: String,
}

/// The endorsement of one log's sealed heads.
#[derive(Debug)]
pub(super) struct Endorsement {
    policy: Policy,
    /// The newest sealed head with every signature of the log's own; sent again when these are.
    to_cosign: watch::Sender<Option<Arc<SealedView>>>,
    /// What `checkpoint` serves. Its size never falls while the log runs.
    served: watch::Sender<Option<Arc<SealedView>>>,
    /// Whether entries wait until the witnesses have said that they know of no newer head.
    held: AtomicBool,
    witnesses: Mutex<BTreeMap<String, Standing>>,
}

impl Endorsement {
    /// `held` keeps entries out until [`Endorsement::release`].
    pub fn new(policy: Policy, held: bool) -> Self {
        let witnesses = policy.witnesses().map(|line| (line.name.clone(), Standing::default()));
        Self {
            witnesses: Mutex::new(witnesses.collect()),
            policy,
            to_cosign: watch::Sender::new(None),
            served: watch::Sender::new(None),
            held: AtomicBool::new(held),
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What `checkpoint` serves.
    pub fn served(&self) -> Option<Arc<SealedView>> {
        self.served.borrow().clone()
    }

    /// As [`Endorsement::served`], to wait for the next one.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<SealedView>>> {
        self.served.subscribe()
    }

    /// The newest sealed head that the log has signed.
    pub fn signed(&self) -> Option<Arc<SealedView>> {
        self.to_cosign.borrow().clone()
    }

    /// As [`Endorsement::signed`], to wait for the next one.
    pub fn to_cosign(&self) -> watch::Receiver<Option<Arc<SealedView>>> {
        self.to_cosign.subscribe()
    }

    /// Serves, at a start, what was witnessed before, or else the newest sealed tree.
    pub fn begin(
        &self,
        witnessed: Option<Checkpoint>,
        sealed: Option<&ToSign>,
    ) -> Result<(), Fatal> {
        let sealed = sealed.map(|sealed| timestamp(sealed, &self.policy)).transpose()?;
        if let Some(witnessed) = witnessed.filter(|_| self.policy.needs_witnesses()) {
            self.served.send_replace(self.served_before(witnessed, sealed.as_ref()).map(Arc::new));
        }
        if let Some(sealed) = sealed {
            self.sign(Arc::new(sealed));
        }
        Ok(())
    }

    /// What a quorum cosigned before the log was started, if it still is one.
    fn served_before(
        &self,
        witnessed: Checkpoint,
        sealed: Option<&SealedView>,
    ) -> Option<SealedView> {
        let vouched = self.policy.vouched_time(&witnessed).ok()??;
        let view = SealedView::witnessed(witnessed, vouched);
        Some(match sealed {
            Some(sealed) => view.with_recap_of(sealed),
            None => view,
        })
    }

    /// The log has signed `view`: it is served, unless a quorum has cosigned what is.
    pub fn sign(&self, view: Arc<SealedView>) {
        let mut old = self.to_cosign.send_replace(Some(view.clone()));
        self.served.send_if_modified(|served| {
            let witnessed = served.as_ref().and_then(|served| self.witnessed(served));
            if witnessed.is_none() {
                old = served.replace(view);
            }
            witnessed.is_none()
        });
        // Readers do not wait for it: what nobody else holds of the old recap takes a while to go.
        drop(old);
    }

    /// The size of a head that a quorum has cosigned.
    fn witnessed(&self, view: &SealedView) -> Option<u64> {
        (self.policy.needs_witnesses() && view.vouched.is_some()).then_some(view.head.size)
    }

    /// `view` was cosigned: it is served, unless a larger one is. Durable before anyone sees it,
    /// so that `checkpoint` does not go back over a restart.
    ///
    /// Returns whether the lines make a quorum. Called by one thread at a time.
    ///
    /// # Errors
    /// Fails if a line is not a signature line, or if the store fails.
    pub fn cosign<L: AsRef<str>>(
        &self,
        view: &SealedView,
        lines: &[L],
        objects: &Objects,
    ) -> Result<bool, Fatal> {
        let checkpoint = self.policy.verify_log(view.checkpoint.clone())?.with_lines(lines)?;
        let vouched = match self.policy.vouched_time(&checkpoint) {
            Ok(Some(vouched)) => vouched,
            Ok(None) | Err(CheckpointError::Quorum) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let served = self.served().and_then(|served| self.witnessed(&served));
        if served.is_none_or(|size| size <= view.head.size) {
            objects.put_witnessed(checkpoint.note().as_bytes())?;
            // Disk: the file `witnessed` holds this head, whatever happens now.
            self.served.send_replace(Some(Arc::new(view.under(checkpoint, Some(vouched)))));
        }
        Ok(true)
    }

    /// Whether entries wait for the witnesses.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Lets entries in.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Keeps what a witness answered.
    pub fn note(&self, witness: &str, change: impl FnOnce(&mut Standing)) {
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = witnesses.get_mut(witness) {
            change(standing);
        }
    }

    pub fn witnesses(&self) -> Vec<(String, Standing)> {
        let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        witnesses.iter().map(|(name, standing)| (name.clone(), standing.clone())).collect()
    }
}

/// A sealed head that the log has signed, and the keys that add a time.
#[derive(Clone)]
pub(super) struct ToSign {
    pub view: SealedView,
    pub keys: Vec<Arc<CosigningKey>>,
}

/// Signs sealed heads as they come, and the newest one, at first that of the start, again after
/// `every`, until the sequencer ends.
pub(super) fn run_notary(
    shared: &Shared,
    mut newest: Option<ToSign>,
    sealed: &Receiver<ToSign>,
    every: Duration,
) -> Result<(), Fatal> {
    loop {
        match sealed.recv_timeout(every) {
            Ok(next) => newest = Some(sealed.try_iter().last().unwrap_or(next)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if let Some(newest) = &newest {
            let signed = timestamp(newest, &shared.endorsement.policy)?;
            shared.endorsement.sign(Arc::new(signed));
        }
    }
}

/// The sealed head under a checkpoint with the log's timestamped lines, made now.
fn timestamp(to_sign: &ToSign, policy: &Policy) -> Result<SealedView, Fatal> {
    let ToSign { view, keys } = to_sign;
    if keys.is_empty() {
        return Ok(view.clone());
    }
    let checkpoint = policy.verify_log(view.checkpoint.clone())?;
    let seconds = clock::now_ms() / 1_000;
    let lines = keys.iter().map(|key| key.cosign(&checkpoint, seconds));
    let lines = lines.collect::<Result<Vec<_>, _>>().map_err(|_| Fatal::Clock)?;
    let vouched = (!policy.needs_witnesses()).then_some(seconds);
    Ok(view.under(checkpoint.with_lines(&lines)?, vouched))
}

/// Reads the file `witnessed`: the newest checkpoint that a quorum cosigned before the log was
/// started. Whether its tree is one of this log's nobody has asked yet.
///
/// # Errors
/// Fails if the file is not a checkpoint of this log.
pub(super) fn read_witnessed(
    objects: &Objects,
    policy: &Policy,
) -> Result<Option<Checkpoint>, OpenError> {
    let Some(bytes) = objects.witnessed()? else { return Ok(None) };
    let checkpoint = UnverifiedCheckpoint::parse(&bytes).and_then(|read| policy.verify_log(read));
    checkpoint.map(Some).map_err(OpenError::Witnessed)
}
