//! The routes that are written: entries one by one and in batches.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::Request};
use bytes::Bytes;
use hyper::body::Frame;
use jejak::server::limits::Limits;
use jejak_proofs::merkle::leaf_hash;
use serde_json::json;

use crate::fixture::{
    CONFLICT, Fixture, Mood, REFUSED, REFUSED_UNKNOWN, ask, conflict_head, entry, flagged, post,
};

const ENTRIES: &str = "/test/entries";
const BATCH: &str = "/test/entries/batch";
const TEXT: &str = "text/plain";
const BYTES: &str = "application/octet-stream";

fn framed<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let frame = |entry: &[u8]| [&u16::try_from(entry.len()).unwrap().to_be_bytes(), entry].concat();
    entries.into_iter().flat_map(frame).collect()
}

#[tokio::test]
async fn an_entry_gets_a_receipt_once_new_and_then_known() {
    let fixture = Fixture::new(2).await;
    let new = fixture.post(ENTRIES, TEXT, entry(50)).await;
    assert_eq!(new.status, 201);
    assert_eq!(new.header("location"), Some("/test/entry/2"));
    assert_eq!(new.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(new.header("cache-control"), Some("no-store"));
    assert_eq!(new.header("jejak-flags"), None);
    assert_eq!(new.header("access-control-allow-origin"), None, "only reads are for all origins");
    assert_eq!(new.text(), fixture.log.receipt(2).unwrap().unwrap());
    assert_eq!(fixture.get("/test/entry/2").await.body, entry(50));

    let known = fixture.post(ENTRIES, TEXT, entry(50)).await;
    assert_eq!(known.status, 200);
    assert_eq!(known.header("location"), Some("/test/entry/2"));
    assert_eq!(known.body, new.body);
    assert_eq!(fixture.size(), 3);

    let wrong_sums = fixture.post(ENTRIES, TEXT, flagged(51)).await;
    assert_eq!(wrong_sums.status, 201);
    assert_eq!(wrong_sums.header("jejak-flags"), Some("A1,A3"));
}

#[tokio::test]
async fn each_refusal_has_its_code_and_logs_nothing() {
    let fixture = Fixture::new(2).await;
    for (entry, status, code) in REFUSED {
        let reply = fixture.post(ENTRIES, TEXT, *entry).await;
        reply.refused(*status, code, entry);
        assert_eq!(reply.json()["type"], "about:blank");
        let members = if *code == "conflict" { 6 } else { 5 };
        assert_eq!(reply.json().as_object().unwrap().len(), members, "{code}");
    }
    fixture.post(ENTRIES, TEXT, REFUSED_UNKNOWN).await.refused(500, "internal", "unknown code");
    let conflict = fixture.post(ENTRIES, TEXT, CONFLICT).await;
    conflict.refused(409, "conflict", CONFLICT);
    assert_eq!(conflict.json()["head"], conflict_head());
    assert_eq!(conflict.json()["title"], "Conflict");
    let empty_chain = fixture.post(ENTRIES, TEXT, "refuse conflict").await;
    assert!(empty_chain.json()["head"].is_null());
    assert_eq!(fixture.size(), 2);
    assert_eq!(fixture.post(ENTRIES, TEXT, entry(9)).await.status, 201, "the next one is fine");
}

#[tokio::test]
async fn a_log_that_cannot_take_entries_says_when_to_try_again() {
    let fixture = Fixture::new(2).await;
    let batch = framed([entry(9).as_slice()]);
    for (mood, code, seconds) in [
        (Mood::Full, "overloaded", "1"),
        (Mood::Closing, "unavailable", "5"),
        (Mood::Unavailable, "unavailable", "5"),
    ] {
        fixture.mood(mood);
        for (path, kind, body) in [(ENTRIES, TEXT, entry(9)), (BATCH, BYTES, batch.clone())] {
            let reply = fixture.post(path, kind, body).await;
            reply.refused(503, code, path);
            assert_eq!(reply.header("retry-after"), Some(seconds));
        }
    }
    fixture.mood(Mood::Fine);
    assert_eq!(fixture.size(), 2);
}

#[tokio::test]
async fn only_a_post_of_the_right_type_is_read() {
    let fixture = Fixture::new(0).await;
    for (path, right, wrong) in [(ENTRIES, TEXT, BYTES), (BATCH, BYTES, TEXT)] {
        for content_type in [wrong, "", "text", "text/html", "text/plain,application/octet-stream"]
        {
            let reply = fixture.post(path, content_type, "x").await;
            reply.refused(415, "unsupported_media_type", content_type);
        }
        let build = || Request::post(path).header("host", "h").header("content-length", "1");
        let bare = ask(&fixture.router, build().body(Body::from("x")).unwrap()).await;
        bare.refused(415, "unsupported_media_type", "no type");
        let twice = build().header("content-type", right).header("content-type", right);
        let twice = ask(&fixture.router, twice.body(Body::from("x")).unwrap()).await;
        twice.refused(415, "unsupported_media_type", "two types");
        for encoding in ["gzip", "deflate", "identity", ""] {
            let packed = build().header("content-type", right).header("content-encoding", encoding);
            let packed = ask(&fixture.router, packed.body(Body::from("x")).unwrap()).await;
            packed.refused(415, "unsupported_media_type", encoding);
        }
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
            let request = Request::builder().method(method).uri(path).header("host", "h");
            let reply = ask(&fixture.router, request.body(Body::empty()).unwrap()).await;
            assert_eq!(reply.status, 405, "{method}");
            assert_eq!(reply.header("allow"), Some("POST"), "{method}");
        }
        post_path_is_strict(&fixture, path, right).await;
    }
    assert_eq!(fixture.size(), 0);
    for content_type in ["text/plain; charset=utf-8", "TEXT/Plain", "text/plain ;x=y"] {
        let reply = fixture.post(ENTRIES, content_type, entry(content_type.len() as u64)).await;
        assert_eq!(reply.status, 201, "{content_type}");
    }
}

