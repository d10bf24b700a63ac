//! `jejak verify --against`: holds a log to what an entry or an old receipt says.
//!
//! Everything comes from tiles and bundles under a signed root, so a static copy answers as a
//! server does. What a server adds, such as where a leaf stands, is a hint that is checked.

use std::path::Path;

use jejak_proofs::{
    evidence::Evidence,
    merkle::{ENTRY_LEN_MAX, Frontier, Hash, Plan, TileId, leaf_hash, parse_bundle, prefix_roots},
    note::{Checkpoint, CheckpointError, NOTE_LEN_MAX, Policy, Receipt, UnverifiedCheckpoint},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files,
    monitor::not_a_log,
    output::Output,
    place::unreachable,
    verify::exit_of_checkpoint,
};
use crate::{
    client::{
        Copies, Fetch, FetchError, FetchLimits,
        source::{Bundle, ServeError, Source, bundle, combine_fitting, get_all, tile},
    },
    monitor::{NotALog, bundle_of},
};

/// Tiles of leaf hashes fetched at once: half a MiB.
const TILES_AT_ONCE: usize = 64;

/// A log as it shows itself now.
pub struct Shown<'a> {
    url: &'a str,
    policy: &'a Policy,
    fetch: Copies,
    /// Its newest checkpoint, signed by the log: what contradicts it convicts, witnessed or not.
    checkpoint: Checkpoint,
    /// The log did not answer, and a mirror showed this.
    is_copy: bool,
}

/// Where to ask for a log.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The log.
    pub url: &'a str,
    /// Mirrors, for what the log does not give.
    pub mirrors: &'a [String],
}

#[derive(Deserialize)]
struct LeafAnswer {
    index: u64,
}

impl<'a> Shown<'a> {
    /// Asks for the newest checkpoint.
    pub fn ask(asked: Asked<'a>, policy: &'a Policy) -> Result<Self, Failure> {
        Self::ask_over(connect(asked, policy)?, asked.url, policy)
    }

    fn ask_over(fetch: Copies, url: &'a str, policy: &'a Policy) -> Result<Self, Failure> {
        match newest(fetch.log(), policy) {
            Ok(checkpoint) => Ok(Self { url, policy, fetch, checkpoint, is_copy: false }),
            Err(failure) => {
                // A mirror that shows no head of the log says nothing.
                let shown = fetch.mirrors().iter().filter_map(|copy| newest(copy, policy).ok());
                match shown.max_by_key(|shown| shown.head().size) {
                    Some(checkpoint) => {
                        fetch.set_away();
                        Ok(Self { url, policy, fetch, checkpoint, is_copy: true })
                    }
                    None => Err(failure),
                }
            }
        }
    }

    /// What the log at `fetch` has shown before: a checkpoint that it signed.
    pub fn before(fetch: &Fetch, policy: &'a Policy, checkpoint: Checkpoint, url: &'a str) -> Self {
        Self { url, policy, fetch: Copies::of(fetch.clone()), checkpoint, is_copy: false }
    }

    /// Compares the head of a receipt with what the log shows. If both are signed and cannot both
    /// be true, writes evidence to `file`.
    pub fn extends(&self, old: &Checkpoint, file: &Path, output: &Output) -> Result<Exit, Failure> {
        let (before, now) = (old.head(), self.checkpoint.head());
        if old.origin() != self.checkpoint.origin() {
            return Err(not_a_log(NotALog::OtherLog));
        }
        if now.size < before.size && self.is_copy {
            let message = format!(
                "the log cannot be reached, and its mirrors hold {} entries, fewer than the \
                 receipt was given under",
                now.size
            );
            return Err(Failure::new(Exit::Unreachable, message).next("try again later"));
        }
        if now.size < before.size {
            let message = format!(
                "the log shows {} entries, but the receipt was given under {}: rolled back, or an \
                 old copy",
                now.size, before.size
            );
            let failure = Failure::new(Exit::Fork, message);
            return Err(failure.next("keep the receipt, and ask a monitor"));
        }
        let Some(evidence) = self.contradiction(old)? else {
            let url = self.url;
            output.result(
                || match self.is_copy {
                    false => format!("the log at {url} still extends it: {} entries now", now.size),
                    true => format!(
                        "the log at {url} cannot be reached; its mirror extends it: {} entries",
                        now.size
                    ),
                },
                &json!({"consistent": true, "size": now.size, "mirror": self.is_copy}),
            );
            return Ok(Exit::Ok);
        };
        // Only what convicts by itself is evidence; a proof that is rubbish is not.
        let conviction = evidence.verify_under(self.policy).map_err(|_| {
            if self.fetch.is_away() {
                return mirrors_do_not_lead();
            }
            let message = "the log does not prove that its tree extends the one of the receipt";
            Failure::new(Exit::Failure, message).next("ask again; a monitor can find out more")
        })?;
        files::write(file, evidence.to_string().as_bytes())?;
        output.result(
            || format!("FORK: {conviction}\nevidence: {}", file.display()),
            &json!({"consistent": false, "evidence": file.display().to_string()}),
        );
        Ok(Exit::Fork)
    }

