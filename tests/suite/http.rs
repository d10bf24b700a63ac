//! The routes that are read, and what holds for every route.

use axum::{
    body::Body,
    http::{Request, Version},
};
use http_body_util::BodyExt as _;
use jejak::{
    log::{Log, Options},
    server::{SameName, Server, limits::Limits, operator_router, problem, router},
};
use jejak_proofs::{
    merkle::{Hash, leaf_hash, push_entry, sha256},
    tally::{Field, Refusal},
};
use serde_json::json;
use tower::ServiceExt as _;

use crate::{
    directory::{Directory, OPTIONS, fill},
    election::{Election, NAME, ORIGIN, election, entry},
    fixture::{Fixture, ask, get},
};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const YEAR: &str = "public, max-age=31536000, immutable";
const SECOND: &str = "max-age=1";
const NEVER: &str = "no-store";

/// Every route that is read in a log of 300 entries: type, caching, and whether it names a size.
fn routes() -> Vec<(String, &'static str, &'static str, bool)> {
    let leaf = leaf_hash(&entry(7));
    let register = sha256(election().units.as_bytes());
    let each = [
        ("", JSON, NEVER, false),
        ("healthz", TEXT, NEVER, false),
        ("readyz", TEXT, NEVER, false),
        ("test/checkpoint", TEXT, SECOND, true),
        ("test/checkpoint/latest", TEXT, SECOND, true),
        ("test/log.json", JSON, SECOND, true),
        ("test/tile/0/000", BYTES, YEAR, false),
        ("test/tile/0/001.p/44", BYTES, YEAR, false),
        ("test/tile/1/000.p/1", BYTES, YEAR, false),
        ("test/tile/entries/000", BYTES, YEAR, false),
        ("test/tile/entries/001.p/3", BYTES, YEAR, false),
        ("test/entry/0", TEXT, YEAR, false),
        ("test/entry/299", TEXT, YEAR, false),
        ("test/receipt/299", TEXT, NEVER, true),
        ("test/proof/inclusion/300/0", JSON, YEAR, false),
        ("test/proof/consistency/0/0", JSON, YEAR, false),
        ("test/proof/consistency/17/300", JSON, YEAR, false),
        ("test/proof/batch/300/0-3,7,9-10", JSON, YEAR, false),
    ];
    let mut all: Vec<_> = each.map(|(p, t, c, s)| (format!("/{p}"), t, c, s)).into();
    all.push((format!("/test/leaf/{leaf}"), JSON, NEVER, true));
    all.push((format!("/test/register/{register}"), BYTES, YEAR, false));
    all
}