async fn post_path_is_strict(fixture: &Fixture, path: &str, right: &str) {
    fixture.post(&format!("{path}?x"), right, entry(1)).await.refused(400, "malformed", "query");
    let other = path.replace("test", "other");
    fixture.post(&other, right, entry(1)).await.refused(404, "not_found", "other log");
}

#[tokio::test]
async fn the_length_is_known_or_counted() {
    let fixture = Fixture::new(0).await;
    let build = || Request::post(ENTRIES).header("host", "h").header("content-type", TEXT);
    let none = ask(&fixture.router, build().body(Body::from(entry(0))).unwrap()).await;
    none.refused(411, "length_required", "neither length nor chunks");
    for length in ["+5", "05", "-1", "x", "", "18446744073709551616"] {
        let request = build().header("content-length", length).body(Body::from("x")).unwrap();
        ask(&fixture.router, request).await.refused(400, "malformed", length);
    }
    let both = build().header("content-length", "8").header("transfer-encoding", "chunked");
    let both = ask(&fixture.router, both.body(Body::from(entry(0))).unwrap()).await;
    both.refused(400, "malformed", "two lengths");
    assert_eq!(fixture.size(), 0);

    // Announced as too large: refused although no byte of it ever comes.
    let never = Body::new(Never);
    let large = build().header("content-length", "65536").body(never).unwrap();
    ask(&fixture.router, large).await.refused(413, "too_large", "announced");
    let chunked = build().header("transfer-encoding", "chunked").body(Body::from(entry(0)));
    assert_eq!(ask(&fixture.router, chunked.unwrap()).await.status, 201);
}

/// A body of which nothing ever comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

/// An entry that the log admits, of exactly this many bytes.
fn sized(len: usize) -> Vec<u8> {
    let mut entry = entry(0);
    entry.resize(len, b'x');
    entry
}

#[tokio::test]
async fn one_byte_over_the_limit_is_too_large() {
    let fixture = Fixture::new(0).await;
    assert_eq!(fixture.post(ENTRIES, TEXT, sized(65_535)).await.status, 201);
    fixture.post(ENTRIES, TEXT, sized(65_536)).await.refused(413, "too_large", "announced");
    let chunked = |len| {
        Request::post(ENTRIES)
            .header("host", "h")
            .header("content-type", TEXT)
            .header("transfer-encoding", "chunked")
            .body(Body::from(sized(len)))
            .unwrap()
    };
    assert_eq!(ask(&fixture.router, chunked(65_535)).await.status, 200);
    ask(&fixture.router, chunked(65_536)).await.refused(413, "too_large", "counted");
    assert_eq!(fixture.size(), 1);

    // 64 entries of 65,534 bytes with their lengths are exactly 4 MiB.
    let entries: Vec<Vec<u8>> =
        (0..64).map(|i| [vec![b'e'; 4], vec![i; 65_530]].concat()).collect();
    let exact = framed(entries.iter().map(Vec::as_slice));
    assert_eq!(exact.len(), 4 << 20);
    assert_eq!(fixture.post(BATCH, BYTES, exact.clone()).await.lines().len(), 65);
    let over = [exact, vec![0, 0]].concat();
    fixture.post(BATCH, BYTES, over).await.refused(413, "too_large", "4 MiB and 2 bytes");
}

