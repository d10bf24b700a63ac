//! Numbers and ranges of paths, each with one spelling.

use super::{
    limits::{PROOF_LEAVES_MAX, PROOF_RANGES_MAX},
    problem::Code,
};
use crate::http::decimal;

/// Reads an index or a size: decimal digits, no sign, no leading zero, at most `u64::MAX`.
///
/// # Errors
/// Anything else is [`Code::Malformed`].
pub(super) fn number(text: &str) -> Result<u64, Code> {
    decimal(text).ok_or(Code::Malformed)
}

/// Reads the leaves of a batch proof: up to [`PROOF_RANGES_MAX`] indexes or ranges `a-b` with
/// a < b, joined by `,`, together at most [`PROOF_LEAVES_MAX`] leaves.
///
/// One set of leaves has one spelling: indexes rise strictly, and neighbours are one range (`3-4`,
/// never `3,4`).
///
/// # Errors
/// Anything else is [`Code::Malformed`].
pub(super) fn indexes(text: &str) -> Result<Vec<u64>, Code> {
    if text.split(',').count() > PROOF_RANGES_MAX {
        return Err(Code::Malformed);
    }
    let mut all: Vec<u64> = Vec::new();
    for range in text.split(',') {
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, number(range)?),
        };
        let spelled_as_range = range.contains('-');
        let apart = all.last().is_none_or(|before| first > before.saturating_add(1));
        let short = last.saturating_sub(first) < PROOF_LEAVES_MAX - all.len() as u64;
        if !apart || !short || spelled_as_range != (first < last) || first > last {
            return Err(Code::Malformed);
        }
        all.extend(first..=last);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for (text, want) in [("0", 0), ("7", 7), ("10", 10), ("18446744073709551615", u64::MAX)] {
            assert_eq!(number(text), Ok(want));
        }
        for text in ["", "+1", "-1", "01", "00", " 1", "1 ", "1_0", "0x1", "1e3", "\u{661}"] {
            assert_eq!(number(text), Err(Code::Malformed), "{text:?}");
        }
        assert_eq!(number("18446744073709551616"), Err(Code::Malformed));
    }

    #[test]
    fn a_set_of_leaves_has_one_spelling() {
        assert_eq!(indexes("5"), Ok(vec![5]));
        assert_eq!(indexes("0-2,4,6-7"), Ok(vec![0, 1, 2, 4, 6, 7]));
        assert_eq!(indexes("18446744073709551615"), Ok(vec![u64::MAX]));
        for text in ["", ",", "1,", ",1", "1-", "-1", "1-1", "2-1", "1,2", "1-2,3", "3,1", "1,1"] {
            assert_eq!(indexes(text), Err(Code::Malformed), "{text:?}");
        }
        for text in ["1-3,2", "1-2-3", "01", "1-02", "+1", "1, 3", "0-18446744073709551615"] {
            assert_eq!(indexes(text), Err(Code::Malformed), "{text:?}");
        }
        assert_eq!(indexes("18446744073709551615,0"), Err(Code::Malformed));
    }

    #[test]
    fn ranges_and_leaves_are_bounded() {
        let ranges =
            |count: u64| (0..count).map(|i| (2 * i).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(indexes(&ranges(16)).map(|all| all.len()), Ok(16));
        assert_eq!(indexes(&ranges(17)), Err(Code::Malformed));
        assert_eq!(indexes("0-1023").map(|all| all.len()), Ok(1024));
        assert_eq!(indexes("0-1024"), Err(Code::Malformed));
        assert_eq!(indexes("0-1021,1023,1025").map(|all| all.len()), Ok(1024));
        assert_eq!(indexes("0-1021,1023,1025-1026"), Err(Code::Malformed));
        assert_eq!(indexes("0-1023,1025"), Err(Code::Malformed));
    }
}
