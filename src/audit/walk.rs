//! Every file of a tree, from the right edge down.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jejak_proofs::{
    merkle::{
        BundleId, Frontier, HASH_LEN, Hash, NodeId, Plan, TILE_HEIGHT, TILE_WIDTH, Tile, TileId,
        TreeHead, leaf_hash,
    },
    tally::{Body, Entry, Refusal},
};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::{
    AuditError,
    finding::{Damage, Finding},
    repair::Mender,
    replica::is_bundle,
    settle::{tile_of, tile_root},
    tree::{BUNDLE_LEN_MAX, BundleFile, Row, TileFile, Tree, WIDTH, edge_root},
};

/// A walk over all files of a tree. Threads share it.
pub(super) struct Walk<'a> {
    pub tree: Tree<'a>,
    /// The size whose files must be there; beyond it they may be about to be written.
    pub required: u64,
    /// Told how many more entries were checked, and how many there are.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Where damaged files are mended from, if they are to be.
    pub mender: Option<&'a Mender<'a>>,
    found: Mutex<Found>,
}

/// What a walk brings home.
#[derive(Default)]
pub(super) struct Found {
    pub findings: Vec<Finding>,
    /// Every manifest, by index.
    pub manifests: BTreeMap<u64, Entry>,
    pub files: u64,
}

impl<'a> Walk<'a> {
    pub fn new(tree: Tree<'a>, required: u64, progress: &'a (dyn Fn(u64, u64) + Sync)) -> Self {
        Self { tree, required, progress, mender: None, found: Mutex::default() }
    }

    /// The same walk, which mends what it can.
    pub fn mending(self, mender: &'a Mender<'a>) -> Self {
        Self { mender: Some(mender), ..self }
    }

    pub fn found(&self) -> MutexGuard<'_, Found> {
        // Each step leaves the lists whole.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn into_found(self) -> Found {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks every tile and bundle, and gives the right edge. `root` is what the tree must lead
    /// to, if anyone says so.
    pub fn run(&self, root: Option<Hash>) -> Result<Vec<(TileId, Row)>, AuditError> {
        let edge = self.tree.edge();
        let settled = match root {
            Some(root) => match self.tree.settle_edge(root)? {
                None => self.edge_from_elsewhere(&edge, root)?,
                settled => settled,
            },
            None => None,
        };
        let rows = match settled {
            Some(rows) => rows,
            // Nothing leads to the root: believe what two files agree about.
            None => edge
                .iter()
                .map(|id| self.tree.agreed(id.level, id.index))
                .collect::<Result<_, _>>()?,
        };
        let edge: Vec<(TileId, Row)> = edge.into_iter().zip(rows).collect();
        // The largest subtrees come first.
        for (id, row) in edge.iter().rev() {
            self.partial(*id, row)?;
            self.children(id.level, id.index, row, None)?;
        }
        Ok(edge)
    }

    /// The right edge as the source has it that damaged files are mended from, if it leads to
    /// `root`: then it tells what must be below it.
    fn edge_from_elsewhere(
        &self,
        edge: &[TileId],
        root: Hash,
    ) -> Result<Option<Vec<Row>>, AuditError> {
        let Some(mender) = self.mender else { return Ok(None) };
        let row = |id: &TileId| match self.tree.journal_row(id.index).filter(|_| id.level == 0) {
            Some(row) => Ok(Some(row)),
            None => mender.edge_row(*id),
        };
        let rows = edge.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let rows: Option<Vec<Vec<Hash>>> = rows.into_iter().collect();
        let leads = |rows: &Vec<Vec<Hash>>| edge_root(edge, self.tree.size, &rows.concat());
        let rows = rows.filter(|rows| leads(rows) == Some(root));
        Ok(rows
            .map(|rows| rows.into_iter().map(|row| row.into_iter().map(Some).collect()).collect()))
    }

    /// Checks the file of a partial tile, where partial tiles are files.
    fn partial(&self, id: TileId, row: &Row) -> Result<(), AuditError> {
        if self.tree.source.log().is_some() {
            return Ok(());
        }
        let tile = self.tree.tile(id.level, id.index)?;
        let same = |(have, want): (&Hash, &Option<Hash>)| want.is_none_or(|want| want == *have);
        let content = !tile.hashes.iter().zip(row).all(same);
        let damage = tile.damage.or(content.then_some(Damage::Content));
        self.seen(true, &tile.path, damage, Vec::new());
        Ok(())
    }

    fn children(
        &self,
        level: u8,
        index: u64,
        row: &Row,
        condemned: Option<Damage>,
    ) -> Result<(), AuditError> {
        if level == 0 {
            return self.bundle(index, row, condemned);
        }
        (0..row.len())
            .into_par_iter()
            .try_for_each(|place| self.tile(level - 1, index * WIDTH + place as u64, row[place]))
    }

