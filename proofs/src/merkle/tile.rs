//! Tiles: the tree in files of 256 hashes, as [C2SP tlog-tiles] cuts it.
//!
//! A tile of level L holds hashes of the tree's level 8 L, each over 256^L entries; the seven
//! levels above them are recomputed. A partial tile is a prefix of the full one.
//!
//! [C2SP tlog-tiles]: https://c2sp.org/tlog-tiles

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use super::{BundleId, HASH_LEN, Hash, NodeId, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Levels of the tree from one level of tiles to the next.
pub const TILE_HEIGHT: u8 = 8;

/// The largest level that a path can name. Trees of a 64-bit size have tiles of levels 0 to 7.
const TILE_LEVEL_MAX: u64 = 63;

/// Tile levels of the largest tree.
pub const TILE_LEVELS: u8 = 8;

/// A tile: which one, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Level of tiles, 0 to 63: its hashes are over 256^level entries each.
    pub level: u8,
    /// Number of tiles of this level to its left.
    pub index: u64,
    /// Number of hashes, 1 to 256; below 256 the tile is partial.
    pub width: u16,
}

impl TileId {
    /// The full tile with this level and index.
    pub const fn full(level: u8, index: u64) -> Self {
        Self { level, index, width: TILE_WIDTH }
    }

    /// The path under the log's prefix, such as `tile/1/x001/234.p/5`.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// The tile out of which a tree of `size` entries yields `node`, partial where that tree has
    /// only a partial one; `None` if the node is not complete in that tree.
    ///
    /// The hash of a whole tile is read from the tile above it.
    pub fn of_node(node: NodeId, size: u64) -> Option<Self> {
        if !node.is_complete(size) {
            return None;
        }
        let level = node.level / TILE_HEIGHT;
        let index = node.index >> (TILE_HEIGHT - node.level % TILE_HEIGHT);
        Some(Self { level, index, width: width(index, hashes_at(level, size)) })
    }

    /// Every tile that a tree of `size` entries has and one of `old` entries had not, partial tiles
    /// included, level by level, ascending. All of them if `old` is 0; none if `old >= size`.
    pub fn of_tree(old: u64, size: u64) -> impl Iterator<Item = Self> {
        (0..TILE_LEVELS).flat_map(move |level| Self::of_level(level, old, size))
    }

    /// Those of [`TileId::of_tree`] at one level, 0 to 7.
    pub fn of_level(level: u8, old: u64, size: u64) -> impl Iterator<Item = Self> {
        let spans = spans(hashes_at(level, old), hashes_at(level, size));
        spans.map(move |(index, width)| Self { level, index, width })
    }
}

impl BundleId {
    /// Every bundle that a tree of `size` entries has and one of `old` entries had not, the partial
    /// one included, ascending. All of them if `old` is 0; none if `old >= size`.
    pub fn of_tree(old: u64, size: u64) -> impl Iterator<Item = Self> {
        spans(old, size).map(|(index, width)| Self { index, width })
    }
}

/// Number of hashes that the tiles of `level` (0 to 7) hold together.
const fn hashes_at(level: u8, size: u64) -> u64 {
    size >> (level * TILE_HEIGHT)
}

/// Index and width of what `count` items fill and `old` items did not.
fn spans(old: u64, count: u64) -> impl Iterator<Item = (u64, u16)> {
    let full = u64::from(TILE_WIDTH);
    let end = if old < count { count.div_ceil(full) } else { 0 };
    (old / full..end).map(move |index| (index, width(index, count)))
}

/// The width of tile `index` where the level has `count` hashes, more than stand before the tile.
fn width(index: u64, count: u64) -> u16 {
    let rest = count - index * u64::from(TILE_WIDTH);
    u16::try_from(rest).map_or(TILE_WIDTH, |rest| rest.min(TILE_WIDTH))
}

/// The hashes of one tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    id: TileId,
    hashes: Vec<Hash>,
}

/// Why bytes are not a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// No tile has this width.
    #[error("a tile of {width} hashes")]
    InvalidWidth {
        /// Hashes asked for.
        width: u16,
    },
    /// Not 32 bytes for each hash.
    #[error("a tile of {got} bytes where {want} are needed")]
    WrongLength {
        /// Bytes given.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
}

