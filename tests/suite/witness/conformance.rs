//! Every row of the table of C2SP tlog-witness, and bodies that are none, against two witnesses.

use jejak::witness::judge::{self, Known, Outcome};
use jejak_proofs::{
    merkle::{Hash, TreeHead, sha256},
    note::{AddCheckpoint, Checkpoint, CosigningKey, KeyKind, SigningKey, VerifierKey, compose},
};

use super::{
    history::{History, ORIGIN, key},
    place::{Aics, Ours, Place, Reply, send},
};

/// The log of the example in SPEC.md, and when it is cosigned there.
const EXAMPLE_LOG: &str = "example.com/tally+5f701849+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const EXAMPLE_TIME: u64 = 1_720_000_000;

/// A log that is never cosigned.
const FRESH: &str = "log.example/fresh";

/// One request, and what it is answered with.
struct Row {
    what: &'static str,
    body: Vec<u8>,
    want: Want,
    /// Where the independent witness answers otherwise, and why it may.
    aics: Option<(u16, &'static str)>,
}

enum Want {
    Status(u16),
    /// 409 with this size.
    Conflict(u64),
    /// 200 with a cosignature of this size of the honest history.
    Cosigned(usize),
}

fn row(what: &'static str, body: impl Into<Vec<u8>>, want: Want) -> Row {
    Row { what, body: body.into(), want, aics: None }
}

fn refused(what: &'static str, status: u16, body: impl Into<Vec<u8>>) -> Row {
    row(what, body, Want::Status(status))
}

/// A signature line of a key that nobody knows.
fn stranger(number: u8, text: &str) -> String {
    let name = format!("stranger.example/{number}");
    SigningKey::from_seed(&name, KeyKind::Ed25519, [number + 1; 32]).unwrap().sign_line(text)
}

/// The honest request from `old` to `new` with other signature lines.
fn signed(log: &History, old: usize, new: usize, lines: &[String]) -> String {
    let text = log.checkpoint(new).text().to_owned();
    let head: String = log.request(old, new).split("\n\n").next().unwrap().to_owned();
    format!("{head}\n\n{}", compose(&text, lines))
}

/// A checkpoint text that says what a test wants, signed by the log.
fn text_signed(origin: &str, text: &str) -> String {
    compose(text, &[key(origin).sign_line(text)])
}

/// Who signed. The head that was cosigned last is that of 5 entries.
fn signature_rows(log: &History) -> Vec<Row> {
    let text = log.checkpoint(8).text().to_owned();
    let good = key(ORIGIN).sign_line(&text);
    let other = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    let false_line = key(ORIGIN).sign_line("another text\n");
    let many: Vec<String> = (0..16).map(|n| stranger(n, &text)).chain([good.clone()]).collect();
    let unknown = History::new("log.example/unknown", 8);
    vec![
        refused("an unknown origin", 404, unknown.request(0, 8)),
        refused("no key of the log", 403, signed(log, 5, 8, &[stranger(0, &text)])),
        refused("the log's name, another id", 403, signed(log, 5, 8, &[other.sign_line(&text)])),
        refused("a false signature", 403, signed(log, 5, 8, std::slice::from_ref(&false_line))),
        refused(
            "a false one beside a good one",
            403,
            signed(log, 5, 8, &[good.clone(), false_line]),
        ),
        row(
            "an unknown key beside",
            signed(log, 5, 8, &[good, stranger(0, &text)]),
            Want::Cosigned(8),
        ),
        row("17 signatures", signed(log, 8, 8, &many), Want::Cosigned(8)),
    ]
}

/// What is no request.
fn malformed_rows(log: &History) -> Vec<Row> {
    let good = log.request(8, 10);
    let hash = sha256(b"").to_base64();
    let head = good.split("\n\n").next().unwrap();
    let note = log.checkpoint(10).note().to_owned();
    let lines = |count: usize| format!("old 8\n{}\n{note}", format!("{hash}\n").repeat(count));
    let root = log.head(10).root.to_base64();
    let text = |size: &str, root: &str| {
        format!("{head}\n\n{}", text_signed(ORIGIN, &format!("{ORIGIN}\n{size}\n{root}\n")))
    };
    let with_old = |old: &str| good.replacen("old 8", old, 1);
    [
        ("nothing", String::new()),
        ("64 proof lines", lines(64)),
        ("no empty line", good.replacen("\n\n", "\n", 1)),
        ("no first line", note.clone()),
        ("no checkpoint", format!("{head}\n\n")),
        ("no signatures", format!("{head}\n\n{}", log.checkpoint(10).text())),
        ("two empty lines", good.replacen("\n\n", "\n\n\n", 1)),
        ("no last newline", good.trim_end().to_owned()),
        ("bytes behind", format!("{good}\n")),
        ("line ends of another system", good.replace('\n', "\r\n")),
        ("old with a leading zero", with_old("old 08")),
        ("old with a sign", with_old("old +8")),
        ("old with a space", with_old("old 8 ")),
        ("old in hexadecimal", with_old("old 0x8")),
        ("old of 2^63", with_old("old 9223372036854775808")),
        ("old of 2^64", with_old("old 18446744073709551616")),
        ("old without a number", with_old("old ")),
        ("another word", with_old("size 8")),
        ("a hash of 31 bytes", good.replacen("old 8\n", "old 8\nAAAA\n", 1)),
        ("a hash with spare bits", lines(1).replacen(&hash, &hash.replace("U=", "V="), 1)),
        ("a size with a leading zero", text("010", &root)),
        ("a size of 2^63", text("9223372036854775808", &root)),
        ("a size that is no number", text("ten", &root)),
        ("a root of 31 bytes", text("10", "AAAA")),
        (
            "two lines of text",
            format!("{head}\n\n{}", text_signed(ORIGIN, &format!("{ORIGIN}\n10\n"))),
        ),
    ]
    .into_iter()
    .map(|(what, body)| refused(what, 400, body))
    .collect()
}

/// Sizes and proofs. The head that was cosigned last is that of 8 entries.
fn tree_rows(log: &History) -> Vec<Row> {
    let fork = log.forked(6, "fork");
    let fresh = History::new(FRESH, 8);
    let with_old = |body: String, old: usize| body.replacen("old 8", &format!("old {old}"), 1);
    let mut longer: Vec<String> = log.request(8, 11).split("\n\n").map(str::to_owned).collect();
    longer[0].push_str(&format!("\n{}", sha256(b"").to_base64()));
    let false_root = TreeHead { size: 0, root: sha256(b"no tree") };
    let empty = |root: Hash, origin: &str| {
        let text = format!("{origin}\n0\n{}\n", root.to_base64());
        format!("old 0\n\n{}", text_signed(origin, &text))
    };
    let unknown_empty = empty(false_root.root, "log.example/unknown");
    let unsigned_empty = empty(false_root.root, FRESH).replace(FRESH, ORIGIN);
    vec![
        refused("old above the size", 400, with_old(log.request(8, 8), 9)),
        row("old behind", log.request(5, 11), Want::Conflict(8)),
        row("old 0 of a known log", log.request(0, 11), Want::Conflict(8)),
        row("old ahead", log.request(10, 11), Want::Conflict(8)),
        row("a smaller head", log.request(5, 5), Want::Conflict(8)),
        row("old of a log never cosigned", fresh.request(5, 8), Want::Conflict(0)),
        refused("old 0 with a proof", 422, fresh.request(5, 8).replacen("old 5", "old 0", 1)),
        refused("no proof", 422, format!("old 8\n\n{}", log.checkpoint(11).note())),
        refused(
            "a proof for another size",
            422,
            with_old(log.request(5, 11).replacen("old 5", "old 8", 1), 8),
        ),
        refused("a longer proof", 422, longer.join("\n\n")),
        refused("the proof of a fork", 422, fork.request(8, 11)),
        refused(
            "a proof for one size",
            422,
            format!("old 8\n{}\n\n{}", sha256(b"").to_base64(), log.checkpoint(8).note()),
        ),
        refused("one size, two roots", 422, fork.request(8, 8)),
        refused("an empty tree with a root", 422, empty(false_root.root, FRESH)),
        refused("the same of an unknown log", 404, unknown_empty),
        refused("the same, not signed", 403, unsigned_empty),
        row("the same head again", log.request(8, 8), Want::Cosigned(8)),
        row("a good head", log.request(8, 11), Want::Cosigned(11)),
        row("the empty tree after it", empty(TreeHead::EMPTY.root, ORIGIN), Want::Conflict(11)),
    ]
}

fn check(place: &impl Place, log: &History, row: &Row, ours: bool) {
    let reply = place.add(&row.body);
    let what = format!("{}: {reply:?}", row.what);
    let want = match row.aics {
        Some((status, reason)) if !ours => {
            return assert_eq!(reply.status, status, "{what} ({reason})");
        }
        _ => &row.want,
    };
    match *want {
        Want::Status(status) => {
            assert_eq!(reply.status, status, "{what}");
            let problem = status == 200 || reply.content_type == "application/problem+json";
            assert!(!ours || problem, "{what}");
        }
        Want::Conflict(size) => {
            assert_eq!((reply.status, reply.body.as_str()), (409, &*format!("{size}\n")), "{what}");
            assert_eq!(reply.content_type, "text/x.tlog.size", "{what}");
        }
        Want::Cosigned(size) => {
            assert_eq!(reply.status, 200, "{what}");
            assert!(place.verified(log, size, &reply) > 0);
        }
    }
}

/// Rows in which the two differ.
fn differing(log: &History) -> Vec<Row> {
    let text = format!("{}one line more\n", log.checkpoint(12).text());
    let head = log.request(11, 12).split("\n\n").next().unwrap().to_owned();
    let extended = format!("{head}\n\n{}", text_signed(ORIGIN, &text));
    let long = format!("{}{}\n", log.checkpoint(12).text(), "a".repeat(5_000));
    let over = vec![b'a'; (1 << 20) + 1];
    vec![
        Row {
            aics: Some((400, "its profile has no extension lines unless they are configured")),
            ..row(
                "a text over the limit",
                format!("{head}\n\n{}", text_signed(ORIGIN, &long)),
                Want::Status(400),
            )
        },
        Row {
            aics: Some((400, "its profile has no extension lines unless they are configured")),
            ..row("an extension line", extended, Want::Status(200))
        },
        Row {
            aics: Some((413, "its limit is 256 KiB: also too large")),
            ..row("a body over 1 MiB", over, Want::Status(413))
        },
    ]
}

fn table(place: &impl Place, ours: bool) {
    let (log, fresh) = (History::new(ORIGIN, 12), History::new(FRESH, 8));
    assert_eq!(place.monitored(ORIGIN).status, 404, "never cosigned");
    place.cosigned(&log, 0, 5);
    let rows = [signature_rows(&log), malformed_rows(&log), tree_rows(&log)];
    rows.iter().flatten().for_each(|row| check(place, &log, row, ours));
    // What was cosigned last, for monitors: the log's line and the witness's.
    let reply = place.monitored(ORIGIN);
    assert_eq!((reply.status, &*reply.content_type), (200, "text/plain; charset=utf-8"));
    assert!(reply.body.starts_with(log.checkpoint(11).note()), "{reply:?}");
    let line = Reply { body: reply.body[log.checkpoint(11).note().len()..].to_owned(), ..reply };
    assert!(place.verified(&log, 11, &line) > 0);
    for origin in [FRESH, "log.example/unknown"] {
        assert_eq!(place.monitored(origin).status, 404, "{origin}");
    }
    let upper = sha256(ORIGIN.as_bytes()).to_string().to_uppercase();
    assert_eq!(send(&format!("{}/{upper}/checkpoint", place.url()), None).status, 404);
    differing(&log).iter().for_each(|row| check(place, &log, row, ours));
    // A log may begin empty.
    let empty = Checkpoint::sign(TreeHead::EMPTY, &key(FRESH)).unwrap();
    assert_eq!(place.add(format!("old 0\n\n{}", empty.note())).status, 200);
    place.cosigned(&fresh, 0, 8);
}

// SPEC [J1] [J2] [J3] [J4] [J5] [J6] [J7] [J8] [J15]
#[test]
fn our_witness_answers_as_the_table_says() {
    let (log, fresh) = (History::new(ORIGIN, 1), History::new(FRESH, 1));
    table(&Ours::served(&[&log, &fresh]), true);
}

#[test]
fn an_independent_witness_answers_as_the_table_says() {
    let (log, fresh) = (History::new(ORIGIN, 1), History::new(FRESH, 1));
    if let Some(aics) = Aics::served(&[&log, &fresh]) {
        table(&aics, false);
    }
}

/// Ours with a key of the other kind.
#[test]
fn cosignatures_may_be_post_quantum() {
    let log = History::new(ORIGIN, 12);
    let mut ours = Ours::of(&["--kind", "ml-dsa-44"], &[&log]);
    ours.serve(&[]);
    let first = ours.cosigned(&log, 0, 5);
    assert!(ours.cosigned(&log, 5, 12) >= first);
    ours.kill();
    assert_eq!(ours.monitored(ORIGIN).status, 200);
}

#[test]
fn other_methods_paths_and_queries_are_refused() {
    let ours = Ours::served(&[&History::new(ORIGIN, 1)]);
    for (path, status) in [
        ("/add-checkpoint", 405),
        ("/add-checkpoint/", 400),
        ("/add-checkpoint?a", 400),
        ("/", 404),
        ("/checkpoint", 404),
        ("/healthz", 200),
    ] {
        assert_eq!(send(&format!("{}{path}", ours.url()), None).status, status, "{path}");
    }
    assert_eq!(send(&format!("{}/healthz", ours.url()), Some(b"")).status, 405);
    assert_eq!(send(&format!("{}/metrics", ours.url()), None).status, 404, "not for everybody");
}

/// The example of SPEC.md is a request and its answer.
#[test]
fn the_example_verifies() {
    let blocks = crate::spec::code_blocks("## Witness");
    let [request, line] = &blocks[..] else { panic!("{blocks:?}") };
    let request = AddCheckpoint::parse(request.as_bytes()).unwrap();
    let keys = [VerifierKey::parse(EXAMPLE_LOG).unwrap()];
    let known = Known { origin: keys[0].name(), keys: &keys, last: None };
    let signed = judge::verify(&known, &request).unwrap();
    let outcome = judge::judge(&known, &request, signed.clone(), EXAMPLE_TIME);
    let cosign = Outcome::Cosign { checkpoint: signed.clone(), time: EXAMPLE_TIME };
    assert_eq!(outcome, cosign);
    let witness = CosigningKey::from_seed("witness.example/w1", KeyKind::CosignatureV1, [2; 32]);
    assert_eq!(*line, witness.unwrap().cosign(&signed, EXAMPLE_TIME).unwrap());
}
