//! Where a log is read from: bytes by path, nothing of which is believed.

use std::{
    collections::BTreeSet,
    error::Error,
    iter,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use jejak_proofs::merkle::{
    BundleId, ENTRY_LEN_MAX, HASH_LEN, Hash, NodeId, Plan, TILE_WIDTH, Tile, TileId, parse_bundle,
    prefix_len, sha256,
};

use super::fetch::{Fetch, FetchError};

/// Requests under way at once.
const FETCHES_MAX: usize = 4;

/// How long a server that asks for time is given it, for one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A log, a mirror or a directory that answers to the paths of C2SP tlog-tiles.
pub trait Source: Sync {
    /// The bytes at `path`, at most `len_max`; `None` if there is no such thing.
    ///
    /// # Errors
    /// As [`SourceError`] says; none of them accuses the log.
    fn get(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, SourceError>;

    /// Other places that serve the same, for what this one does not give.
    fn mirrors(&self) -> &[Fetch] {
        &[]
    }

    /// Told when a mirror gave what this place did not.
    fn helped(&self, _failure: &ServeError) {}

    /// What this place did not give though it answered, since this was asked last.
    fn withheld(&self) -> Option<String> {
        None
    }
}

/// Why a source gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be reached, or asks for time: try again.
    #[error("{0}")]
    Unreachable(Box<dyn Error + Send + Sync>),
    /// It answered with more than there can be.
    #[error("an answer of over {len_max} bytes")]
    TooLong {
        /// The bound.
        len_max: u64,
    },
}

impl Source for &dyn Source {
    fn get(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, SourceError> {
        (**self).get(path, len_max)
    }
}

/// A place without its mirrors: what it gives is its own doing.
#[derive(Clone, Copy, Debug)]
pub struct Alone<'a, S>(pub &'a S);

impl<S: Source> Source for Alone<'_, S> {
    fn get(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.get(path, len_max)
    }
}

impl Source for Fetch {
    fn get(&self, path: &str, len_max: u64) -> Result<Option<Vec<u8>>, SourceError> {
        match self.get_patiently(path, len_max, PATIENCE) {
            Ok(answer) => Ok(Some(answer.body)),
            Err(FetchError::Refused(refusal)) if matches!(refusal.status, 404 | 410) => Ok(None),
            Err(FetchError::TooLong { len_max }) => Err(SourceError::TooLong { len_max }),
            Err(error) => Err(SourceError::Unreachable(Box::new(error))),
        }
    }
}

/// Why a file of the log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No answer.
    #[error(transparent)]
    Unreachable(SourceError),
    /// The log says that there is no such file.
    #[error("{path} is missing")]
    Missing {
        /// Its path.
        path: String,
    },
    /// It is not what its path names.
    #[error("{path} is not what its path names")]
    Malformed {
        /// Its path.
        path: String,
    },
}

/// Gets the first of two paths, the partial and the full one, at which there is what `cut` takes:
/// from the source, or else from one of its mirrors. Then with why the source did not give it: a
/// mirror's bytes accuse nobody.
fn get_cut<T>(
    source: &impl Source,
    paths: &[String],
    len_max: u64,
    cut: impl Fn(Vec<u8>) -> Option<T>,
) -> Result<(T, Option<ServeError>), ServeError> {
    let failure = match get_cut_of(source, paths, len_max, &cut) {
        Ok(done) => return Ok((done, None)),
        Err(failure) => failure,
    };
    let mut mirrors = source.mirrors().iter();
    let helped = mirrors.find_map(|mirror| get_cut_of(mirror, paths, len_max, &cut).ok());
    match helped {
        Some(done) => {
            source.helped(&failure);
            Ok((done, Some(failure)))
        }
        None => Err(failure),
    }
}