    /// What speaks against two heads, unless the newer one extends the older.
    fn contradiction(&self, old: &Checkpoint) -> Result<Option<Evidence>, Failure> {
        let (before, now) = (old.head(), self.checkpoint.head());
        if now.size == before.size {
            let differs = now.root != before.root;
            return Ok(differs.then(|| Evidence::two_roots(old, &self.checkpoint)));
        }
        // Everything extends the empty tree.
        let Ok(plan) = Plan::prefix(before.size, now.size) else { return Ok(None) };
        let fits = |hashes: &[Hash]| {
            prefix_roots(before.size, now.size, hashes) == Ok((before.root, now.root))
        };
        let Err(wrong) = self.combined(&plan, fits)? else { return Ok(None) };
        let all = wrong.into_iter();
        let all = all.map(|wrong| Evidence::inconsistent(old, &self.checkpoint, wrong));
        // One that convicts, if there is one; else the first that does not.
        let convicts = |evidence: &Evidence| evidence.verify_under(self.policy).is_ok();
        Ok(all.max_by_key(convicts))
    }

    /// The hashes of a plan for the shown tree that `fit`, from the log or else from a mirror; or
    /// all that do not.
    fn combined(
        &self,
        plan: &Plan,
        fit: impl Fn(&[Hash]) -> bool,
    ) -> Result<Result<Vec<Hash>, Vec<Vec<Hash>>>, Failure> {
        let size = self.checkpoint.head().size;
        combine_fitting(&self.fetch, plan, size, fit).map_err(not_served)
    }

    /// Demands that the log serves this entry at this index, or that a mirror does where the log
    /// serves none.
    pub fn serves(&self, index: u64, entry: &[u8]) -> Result<(), Failure> {
        let (served, failure) = self.entries(index)?;
        match (served.iter().any(|served| served == entry), failure) {
            (true, _) => Ok(()),
            (false, None) => Err(differs(index, "the log serves another one there now")),
            (false, Some(failure)) => Err(not_served(failure)),
        }
    }

    /// Demands that no other entry than the receipt's fits it.
    pub fn fits_no_other(&self, receipt: &Receipt) -> Result<(), Failure> {
        if receipt.index >= self.checkpoint.head().size {
            return Ok(());
        }
        let served = self.entries(receipt.index)?.0;
        let fitting = served.iter().find(|served| receipt.verify(served, self.policy).is_ok());
        match fitting {
            Some(served) => {
                let what = format!("the receipt is for leaf hash {}", leaf_hash(served));
                Err(differs(receipt.index, &what))
            }
            None => Ok(()),
        }
    }

    /// What the log serves as an entry; where it serves none, what each mirror does, and why. None
    /// of it is proven yet.
    fn entries(&self, index: u64) -> Result<(Vec<Vec<u8>>, Option<ServeError>), Failure> {
        let id = bundle_of(index, self.checkpoint.head().size);
        let first = bundle(&self.fetch, id).map_err(not_served)?;
        let entry = |bytes: &[u8]| {
            let entries = parse_bundle(id, bytes).ok()?;
            entries.get((index % 256) as usize).map(|entry| entry.to_vec())
        };
        let Bundle { bytes, failure, .. } = first;
        let copies = self.fetch.mirrors().iter().filter(|_| failure.is_some());
        let copies = copies.filter_map(|copy| Some(bundle(copy, id).ok()?.bytes));
        let entries = std::iter::once(bytes).chain(copies).filter_map(|bytes| entry(&bytes));
        Ok((entries.collect(), failure))
    }

    /// Whether the entry with this leaf hash stands at `index` under the signed root.
    fn holds(&self, leaf: Hash, index: u64) -> Result<bool, Failure> {
        let head = self.checkpoint.head();
        let Ok(plan) = Plan::inclusion(head.size, index) else { return Ok(false) };
        let fits = |proof: &[Hash]| head.verify_inclusion(index, leaf, proof).is_ok();
        Ok(self.combined(&plan, fits)?.is_ok())
    }

    /// Looks for a leaf hash among all of those that lead to the signed root: in the tiles of the
    /// log, or, if those do not, of a mirror.
    fn scan(&self, leaf: Hash, output: &Output) -> Result<Option<u64>, Failure> {
        if let Some(found) = self.scan_of(&self.fetch, leaf, output)? {
            return Ok(found);
        }
        for copy in self.fetch.mirrors() {
            if let Ok(Some(found)) = self.scan_of(copy, leaf, output) {
                return Ok(found);
            }
        }
        if self.fetch.is_away() {
            return Err(mirrors_do_not_lead());
        }
        let message = "the log's tiles do not lead to the root that it signed";
        Err(Failure::new(Exit::Failure, message).next("ask again; ask a monitor"))
    }

