//! The files of a tree, and which of their hashes are the true ones.
//!
//! What is known to be true comes from above: the signed root says what the right edge must be,
//! each hash of a tile says what the tile or the bundle below it must be. Where a file is damaged
//! its hashes are taken from elsewhere: from its children, from the bundle, from the journal. A
//! value is believed when it leads to the hash above.

use jejak_proofs::merkle::{
    self, BundleError, BundleId, HASH_LEN, Hash, NodeId, Plan, TILE_HEIGHT, TILE_WIDTH, TileId,
    leaf_hash,
};

use super::{
    AuditError,
    finding::Damage,
    journal::JournalView,
    settle::{Choices, combine, offer, settle, tile_of, tile_root},
    source::{Fault, Source},
};

pub(super) const WIDTH: u64 = TILE_WIDTH as u64;

/// Levels of tiles of the largest tree.
pub(super) const LEVELS: u8 = 8;

/// Bytes of the longest bundle: 256 entries of 65,535 bytes, each after its length.
pub(super) const BUNDLE_LEN_MAX: u64 = WIDTH * (2 + merkle::ENTRY_LEN_MAX as u64);

/// Roots of a child that are handed up when its files disagree.
const ROOTS_MAX: usize = 64;

/// A row of hashes, as far as they are known to be true.
pub(super) type Row = Vec<Option<Hash>>;

/// A source of files seen as a tree of one size.
pub(super) struct Tree<'a> {
    pub source: &'a Source,
    pub journal: &'a JournalView,
    pub size: u64,
}

/// A tile as it was read.
pub(super) struct TileFile {
    pub path: String,
    /// As many hashes as could be read, at most the width.
    pub hashes: Vec<Hash>,
    pub damage: Option<Damage>,
}

/// A bundle as it was read.
pub(super) struct BundleFile {
    pub path: String,
    pub bytes: Vec<u8>,
    /// Where the entries are in `bytes`, as far as they could be told apart.
    entries: Vec<std::ops::Range<usize>>,
    pub damage: Option<Damage>,
}

impl BundleFile {
    pub fn entry(&self, place: usize) -> Option<&[u8]> {
        self.bytes.get(self.entries.get(place)?.clone())
    }

    fn leaves(&self) -> Vec<Hash> {
        self.entries.iter().map(|range| leaf_hash(&self.bytes[range.clone()])).collect()
    }
}

/// Bytes of a file, or what is wrong with it.
type FileRead = Result<Result<Vec<u8>, Damage>, AuditError>;

