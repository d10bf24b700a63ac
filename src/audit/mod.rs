//! Audits of files: is everything there that the log committed to, and undamaged?
//!
//! [`check`] reads every file of a [`Source`] and lists every one that is damaged, missing or
//! unexpected. It works from the signed checkpoint down, so the damaged file itself is named and
//! not its neighbours. It checks bytes and their grammar; whether the entries keep the rules of
//! the log, signatures included, is for the monitor.
//!
//! | place | the right edge is in | files |
//! |---|---|---|
//! | log directory | the journal | full tiles and bundles, registers, derived state |
//! | static copy | partial tiles and bundles | the same, `log.json`, no journal |
//! | URL | partial tiles and bundles | what the checkpoint's size requires |
//!
//! [`Pull`] makes a copy out of a source that nobody believes, and [`Replica`] is what it made.
//!
//! A server may be at work on a directory that is checked: nothing is locked or written. Files are
//! listed before the checkpoint is read and the checkpoint before the journal, so growth adds
//! nothing that is not expected.

mod export;
mod extras;
mod finding;
mod journal;
mod pull;
mod repair;
mod replica;
mod settle;
mod sink;
mod source;
mod tree;
mod walk;

use std::path::PathBuf;

use jejak_proofs::{
    merkle::{Frontier, Hash, NodeId, TileId, TilePath, TreeHead},
    note::{Checkpoint, NOTE_LEN_MAX, Policy, UnverifiedCheckpoint},
};

pub use self::{
    export::{ExportError, Exported, export},
    finding::{Damage, Finding, Severity},
    pull::{Pull, PullError, Pulled},
    repair::{Repaired, repair},
    replica::{Damaged, Replica},
    source::Source,
};
use self::{
    journal::JournalView,
    source::Fault,
    tree::{Row, Tree, WIDTH},
    walk::Walk,
};
use crate::{client::FetchError, store::StoreError};

/// Files that are fetched from a URL at the same time.
const FETCHES: usize = 8;

/// The file that holds the newest checkpoint.
const CHECKPOINT: &str = "checkpoint";
/// The file of a log that holds the newest checkpoint that a quorum cosigned.
const WITNESSED: &str = "witnessed";

/// Why an audit has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Neither the directory of a log nor a static copy of one.
    #[error("{} holds no log", .0.display())]
    NotALog(PathBuf),
    /// Only a directory can be repaired.
    #[error("only a directory can be repaired")]
    NotADirectory,
    /// The directory could not be listed, or a file in it not be repaired.
    #[error(transparent)]
    Store(StoreError),
    /// The server could not be reached, or does not speak the protocol.
    #[error(transparent)]
    Fetch(FetchError),
    /// The system gives no threads to fetch with.
    #[error("no threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// What an audit found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The checkpoint, if it is one that the policy accepts.
    pub checkpoint: Option<Checkpoint>,
    /// Entries that were audited; more than the checkpoint covers if the journal goes on.
    pub size: u64,
    /// Tiles, bundles and registers that are sound.
    pub files: u64,
    /// Every file that is not as it must be, by path.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing was found that is more than [`Severity::Info`].
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Info)
    }
}

