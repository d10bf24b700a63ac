//! The files of one log: the journal, tiles and bundles, registers, the checkpoint.
//!
//! The store knows hashes, tree heads, records and the names of tiles. It knows no ledger, no
//! signature and no HTTP. Files are the truth: everything else in a log is derived from them.
//!
//! | file | written | synced |
//! |---|---|---|
//! | `journal/<20-digit first index>` | [`Journal::append`] | before it returns: the commit point |
//! | `tile/...` | [`Objects::publish`], after the commit | [`Objects::sync`], in the background |
//! | `checkpoint` | [`Objects::put_checkpoint`], after the commit | [`Objects::sync`] |
//! | `register/<SHA-256>` | [`Objects::put_register`] | before it returns |
//! | `lock` | [`DirLock::acquire`] | never: it holds no data |
//!
//! **The journal is the right edge**: what no full, durable tile and bundle holds is only there,
//! and [`Journal::trim`] never removes it. So start-up is: take the lock, find the largest size
//! that `checkpoint` and the files speak for, replay the journal, publish again what it covers.
//!
//! Every call to the file system is in one private module, `disk`, and every error names the
//! call and the file. After an error with an unknown outcome nothing is tried again: the handle
//! refuses, the process ends, and start-up finds out.

mod directory;
mod disk;
mod error;
mod journal;
mod leaf_table;
mod lock;
mod objects;
mod record;
mod replay;
mod salvage;

pub use directory::Directory;
pub use error::{Action, Damage, NotNext, StoreError};
pub use journal::{FREE_MIN_DEFAULT, Journal, JournalOptions, SEGMENT_LEN_DEFAULT, check_room};
pub use leaf_table::{LEAF_INDEX_MAX, LeafIndexError, LeafTable};
pub use lock::{DirLock, LOCK_WAIT_MAX};
pub use objects::{ObjectId, Objects, TILE_LEN};
pub use record::{BLOCK_LEN, FRAME_LEN, RECORD_LEN_MAX, Record};
pub use replay::{Replay, Torn};
pub use salvage::salvage;