    /// Checks a full tile and all below it. `root` is what the tile above says it hashes to.
    fn tile(&self, level: u8, index: u64, root: Option<Hash>) -> Result<(), AuditError> {
        let mut tile = self.tree.tile(level, index)?;
        let known = match root {
            None if level == 0 => self.tree.journal_row(index).and_then(|row| tile_root(&row)),
            root => root,
        };
        let required = self.is_required(level, index);
        let Some(root) = known else { return self.unknown_tile(level, index) };
        let is_sound =
            |tile: &TileFile| tile.damage.is_none() && tile_root(&tile.hashes) == Some(root);
        if required && !is_sound(&tile) && self.mend_tile(TileId::full(level, index), root)? {
            tile = self.tree.tile(level, index)?;
        }
        if is_sound(&tile) {
            self.seen(required, &tile.path, None, Vec::new());
            let row = tile.hashes.into_iter().map(Some).collect();
            return self.children(level, index, &row, None);
        }
        self.seen(required, &tile.path, tile.damage.or(Some(Damage::Content)), Vec::new());
        match self.tree.resolve(level, index, root)? {
            Some(row) => self.children(level, index, &row.into_iter().map(Some).collect(), None),
            // The bundle was asked too, and does not lead to the root either.
            None => {
                let condemned = (level == 0).then_some(Damage::Content);
                self.children(level, index, &self.tree.agreed(level, index)?, condemned)
            }
        }
    }

    /// Mends a full tile that must hash to `root`, from what is below it or from elsewhere.
    fn mend_tile(&self, id: TileId, root: Hash) -> Result<bool, AuditError> {
        let Some(mender) = self.mender else { return Ok(false) };
        if let Some(row) = self.tree.resolve(id.level, id.index, root)? {
            let bytes: Vec<u8> = row.iter().flat_map(|hash| *hash.as_bytes()).collect();
            return mender.put(&id.path(), &bytes).map(|()| true);
        }
        mender.fetch(&id.path(), WIDTH * HASH_LEN as u64, |bytes| {
            Tile::parse(id, bytes).is_ok_and(|tile| tile_root(tile.hashes()) == Some(root))
        })
    }

    /// Mends a full bundle whose leaf hashes are all known.
    fn mend_bundle(&self, index: u64, row: &Row) -> Result<bool, AuditError> {
        let leaves: Option<Vec<Hash>> = row.iter().copied().collect();
        let (Some(mender), Some(leaves)) = (self.mender, leaves) else { return Ok(false) };
        let id = BundleId { index, width: TILE_WIDTH };
        mender.fetch(&id.path(), BUNDLE_LEN_MAX, |bytes| is_bundle(id, bytes, &leaves))
    }

    /// Checks a full tile about which nothing is known from above.
    fn unknown_tile(&self, level: u8, index: u64) -> Result<(), AuditError> {
        let tile = self.tree.tile(level, index)?;
        let mut row = self.tree.agreed(level, index)?;
        let mut damage = tile.damage;
        let mut open = Vec::new();
        if level == 0 && damage.is_none() {
            let bundle = self.tree.bundle(index)?;
            for (place, hash) in row.iter_mut().enumerate().filter(|(_, hash)| hash.is_none()) {
                match bundle.entry(place) {
                    Some(entry) if Entry::parse(entry).is_ok() => {
                        open.push(index * WIDTH + place as u64);
                    }
                    // What is no entry was not logged: the tile is right.
                    _ => *hash = tile.hashes.get(place).copied(),
                }
            }
            damage = (!open.is_empty()).then_some(Damage::Disagrees);
        }
        let condemned = damage.clone().filter(|damage| *damage == Damage::Disagrees);
        self.seen(self.is_required(level, index), &tile.path, damage, open);
        self.children(level, index, &row, condemned)
    }

    /// Checks a bundle against the leaf hashes in `row`. If `condemned`, it is known to be damaged
    /// where `row` knows nothing.
    fn bundle(&self, index: u64, row: &Row, condemned: Option<Damage>) -> Result<(), AuditError> {
        let first = index * WIDTH;
        (self.progress)(row.len() as u64, self.tree.size);
        if row.len() < usize::from(TILE_WIDTH) && self.tree.source.log().is_some() {
            self.tail(first);
            return Ok(());
        }
        let mut bundle = self.tree.bundle(index)?;
        let full = row.len() == usize::from(TILE_WIDTH) && self.is_required(0, index);
        let is_sound = |bundle: &BundleFile| {
            let leaf = |place: usize| bundle.entry(place).map(leaf_hash);
            bundle.damage.is_none() && (0..row.len()).all(|place| leaf(place) == row[place])
        };
        if full && !is_sound(&bundle) && self.mend_bundle(index, row)? {
            bundle = self.tree.bundle(index)?;
        }
        let is_true = |place: usize| {
            let entry = bundle.entry(place);
            match row[place] {
                Some(want) => entry.map(leaf_hash) == Some(want),
                None => condemned.is_none() && entry.is_some_and(|e| Entry::parse(e).is_ok()),
            }
        };
        let places = 0..row.len();
        let bad: Vec<u64> = places
            .clone()
            .filter(|&place| !is_true(place))
            .map(|place| first + place as u64)
            .collect();
        let content = (!bad.is_empty()).then_some(Damage::Content);
        let missing = matches!(bundle.damage, Some(Damage::Missing | Damage::Unreadable { .. }));
        let entries = if missing { Vec::new() } else { bad };
        let damage = bundle.damage.clone().or(condemned.clone()).or(content);
        self.seen(self.is_required(0, index), &bundle.path, damage, entries);
        let logged = places.filter(|&place| row[place].is_some() && is_true(place));
        self.grammar(
            &bundle.path,
            logged.filter_map(|place| Some((first + place as u64, bundle.entry(place)?))),
        );
        Ok(())
    }