fn get_cut_of<T>(
    source: &impl Source,
    paths: &[String],
    len_max: u64,
    cut: impl Fn(Vec<u8>) -> Option<T>,
) -> Result<T, ServeError> {
    let path = paths[0].clone();
    let mut failure = ServeError::Missing { path: path.clone() };
    for candidate in paths {
        match source.get(candidate, len_max) {
            Ok(Some(bytes)) => match cut(bytes) {
                Some(done) => return Ok(done),
                None => failure = ServeError::Malformed { path: path.clone() },
            },
            Ok(None) => {}
            Err(SourceError::TooLong { .. }) => {
                failure = ServeError::Malformed { path: path.clone() };
            }
            Err(error) => return Err(ServeError::Unreachable(error)),
        }
    }
    Err(failure)
}

/// Gets a whole file that has this hash.
///
/// # Errors
/// As [`ServeError`] says.
pub fn file(
    source: &impl Source,
    path: String,
    len_max: u64,
    hash: &Hash,
) -> Result<Vec<u8>, ServeError> {
    let is_it = |bytes: Vec<u8>| Some(bytes).filter(|bytes| sha256(bytes) == *hash);
    Ok(get_cut(source, &[path], len_max, is_it)?.0)
}

/// Gets a tile; a partial one may have grown into the full one. Nothing proves its hashes.
///
/// # Errors
/// As [`ServeError`] says.
pub fn tile(source: &impl Source, id: TileId) -> Result<Tile, ServeError> {
    let full = TileId { width: TILE_WIDTH, ..id };
    let paths = if id == full { vec![id.path()] } else { vec![id.path(), full.path()] };
    let len = usize::from(id.width) * HASH_LEN;
    let got = get_cut(source, &paths, u64::from(TILE_WIDTH) * HASH_LEN as u64, |bytes| {
        let whole = bytes.len() == len || bytes.len() == usize::from(TILE_WIDTH) * HASH_LEN;
        Tile::parse(id, bytes.get(..len).filter(|_| whole)?).ok()
    });
    Ok(got?.0)
}

/// A bundle as it was given. Nothing proves its entries.
#[derive(Debug)]
pub struct Bundle {
    /// Which one.
    pub id: BundleId,
    /// Its bytes, of exactly its width.
    pub bytes: Vec<u8>,
    /// Why the source itself did not give it: then a mirror did, and what is wrong with it is not
    /// the source's doing.
    pub failure: Option<ServeError>,
}

/// Gets a bundle of exactly its width; a partial one may have grown into the full one.
///
/// # Errors
/// As [`ServeError`] says.
pub fn bundle(source: &impl Source, id: BundleId) -> Result<Bundle, ServeError> {
    let full = BundleId { width: TILE_WIDTH, ..id };
    let paths = if id == full { vec![id.path()] } else { vec![id.path(), full.path()] };
    let len_max = u64::from(TILE_WIDTH) * (2 + ENTRY_LEN_MAX as u64);
    let (bytes, failure) = get_cut(source, &paths, len_max, |mut bytes| {
        let whole = [id, full].iter().any(|id| parse_bundle(*id, &bytes).is_ok());
        bytes.truncate(prefix_len(&bytes, id.width).ok().filter(|_| whole)?);
        Some(bytes)
    })?;
    Ok(Bundle { id, bytes, failure })
}

/// Gets a bundle that is the right one from the first of these mirrors that has it.
pub fn bundle_of_mirrors(
    mirrors: &[Fetch],
    id: BundleId,
    is_right: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let bundle = |mirror| Some(bundle(mirror, id).ok()?.bytes);
    mirrors.iter().filter_map(bundle).find(|bytes| is_right(bytes))
}

/// The leaf hashes of tiles at level 0, for the places of the bundles that hold their entries: both
/// have one index and one width. Nothing proves them yet.
///
/// # Errors
/// As [`ServeError`] says.
pub fn leaf_tiles(source: &impl Source, places: &[BundleId]) -> Result<Vec<Vec<Hash>>, ServeError> {
    get_all(places, |place| {
        let id = TileId { level: 0, index: place.index, width: place.width };
        Ok(tile(source, id)?.hashes().to_vec())
    })
}

