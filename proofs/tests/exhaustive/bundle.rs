use jejak_proofs::merkle::{
    BundleError, BundleId, ENTRY_LEN_MAX, EntryTooLong, entries, parse_bundle, prefix_len,
    push_entry,
};

const fn id(width: u16) -> BundleId {
    BundleId { index: 7, width }
}

/// Entries of 0, 1, 2, ... bytes.
fn some(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![i as u8; i]).collect()
}

fn bundle(some: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![];
    some.iter().for_each(|entry| push_entry(&mut bytes, entry).unwrap());
    bytes
}

// SPEC [T10]
#[test]
fn the_bytes() {
    let mut bytes = vec![];
    push_entry(&mut bytes, b"one").unwrap();
    push_entry(&mut bytes, b"").unwrap();
    push_entry(&mut bytes, &[b'x'; 258]).unwrap();
    assert_eq!(bytes[..9], *b"\x00\x03one\x00\x00\x01\x02");
    assert_eq!(bytes.len(), 2 + 3 + 2 + 2 + 258);
    assert_eq!(entries(&bytes), Ok(vec![b"one".as_slice(), b"", &[b'x'; 258]]));
}

#[test]
fn entries_of_any_length() {
    for len in [0, 1, 255, 256, 65_534, ENTRY_LEN_MAX] {
        let bytes = bundle(&[vec![1; len], vec![2]]);
        assert_eq!(entries(&bytes), Ok(vec![vec![1; len].as_slice(), &[2]]));
    }
    for len in [ENTRY_LEN_MAX + 1, ENTRY_LEN_MAX + 2, 2 * 65_536 + 1] {
        let mut bytes = b"untouched".to_vec();
        assert_eq!(push_entry(&mut bytes, &vec![0; len]), Err(EntryTooLong { len }));
        assert_eq!(bytes, b"untouched");
    }
}

#[test]
fn bundles_of_every_width() {
    for count in 0..=300 {
        let some = some(count);
        let bytes = bundle(&some);
        assert_eq!(entries(&bytes), Ok(some.iter().map(Vec::as_slice).collect()));
        let width = count as u16;
        assert_eq!(parse_bundle(id(width), &bytes), entries(&bytes));
        assert_eq!(prefix_len(&bytes, width), Ok(bytes.len()));
        let error = BundleError::TooFew { got: width, want: width + 1 };
        assert_eq!(parse_bundle(id(width + 1), &bytes), Err(error));
        assert_eq!(prefix_len(&bytes, width + 1), Err(error));
        if let Some((last, fewer)) = some.split_last() {
            let (want, extra) = (width - 1, last.len() + 2);
            let error = BundleError::Trailing { extra, want };
            assert_eq!(parse_bundle(id(want), &bytes), Err(error));
            assert_eq!(prefix_len(&bytes, want), Ok(bundle(fewer).len()));
        }
    }
}

/// Cut anywhere but between two entries, the bytes are no bundle.
// SPEC [T10]
#[test]
fn every_truncation() {
    let some = some(20);
    let bytes = bundle(&some);
    let ends: Vec<usize> = (0..=20).map(|count| bundle(&some[..count]).len()).collect();
    for cut in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let (at_end, want) = (ends.contains(&cut), 20);
        let truncated = BundleError::Truncated { entry: whole };
        let answer = entries(&bytes[..cut]).map(|entries| entries.len());
        assert_eq!(answer, if at_end { Ok(whole) } else { Err(truncated) });
        let error =
            if at_end { BundleError::TooFew { got: whole as u16, want } } else { truncated };
        assert_eq!(parse_bundle(id(want), &bytes[..cut]), Err(error));
        assert_eq!(prefix_len(&bytes[..cut], want), Err(error));
    }
}

// SPEC [T10]
#[test]
fn trailing_bytes() {
    let mut bytes = bundle(&some(3));
    for extra in 1..5 {
        bytes.push(0);
        let error = BundleError::Trailing { extra, want: 3 };
        assert_eq!(parse_bundle(id(3), &bytes), Err(error));
    }
    let bytes = [bundle(&some(3)), vec![0]].concat();
    assert_eq!(entries(&bytes), Err(BundleError::Truncated { entry: 3 }));
    assert_eq!(entries(&[]), Ok(vec![]));
}
