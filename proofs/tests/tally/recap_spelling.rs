//! A recap proof file has one spelling: whatever else parses somewhere is refused here.

use jejak_proofs::note::{Receipt, ReceiptError};
use jejak_proofs::tally::*;

use super::recap_proofs::{lived_in, prove};
use super::world::*;

const HEADER: &str = "jejak/recap-proof/v1\n";

fn refused(text: &str) -> RecapProofError {
    RecapProof::parse(text.as_bytes()).map(|proof| proof.to_text()).unwrap_err()
}

fn form(reason: &'static str) -> RecapProofError {
    RecapProofError::Form(reason)
}

/// The file and its three parts.
fn parts() -> (String, [String; 3]) {
    let text = prove(&lived_in(), "ppwp", "310101").to_text();
    let body = text.strip_prefix(HEADER).unwrap();
    let parts: Vec<String> = body.splitn(3, "\n\n").map(String::from).collect();
    (text.clone(), parts.try_into().unwrap())
}

#[test]
fn the_path_is_canonical_json() {
    let (text, [path, ..]) = parts();
    let wrong = form("the path is not canonical JSON");
    let replaced = [
        ("{\"contest\":", "{ \"contest\":"),
        (",\"contest_index\"", ", \"contest_index\""),
        (":2,", ":2.0,"),
        (":2,", ":02,"),
        (":2,", ":2e0,"),
        (":2,", ":\"2\","),
        (":2,", ":-2,"),
        (":2,", ":null,"),
        (":2,", ":18446744073709551616,"),
        ("\"ppwp\"", "\"\\u0070pwp\""),
        ("\"ppwp\"", "\"\""),
        ("\"ppwp\"", "\"pp/wp\""),
        ("\"ppwp\"", "\"ppwp012345678901234567890123456789\""),
        ("\"310101\"", "\"310101a\""),
        ("\"single\"", "\"Single\""),
        ("\"single\"", "\"\""),
        ("\"single\"", "3"),
        ("\"contest\":\"ppwp\",", ""),
        ("\"contest\":\"ppwp\",", "\"contest\":\"ppwp\",\"contest\":\"ppwp\","),
        ("\"contest\":\"ppwp\",", "\"a\":0,\"contest\":\"ppwp\","),
        ("\"below\":{", "\"below\":{\"a\":0,"),
        ("\"record\":{", "\"record\":{\"a\":0,"),
        ("\"head\":{", "\"head\":{\"a\":0,"),
        ("\"levels\":[{", "\"levels\":[{\"a\":0,"),
        ("\"siblings\":[{", "\"siblings\":[{\"a\":0,"),
        ("\"unit\":{", "\"unit\":{\"a\":0,"),
        ("\"levels\":[", "\"levels\":[null,"),
        ("\"options\":[", "\"options\":[],\"options\":["),
        ("[\"01\",\"02\",\"03\"]", "[\"01\",\"02\",\"03\",]"),
        ("[\"01\",\"02\",\"03\"]", "{\"0\":\"01\",\"1\":\"02\",\"2\":\"03\"}"),
        ("[\"01\",\"02\",\"03\"]", "null"),
        ("\"position\":", "\"Position\":"),
    ];
    for (old, new) in replaced {
        assert!(path.contains(old), "{old}");
        let other = text.replacen(&path, &path.replacen(old, new, 1), 1);
        assert_eq!(refused(&other), wrong, "{old} {new}");
    }
    for other in [
        format!("{path} "),
        format!(" {path}"),
        format!("\u{feff}{path}"),
        format!("{path}\n{path}"),
        format!("[{path}]"),
        path.to_uppercase(),
        path.replace("\",\"", "\",\n\""),
        "null".into(),
        "{}".into(),
        String::new(),
    ] {
        assert_eq!(refused(&text.replacen(&path, &other, 1)), wrong);
    }
    // A hash has one spelling too.
    let hash = path.find("\"hash\":\"").unwrap() + 8;
    let upper = format!("{}{}", &path[..hash], path[hash..hash + 64].to_uppercase());
    let other = text.replacen(&path[..hash + 64], &upper, 1);
    assert_ne!(other, text);
    assert_eq!(refused(&other), wrong);
    let short = text.replacen(&path[..hash + 1], &path[..hash], 1);
    assert_eq!(refused(&short), wrong);
}