/// The proof of a plan for the tree of `size` entries, out of its tiles. Nothing proves it yet.
///
/// # Errors
/// As [`ServeError`] says.
pub fn combine(source: &impl Source, plan: &Plan, size: u64) -> Result<Vec<Hash>, ServeError> {
    let of_node = |node| TileId::of_node(node, size).expect("nodes of a plan are complete");
    // Nodes of one path are often in one tile.
    let ids: BTreeSet<TileId> = plan.nodes().iter().copied().map(of_node).collect();
    let ids: Vec<TileId> = ids.into_iter().collect();
    let tiles = get_all(&ids, |id| tile(source, id))?;
    let hash = |node: &NodeId| {
        let id = of_node(*node);
        let tile = tiles.iter().find(|tile| tile.id() == id);
        let missing = || ServeError::Malformed { path: id.path() };
        tile.and_then(|tile| tile.node(*node)).ok_or_else(missing)
    };
    let hashes = plan.nodes().iter().map(hash).collect::<Result<Vec<_>, _>>()?;
    Ok(plan.combine(&hashes).expect("one hash for each node"))
}

/// The proof of a plan that `fits`, out of the tiles of the source or else of one of its mirrors;
/// or all that do not.
///
/// # Errors
/// As [`ServeError`] says, of the source.
pub fn combine_fitting(
    source: &impl Source,
    plan: &Plan,
    size: u64,
    fits: impl Fn(&[Hash]) -> bool,
) -> Result<Result<Vec<Hash>, Vec<Vec<Hash>>>, ServeError> {
    let first = combine(source, plan, size)?;
    let more = source.mirrors().iter().filter_map(|mirror| combine(mirror, plan, size).ok());
    let mut wrong = Vec::new();
    for hashes in iter::once(first).chain(more) {
        if fits(&hashes) {
            return Ok(Ok(hashes));
        }
        wrong.push(hashes);
    }
    Ok(Err(wrong))
}

/// Gets bundles in groups of `at_once`, in order, and hands them to `judge` through a channel: one
/// group waits while one is judged and one is fetched. It ends with the first error, and when
/// `judge` drops the channel.
pub fn bundles_ahead<R>(
    source: &impl Source,
    mut ids: impl Iterator<Item = BundleId> + Send,
    at_once: usize,
    judge: impl FnOnce(mpsc::Receiver<Result<Vec<Bundle>, ServeError>>) -> R,
) -> R {
    thread::scope(|scope| {
        let (sender, groups) = mpsc::sync_channel(0);
        scope.spawn(move || {
            loop {
                let group: Vec<BundleId> = ids.by_ref().take(at_once).collect();
                if group.is_empty() {
                    return;
                }
                let got = get_all(&group, |id| bundle(source, id));
                let failed = got.is_err();
                if sender.send(got).is_err() || failed {
                    return;
                }
            }
        });
        judge(groups)
    })
}

/// Gets many things, several at once, in order; the first error ends it.
///
/// # Errors
/// As `get` does.
pub fn get_all<I: Copy + Sync, T: Send, E: Send>(
    ids: &[I],
    get: impl Fn(I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<Result<T, E>>>> = ids.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < ids.len())
        {
            let got = get(ids[at]);
            if got.is_err() {
                next.store(ids.len(), Ordering::Relaxed);
            }
            *slots[at].lock().expect("no panic while a slot is held") = Some(got);
        }
    };
    thread::scope(|scope| {
        for _ in 1..FETCHES_MAX.min(ids.len()) {
            scope.spawn(work);
        }
        work();
    });
    // Slots are taken in order, so an error stands before every slot that was not reached.
    let filled = slots.into_iter().map_while(|slot| slot.into_inner().ok().flatten());
    filled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_the_first_error_ends_it() {
        let ids: Vec<u64> = (0..11).collect();
        assert_eq!(get_all(&ids, |id| Ok::<_, u64>(id * 2)).unwrap()[10], 20);
        assert_eq!(get_all(&ids, |id| if id > 4 { Err(id) } else { Ok(id) }), Err(5));
        assert_eq!(get_all(&[], |id: u64| Ok::<_, u64>(id)), Ok(vec![]));
    }
}
