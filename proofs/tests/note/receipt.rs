//! Receipts: form, round trips, forgeries.

use jejak_proofs::merkle::{Hash, InclusionError, TREE_SIZE_MAX, TreeHead, leaf_hash, node_hash};
use jejak_proofs::note::{Checkpoint, CheckpointError, CheckpointFault, NoteError, NumberError};
use jejak_proofs::note::{Policy, RECEIPT_EXTRA_LEN_MAX, RECEIPT_LEN_MAX, Receipt, ReceiptError};
use jejak_proofs::note::{SigningKey, UnverifiedCheckpoint};

use super::{CHECKPOINT, LOG_VKEY, WITNESS_LINE, WITNESS_VKEY, base64, checkpoint, log_key};
use super::{with_line, witness};

/// The receipt of "one" in the tree of "zero", "one" and "two", without its checkpoint.
const KNOWN: &str = "c2sp.org/tlog-proof@v1\nindex 1\n\
    bWt2UodlmLLAZro08EeWsBkoXSCZHlm/ueen5swtT5g=\n\
    qxq38Hx8j+Dv9LpvqlPH5EEukaWZFT6KpOAb7s5beCU=\n\n";
const HASH: &str = "bWt2UodlmLLAZro08EeWsBkoXSCZHlm/ueen5swtT5g=";

fn known() -> String {
    format!("{KNOWN}{CHECKPOINT}{WITNESS_LINE}")
}

fn unwitnessed() -> Policy {
    Policy::parse(&format!("log {LOG_VKEY}\nquorum none\n")).unwrap()
}

fn witnessed() -> Policy {
    let text = format!("log {LOG_VKEY}\nwitness W {WITNESS_VKEY}\nquorum W\n");
    Policy::parse(&text).unwrap()
}

/// RFC 6962, Section 2.1, as it is written there.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 6962, Section 2.1.1, as it is written there.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = match index < k {
        true => (path(index, left), root(right)),
        false => (path(index - k, right), root(left)),
    };
    path.push(sibling);
    path
}

fn entry(n: usize) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

/// The tree of `size` entries: its signed head, and the receipt of `index`.
fn receipt(size: usize, index: usize) -> Receipt {
    let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&entry(n))).collect();
    let head = TreeHead { size: size as u64, root: root(&leaves) };
    let checkpoint = Checkpoint::sign(head, &log_key()).unwrap().into();
    Receipt { index: index as u64, proof: path(index, &leaves), checkpoint, extra: None }
}

#[test]
fn the_known_receipt() {
    let read = Receipt::parse(known().as_bytes()).unwrap();
    assert_eq!((read.index, read.proof.len(), &read.extra), (1, 2, &None));
    assert_eq!(read.to_bytes(), known().as_bytes());
    for policy in [unwitnessed(), witnessed()] {
        let checkpoint = read.verify(b"one", &policy).unwrap();
        assert_eq!(checkpoint.note(), format!("{CHECKPOINT}{WITNESS_LINE}"));
        assert_eq!(checkpoint.head().size, 3);
        assert_eq!(read.verify_leaf(leaf_hash(b"one"), &policy), Ok(checkpoint));
        let error = Err(ReceiptError::Inclusion(InclusionError::WrongRoot));
        assert_eq!(read.verify(b"two", &policy), error);
    }
    let bare = format!("{KNOWN}{CHECKPOINT}");
    let bare = Receipt::parse(bare.as_bytes()).unwrap();
    assert!(bare.verify(b"one", &unwitnessed()).is_ok());
    let error = Err(ReceiptError::Checkpoint(CheckpointError::Quorum));
    assert_eq!(bare.verify(b"one", &witnessed()), error);
}

#[test]
fn every_receipt_of_small_trees() {
    let policy = unwitnessed();
    for size in 1..=20 {
        for index in 0..size {
            let good = receipt(size, index);
            let bytes = good.to_bytes();
            let read = Receipt::parse(&bytes).unwrap();
            assert_eq!((&read, read.to_bytes()), (&good, bytes));
            let checkpoint = read.verify(&entry(index), &policy).unwrap();
            assert_eq!(checkpoint.as_unverified(), &good.checkpoint);
            for other in (0..=size).filter(|&other| other != index) {
                let error = Err(ReceiptError::Inclusion(InclusionError::WrongRoot));
                assert_eq!(read.verify(&entry(other), &policy), error, "{index} of {size}");
                let moved = Receipt { index: other as u64, ..read.clone() };
                let verified = moved.verify(&entry(index), &policy);
                assert!(matches!(verified, Err(ReceiptError::Inclusion(_))), "{index} of {size}");
            }
        }
    }
}