#[tokio::test]
async fn a_batch_answers_entry_by_entry_and_with_one_proof() {
    let fixture = Fixture::new(2).await;
    let (known, new, wrong) = (entry(1), entry(60), flagged(61));
    let entries =
        [new.as_slice(), b"refuse invalid_unit", &known, CONFLICT.as_bytes(), b"", &wrong, &new];
    let reply = fixture.post(BATCH, BYTES, framed(entries)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let lines = reply.lines();
    let leaf = leaf_hash;
    let flags: [&str; 0] = [];
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], json!({"index": 2, "leaf": leaf(&new), "flags": flags, "status": "new"}));
    assert_eq!(lines[1]["problem"]["code"], "invalid_unit");
    assert_eq!(lines[1]["problem"]["status"], 422);
    assert_eq!(
        lines[2],
        json!({"index": 1, "leaf": leaf(&known), "flags": flags, "status": "known"})
    );
    assert_eq!(lines[3]["problem"]["head"], conflict_head());
    assert_eq!(lines[4]["problem"]["code"], "malformed");
    assert_eq!(
        lines[5],
        json!({"index": 3, "leaf": leaf(&wrong), "flags": ["A1", "A3"], "status": "new"})
    );
    assert_eq!(lines[6]["status"], "known");
    assert_eq!(lines[7]["indexes"], json!([1, 2, 3]));
    assert_eq!(lines[7]["checkpoint"], *fixture.log.published().note);
    let proof = fixture.log.batch_proof(4, &[1, 2, 3]).unwrap().unwrap();
    let hashes: Vec<String> = proof.iter().map(|hash| hash.to_base64()).collect();
    assert_eq!(lines[7]["hashes"], json!(hashes));
    assert_eq!(fixture.size(), 4);
}

#[tokio::test]
async fn a_batch_holds_1_to_1000_whole_entries() {
    let fixture = Fixture::new(0).await;
    let entries: Vec<Vec<u8>> = (0..1001).map(entry).collect();
    let batch = |count: usize| framed(entries[..count].iter().map(Vec::as_slice));
    fixture.post(BATCH, BYTES, batch(0)).await.refused(400, "malformed", "0 entries");
    fixture.post(BATCH, BYTES, batch(1001)).await.refused(413, "too_large", "1,001 entries");
    let whole = batch(3);
    for broken in [&whole[..whole.len() - 1], &whole[1..], &[&whole[..], &[0]].concat(), &[0]] {
        fixture.post(BATCH, BYTES, broken.to_vec()).await.refused(400, "malformed", "framing");
    }
    assert_eq!(fixture.size(), 0);
    assert_eq!(fixture.post(BATCH, BYTES, batch(1)).await.lines().len(), 2);
    assert_eq!(fixture.post(BATCH, BYTES, batch(1000)).await.lines().len(), 1001);
    assert_eq!(fixture.size(), 1000);
}

#[tokio::test]
async fn bodies_together_are_bounded_and_their_memory_comes_back() {
    let limits = Limits { bodies_bytes_max: 10_000, ..Limits::default() };
    let fixture = Fixture::with(0, limits).await;
    for _ in 0..3 {
        let reply = fixture.post(ENTRIES, TEXT, sized(10_001)).await;
        reply.refused(503, "overloaded", "over the bound alone");
        assert_eq!(reply.header("retry-after"), Some("1"));
        let reply = fixture.post(ENTRIES, TEXT, sized(9_999)).await;
        assert!(reply.status.is_success());
    }
    fixture.delay(Duration::from_millis(200));
    let (one, two) = tokio::join!(
        fixture.post(ENTRIES, TEXT, sized(6_000)),
        fixture.post(ENTRIES, TEXT, sized(6_001)),
    );
    assert_eq!(one.status, 201);
    two.refused(503, "overloaded", "the other one still waits for its answer");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let limits = Limits { request_time_max: Duration::from_millis(50), ..Limits::default() };
    let fixture = Fixture::with(0, limits).await;
    fixture.delay(Duration::from_secs(3600));
    fixture.post(ENTRIES, TEXT, entry(0)).await.refused(503, "overloaded", "deadline");
    assert_eq!(ask(&fixture.router, post(ENTRIES, BYTES, Body::from("x"))).await.status, 415);
}
