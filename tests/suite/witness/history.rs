//! Histories of logs, with heads and proofs computed as RFC 6962 writes them.

use jejak_proofs::{
    merkle::{Hash, TreeHead, leaf_hash},
    note::{AddCheckpoint, Checkpoint, KeyKind, SigningKey, VerifierKey},
};

use crate::monitor::fake::root;

pub const ORIGIN: &str = "log.example/witnessed";

pub fn key(origin: &str) -> SigningKey {
    let seed = *jejak_proofs::merkle::sha256(origin.as_bytes()).as_bytes();
    SigningKey::from_seed(origin, KeyKind::Ed25519, seed).unwrap()
}

/// The entries of a log, as leaf hashes.
#[derive(Clone)]
pub struct History {
    pub origin: String,
    key: SigningKey,
    leaves: Vec<Hash>,
}

impl History {
    pub fn new(origin: &str, size: usize) -> Self {
        let leaves = (0..size).map(|n| leaf_hash(format!("{origin} {n}").as_bytes())).collect();
        Self { origin: origin.to_owned(), key: key(origin), leaves }
    }

    /// Of a log with these entries, which `key` signs for.
    pub fn of(entries: &[Vec<u8>], key: SigningKey) -> Self {
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        Self { origin: key.name().to_owned(), key, leaves }
    }

    pub fn size(&self) -> usize {
        self.leaves.len()
    }

    /// The same up to entry `at`, others from there on.
    pub fn forked(&self, at: usize, name: &str) -> Self {
        let mut fork = self.clone();
        for (leaf, n) in fork.leaves.iter_mut().zip(0..).skip(at) {
            *leaf = leaf_hash(format!("{name} {n}").as_bytes());
        }
        fork
    }

    pub fn vkey(&self) -> VerifierKey {
        self.key.verifier()
    }

    pub fn head(&self, size: usize) -> TreeHead {
        TreeHead { size: size as u64, root: root(&self.leaves[..size]) }
    }

    pub fn checkpoint(&self, size: usize) -> Checkpoint {
        Checkpoint::sign(self.head(size), &self.key).unwrap()
    }

    /// RFC 6962, Section 2.1.2.
    pub fn proof(&self, old: usize, new: usize) -> Vec<Hash> {
        match old {
            0 => vec![],
            _ => subproof(old, &self.leaves[..new], true),
        }
    }

    pub fn request(&self, old: usize, new: usize) -> String {
        let checkpoint = self.checkpoint(new).into();
        AddCheckpoint { old: old as u64, proof: self.proof(old, new), checkpoint }.to_string()
    }
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    if m <= left.len() {
        [subproof(m, left, whole), vec![root(right)]].concat()
    } else {
        [subproof(m - left.len(), right, false), vec![root(left)]].concat()
    }
}