// SPEC [P1]
#[test]
fn forged_proofs() {
    let policy = unwitnessed();
    let good = receipt(13, 9);
    let entry = entry(9);
    let check = |proof: Vec<Hash>| {
        let error = match proof.len() {
            4 => InclusionError::WrongRoot,
            got => InclusionError::WrongLength { got, want: 4 },
        };
        let forged = Receipt { proof, ..good.clone() };
        assert_eq!(forged.verify(&entry, &policy), Err(ReceiptError::Inclusion(error)));
    };
    assert_eq!(good.proof.len(), 4);
    for n in 0..4 {
        for bit in 0..256 {
            let mut bytes = *good.proof[n].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut proof = good.proof.clone();
            proof[n] = Hash::new(bytes);
            check(proof);
        }
        let mut proof = good.proof.clone();
        proof.remove(n);
        check(proof);
        let mut proof = good.proof.clone();
        proof.insert(n, proof[n]);
        check(proof);
        let mut proof = good.proof.clone();
        proof.swap(n, (n + 1) % 4);
        check(proof);
    }
    check([good.proof.clone(), vec![leaf_hash(b"")]].concat());
    check(vec![]);
}

/// The children of an inner node, taken for the bytes of an entry, are not logged.
#[test]
fn an_inner_node_is_no_entry() {
    let leaves: Vec<Hash> = (0..4).map(|n| leaf_hash(&entry(n))).collect();
    let head = TreeHead { size: 2, root: root(&leaves) };
    let checkpoint = Checkpoint::sign(head, &log_key()).unwrap().into();
    let node = [*leaves[0].as_bytes(), *leaves[1].as_bytes()].concat();
    let sibling = node_hash(&leaves[2], &leaves[3]);
    let forged = Receipt { index: 0, proof: vec![sibling], checkpoint, extra: None };
    let error = Err(ReceiptError::Inclusion(InclusionError::WrongRoot));
    assert_eq!(forged.verify(&node, &unwitnessed()), error);
}

// SPEC [P1] [T7]
#[test]
fn the_checkpoint_is_judged_first() {
    let policy = witnessed();
    let read = Receipt::parse(known().as_bytes()).unwrap();
    let fault = |receipt: &Receipt| match receipt.verify(b"not in the tree", &policy) {
        Err(ReceiptError::Checkpoint(error)) => Some(error.fault()),
        Err(ReceiptError::Inclusion(_)) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(&read), None);
    // The log's signature over another tree.
    let text = known().replace("\n3\n", "\n2\n");
    let resized = Receipt::parse(text.as_bytes()).unwrap();
    assert_eq!(fault(&resized), Some(CheckpointFault::LogSignature));
    let other = Receipt { checkpoint: checkpoint(3).into(), ..read.clone() };
    assert_eq!(fault(&other), Some(CheckpointFault::Quorum));
    let forged = checkpoint(3).with_lines(&[WITNESS_LINE]).unwrap();
    let error =
        ReceiptError::Checkpoint(CheckpointError::Cosignature { key: witness(1).verifier().id() });
    let other = Receipt { checkpoint: forged.into(), ..read };
    assert_eq!(other.verify(b"one", &policy), Err(error));
}