impl Tile {
    /// Reads the content of a tile file.
    ///
    /// # Errors
    /// Fails if the width is not 1 to 256 or there are not exactly 32 bytes for each hash.
    pub fn parse(id: TileId, bytes: &[u8]) -> Result<Self, TileError> {
        if id.width == 0 || id.width > TILE_WIDTH {
            return Err(TileError::InvalidWidth { width: id.width });
        }
        let want = usize::from(id.width) * HASH_LEN;
        if bytes.len() != want {
            return Err(TileError::WrongLength { got: bytes.len(), want });
        }
        let (hashes, _) = bytes.as_chunks();
        Ok(Self { id, hashes: hashes.iter().copied().map(Hash::new).collect() })
    }

    /// Which tile this is.
    pub const fn id(&self) -> TileId {
        self.id
    }

    /// The hashes in it, left to right.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The hash of a node in this tile, from its bottom row to its root; `None` if it is not here.
    ///
    /// Hashes 255 times at most.
    pub fn node(&self, node: NodeId) -> Option<Hash> {
        let height = node.level.checked_sub(self.id.level.checked_mul(TILE_HEIGHT)?)?;
        let index_in_level = TILE_HEIGHT.checked_sub(height)?;
        if node.index >> index_in_level != self.id.index {
            return None;
        }
        let in_tile = node.index & ((1 << index_in_level) - 1);
        let start = (in_tile << height) as usize;
        self.hashes.get(start..start + (1 << height)).map(subtree_hash)
    }
}

/// The root over a power of two of hashes.
fn subtree_hash(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&subtree_hash(left), &subtree_hash(right))
        }
    }
}

/// What a path below `tile/` names.
///
/// ```
/// use jejak_proofs::merkle::{BundleId, TileId, TilePath};
///
/// let tile = TilePath::Tile(TileId { level: 2, index: 1_234_067, width: 5 });
/// assert_eq!("tile/2/x001/x234/067.p/5".parse(), Ok(tile));
/// let bundle = TilePath::Bundle(BundleId { index: 0, width: 256 });
/// assert_eq!(bundle.to_string(), "tile/entries/000");
/// assert!("tile/entries/0".parse::<TilePath>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TilePath {
    /// A tile of hashes.
    Tile(TileId),
    /// A bundle of entries.
    Bundle(BundleId),
}

/// A path that is not the one spelling of a tile or a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct TilePathError;

impl FromStr for TilePath {
    type Err = TilePathError;

    /// Reads a path without leading slash, in its one spelling.
    fn from_str(path: &str) -> Result<Self, TilePathError> {
        parse_path(path).ok_or(TilePathError)
    }
}

fn parse_path(path: &str) -> Option<TilePath> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, parse_decimal(width, u64::from(TILE_WIDTH) - 1)? as u16),
        None => (rest, TILE_WIDTH),
    };
    let index = parse_index(index)?;
    if width == 0 {
        return None;
    }
    Some(match level {
        "entries" => TilePath::Bundle(BundleId { index, width }),
        _ => {
            let level = parse_decimal(level, TILE_LEVEL_MAX)? as u8;
            TilePath::Tile(TileId { level, index, width })
        }
    })
}

/// Reads groups of three digits, all but the last after an `x`: `x001/x234/067`.
fn parse_index(text: &str) -> Option<u64> {
    let (groups, last) = text.rsplit_once('/').map_or((None, text), |(a, b)| (Some(a), b));
    let mut index = 0u64;
    for group in groups.into_iter().flat_map(|groups| groups.split('/')) {
        index = index.checked_mul(1_000)?.checked_add(parse_group(group.strip_prefix('x')?)?)?;
        // A first group of zeros would be a second spelling.
        if index == 0 {
            return None;
        }
    }
    index.checked_mul(1_000)?.checked_add(parse_group(last)?)
}

fn parse_group(text: &str) -> Option<u64> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Reads a decimal number up to `max` without sign or leading zeros.
fn parse_decimal(text: &str, max: u64) -> Option<u64> {
    let canonical = text == "0" || text.starts_with(|c: char| matches!(c, '1'..='9'));
    let number = if canonical { text.parse().ok()? } else { return None };
    (number <= max).then_some(number)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(id) => id.fmt(f),
            Self::Bundle(id) => id.fmt(f),
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_index(f, self.index, self.width)
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_index(f, self.index, self.width)
    }
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    // 1000^6 is the largest power that fits.
    for power in (1..=6).rev().map(|groups| 1_000u64.pow(groups)).filter(|power| index >= *power) {
        write!(f, "x{:03}/", index / power % 1_000)?;
    }
    write!(f, "{:03}", index % 1_000)?;
    if width == TILE_WIDTH { Ok(()) } else { write!(f, ".p/{width}") }
}