/// Reads every file of a log and lists every one that is damaged, missing or unexpected.
///
/// The checkpoint is checked against `policy`: the log's signature, not the quorum. `progress` is
/// told how many entries were checked since it was last called, and how many there are.
///
/// # Errors
/// Fails if the place cannot be read at all: what cannot be read in part is a finding. It never
/// panics, whatever the files hold.
pub fn check(
    source: &Source,
    policy: &Policy,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, AuditError> {
    if source.is_url() {
        // Reading waits for the network and not for a core.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(FETCHES).build()?;
        return pool.install(|| check_all(source, policy, progress));
    }
    check_all(source, policy, progress)
}

fn check_all(
    source: &Source,
    policy: &Policy,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, AuditError> {
    let view = View::read(source, policy)?;
    let tree = Tree { source, journal: &view.journal, size: view.head.size };
    let walk = Walk::new(tree, view.required, progress);
    let mut findings = view.findings.clone();
    if source.is_url() && view.checkpoint.is_none() {
        return Ok(Report { checkpoint: None, size: 0, files: 0, findings });
    }
    let edge = walk.run(view.root_known.then_some(view.head.root))?;
    let sound = |finding: &Finding| finding.severity == Severity::Info;
    if findings.iter().all(sound) && walk.found().findings.iter().all(sound) {
        // Only sound files can convict what is made of them.
        findings.extend(whole_tree(&walk, &edge, &view, policy)?);
    }
    extras::check(source, &view, &walk, policy)?;
    let found = walk.into_found();
    findings.extend(found.findings);
    findings.sort_by(|a, b| (&a.file, &a.entries).cmp(&(&b.file, &b.entries)));
    findings.dedup();
    Ok(Report { checkpoint: view.checkpoint, size: view.head.size, files: found.files, findings })
}

/// What there is to audit, and by which head.
struct View {
    /// All files, where they can be listed.
    paths: Option<Vec<String>>,
    /// The file `witnessed` of a log, or what is wrong with it.
    witnessed: Option<Result<Checkpoint, Damage>>,
    checkpoint: Option<Checkpoint>,
    journal: JournalView,
    /// The tree to audit.
    head: TreeHead,
    /// Whether anyone says what its root is.
    root_known: bool,
    /// The size whose files must be there.
    required: u64,
    findings: Vec<Finding>,
}

impl View {
    fn read(source: &Source, policy: &Policy) -> Result<Self, AuditError> {
        let paths = source.paths()?;
        let mut findings = Vec::new();
        // Before the checkpoint, so that what grows meanwhile only adds to it.
        let listed = |path: &str| paths.iter().flatten().any(|listed| listed == path);
        let witnessed = (source.log().is_some() && listed(WITNESSED))
            .then(|| read_checkpoint(source, WITNESSED, policy))
            .transpose()?;
        let checkpoint = match read_checkpoint(source, CHECKPOINT, policy)? {
            Ok(checkpoint) => Some(checkpoint),
            Err(damage) => {
                findings.push(source.finding(CHECKPOINT, damage));
                None
            }
        };
        let (mut journal, journal_findings) = JournalView::read(source);
        journal.list(paths.as_deref().unwrap_or_default());
        findings.extend(journal_findings);
        let signed = checkpoint.as_ref().map(Checkpoint::head);
        let head = match (signed, journal.head) {
            (Some(signed), Some(end)) if end.size >= signed.size => Some(end),
            (Some(signed), end) => {
                // Then it is not the trace of a batch that was never committed.
                findings.retain(|finding| !matches!(finding.damage, Damage::Torn { .. }));
                findings.extend(end.map(|end| behind(source, &journal, end.size, signed.size)));
                Some(signed)
            }
            (None, end) => end,
        };
        let known = paths.as_deref().map_or(0, known_size);
        let root_known = head.is_some();
        let head = head.unwrap_or(TreeHead { size: known, ..TreeHead::EMPTY });
        let required = signed.map_or(head.size, |signed| signed.size);
        Ok(Self { paths, witnessed, checkpoint, journal, head, root_known, required, findings })
    }
}

/// The checkpoint in a file, or what is wrong with it.
fn read_checkpoint(
    source: &Source,
    path: &str,
    policy: &Policy,
) -> Result<Result<Checkpoint, Damage>, AuditError> {
    let bytes = match source.read(path, NOTE_LEN_MAX as u64) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(Damage::Missing)),
        Err(Fault::Damage(damage)) => return Ok(Err(damage)),
        Err(Fault::Stop(error)) => return Err(error),
    };
    let verified = UnverifiedCheckpoint::parse(&bytes).and_then(|read| policy.verify_log(read));
    Ok(verified.map_err(Damage::Checkpoint))
}

