//! Literals from elsewhere: the test inputs of Certificate Transparency, and the worked examples of
//! RFC 6962. They guard what a recursion could get wrong in the same way, such as the prefixes.

use jejak_proofs::merkle::{Frontier, Hash, NodeId, Plan, TreeHead, leaf_hash, node_hash, sha256};

/// The entries of the tree that CT implementations test with.
const ENTRIES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

/// Its roots at sizes 0 to 8.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const H96A2: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const H5F08: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const H6B47: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const HBC1A: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const HCA85: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const H0EBC: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

fn leaf(index: usize) -> Hash {
    leaf_hash(&hex::decode(ENTRIES[index]).unwrap())
}

fn head(size: usize) -> TreeHead {
    TreeHead { size: size as u64, root: ROOTS[size].parse().unwrap() }
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

// SPEC [T3]
#[test]
fn roots() {
    let mut tree = Frontier::new();
    assert_eq!(TreeHead::EMPTY, head(0));
    assert_eq!(sha256(b""), head(0).root);
    for size in 0..=8 {
        assert_eq!(tree.head(), head(size));
        if size < 8 {
            tree.push(leaf(size));
        }
    }
    assert_eq!(leaf(0).to_string(), ROOTS[1]);
    assert_eq!(node_hash(&leaf(0), &leaf(1)).to_string(), ROOTS[2]);
}

#[test]
fn inclusion_proofs() {
    for (index, size, proof) in [
        (0, 1, &[][..]),
        (0, 8, &[H96A2, H5F08, H6B47]),
        (5, 8, &[HBC1A, HCA85, ROOTS[4]]),
        (2, 3, &[ROOTS[2]]),
        (1, 5, &[ROOTS[1], H5F08, HBC1A]),
    ] {
        let answer = head(size).verify_inclusion(index as u64, leaf(index), &hashes(proof));
        assert_eq!(answer, Ok(()), "{index} of {size}");
    }
}

#[test]
fn consistency_proofs() {
    for (old, new, proof) in [
        (1, 1, &[][..]),
        (1, 8, &[H96A2, H5F08, H6B47]),
        (6, 8, &[H0EBC, HCA85, ROOTS[4]]),
        (2, 5, &[H5F08, HBC1A]),
    ] {
        let answer = head(new).verify_consistency(&head(old), &hashes(proof));
        assert_eq!(answer, Ok(()), "{old} to {new}");
    }
}

/// The nodes of the seven-leaf tree, by the letters of RFC 6962, Section 2.1.3.
fn letters(plan: &Plan) -> String {
    let letter = |node: &NodeId| match (node.level, node.index) {
        (0, index) => ['a', 'b', 'c', 'd', 'e', 'f', 'j'][index as usize],
        (1, index) => ['g', 'h', 'i'][index as usize],
        (level, index) => ['k'][usize::from(level - 2) + index as usize],
    };
    plan.nodes().iter().map(letter).collect()
}

// SPEC [T1] [T2]
#[test]
fn the_examples_of_rfc_6962() {
    // The node l is over i and j.
    for (index, path) in [(0, "bhij"), (3, "cgij"), (4, "fjk"), (6, "ik")] {
        assert_eq!(letters(&Plan::inclusion(7, index).unwrap()), path);
    }
    for (old, proof) in [(3, "cdgij"), (4, "ij"), (6, "ijk")] {
        assert_eq!(letters(&Plan::consistency(old, 7).unwrap()), proof);
    }
    assert_eq!(letters(&Plan::root(7)), "kij");
    assert_eq!(Plan::inclusion(7, 0).unwrap().combine(&hashes(&ROOTS[..4])).unwrap().len(), 3);
}

/// RFC 6962, Section 2.1: the prefixes keep an entry from being taken for a node.
// SPEC [T1] [T2]
#[test]
fn an_entry_is_never_a_node() {
    let entry = [leaf(0).as_bytes().as_slice(), leaf(1).as_bytes()].concat();
    assert_ne!(leaf_hash(&entry), node_hash(&leaf(0), &leaf(1)));
    assert!(head(2).verify_inclusion(0, leaf_hash(&entry), &[]).is_err());
}

#[test]
fn a_hash_has_one_spelling() {
    const BASE64: &str = "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=";
    let hash = head(2).root;
    assert_eq!((hash.to_string(), format!("{hash:?}")), (ROOTS[2].into(), ROOTS[2].into()));
    assert_eq!((hash.to_base64(), Hash::from_base64(BASE64)), (BASE64.into(), Ok(hash)));
    let upper = ROOTS[2].to_uppercase();
    for text in ["", &ROOTS[2][2..], &ROOTS[2][1..], &upper, &format!("{hash} "), BASE64] {
        assert!(text.parse::<Hash>().is_err(), "{text}");
    }
    let unused_bits = BASE64.replace("wSU=", "wSV=");
    let short = hash.to_base64().replace("+sVC", "");
    let unpadded = BASE64.trim_end_matches('=');
    for text in ["", unpadded, &unused_bits, &short, ROOTS[2], &format!("{BASE64}\n")] {
        assert!(Hash::from_base64(text).is_err(), "{text}");
    }
}