#[tokio::test]
async fn every_read_has_its_type_its_caching_and_its_size() {
    let fixture = Fixture::new(300).await;
    for (path, content_type, caching, sized) in routes() {
        let reply = fixture.get(&path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some(content_type), "{path}");
        assert_eq!(reply.header("cache-control"), Some(caching), "{path}");
        assert_eq!(reply.header("jejak-size"), sized.then_some("300"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        let len = reply.body.len().to_string();

        let head = Request::head(&path).header("host", "h").body(Body::empty()).unwrap();
        let head = ask(&fixture.router, head).await;
        assert_eq!(head.status, 200, "HEAD {path}");
        assert!(head.body.is_empty(), "HEAD {path}");
        assert_eq!(head.header("content-length"), Some(len.as_str()), "HEAD {path}");
        assert_eq!(head.header("cache-control"), Some(caching), "HEAD {path}");

        let flight = Request::options(&path).header("host", "h").body(Body::empty()).unwrap();
        let flight = ask(&fixture.router, flight).await;
        assert_eq!(flight.status, 204, "OPTIONS {path}");
        assert_eq!(flight.header("access-control-allow-origin"), Some("*"));
        assert_eq!(flight.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));

        let other = Request::post(&path).header("host", "h").body(Body::empty()).unwrap();
        let other = ask(&fixture.router, other).await;
        other.refused(405, "method_not_allowed", &path);
        assert_eq!(
            other.header("allow").map(|allow| allow.replace(' ', "")).as_deref(),
            Some("GET,HEAD,OPTIONS")
        );
    }
}

#[tokio::test]
async fn reads_answer_what_the_log_holds() {
    let fixture = Fixture::new(300).await;
    let note = fixture.get("/test/checkpoint").await;
    assert_eq!(note.text(), &*fixture.log.served().note);
    assert_eq!(fixture.get("/test/checkpoint/latest").await.text(), &*fixture.log.published().note);

    // Independent of the log: hashes and framing of the entries that were submitted.
    let hashes: Vec<u8> = (256..300).flat_map(|i| *leaf_hash(&entry(i)).as_bytes()).collect();
    assert_eq!(fixture.get("/test/tile/0/001.p/44").await.body, hashes);
    assert_eq!(fixture.get("/test/tile/0/001.p/43").await.body, hashes[..43 * 32]);
    let mut framed = Vec::new();
    (256..259).for_each(|i| push_entry(&mut framed, &entry(i)).unwrap());
    assert_eq!(fixture.get("/test/tile/entries/001.p/3").await.body, framed);
    assert_eq!(fixture.get("/test/entry/258").await.body, entry(258));
    assert_eq!(
        fixture.get("/test/receipt/5").await.text(),
        fixture.log.receipt(5).unwrap().unwrap()
    );
    let leaf = leaf_hash(&entry(299));
    assert_eq!(fixture.get(&format!("/test/leaf/{leaf}")).await.text(), r#"{"index":299}"#);
    for file in [&election().units, &election().contests] {
        let register = sha256(file.as_bytes());
        let reply = fixture.get(&format!("/test/register/{register}")).await;
        assert_eq!(reply.text(), file);
    }
    assert_eq!(fixture.get("/test/log.json").await.json()["origin"], ORIGIN);
    let logs = json!({ "logs": [{ "name": NAME, "origin": ORIGIN }] });
    assert_eq!(fixture.get("/").await.json(), logs);
}

#[tokio::test]
async fn proofs_repeat_the_numbers_and_spell_hashes_in_base64() {
    let fixture = Fixture::new(300).await;
    let base64 = |proof: Option<Vec<Hash>>| -> Vec<String> {
        proof.unwrap().iter().map(Hash::to_base64).collect()
    };
    let hashes = base64(fixture.log.inclusion(290, 7).unwrap());
    assert!(!hashes.is_empty());
    let reply = fixture.get("/test/proof/inclusion/290/7").await.json();
    assert_eq!(reply, json!({ "size": 290, "index": 7, "hashes": hashes }));

    let hashes = base64(fixture.log.consistency(17, 290).unwrap());
    assert!(!hashes.is_empty());
    let reply = fixture.get("/test/proof/consistency/17/290").await.json();
    assert_eq!(reply, json!({ "old": 17, "new": 290, "hashes": hashes }));

    let indexes = [3, 4, 5, 9, 289];
    let hashes = base64(fixture.log.batch_proof(290, &indexes).unwrap());
    assert!(!hashes.is_empty());
    let reply = fixture.get("/test/proof/batch/290/3-5,9,289").await.json();
    assert_eq!(reply, json!({ "size": 290, "indexes": indexes, "hashes": hashes }));
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let fixture = Fixture::new(300).await;
    let max = u64::MAX;
    let zeros = "0".repeat(64);
    let paths = [
        "nothing",
        "test",
        "other/checkpoint",
        "test/nothing",
        "test/entries/x",
        "test/tile",
        "metrics",
        "test/metrics",
        "test/checkpoint/oldest",
        "Test/checkpoint",
        "test/Checkpoint",
        "test/entry/300",
        "test/receipt/300",
        "test/tile/0/002",
        "test/tile/0/001",
        "test/tile/0/001.p/45",
        "test/tile/1/000.p/2",
        "test/tile/2/000.p/1",
        "test/tile/63/000",
        "test/tile/entries/001",
        "test/tile/entries/001.p/45",
        "test/proof/inclusion/301/0",
        "test/proof/inclusion/300/300",
        "test/proof/inclusion/0/0",
        "test/proof/consistency/0/301",
        "test/proof/consistency/18/17",
        "test/proof/batch/301/0",
        "test/proof/batch/300/299-300",
        "test/unit/ppwp/1",
        "test/recap/ppwp/1",
        "test/recap-proof/ppwp/1",
    ];
    let computed = [
        format!("test/entry/{max}"),
        format!("test/receipt/{max}"),
        format!("test/proof/inclusion/{max}/{}", max - 1),
        format!("test/proof/consistency/{max}/{max}"),
        format!("test/proof/batch/{max}/{}", max - 1),
        format!("test/leaf/{zeros}"),
        format!("test/register/{zeros}"),
    ];
    for path in paths.into_iter().map(String::from).chain(computed) {
        fixture.get(&format!("/{path}")).await.refused(404, "not_found", &path);
    }
}

#[tokio::test]
async fn any_other_spelling_is_400() {
    let fixture = Fixture::new(300).await;
    let leaf = leaf_hash(&entry(7)).to_string();
    let paths = [
        // Numbers.
        "entry/+1",
        "entry/01",
        "entry/-1",
        "entry/1.0",
        "entry/x",
        "entry/18446744073709551616",
        "receipt/+1",
        "receipt/00",
        "proof/inclusion/+300/1",
        "proof/inclusion/300/01",
        "proof/consistency/017/300",
        "proof/consistency/1/300x",
        "proof/batch/0300/1",
        "proof/batch/300/1-",
        "proof/batch/300/2-1",
        "proof/batch/300/1,2",
        "proof/batch/300/1-1",
        "proof/batch/300/1,",
        "proof/batch/300/3,1",
        "proof/batch/300/1,,3",
        "proof/batch/300/a",
        // Tiles.
        "tile/0/0",
        "tile/0/0001",
        "tile/00/000",
        "tile/+0/000",
        "tile/64/000",
        "tile/0/x000/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000/",
        "tile/0/X001/000",
        "tile/0/001/000",
        "tile/0/000.P/1",
        "tile/entries/0",
        "tile/Entries/000",
        "tile/entries/000.p/00",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0",
        "tile/0/",
        // Escapes, dots, empty segments, foreign bytes.
        "%63heckpoint",
        "checkpoint%00",
        "entry/%31",
        "./checkpoint",
        "../test/checkpoint",
        "entry/../checkpoint",
        "tile/0/../0/000",
        "tile/%2e%2e%2f0/000",
        "tile/0/..%2f..",
        "/checkpoint",
        "entry//1",
        "checkpoint/",
        "entry/1;x",
        "entry/1*",
        "entry/1+",
        // Query strings, empty ones too.
        "checkpoint?x=1",
        "checkpoint?",
        "entry/1?",
        "tile/0/000?x",
        "proof/inclusion/300/0?a",
        "nothing?x",
    ];
    for path in paths {
        fixture.get(&format!("/test/{path}")).await.refused(400, "malformed", path);
    }
    let upper = leaf.to_uppercase();
    for hash in ["", "0", &leaf[1..], &format!("{leaf}0"), &upper, &leaf.replacen('a', "g", 1)] {
        for route in ["leaf", "register"] {
            let path = format!("/test/{route}/{hash}");
            fixture.get(&path).await.refused(400, "malformed", &path);
        }
    }
    for path in ["/?", "/?x", "/healthz?", "/readyz?x", "//"] {
        fixture.get(path).await.refused(400, "malformed", path);
    }
}

#[tokio::test]
async fn nothing_of_a_request_comes_back() {
    let fixture = Fixture::new(3).await;
    let mark = "zqzq7";
    let requests = [
        Request::get(format!("/{mark}/checkpoint")),
        Request::get(format!("/test/entry/{mark}")),
        Request::get(format!("/test/tile/0/{mark}")),
        Request::get(format!("/test/checkpoint?{mark}")),
        Request::get(format!("/test/%2e{mark}")),
        Request::post("/test/entries").header("content-type", mark),
        Request::post(format!("/{mark}/entries")),
        Request::builder().method(mark).uri("/test/checkpoint"),
        Request::get("/").header("x-header", mark).header("content-length", mark),
    ];
    for request in requests {
        let request = request.header("host", mark).header("origin", mark);
        let reply = ask(&fixture.router, request.body(Body::from(mark)).unwrap()).await;
        let headers = format!("{:?}", reply.headers);
        assert!(!headers.contains(mark) && !reply.text().contains(mark), "{headers}");
    }
}

#[tokio::test]
async fn a_request_has_one_host_one_length_and_a_bounded_head() {
    let fixture = Fixture::new(3).await;
    let build = || Request::get("/test/checkpoint");
    let empty = |request: axum::http::request::Builder| request.body(Body::empty()).unwrap();
    let none = ask(&fixture.router, empty(build())).await;
    none.refused(400, "malformed", "no host");
    let two = ask(&fixture.router, empty(build().header("host", "a").header("host", "b"))).await;
    two.refused(400, "malformed", "two hosts");
    let old = ask(&fixture.router, empty(build().version(Version::HTTP_10))).await;
    assert_eq!(old.status, 200, "HTTP/1.0 needs no host");

    let request = build().header("host", "a").header("x", "y".repeat(16 << 10));
    ask(&fixture.router, empty(request)).await.refused(431, "headers_too_large", "16 KiB");
    let request = build().header("host", "a").header("x", "y".repeat(15 << 10));
    assert_eq!(ask(&fixture.router, empty(request)).await.status, 200);

    let path = |len: usize| format!("/{}", "a".repeat(len - 1));
    fixture.get(&path(2049)).await.refused(414, "uri_too_long", "2,049 bytes");
    fixture.get(&path(2048)).await.refused(404, "not_found", "2,048 bytes");
}

#[tokio::test]
async fn a_failure_of_ours_says_no_more_than_that() {
    let fixture = Fixture::new(300).await;
    let paths = ["entry/0", "tile/0/000.p/1", "tile/entries/000", "receipt/0"];
    let moved = fixture.directory.path().join("moved");
    let tiles = fixture.directory.log().join("tile");
    std::fs::rename(&tiles, &moved).unwrap();
    for path in paths.into_iter().chain(["proof/inclusion/300/0", "proof/consistency/1/300"]) {
        let reply = fixture.get(&format!("/test/{path}")).await;
        reply.refused(500, "internal", path);
        assert!(!reply.text().contains("tile") && !reply.text().contains("fsck"));
    }
    assert_eq!(fixture.get("/test/entry/299").await.status, 200, "out of memory");
    std::fs::rename(&moved, &tiles).unwrap();
    for path in paths {
        assert_eq!(fixture.get(&format!("/test/{path}")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn readiness_follows_the_log_and_health_does_not() {
    let fixture = Fixture::new(3).await;
    let operator = operator_router(&fixture.server);
    assert_eq!(ask(&operator, get("/readyz")).await.status, 200);
    fixture.log.clone().close().unwrap();
    let closed = fixture;
    let read_only = Fixture::new(3).await.reopen(&Options { read_only: true, ..OPTIONS });
    for fixture in [closed, read_only] {
        for routes in [&fixture.router, &operator_router(&fixture.server)] {
            ask(routes, get("/readyz")).await.refused(503, "unavailable", "readyz");
            assert_eq!(ask(routes, get("/healthz")).await.text(), "ok\n");
        }
        assert_eq!(fixture.get("/test/entry/0").await.status, 200, "reads go on");
    }
}

#[tokio::test]
async fn logs_of_one_process_are_told_apart_by_name() {
    let elections = ["a.example/one", "a.example/two", "b.example/one"].map(Election::new);
    let directories = elections.each_ref().map(Directory::of);
    let [one, two, other]: [Log; 3] =
        directories.each_ref().map(|directory| directory.open().unwrap());
    fill(&one, &elections[0], 2).await;
    let server = Server::new(vec![two.clone(), one.clone()], Limits::default()).unwrap();
    let routes = router(&server);
    assert_eq!(ask(&routes, get("/one/entry/1")).await.status, 200);
    ask(&routes, get("/two/entry/1")).await.refused(404, "not_found", "the other log");
    let logs = ask(&routes, get("/")).await.json();
    assert_eq!(logs["logs"][0], json!({ "name": "one", "origin": "a.example/one" }));
    assert_eq!(logs["logs"][1]["name"], "two");

    let error = Server::new(vec![one.clone(), other.clone()], Limits::default()).err();
    assert_eq!(error, Some(SameName { name: "one".into() }));
    for log in [one, two, other] {
        log.close().unwrap();
    }
}

#[tokio::test]
async fn metrics_count_by_route_and_code_and_only_for_the_operator() {
    let fixture = Fixture::new(3).await;
    for _ in 0..3 {
        fixture.get("/test/entry/0").await;
        fixture.get("/test/entry/x").await;
    }
    fixture.get("/zqzq7").await;
    let reply = ask(&operator_router(&fixture.server), get("/metrics")).await;
    let text = reply.text();
    for line in [
        "jejak_request_seconds_count{route=\"/{log}/entry/{index}\"} 6\n",
        "jejak_request_seconds_count{route=\"none\"} 1\n",
        "jejak_refusals_total{code=\"malformed\"} 3\n",
        "jejak_refusals_total{code=\"not_found\"} 1\n",
        "jejak_tree_size{log=\"test\"} 3.0\n",
        "jejak_accepting{log=\"test\"} 1.0\n",
        "jejak_connections 0\n",
        "# EOF\n",
    ] {
        assert!(text.contains(line), "{line} not in:\n{text}");
    }
    for name in
        ["jejak_checkpoint_age_seconds{", "jejak_queue{", "jejak_batch_entries_bucket{le=\"+Inf\""]
    {
        assert!(text.contains(name), "{name} not in:\n{text}");
    }
    assert!(!text.contains("zqzq7"));
    fixture.get("/metrics").await.refused(404, "not_found", "metrics are the operator's");
}

#[test]
fn the_table_of_codes_is_sound() {
    let mut seen = std::collections::BTreeSet::new();
    let mut before = 0;
    for code in problem::ALL {
        let text = code.as_str();
        assert!(seen.insert(text), "{text} twice");
        assert!(code.status().as_u16() >= before, "{text} out of order");
        before = code.status().as_u16();
        assert_eq!(problem::Code::of(text), Some(*code));
        assert!(code.detail().is_ascii() && !code.detail().is_empty());
        let again = matches!(before, 429 | 503);
        assert_eq!(code.retry_after_s().is_some(), again, "{text}");
    }
    let expected = "bad_signature conflict duplicate headers_too_large internal invalid_<field> \
        key_revoked length_required log_frozen malformed method_not_allowed not_found \
        out_of_scope overloaded rate_limited timeout too_large unavailable unknown_key \
        unsupported_media_type uri_too_long";
    assert_eq!(seen.into_iter().collect::<Vec<_>>().join(" "), expected);
    for field in Field::ALL {
        assert_eq!(problem::Code::of(field.code()).unwrap().status(), 422);
    }
    for refusal in [
        Refusal::Malformed(""),
        Refusal::TooLarge,
        Refusal::BadSignature,
        Refusal::UnknownKey,
        Refusal::KeyRevoked,
        Refusal::OutOfScope,
        Refusal::Conflict { head: None },
        Refusal::Duplicate,
        Refusal::Frozen,
    ] {
        assert!(problem::Code::of(refusal.code()).is_some(), "{refusal}");
    }
    assert_eq!(problem::Code::of("invalid_"), None);
    assert_eq!(problem::Code::of("nonsense"), None);
    assert_eq!(problem::table().lines().count(), problem::ALL.len());
    assert!(problem::table().starts_with("| 400 | `malformed` | "));
}

#[tokio::test]
async fn a_register_is_read_once_and_shared_by_all_its_readers() {
    let fixture = Fixture::new(3).await;
    let (hash, len) = fixture.large_register();
    let path = format!("/test/register/{hash}");
    let first = fixture.log.register(&hash).unwrap().unwrap();
    let second = fixture.log.register(&hash).unwrap().unwrap();
    assert_eq!((first.len(), first.as_ptr()), (len, second.as_ptr()), "one memory for all");
    let reply = fixture.get(&path).await;
    assert_eq!(reply.body.as_ptr(), first.as_ptr(), "also on its way to a client");
    // A register that is not here yet is looked for again, and a damaged one is never served.
    let late = vec![b'l'; 100];
    let hash = sha256(&late);
    let path = format!("/test/register/{hash}");
    fixture.get(&path).await.refused(404, "not_found", "not here yet");
    let file = fixture.directory.log().join("register").join(hash.to_string());
    std::fs::write(&file, &late[1..]).unwrap();
    fixture.get(&path).await.refused(500, "internal", "damaged");
    std::fs::write(&file, &late).unwrap();
    assert_eq!(fixture.get(&path).await.body, late);
}

#[tokio::test]
async fn large_answers_are_bounded_until_they_are_taken() {
    let bundle = framed_len(0..256);
    let limits = Limits { answers_bytes_max: 2 * bundle - 1, ..Limits::default() };
    let fixture = Fixture::with(300, limits).await;
    let ask_bundle = || fixture.router.clone().oneshot(get("/test/tile/entries/000"));
    let slow = ask_bundle().await.unwrap();
    assert_eq!(slow.status(), 200);
    for path in ["/test/tile/entries/000", "/test/tile/entries/000.p/1", "/test/entry/7"] {
        let reply = fixture.get(path).await;
        reply.refused(503, "overloaded", path);
        assert_eq!(reply.header("retry-after"), Some("1"), "{path}");
    }
    // What takes little goes on, and what was taken is free again: also bytes without their body.
    assert_eq!(fixture.get("/test/checkpoint").await.status, 200);
    assert_eq!(fixture.get("/test/tile/0/000").await.status, 200);
    let taken = slow.into_body().collect().await.unwrap().to_bytes();
    fixture.get("/test/tile/entries/000").await.refused(503, "overloaded", "still held");
    drop(taken);
    assert_eq!(fixture.get("/test/tile/entries/000").await.body.len(), bundle);
    // A part of a bundle takes no more than it is.
    let part = fixture.router.clone().oneshot(get("/test/tile/entries/000.p/1")).await.unwrap();
    let entry = fixture.router.clone().oneshot(get("/test/entry/7")).await.unwrap();
    assert_eq!(fixture.get("/test/tile/entries/000").await.status, 200);
    assert_eq!((part.status().as_u16(), entry.status().as_u16()), (200, 200));
}

/// Bytes of these entries in a bundle.
fn framed_len(numbers: std::ops::Range<u64>) -> usize {
    numbers.map(|number| 2 + entry(number).len()).sum()
}
