//! The routes that are written: entries one by one and in batches.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::Request};
use bytes::Bytes;
use hyper::body::Frame;
use jejak::{
    log::{Log, Options, POOL_ENTRIES_MAX, SubmitError},
    server::{limits::Limits, operator_router},
    store::JournalOptions,
};
use jejak_proofs::merkle::leaf_hash;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    directory::OPTIONS,
    election::{election, entry, flagged},
    fixture::{Fixture, ask, get, post},
};

const ENTRIES: &str = "/test/entries";
const BATCH: &str = "/test/entries/batch";
const TEXT: &str = "text/plain";
const BYTES: &str = "application/octet-stream";

fn framed<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let frame = |entry: &[u8]| [&u16::try_from(entry.len()).unwrap().to_be_bytes(), entry].concat();
    entries.into_iter().flat_map(frame).collect()
}

/// The head of the chain that entry 3 opens, as a conflict tells it.
fn conflict_head() -> Value {
    json!({ "index": 3, "leaf": leaf_hash(&entry(3)), "seq": 0 })
}

#[tokio::test]
async fn an_entry_gets_a_receipt_once_new_and_then_known() {
    let fixture = Fixture::new(4).await;
    let new = fixture.post(ENTRIES, TEXT, entry(50)).await;
    assert_eq!(new.status, 201, "{:?}", new.body);
    assert_eq!(new.header("location"), Some("/test/entry/4"));
    assert_eq!(new.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(new.header("cache-control"), Some("no-store"));
    assert_eq!(new.header("jejak-flags"), None);
    assert_eq!(new.header("access-control-allow-origin"), None, "only reads are for all origins");
    assert_eq!(new.text(), fixture.log.receipt(4).unwrap().unwrap());
    assert_eq!(fixture.get("/test/entry/4").await.body, entry(50));

    let known = fixture.post(ENTRIES, TEXT, entry(50)).await;
    assert_eq!(known.status, 200);
    assert_eq!(known.header("location"), Some("/test/entry/4"));
    assert_eq!(known.body, new.body);
    assert_eq!(fixture.size(), 5);

    let wrong_sums = fixture.post(ENTRIES, TEXT, flagged(51)).await;
    assert_eq!(wrong_sums.status, 201);
    assert_eq!(wrong_sums.header("jejak-flags"), Some("A1,A3"));
}

#[tokio::test]
async fn each_refusal_has_its_code_and_logs_nothing() {
    let fixture = Fixture::new(4).await;
    for (entry, status, code) in election().refused() {
        let reply = fixture.post(ENTRIES, TEXT, entry).await;
        reply.refused(status, code, code);
        assert_eq!(reply.json()["type"], "about:blank");
        let members = if code == "conflict" { 6 } else { 5 };
        assert_eq!(reply.json().as_object().unwrap().len(), members, "{code}");
    }
    let conflict = fixture.post(ENTRIES, TEXT, election().rival(3)).await;
    conflict.refused(409, "conflict", "another head");
    assert_eq!(conflict.json()["head"], conflict_head());
    assert_eq!(conflict.json()["title"], "Conflict");
    let no_head = election().revision(6, 1, leaf_hash(b"no head"));
    assert!(fixture.post(ENTRIES, TEXT, no_head).await.json()["head"].is_null());
    assert_eq!(fixture.size(), 4);
    assert_eq!(fixture.post(ENTRIES, TEXT, entry(9)).await.status, 201, "the next one is fine");
}

#[tokio::test]
async fn a_refusal_says_which_rule_and_nothing_of_the_entry() {
    let fixture = Fixture::new(4).await;
    let detail = async |entry: Vec<u8>| {
        fixture.post(ENTRIES, TEXT, entry).await.json()["detail"].as_str().unwrap().to_owned()
    };
    let line = detail(entry(9).split_off(1)).await;
    assert_eq!(line, "not an entry: the first line is not jejak/<kind>/v1");
    let spaced = String::from_utf8(entry(9)).unwrap().replacen('{', "{ ", 1);
    assert_eq!(detail(spaced.into_bytes()).await, "not an entry: JSON is not in canonical form");
    let ledger = "`seq` and `prev` do not extend the head of the chain";
    assert_eq!(detail(election().rival(3)).await, ledger);
    assert_eq!(detail(b"zqzq7 zqzq7\n".to_vec()).await.find("zqzq7"), None);
    let batch = framed([election().rival(3).as_slice()]);
    let lines = fixture.post(BATCH, BYTES, batch).await.lines();
    assert_eq!(lines[0]["problem"]["detail"], ledger);
}

#[tokio::test]
async fn a_problem_is_spelled_alike_alone_and_in_a_batch() {
    let fixture = Fixture::new(4).await;
    for entry in [election().rival(3), election().revision(6, 1, leaf_hash(b"no head"))] {
        let alone = fixture.post(ENTRIES, TEXT, entry.clone()).await;
        let start = r#"{"type":"about:blank","title":"Conflict","status":409,"code":"conflict","#;
        assert!(alone.text().starts_with(start), "{}", alone.text());
        let batch = fixture.post(BATCH, BYTES, framed([entry.as_slice()])).await;
        let line = batch.text().lines().next().unwrap();
        assert_eq!(line, format!(r#"{{"problem":{}}}"#, alone.text()));
    }
}

#[tokio::test]
async fn a_frozen_log_is_gone_and_still_knows() {
    let fixture = Fixture::new(4).await;
    assert_eq!(fixture.post(ENTRIES, TEXT, election().freeze()).await.status, 201);
    fixture.post(ENTRIES, TEXT, entry(9)).await.refused(410, "log_frozen", "after the freeze");
    assert_eq!(fixture.post(ENTRIES, TEXT, entry(3)).await.status, 200);
    assert_eq!(fixture.post(ENTRIES, TEXT, election().freeze()).await.status, 200);
    assert_eq!(fixture.size(), 5);
}

/// Both routes refuse with 503 and say when to try again.
async fn refuses_for_now(fixture: &Fixture, code: &str, seconds: &str) {
    let batch = framed([entry(999).as_slice()]);
    for (path, kind, body) in [(ENTRIES, TEXT, entry(999)), (BATCH, BYTES, batch)] {
        let reply = fixture.post(path, kind, body).await;
        reply.refused(503, code, path);
        assert_eq!(reply.header("retry-after"), Some(seconds));
    }
}

// SPEC [W20]
#[tokio::test]
async fn a_log_that_cannot_take_entries_says_when_to_try_again() {
    let fixture = Fixture::new(300).await;
    let stall = fixture.stall().await;
    let waiting = fill_pool(&fixture.log).await;
    refuses_for_now(&fixture, "overloaded", "1").await;
    drop(stall);
    for batch in waiting {
        assert!(batch.await.unwrap().is_ok(), "what waited is answered");
    }
    assert_eq!(fixture.post(ENTRIES, TEXT, entry(400)).await.status, 201, "there is room again");

    fixture.log.clone().close().unwrap();
    refuses_for_now(&fixture, "unavailable", "5").await;
    assert_eq!(fixture.size(), 301);

    let journal = JournalOptions { free_min: u64::MAX, ..OPTIONS.journal };
    let full_disk = fixture.reopen(&Options { journal, ..OPTIONS });
    refuses_for_now(&full_disk, "unavailable", "5").await;
    assert_eq!(full_disk.get("/test/entry/0").await.status, 200, "reads go on");
    accepts(&full_disk, false).await;
    // Only what would have to be logged needs room.
    full_disk.post(ENTRIES, TEXT, "no entry\n").await.refused(400, "malformed", "no entry");
    assert_eq!(full_disk.post(ENTRIES, TEXT, entry(7)).await.status, 200);
    let batch = framed([entry(7).as_slice(), b"no entry"]);
    let lines = full_disk.post(BATCH, BYTES, batch).await.lines();
    assert_eq!((&lines[0]["index"], &lines[1]["problem"]["status"]), (&json!(7), &json!(400)));
    let read_only = full_disk.reopen(&Options { read_only: true, ..OPTIONS });
    refuses_for_now(&read_only, "unavailable", "5").await;
    let again = read_only.reopen(&OPTIONS);
    assert_eq!(again.post(ENTRIES, TEXT, entry(999)).await.status, 201);
    assert_eq!(again.size(), 302);
}

/// Asserts what `/readyz` and the metrics say about taking entries.
async fn accepts(fixture: &Fixture, accepting: bool) {
    let ready = fixture.get("/readyz").await;
    assert_eq!(ready.status, if accepting { 200 } else { 503 });
    let metrics = ask(&operator_router(&fixture.server), get("/metrics")).await;
    let line = format!("jejak_accepting{{log=\"test\"}} {}.0\n", u8::from(accepting));
    assert!(metrics.text().contains(&line), "{}", metrics.text());
}

#[tokio::test]
async fn a_disk_that_was_full_is_found_to_have_room_again() {
    let fixture = Fixture::new(4).await;
    accepts(&fixture, true).await;
    // The next segment cannot be written, once.
    let segment = fixture.directory.log().join("journal/new.tmp");
    std::os::unix::fs::symlink("/dev/full", segment).unwrap();
    let large = election().sized(61_440);
    fixture.post(ENTRIES, TEXT, large.clone()).await.refused(503, "unavailable", "full");
    accepts(&fixture, false).await;
    // Nothing has to be sent for the log to notice.
    let noticed = async {
        while fixture.get("/readyz").await.status != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), noticed).await.expect("it never notices");
    accepts(&fixture, true).await;
    assert_eq!(fixture.post(ENTRIES, TEXT, large).await.status, 201);
}

type Answer = tokio::task::JoinHandle<Result<jejak::log::BatchLogged, SubmitError>>;

/// Lets as much wait as may, of entries that will be refused.
async fn fill_pool(log: &Log) -> Vec<Answer> {
    let mut waiting = Vec::new();
    let mut left = POOL_ENTRIES_MAX;
    while left > 0 {
        let count = left.min(1_000);
        left -= count;
        let (log, batch) = (log.clone(), vec![Bytes::from_static(b"no entry"); count]);
        waiting.push(tokio::spawn(async move { log.submit_batch(batch).await }));
    }
    while log.status().queue < POOL_ENTRIES_MAX as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    waiting
}

#[tokio::test]
async fn only_a_post_of_the_right_type_is_read() {
    let fixture = Fixture::new(3).await;
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
    assert_eq!(fixture.size(), 3);
    for content_type in ["text/plain; charset=utf-8", "TEXT/Plain", "text/plain ;x=y"] {
        let reply =
            fixture.post(ENTRIES, content_type, entry(100 + content_type.len() as u64)).await;
        assert_eq!(reply.status, 201, "{content_type}");
    }
}

async fn post_path_is_strict(fixture: &Fixture, path: &str, right: &str) {
    fixture.post(&format!("{path}?x"), right, entry(9)).await.refused(400, "malformed", "query");
    let other = path.replace("test", "other");
    fixture.post(&other, right, entry(9)).await.refused(404, "not_found", "other log");
}

#[tokio::test]
async fn the_length_is_known_or_counted() {
    let fixture = Fixture::new(3).await;
    let build = || Request::post(ENTRIES).header("host", "h").header("content-type", TEXT);
    let none = ask(&fixture.router, build().body(Body::from(entry(9))).unwrap()).await;
    none.refused(411, "length_required", "neither length nor chunks");
    for length in ["+5", "05", "-1", "x", "", "18446744073709551616"] {
        let request = build().header("content-length", length).body(Body::from("x")).unwrap();
        ask(&fixture.router, request).await.refused(400, "malformed", length);
    }
    let both = build().header("content-length", "8").header("transfer-encoding", "chunked");
    let both = ask(&fixture.router, both.body(Body::from(entry(9))).unwrap()).await;
    both.refused(400, "malformed", "two lengths");
    assert_eq!(fixture.size(), 3);

    // Announced as too large: refused although no byte of it ever comes.
    let never = Body::new(Never);
    let large = build().header("content-length", "65536").body(never).unwrap();
    ask(&fixture.router, large).await.refused(413, "too_large", "announced");
    let chunked = build().header("transfer-encoding", "chunked").body(Body::from(entry(9)));
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

fn sized(len: usize) -> Vec<u8> {
    election().sized(len)
}

fn oversized() -> Vec<u8> {
    vec![b'x'; 65_536]
}

#[tokio::test]
async fn one_byte_over_the_limit_is_too_large() {
    let fixture = Fixture::new(3).await;
    assert_eq!(fixture.post(ENTRIES, TEXT, sized(65_535)).await.status, 201);
    fixture.post(ENTRIES, TEXT, oversized()).await.refused(413, "too_large", "announced");
    let chunked = |body: Vec<u8>| {
        Request::post(ENTRIES)
            .header("host", "h")
            .header("content-type", TEXT)
            .header("transfer-encoding", "chunked")
            .body(Body::from(body))
            .unwrap()
    };
    assert_eq!(ask(&fixture.router, chunked(sized(65_535))).await.status, 200);
    ask(&fixture.router, chunked(oversized())).await.refused(413, "too_large", "counted");
    assert_eq!(fixture.size(), 4);

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
    let fixture = Fixture::new(4).await;
    let (known, new, wrong, conflict) = (entry(2), entry(60), flagged(61), election().rival(3));
    let refused = election().refused();
    let invalid = refused.iter().find(|(_, _, code)| *code == "invalid_unit").unwrap();
    let entries = [new.as_slice(), &invalid.0, &known, &conflict, b"", &wrong, &new];
    let reply = fixture.post(BATCH, BYTES, framed(entries)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let lines = reply.lines();
    let leaf = leaf_hash;
    let flags: [&str; 0] = [];
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], json!({"index": 4, "leaf": leaf(&new), "flags": flags, "status": "new"}));
    assert_eq!(lines[1]["problem"]["code"], "invalid_unit");
    assert_eq!(lines[1]["problem"]["status"], 422);
    assert_eq!(
        lines[2],
        json!({"index": 2, "leaf": leaf(&known), "flags": flags, "status": "known"})
    );
    assert_eq!(lines[3]["problem"]["head"], conflict_head());
    assert_eq!(lines[4]["problem"]["code"], "malformed");
    assert_eq!(
        lines[5],
        json!({"index": 5, "leaf": leaf(&wrong), "flags": ["A1", "A3"], "status": "new"})
    );
    let again = json!({"index": 4, "leaf": leaf(&new), "flags": flags, "status": "known"});
    assert_eq!(lines[6], again);
    assert_eq!(lines[7]["indexes"], json!([2, 4, 5]));
    assert_eq!(lines[7]["checkpoint"], *fixture.log.published().note);
    let proof = fixture.log.batch_proof(6, &[2, 4, 5]).unwrap().unwrap();
    let hashes: Vec<String> = proof.iter().map(|hash| hash.to_base64()).collect();
    assert_eq!(lines[7]["hashes"], json!(hashes));
    assert_eq!(fixture.size(), 6);
}

#[tokio::test]
async fn a_batch_holds_1_to_1000_whole_entries() {
    let fixture = Fixture::new(3).await;
    let entries: Vec<Vec<u8>> = (3..1004).map(entry).collect();
    let batch = |count: usize| framed(entries[..count].iter().map(Vec::as_slice));
    fixture.post(BATCH, BYTES, batch(0)).await.refused(400, "malformed", "0 entries");
    fixture.post(BATCH, BYTES, batch(1001)).await.refused(413, "too_large", "1,001 entries");
    let whole = batch(3);
    for broken in [&whole[..whole.len() - 1], &whole[1..], &[&whole[..], &[0]].concat(), &[0]] {
        fixture.post(BATCH, BYTES, broken.to_vec()).await.refused(400, "malformed", "framing");
    }
    assert_eq!(fixture.size(), 3);
    assert_eq!(fixture.post(BATCH, BYTES, batch(1)).await.lines().len(), 2);
    assert_eq!(fixture.post(BATCH, BYTES, batch(1000)).await.lines().len(), 1001);
    assert_eq!(fixture.size(), 1003);
}

#[tokio::test]
async fn bodies_together_are_bounded_and_their_memory_comes_back() {
    let limits = Limits { bodies_bytes_max: 10_000, ..Limits::default() };
    let fixture = Fixture::with(300, limits).await;
    for _ in 0..3 {
        let reply = fixture.post(ENTRIES, TEXT, sized(10_001)).await;
        reply.refused(503, "overloaded", "over the bound alone");
        assert_eq!(reply.header("retry-after"), Some("1"));
        let reply = fixture.post(ENTRIES, TEXT, sized(9_999)).await;
        assert!(reply.status.is_success());
    }
    let stall = fixture.stall().await;
    let released = stall.release_after(Duration::from_millis(200));
    let (one, two) = tokio::join!(
        fixture.post(ENTRIES, TEXT, sized(6_000)),
        fixture.post(ENTRIES, TEXT, sized(6_001)),
    );
    assert_eq!(one.status, 201);
    two.refused(503, "overloaded", "the other one still waits for its answer");
    released.join().unwrap();
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let limits = Limits { request_time_max: Duration::from_millis(50), ..Limits::default() };
    let fixture = Fixture::with(300, limits).await;
    let _stall = fixture.stall().await;
    fixture.post(ENTRIES, TEXT, entry(400)).await.refused(503, "overloaded", "deadline");
    assert_eq!(ask(&fixture.router, post(ENTRIES, BYTES, Body::from("x"))).await.status, 415);
}
