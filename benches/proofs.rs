//! What a log and a monitor pay for each entry: `cargo bench --bench proofs`.

use divan::{Bencher, black_box, counter::ItemsCount};
use jejak_proofs::{
    merkle::{Frontier, Hash, NodeId, Plan, TreeHead, leaf_hash, node_hash, sha256},
    note::{KeyKind, SigningKey},
    tally::{Entry, KeyBook},
};

/// Leaves of the large tree.
const LEAVES: u64 = 1 << 20;

fn main() {
    divan::main();
}

fn leaf(index: u64) -> Hash {
    sha256(&index.to_be_bytes())
}

/// A tree of 2^20 leaves with every complete subtree in memory.
struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    fn new() -> Self {
        let mut levels = vec![(0..LEAVES).map(leaf).collect::<Vec<_>>()];
        while levels[levels.len() - 1].len() > 1 {
            let below = &levels[levels.len() - 1];
            levels.push(below.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect());
        }
        Self { levels }
    }

    fn head(&self) -> TreeHead {
        TreeHead { size: LEAVES, root: self.levels[self.levels.len() - 1][0] }
    }

    fn node(&self, node: &NodeId) -> Hash {
        self.levels[usize::from(node.level)][node.index as usize]
    }

    fn prove(&self, plan: &Plan) -> Vec<Hash> {
        let nodes: Vec<Hash> = plan.nodes().iter().map(|node| self.node(node)).collect();
        plan.combine(&nodes).expect("a hash for each node")
    }
}

#[divan::bench]
fn hash_a_leaf_of_700_bytes(bencher: Bencher) {
    let entry = [b'x'; 700];
    bencher.bench(|| leaf_hash(black_box(&entry)));
}

#[divan::bench]
fn hash_a_node(bencher: Bencher) {
    let (left, right) = (leaf(1), leaf(2));
    bencher.bench(|| node_hash(black_box(&left), black_box(&right)));
}

#[divan::bench]
fn append_1000_leaves(bencher: Bencher) {
    let leaves: Vec<Hash> = (0..1000).map(leaf).collect();
    bencher.counter(ItemsCount::new(1000_u32)).with_inputs(Frontier::new).bench_values(
        |mut tree| {
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            tree.head()
        },
    );
}

#[divan::bench]
fn build_an_inclusion_proof_in_1_mi(bencher: Bencher) {
    let tree = Tree::new();
    bencher.bench(|| tree.prove(&Plan::inclusion(LEAVES, black_box(777_777)).expect("inside")));
}

#[divan::bench]
fn verify_an_inclusion_proof_in_1_mi(bencher: Bencher) {
    let tree = Tree::new();
    let (head, index) = (tree.head(), 777_777);
    let proof = tree.prove(&Plan::inclusion(LEAVES, index).expect("inside"));
    bencher.bench(|| head.verify_inclusion(index, leaf(index), black_box(&proof)));
}

#[divan::bench]
fn verify_a_consistency_proof_in_1_mi(bencher: Bencher) {
    let tree = Tree::new();
    let old_size = 777_777;
    let root = tree.prove(&Plan::root(old_size))[0];
    let old = TreeHead { size: old_size, root };
    let proof = tree.prove(&Plan::consistency(old_size, LEAVES).expect("in order"));
    let head = tree.head();
    bencher.bench(|| head.verify_consistency(black_box(&old), &proof));
}

#[divan::bench]
fn verify_one_proof_for_1000_neighbours_in_1_mi(bencher: Bencher) {
    let tree = Tree::new();
    let indexes: Vec<u64> = (500_000..501_000).collect();
    let proof = tree.prove(&Plan::batch(LEAVES, &indexes).expect("rising"));
    let leaves: Vec<(u64, Hash)> = indexes.iter().map(|index| (*index, leaf(*index))).collect();
    let head = tree.head();
    bencher
        .counter(ItemsCount::new(1000_u32))
        .bench(|| head.verify_batch(black_box(&leaves), &proof));
}

/// A tally of a ticket contest, signed by a key that nobody mandated.
fn tally() -> Vec<u8> {
    let key = SigningKey::from_seed("official/31", KeyKind::Ed25519, [7; 32]).expect("a name");
    let zeros = "0".repeat(64);
    let text = format!(
        "jejak/tally/v1\n{{\"basis\":\"form_signed\",\"by\":\"official/31+{}\",\
         \"children\":null,\"contest\":\"ppwp\",\"decision\":null,\"docs\":[],\
         \"election\":\"2024\",\"form\":\"c-hasil\",\"genesis\":\"{zeros}\",\"invalid\":3,\
         \"issued_at\":\"2024-02-14T09:30Z\",\"log\":\"log.example/2024\",\"prev\":null,\
         \"reason\":null,\"round\":\"regular\",\"seq\":0,\"total\":185,\"unit\":\"31\",\
         \"valid\":182,\"votes\":{{\"01\":98,\"02\":84}}}}\n",
        key.verifier().id()
    );
    jejak_proofs::note::compose(&text, &[key.sign_line(&text)]).into_bytes()
}

#[divan::bench]
fn parse_an_entry(bencher: Bencher) {
    let entry = tally();
    bencher.bench(|| Entry::parse(black_box(&entry)).expect("an entry"));
}

#[divan::bench]
fn refuse_an_entry_by_an_unknown_key(bencher: Bencher) {
    let (entry, keys) = (tally(), KeyBook::new());
    bencher.bench(|| Entry::parse(black_box(&entry)).and_then(|entry| entry.check(&keys)));
}

#[divan::bench]
fn verify_a_signature(bencher: Bencher) {
    let key = SigningKey::from_seed("official/31", KeyKind::Ed25519, [7; 32]).expect("a name");
    let entry = tally();
    let entry = std::str::from_utf8(&entry).expect("a note is text");
    let note = jejak_proofs::note::SignedNote::parse(entry.as_bytes()).expect("a note");
    let (verifier, line) = (key.verifier(), &note.lines()[0]);
    bencher.bench(|| verifier.verify(black_box(note.text()), line.signature()));
}