    /// The place of a leaf hash, if it has one; `None` if the tiles do not lead to the signed root.
    fn scan_of(
        &self,
        source: &impl Source,
        leaf: Hash,
        output: &Output,
    ) -> Result<Option<Option<u64>>, Failure> {
        let head = self.checkpoint.head();
        let (mut frontier, mut found) = (Frontier::new(), None);
        // A log may sign a size that no list of tiles fits in memory.
        let mut ids = TileId::of_level(0, 0, head.size).peekable();
        let bar = output.progress(head.size, "leaf hashes");
        while ids.peek().is_some() {
            let group: Vec<TileId> = ids.by_ref().take(TILES_AT_ONCE).collect();
            for tile in get_all(&group, |id| tile(source, id)).map_err(not_served)? {
                for hash in tile.hashes() {
                    if *hash == leaf {
                        found.get_or_insert(frontier.size());
                    }
                    frontier.push(*hash);
                }
            }
            bar.set_position(frontier.size());
        }
        bar.finish_and_clear();
        Ok((frontier.head() == head).then_some(found))
    }
}

/// The newest checkpoint that a place shows, signed by the log.
fn newest(fetch: &Fetch, policy: &Policy) -> Result<Checkpoint, Failure> {
    // A receipt may be younger than the newest sealed tree. A static copy shows one tree only.
    let bytes = match fetch.get("checkpoint/latest", NOTE_LEN_MAX as u64) {
        Err(FetchError::Refused(refusal)) if matches!(refusal.status, 404 | 410) => {
            fetch.get("checkpoint", NOTE_LEN_MAX as u64)
        }
        answer => answer,
    };
    let bytes = match bytes {
        Ok(answer) => answer.body,
        Err(FetchError::Refused(refusal)) if matches!(refusal.status, 404 | 410) => {
            return Err(not_a_log(NotALog::NoCheckpoint));
        }
        Err(FetchError::TooLong { .. }) => return Err(not_a_log(NotALog::TooLong)),
        Err(error) => return Err(unreachable(error)),
    };
    let checkpoint = UnverifiedCheckpoint::parse(&bytes)
        .map_err(|error| not_a_log(NotALog::Unreadable(error)))?;
    policy.verify_log(checkpoint).map_err(|error| match error {
        CheckpointError::OtherOrigin => not_a_log(NotALog::OtherLog),
        error => Failure::new(exit_of_checkpoint(&error), error),
    })
}

/// Finds an entry in the log at `url`, by its leaf hash: its index, and the checkpoint under whose
/// root it was proven to be.
pub fn look_up(
    leaf: Hash,
    asked: Asked<'_>,
    policy: &Policy,
    output: &Output,
) -> Result<(u64, Checkpoint), Failure> {
    let fetch = connect(asked, policy)?;
    // A server may know the place, a static copy does not. Asked before the checkpoint, so that an
    // entry which is logged meanwhile is under it.
    let hint = fetch.log().get(&format!("leaf/{leaf}"), ENTRY_LEN_MAX as u64).ok();
    let hint = hint.and_then(|hint| serde_json::from_slice::<LeafAnswer>(&hint.body).ok());
    let shown = Shown::ask_over(fetch, asked.url, policy)?;
    let size = shown.checkpoint.head().size;
    if let Some(LeafAnswer { index }) = hint
        && shown.holds(leaf, index)?
    {
        return Ok((index, shown.checkpoint));
    }
    match shown.scan(leaf, output)? {
        Some(index) => Ok((index, shown.checkpoint)),
        None => {
            let message = format!("none of the {size} entries under the log's signed root is it");
            Err(Failure::new(Exit::NotInLog, message).next("jejak submit sends it"))
        }
    }
}

fn connect(asked: Asked<'_>, policy: &Policy) -> Result<Copies, Failure> {
    let log = Fetch::new(asked.url, &FetchLimits::default())
        .map_err(|error| Failure::config(format!("{}: {error}", asked.url)))?;
    if asked.mirrors.is_empty() {
        return Ok(Copies::of(log));
    }
    let origin = policy.single_origin().map_err(Failure::config)?;
    Copies::new(log, origin, asked.mirrors)
        .map_err(|error| Failure::config(format!("--mirror: {error}")))
}

fn differs(index: u64, what: &str) -> Failure {
    let message = format!("this is not entry {index} of the log: {what}");
    Failure::new(Exit::Differs, message).next(format!("look at entry {index} of the log"))
}

/// The log does not answer, and what its mirrors serve is no fault of its own.
fn mirrors_do_not_lead() -> Failure {
    let message = "the log cannot be reached, and its mirrors serve no proof of what it signed";
    Failure::new(Exit::Unreachable, message).next("try again later, or name another --mirror")
}

fn not_served(error: ServeError) -> Failure {
    let failure = Failure::new(
        Exit::Unreachable,
        match &error {
            ServeError::Unreachable(error) => format!("the log cannot be reached: {error}"),
            error => format!("the log does not serve what its signed head covers: {error}"),
        },
    );
    failure.next("try again; if it stays so, ask a monitor")
}