impl Tree<'_> {
    /// Hashes in a tile, entries in a bundle (level 0).
    pub fn width(&self, level: u8, index: u64) -> u16 {
        width_at(self.size, level, index)
    }

    /// Whether partial tiles and bundles are files here.
    fn has_partials(&self) -> bool {
        self.source.log().is_none()
    }

    /// The partial tiles, one a level at most: the right edge.
    pub fn edge(&self) -> Vec<TileId> {
        edge_of(self.size)
    }

    /// Reads what `id` and its full form name; what must be there and is not is damage.
    fn read_any(&self, partial: Option<String>, full: String, len_max: u64) -> (String, FileRead) {
        let read = |path: &str| match self.source.read(path, len_max) {
            Ok(None) => Ok(Err(Damage::Missing)),
            Ok(Some(bytes)) => Ok(Ok(bytes)),
            Err(Fault::Damage(damage)) => Ok(Err(damage)),
            Err(Fault::Stop(error)) => Err(error),
        };
        let Some(partial) = partial else { return (full.clone(), read(&full)) };
        let first = read(&partial);
        if let Ok(Err(Damage::Missing)) = first {
            // C2SP tlog-tiles: a partial file may go once the full one is there.
            if let Ok(Ok(bytes)) = read(&full) {
                return (full, Ok(Ok(bytes)));
            }
        }
        (partial, first)
    }

    pub fn tile(&self, level: u8, index: u64) -> Result<TileFile, AuditError> {
        let id = TileId { level, index, width: self.width(level, index) };
        let full = TileId::full(level, index).path();
        let is_full = id.width == TILE_WIDTH;
        let partial = (self.has_partials() && !is_full).then(|| id.path());
        let want = u64::from(id.width) * HASH_LEN as u64;
        let full_len = WIDTH * HASH_LEN as u64;
        let (path, read) = self.read_any(partial, full.clone(), full_len);
        let (bytes, mut damage) = match read? {
            Ok(bytes) => (bytes, None),
            Err(damage) => (Vec::new(), Some(damage)),
        };
        let len = if path == full { full_len } else { want };
        if damage.is_none() && bytes.len() as u64 != len {
            damage = Some(Damage::Length { got: bytes.len() as u64, want: len });
        }
        if !is_full && !self.has_partials() {
            // Only a larger tree has this file.
            damage = None;
        }
        let (hashes, _) = bytes.as_chunks();
        let hashes = hashes.iter().copied().map(Hash::new).take(id.width.into()).collect();
        Ok(TileFile { path, hashes, damage })
    }

    pub fn bundle(&self, index: u64) -> Result<BundleFile, AuditError> {
        let id = BundleId { index, width: self.width(0, index) };
        let full = BundleId { index, width: TILE_WIDTH }.path();
        let is_full = id.width == TILE_WIDTH;
        let partial = (self.has_partials() && !is_full).then(|| id.path());
        let (path, read) = self.read_any(partial, full.clone(), BUNDLE_LEN_MAX);
        let (bytes, damage) = match read? {
            Ok(bytes) => (bytes, None),
            Err(damage) => (Vec::new(), Some(damage)),
        };
        let entries = split(&bytes, id.width.into());
        let id = if path == full { BundleId { index, width: TILE_WIDTH } } else { id };
        let damage = damage.or_else(|| whole(id, &bytes).err().map(Damage::Bundle));
        let damage = damage.filter(|_| is_full || self.has_partials());
        Ok(BundleFile { path, bytes, entries, damage })
    }

    /// The level-0 hashes of a tile, if the journal holds all of its entries.
    pub fn journal_row(&self, index: u64) -> Option<Vec<Hash>> {
        let first = index * WIDTH;
        let end = first + u64::from(self.width(0, index));
        (first..end).map(|index| self.journal.leaf(index)).collect()
    }

    /// What the files down to `depth` levels below say about each hash of a tile.
    fn row_choices(&self, level: u8, index: u64, depth: u8) -> Result<Vec<Choices>, AuditError> {
        if let Some(row) = self.journal_row(index).filter(|_| level == 0) {
            return Ok(row.into_iter().map(|hash| vec![hash]).collect());
        }
        let tile = self.tile(level, index)?;
        let below = match level {
            0 if depth > 0 => self.bundle(index)?.leaves(),
            _ => Vec::new(),
        };
        let mut row = Vec::with_capacity(self.width(level, index).into());
        for place in 0..usize::from(self.width(level, index)) {
            let mut choices = Choices::new();
            if let Some(&hash) = tile.hashes.get(place) {
                offer(&mut choices, hash);
            }
            if level > 0 && (depth > 0 || choices.is_empty()) {
                let child = index * WIDTH + place as u64;
                for root in self.roots(level - 1, child, depth.saturating_sub(1))? {
                    offer(&mut choices, root);
                }
            } else if let Some(&hash) = below.get(place) {
                offer(&mut choices, hash);
            }
            row.push(choices);
        }
        Ok(row)
    }

    /// What a full tile may hash to, by the files down to `depth` levels below it.
    pub fn roots(&self, level: u8, index: u64, depth: u8) -> Result<Choices, AuditError> {
        let mut roots = Choices::new();
        combine(&self.row_choices(level, index, depth)?, ROOTS_MAX, |values| {
            if let Some(root) = tile_root(values) {
                offer(&mut roots, root);
            }
            false
        });
        Ok(roots)
    }

    /// The hashes of a full tile whose own file does not lead to `root`, from what is below it.
    pub fn resolve(
        &self,
        level: u8,
        index: u64,
        root: Hash,
    ) -> Result<Option<Vec<Hash>>, AuditError> {
        for depth in 1..=level + 1 {
            let choices = self.row_choices(level, index, depth)?;
            let found = settle(&choices, |values| tile_root(values) == Some(root));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The hashes of a tile that two files agree about, where nothing above it is known.
    pub fn agreed(&self, level: u8, index: u64) -> Result<Row, AuditError> {
        if let Some(row) = self.journal_row(index).filter(|_| level == 0) {
            return Ok(row.into_iter().map(Some).collect());
        }
        let tile = self.tile(level, index)?.hashes;
        let below = match level {
            0 => self.bundle(index)?.leaves(),
            _ => Vec::new(),
        };
        let mut row = Row::new();
        for place in 0..usize::from(self.width(level, index)) {
            let child = index * WIDTH + place as u64;
            let other = match level {
                0 => below.get(place).copied(),
                _ => self.roots(level - 1, child, 0)?.first().copied(),
            };
            row.push(other.filter(|other| tile.get(place) == Some(other)));
        }
        Ok(row)
    }

    /// The right edge that leads to `root`, a row for each tile of [`Tree::edge`].
    pub fn settle_edge(&self, root: Hash) -> Result<Option<Vec<Row>>, AuditError> {
        let edge = self.edge();
        for depth in 0..=LEVELS {
            let mut choices = Vec::new();
            for id in &edge {
                choices.extend(self.row_choices(id.level, id.index, depth)?);
            }
            let accept = |values: &[Hash]| edge_root(&edge, self.size, values) == Some(root);
            if let Some(values) = settle(&choices, accept) {
                let mut values = values.into_iter().map(Some);
                return Ok(Some(
                    edge.iter().map(|id| values.by_ref().take(id.width.into()).collect()).collect(),
                ));
            }
            // Without a level-0 tile at the top, more depth reads nothing more.
            if edge.iter().all(|id| id.level < depth) {
                break;
            }
        }
        Ok(None)
    }
}

/// Hashes in a tile, or entries in a bundle (level 0), of a tree of `size` entries; 0 if it has no
/// such tile.
pub(super) fn width_at(size: u64, level: u8, index: u64) -> u16 {
    let Some(first) = index.checked_mul(WIDTH).filter(|_| level < LEVELS) else { return 0 };
    (size >> (TILE_HEIGHT * level)).saturating_sub(first).min(WIDTH) as u16
}

/// The partial tiles of a tree, one a level at most.
pub(super) fn edge_of(size: u64) -> Vec<TileId> {
    let tile = |level| {
        let index = (size >> (TILE_HEIGHT * level)) / WIDTH;
        TileId { level, index, width: width_at(size, level, index) }
    };
    (0..LEVELS).map(tile).filter(|id| id.width > 0).collect()
}

/// The root of a tree of `size` entries whose partial tiles, `edge`, hold these hashes.
pub(super) fn edge_root(edge: &[TileId], size: u64, hashes: &[Hash]) -> Option<Hash> {
    let mut rest = hashes;
    let mut tiles = Vec::with_capacity(edge.len());
    for &id in edge {
        let (row, after) = rest.split_at_checked(id.width.into())?;
        tiles.push(tile_of(id, row)?);
        rest = after;
    }
    let node = |node: &NodeId| tiles.iter().find_map(|tile| tile.node(*node));
    let plan = Plan::root(size);
    let nodes: Option<Vec<Hash>> = plan.nodes().iter().map(node).collect();
    plan.combine(&nodes?).ok()?.first().copied()
}

/// Where the entries of a bundle are, up to the first that is cut short.
fn split(bytes: &[u8], width: usize) -> Vec<std::ops::Range<usize>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while entries.len() < width {
        let Some(len) = bytes[at..].first_chunk().map(|len| usize::from(u16::from_be_bytes(*len)))
        else {
            break;
        };
        let entry = at + 2..at + 2 + len;
        if bytes.len() < entry.end {
            break;
        }
        at = entry.end;
        entries.push(entry);
    }
    entries
}

fn whole(id: BundleId, bytes: &[u8]) -> Result<(), BundleError> {
    merkle::parse_bundle(id, bytes).map(drop)
}