/// A journal that ends before what the log signed: a segment is gone, a record is damaged that
/// looks torn, or the whole journal is an old one.
fn behind(source: &Source, journal: &JournalView, size: u64, known: u64) -> Finding {
    match &journal.torn {
        Some((path, offset)) => {
            let damage = crate::store::Damage::Published { size, known };
            source.finding(path, Damage::Journal { offset: *offset, damage })
        }
        None => source.finding(journal::segment_path(size), Damage::Behind { size, known }),
    }
}

/// The size that tiles and bundles speak for, where nothing else does.
fn known_size(paths: &[String]) -> u64 {
    let size = |path: &String| match path.parse() {
        Ok(TilePath::Tile(id)) if id.level == 0 => Some((id.index, id.width)),
        Ok(TilePath::Bundle(id)) => Some((id.index, id.width)),
        _ => None,
    };
    let sizes = paths.iter().filter_map(size);
    sizes.map(|(index, width)| index.saturating_mul(WIDTH) + u64::from(width)).max().unwrap_or(0)
}

/// Compares a tree of sound files with everything that was said about it: by the checkpoint, by
/// the policy, by each record of the journal.
fn whole_tree(
    walk: &Walk<'_>,
    edge: &[(TileId, Row)],
    view: &View,
    policy: &Policy,
) -> Result<Vec<Finding>, AuditError> {
    let source = walk.tree.source;
    let mut findings = Vec::new();
    if let Some(checkpoint) = &view.checkpoint {
        let head = checkpoint.head();
        if !walk.leads_to(edge, head)? {
            findings.push(source.finding(CHECKPOINT, Damage::NotTheTree { head }));
        }
        let first = walk.node(edge, NodeId { level: 0, index: 0 })?;
        let pinned = policy.genesis(checkpoint.origin());
        if first.is_some_and(|first| pinned.is_some_and(|pinned| pinned != first)) {
            findings.push(source.finding(CHECKPOINT, Damage::Genesis).at(vec![0]));
        }
    } else if view.root_known && !walk.leads_to(edge, view.head)? {
        let path = view.journal.path_of(view.head.size - 1);
        findings.push(source.finding(path, Damage::Root { size: view.head.size }));
    }
    findings.extend(witnessed(walk, edge, view)?);
    if let Some((start, leaves, heads)) = view.journal.whole() {
        let wrong = match walk.frontier(edge, start.size)? {
            Some(frontier) if frontier.head() == start => first_wrong(frontier, leaves, heads),
            Some(_) => Some(start.size),
            None => None,
        };
        findings.extend(wrong.map(|size| {
            let path = view.journal.path_of(size.saturating_sub(1));
            source.finding(path, Damage::Root { size })
        }));
    }
    Ok(findings)
}

/// What is wrong with the file `witnessed`, where a log has one.
fn witnessed(
    walk: &Walk<'_>,
    edge: &[(TileId, Row)],
    view: &View,
) -> Result<Option<Finding>, AuditError> {
    let damage = match &view.witnessed {
        None => None,
        Some(Err(damage)) => Some(damage.clone()),
        Some(Ok(signed)) => {
            let (head, size) = (signed.head(), view.head.size);
            match head.size > size {
                true => Some(Damage::Behind { size, known: head.size }),
                false if walk.leads_to(edge, head)? => None,
                false => Some(Damage::NotTheTree { head }),
            }
        }
    };
    Ok(damage.map(|damage| walk.tree.source.finding(WITNESSED, damage)))
}

/// The first size at which the leaves do not lead to the head that a record names.
fn first_wrong(mut frontier: Frontier, leaves: &[Hash], heads: &[TreeHead]) -> Option<u64> {
    let mut heads = heads.iter().peekable();
    for leaf in leaves {
        frontier.push(*leaf);
        let head = heads.next_if(|head| head.size == frontier.size());
        if head.is_some_and(|head| *head != frontier.head()) {
            return Some(frontier.size());
        }
    }
    None
}