// SPEC [P2]
#[test]
fn malformed_receipts() {
    let index = |text: &str| with_line(&known(), 1, text);
    let extra = |text: &str| known().replacen("index", &format!("{text}\nindex"), 1);
    let spelling = ReceiptError::Index(NumberError::Spelling);
    let large = ReceiptError::Index(NumberError::TooLarge);
    let note = |error| ReceiptError::Checkpoint(CheckpointError::Note(error));
    let many = |n: usize| known().replacen(&format!("{HASH}\n"), &format!("{HASH}\n").repeat(n), 1);
    let table: Vec<(String, ReceiptError)> = vec![
        ("".into(), ReceiptError::Header),
        ("c2sp.org/tlog-proof@v1".into(), ReceiptError::Header),
        (known()[1..].into(), ReceiptError::Header),
        (format!("\n{}", known()), ReceiptError::Header),
        (with_line(&known(), 0, "c2sp.org/tlog-proof@v2"), ReceiptError::Header),
        (with_line(&known(), 0, "c2sp.org/tlog-proof@v1 "), ReceiptError::Header),
        (known().replace('\n', "\r\n"), ReceiptError::Header),
        ("c2sp.org/tlog-proof@v1\n".into(), ReceiptError::NoCheckpoint),
        ("c2sp.org/tlog-proof@v1\nindex 1\n".into(), ReceiptError::NoCheckpoint),
        (KNOWN.trim_end().into(), ReceiptError::NoCheckpoint),
        (KNOWN.into(), note(NoteError::NoSignatures)),
        (format!("{KNOWN}\n{CHECKPOINT}"), ReceiptError::Checkpoint(CheckpointError::EmptyLine)),
        (known() + "\n", note(NoteError::NoSignatures)),
        (known().trim_end().into(), note(NoteError::NoFinalNewline)),
        (index("index"), ReceiptError::NoIndex),
        (index("Index 1"), ReceiptError::NoIndex),
        (index(" index 1"), ReceiptError::NoIndex),
        (index("index\u{a0}1"), ReceiptError::NoIndex),
        (index(HASH), ReceiptError::NoIndex),
        (index("index "), spelling),
        (index("index 01"), spelling),
        (index("index +1"), spelling),
        (index("index -1"), spelling),
        (index("index  1"), spelling),
        (index("index 1 "), spelling),
        (index("index 9223372036854775808"), large),
        (index("index 18446744073709551616"), large),
        (with_line(&known(), 2, ""), ReceiptError::Checkpoint(CheckpointError::EmptyLine)),
        (with_line(&known(), 2, "index 1"), ReceiptError::Hash { line: 3 }),
        (with_line(&known(), 3, "AAAA"), ReceiptError::Hash { line: 4 }),
        (with_line(&known(), 3, &HASH[..43]), ReceiptError::Hash { line: 4 }),
        (with_line(&known(), 3, &HASH.replace("5g=", "5h=")), ReceiptError::Hash { line: 4 }),
        (with_line(&known(), 3, &format!("{HASH} ")), ReceiptError::Hash { line: 4 }),
        (many(63), ReceiptError::TooManyHashes),
        (extra("extra "), ReceiptError::Extra),
        (extra("extra AA"), ReceiptError::Extra),
        (extra("extra AB=="), ReceiptError::Extra),
        (extra("extra  AA=="), ReceiptError::Extra),
        (extra("extra AA==\nextra AA=="), ReceiptError::NoIndex),
        (extra("Extra AA=="), ReceiptError::NoIndex),
        (extra("extra"), ReceiptError::NoIndex),
        (extra(&format!("extra {}", base64(&[0; RECEIPT_EXTRA_LEN_MAX + 1]))), ReceiptError::Extra),
        (known().replacen("\nbWt2", "\nextra AA==\nbWt2", 1), ReceiptError::Hash { line: 3 }),
    ];
    for (text, error) in table {
        assert_eq!(Receipt::parse(text.as_bytes()), Err(error), "{text}");
    }
    assert!(Receipt::parse(many(62).as_bytes()).is_ok());
    let bytes = [b"c2sp.org/tlog-proof@v1\nindex \xff\n\n", CHECKPOINT.as_bytes()].concat();
    assert_eq!(Receipt::parse(&bytes), Err(spelling));
    let bytes = [b"c2sp.org/tlog-proof@v1\nindex 1\n\xff\n\n", CHECKPOINT.as_bytes()].concat();
    assert_eq!(Receipt::parse(&bytes), Err(ReceiptError::Hash { line: 3 }));
    assert_eq!(Receipt::parse(&vec![b'x'; RECEIPT_LEN_MAX]), Err(ReceiptError::Header));
    assert_eq!(Receipt::parse(&vec![b'x'; RECEIPT_LEN_MAX + 1]), Err(ReceiptError::TooLong));
}

// SPEC [P2]
#[test]
fn extra_data_and_large_indexes() {
    let good = receipt(1, 0);
    for len in [1, 2, 3, 1000, RECEIPT_EXTRA_LEN_MAX] {
        let with = Receipt { extra: Some(vec![7; len]), ..good.clone() };
        assert_eq!(Receipt::parse(&with.to_bytes()).as_ref(), Ok(&with));
        // Not authenticated: it changes nothing.
        assert!(with.verify(&entry(0), &unwitnessed()).is_ok());
    }
    let empty = Receipt { extra: Some(vec![]), ..good.clone() };
    assert_eq!(empty.to_bytes(), good.to_bytes());
    for index in [0, 10, TREE_SIZE_MAX] {
        let moved = Receipt { index, ..good.clone() };
        assert_eq!(Receipt::parse(&moved.to_bytes()).as_ref(), Ok(&moved));
    }
    let beyond = Receipt { index: 1, ..good };
    let error = InclusionError::IndexOutOfRange { index: 1, size: 1 };
    assert_eq!(beyond.verify(&entry(0), &unwitnessed()), Err(ReceiptError::Inclusion(error)));
}

/// Extension lines, and signatures of kinds that this version does not know, pass through.
#[test]
fn the_checkpoint_is_kept_byte_for_byte() {
    let log: SigningKey = log_key();
    let text = format!("example.com/tally\n1\n{}\nextension\n", leaf_hash(&entry(0)).to_base64());
    let lines =
        [format!("\u{2014} pq.example {}\n", base64(&[6; 4 + 8 + 2420])), log.sign_line(&text)];
    let note = jejak_proofs::note::compose(&text, &lines);
    let checkpoint = UnverifiedCheckpoint::parse(note.as_bytes()).unwrap();
    let written = Receipt { index: 0, proof: vec![], checkpoint, extra: None }.to_bytes();
    let verified = Receipt::parse(&written).unwrap().verify(&entry(0), &unwitnessed()).unwrap();
    assert_eq!(verified.note(), note);
}