    /// Reads the entries of the right edge, which only the journal holds.
    fn tail(&self, first: u64) {
        let journal = self.tree.journal;
        let entries = (journal.tail_first..).zip(journal.tail.iter().map(|entry| &entry[..]));
        let entries = entries.filter(|(index, _)| (first..self.tree.size).contains(index));
        self.grammar(&journal.path_of(self.tree.size - 1), entries);
    }

    /// Reports logged bytes that are not entries, and keeps manifests.
    fn grammar<'e>(&self, path: &str, entries: impl Iterator<Item = (u64, &'e [u8])>) {
        let mut malformed: Option<(Refusal, Vec<u64>)> = None;
        for (index, bytes) in entries {
            match Entry::parse(bytes) {
                Ok(entry) if matches!(entry.body(), Body::Manifest(_)) => {
                    self.found().manifests.insert(index, entry);
                }
                Ok(_) => {}
                Err(refusal) => {
                    malformed.get_or_insert((refusal, Vec::new())).1.push(index);
                }
            }
        }
        if let Some((refusal, entries)) = malformed {
            let finding = self.tree.source.finding(path, Damage::Malformed(refusal));
            self.found().findings.push(finding.at(entries));
        }
    }

    /// Whether the file of a full tile, or of a bundle (level 0), must be there.
    fn is_required(&self, level: u8, index: u64) -> bool {
        let is_full_at = |size: u64| index < (size >> (TILE_HEIGHT * level)) / WIDTH;
        if self.tree.source.log().is_none() || is_full_at(self.required) {
            return true;
        }
        // Start-up writes again what became full while the journal was there, and takes the
        // entries before it from the files of level 0.
        let start = self.tree.journal.whole().map_or(0, |(start, ..)| start.size);
        is_full_at(start) || (level == 0 && index * WIDTH < start)
    }

    /// Counts a file, and reports what is wrong with it. A file that is not required yet may be
    /// missing; if it is damaged, a crash came before it was synced, and start-up writes it again.
    fn seen(&self, required: bool, path: &str, damage: Option<Damage>, entries: Vec<u64>) {
        let mut found = self.found();
        let Some(damage) = damage else {
            found.files += 1;
            return;
        };
        let finding = self.tree.source.finding(path, damage).at(entries);
        match (&finding.damage, required) {
            (_, true) => found.findings.push(finding),
            (Damage::Missing, false) => {}
            (_, false) => found.findings.push(finding.info()),
        }
    }

    /// Whether the files lead to `head`, a head of this tree or of an earlier one. Meant for trees
    /// whose files were all found to be sound.
    pub fn leads_to(&self, edge: &[(TileId, Row)], head: TreeHead) -> Result<bool, AuditError> {
        Ok(self.frontier(edge, head.size)?.is_some_and(|frontier| frontier.head() == head))
    }

    /// The peaks of the first `size` entries; `None` if a file does not yield one.
    pub fn frontier(
        &self,
        edge: &[(TileId, Row)],
        size: u64,
    ) -> Result<Option<Frontier>, AuditError> {
        let mut peaks = Vec::new();
        for node in Plan::root(size).nodes() {
            let Some(hash) = self.node(edge, *node)? else { return Ok(None) };
            peaks.push(hash);
        }
        Ok(Frontier::from_peaks(size, peaks).ok())
    }

    /// The hash of a complete subtree, where every file was found to be sound.
    pub fn node(&self, edge: &[(TileId, Row)], node: NodeId) -> Result<Option<Hash>, AuditError> {
        let Some(id) = TileId::of_node(node, self.tree.size) else { return Ok(None) };
        let row = match edge.iter().find(|(partial, _)| *partial == id) {
            Some((_, row)) => row.iter().copied().collect(),
            None => Some(self.tree.tile(id.level, id.index)?.hashes),
        };
        Ok(row.and_then(|row| tile_of(id, &row)).and_then(|tile| tile.node(node)))
    }
}
