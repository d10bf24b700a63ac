//! Every small tree: proofs, tiles and bundles against slow recursions of the specifications, and
//! every forgery refused with the exact error.
//!
//! `rfc` is the reference. It shares no code with the crate: it takes `Hash` as a name for 32
//! bytes, and hashes by itself.

mod exhaustive {
    mod batch;
    mod bundle;
    mod consistency;
    mod forge;
    mod frontier;
    mod inclusion;
    mod known_answers;
    mod large;
    mod plan;
    mod rfc;
    mod tile;
    mod tile_path;
}
