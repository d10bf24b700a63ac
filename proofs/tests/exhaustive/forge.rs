//! Proofs that are not the one they should be.

use jejak_proofs::merkle::Hash;

use super::rfc;

/// The hash with one bit flipped: each time another one.
pub fn flip(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::new(bytes)
}

/// Flip, drop, double and swap at every position, prepend and append, and nothing at all.
pub fn forgeries(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut forged = vec![];
    let mut forge = |change: &dyn Fn(&mut Vec<Hash>)| {
        let mut copy = proof.to_vec();
        change(&mut copy);
        forged.push(copy);
    };
    for i in 0..proof.len() {
        forge(&|p| p[i] = flip(p[i], 37 * i + proof.len()));
        forge(&|p| _ = p.remove(i));
        forge(&|p| p.insert(i, p[i]));
        if i > 0 {
            forge(&|p| p.swap(i - 1, i));
        }
    }
    let stranger = rfc::leaf(u64::MAX);
    forge(&|p| p.insert(0, stranger));
    forge(&|p| p.push(stranger));
    forge(&|p| p.resize(proof.len() + 64, stranger));
    if !proof.is_empty() {
        forged.push(vec![]);
    }
    forged
}

/// Numbers that repeat in every run.
pub struct Random(pub u64);

impl Random {
    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn hashes(&mut self, count: usize) -> Vec<Hash> {
        (0..count).map(|_| rfc::leaf(self.next())).collect()
    }
}