#[test]
fn the_first_line_names_kind_and_version() {
    let (text, _) = parts();
    let rest = text.strip_prefix(HEADER).unwrap();
    for first in [
        "",
        "\n",
        "jejak/recap-proof/v2\n",
        "jejak/recap-proof/v1 \n",
        "jejak/recap-proof/v1\r\n",
        "Jejak/recap-proof/v1\n",
        "jejak/state/v1\n",
        " jejak/recap-proof/v1\n",
        "\u{feff}jejak/recap-proof/v1\n",
    ] {
        let error = form("the first line is another");
        assert_eq!(refused(&format!("{first}{rest}")), error, "{first:?}");
    }
    assert_eq!(refused(""), form("the first line is another"));
}

#[test]
fn the_second_part_is_a_state_entry() {
    let (text, [_, state, _]) = parts();
    let wrong = form("the second part is not a state entry");
    let world = World::new();
    let other_entry = String::from_utf8(world.entries[1].clone()).unwrap();
    let other_text = other_entry.split_once("\n\n").unwrap().0;
    for other in [
        state.replace("jejak/state/v1", "jejak/state/v2"),
        state.replace("jejak/state/v1", "jejak/tally/v1"),
        state.replace("\"size\":", "\"size\": "),
        state.replace("\"size\":", "\"size\":0"),
        state.replace("{\"contests\"", "{\"a\":0,\"contests\""),
        format!("{state} "),
        format!("{state}\nx"),
        format!("\n{state}"),
        state.lines().next().unwrap().to_string(),
        other_text.to_string(),
        String::new(),
    ] {
        assert_ne!(other, state);
        assert_eq!(refused(&text.replacen(&state, &other, 1)), wrong, "{other}");
    }
}

#[test]
fn the_third_part_is_a_receipt_and_the_end() {
    let (text, [_, _, receipt]) = parts();
    let of = |receipt: &str| Receipt::parse(receipt.as_bytes()).unwrap_err();
    for end in ["\n", " ", "x", "\0", "\n\n", "\r\n", "\u{2014} x AAAAAA==\n", "jejak"] {
        let error = of(&format!("{receipt}{end}"));
        assert_eq!(refused(&format!("{text}{end}")), RecapProofError::Receipt(error));
    }
    let twice = format!("{text}{text}");
    assert!(matches!(refused(&twice), RecapProofError::Receipt(ReceiptError::Checkpoint(_))));
    for receipt_text in ["", "\n", "c2sp.org/tlog-proof@v2\n"] {
        let error = RecapProofError::Receipt(ReceiptError::Header);
        assert_eq!(refused(&text.replacen(&receipt, receipt_text, 1)), error);
    }
    let missing = form("path, state entry and receipt are not all there");
    let before = text.strip_suffix(&receipt).unwrap();
    assert_eq!(refused(before.strip_suffix("\n").unwrap()), missing);
    assert_eq!(refused(HEADER), missing);
}

#[test]
fn no_part_of_a_file_is_a_file() {
    let (text, _) = parts();
    assert!(RecapProof::parse(text.as_bytes()).is_ok());
    for cut in 0..text.len() {
        assert!(RecapProof::parse(&text.as_bytes()[..cut]).is_err(), "the first {cut} bytes");
    }
    let crlf = text.replace('\n', "\r\n");
    assert_eq!(refused(&crlf), form("the first line is another"));
    let not_utf8 = [text.as_bytes(), &[0xff]].concat();
    assert_eq!(RecapProof::parse(&not_utf8).unwrap_err(), form("not UTF-8"));
}

#[test]
fn at_most_four_mebibytes_are_read() {
    let (text, _) = parts();
    let long = |len: usize| [text.as_bytes(), &vec![b'x'; len - text.len()]].concat();
    let error = |len| RecapProof::parse(&long(len)).unwrap_err();
    assert!(matches!(error(RECAP_PROOF_LEN_MAX), RecapProofError::Receipt(_)));
    assert_eq!(error(RECAP_PROOF_LEN_MAX + 1), form("longer than 4 MiB"));
}

// A line that no hash and no signature covers could carry anything.
#[test]
fn the_receipt_has_no_extra_line() {
    let (text, [.., receipt]) = parts();
    let header = "c2sp.org/tlog-proof@v1\n";
    let extra = receipt.replacen(header, &format!("{header}extra AAAA\n"), 1);
    assert!(Receipt::parse(extra.as_bytes()).is_ok(), "a receipt alone may have one");
    let other = text.replacen(&receipt, &extra, 1);
    assert_eq!(refused(&other), form("the receipt has data that nothing proves"));
}
