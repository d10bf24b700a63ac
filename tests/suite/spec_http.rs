//! Rules of SPEC.md on HTTP, against the router of a real log: the one of the worked example.

use std::{fs, path::Path, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request},
};
use http_body_util::BodyExt as _;
use jejak::{
    log::{self, Log, Options},
    server::{Server, limits::Limits, router},
};
use jejak_proofs::{
    merkle::{Hash, TreeHead, leaf_hash, push_entry},
    note::{Policy, Receipt, UnverifiedCheckpoint},
    tally::{Body as Entry, Freeze, FreezeReason, Reason, Tally},
};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::spec_example::{Example, ORIGIN, key_ref};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const YEAR: &str = "public, max-age=31536000, immutable";

struct Site {
    example: Example,
    dir: TempDir,
    log: Log,
    router: Router,
    policy: Policy,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        match self.status {
            200 | 201 => "ok".to_owned(),
            status => format!("{status} {}", self.json()["code"].as_str().unwrap()),
        }
    }
}

fn open(dir: &Path, example: &Example) -> Log {
    // States come by the clock, and these tests count entries.
    let options = Options { seal_after: None, ..Options::default() };
    Log::open(dir, example.log_key.clone(), &options).unwrap()
}

impl Site {
    /// The log of the example with entry 0.
    fn founded(limits: Limits) -> Self {
        let example = Example::new();
        let dir = tempfile::tempdir().unwrap();
        let [manifest, ..] = &example.entries;
        let (units, contests) = (example.units.as_bytes(), example.contests.as_bytes());
        log::create(dir.path(), &example.log_key, manifest.as_bytes(), units, contests).unwrap();
        fs::write(dir.path().join("policy"), &example.policy).unwrap();
        let log = open(dir.path(), &example);
        let server = Server::new(vec![log.clone()], limits).unwrap();
        let policy = Policy::parse(&example.policy).unwrap();
        Self { router: router(&server), example, dir, log, policy }
    }

    /// With all three entries.
    async fn new() -> Self {
        let site = Self::founded(Limits::default());
        for entry in &site.example.entries[1..] {
            assert_eq!(site.submit(entry).await.status, 201);
        }
        site
    }

    async fn ask(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    async fn submit(&self, entry: &str) -> Reply {
        self.post("/2024/entries", "text/plain", entry.as_bytes()).await
    }

    async fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Reply {
        let request = request(Method::POST, path)
            .header("content-type", media_type)
            .header("content-length", body.len());
        self.ask(request.body(Body::from(body.to_vec())).unwrap()).await
    }

    async fn batch(&self, entries: &[&str]) -> Vec<Value> {
        let mut body = Vec::new();
        entries.iter().for_each(|entry| push_entry(&mut body, entry.as_bytes()).unwrap());
        let reply = self.post("/2024/entries/batch", BYTES, &body).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/x-ndjson"));
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A chain of revisions, from `seq` 1 on.
    fn revisions(&self, count: u32) -> Vec<String> {
        let mut prev = self.example.leaves[2];
        let mut entries = Vec::new();
        for seq in 1..=count {
            let revision = Tally {
                decision: Some(prev),
                prev: Some(prev),
                reason: Some(Reason::Renvoi),
                seq,
                ..self.example.tally([100, 82])
            };
            let entry = Entry::Tally(Box::new(revision)).sign(&[&self.example.officer]);
            prev = leaf_hash(entry.as_bytes());
            entries.push(entry);
        }
        entries
    }

    fn freeze(&self) -> String {
        let freeze = Freeze {
            by: key_ref(&self.example.root_key),
            decision: self.example.leaves[0],
            election: "2024".parse().unwrap(),
            genesis: self.example.leaves[0],
            log: ORIGIN.into(),
            reason: FreezeReason::Completed,
        };
        Entry::Freeze(freeze).sign(&[&self.example.root_key])
    }
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "log.example")
}

fn tally_entry(site: &Site, votes: [u32; 2]) -> String {
    Entry::Tally(Box::new(site.example.tally(votes))).sign(&[&site.example.officer])
}

// SPEC [W9] [W10]
#[tokio::test]
async fn the_log_answers_as_the_example_says() {
    let site = Site::founded(Limits::default());
    let [_, mandate, tally] = &site.example.entries;
    let reply = site.submit(mandate).await;
    assert_eq!((reply.status, reply.header("location")), (201, "/2024/entry/1"));
    assert!(!reply.headers.contains_key("jejak-flags"));
    let reply = site.submit(tally).await;
    assert_eq!((reply.status, reply.header("location")), (201, "/2024/entry/2"));
    assert_eq!(reply.header("jejak-flags"), "A1,A11");
    assert_eq!(reply.text(), site.example.first_receipt);
    assert_eq!(site.get("/2024/checkpoint").await.text(), site.example.unsealed.note());
    assert_eq!(site.get("/2024/receipt/2").await.text(), site.example.first_receipt);
    let proof = site.get("/2024/proof/batch/3/1-2").await.json();
    assert_eq!(proof["hashes"], serde_json::json!([site.example.leaves[0].to_base64()]));
    let conflict = site.submit(&tally_entry(&site, [98, 84])).await;
    assert_eq!((conflict.status, conflict.text()), (409, site.example.conflict().as_str()));
    for (index, entry) in site.example.entries.iter().enumerate() {
        assert_eq!(site.get(&format!("/2024/entry/{index}")).await.text(), entry);
    }
    let again = site.submit(tally).await;
    assert_eq!((again.status, again.header("location")), (200, "/2024/entry/2"));
    assert!(!again.headers.contains_key("jejak-flags"));
}

// SPEC [D2] [F1]
#[tokio::test]
async fn the_same_bytes_again_are_answered_before_any_rule() {
    let site = Site::new().await;
    let [manifest, mandate, tally] = &site.example.entries;
    let [revision] = site.revisions(1).try_into().unwrap();
    assert_eq!(site.submit(&revision).await.status, 201);
    let freeze = site.freeze();
    assert_eq!(site.submit(&freeze).await.status, 201);
    for (index, entry) in [manifest, mandate, tally, &revision, &freeze].into_iter().enumerate() {
        let reply = site.submit(entry).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (200, &*format!("/2024/entry/{index}"))
        );
        let receipt = Receipt::parse(&reply.body).unwrap();
        let checkpoint = receipt.verify(entry.as_bytes(), &site.policy).unwrap();
        assert_eq!(checkpoint.head().size, 5, "a fresh receipt");
    }
    assert_eq!(site.submit(&tally_entry(&site, [98, 84])).await.code(), "410 log_frozen");
    assert_eq!(site.get("/2024/entry/4").await.text(), freeze);
}

// SPEC [H3]
#[tokio::test]
async fn the_text_of_the_head_under_other_lines_is_a_duplicate() {
    let site = Site::new().await;
    assert_eq!(site.submit(&tally_entry(&site, [97, 84])).await.code(), "409 duplicate");
    assert_eq!(site.submit(&tally_entry(&site, [97, 85])).await.code(), "409 conflict");
}

// SPEC [D4] [W11] [W12]
#[tokio::test]
async fn a_batch_is_judged_entry_by_entry_in_order() {
    let site = Site::new().await;
    let mut chain = site.revisions(2);
    let late = chain[0].replace("renvoi\",\"round", "court\",\"round");
    let rival = {
        let mut rival = site.example.tally([1, 2]);
        rival.seq = 1;
        (rival.prev, rival.decision) = (Some(site.example.leaves[2]), Some(site.example.leaves[0]));
        rival.reason = Some(Reason::Court);
        Entry::Tally(Box::new(rival)).sign(&[&site.example.officer])
    };
    chain.insert(1, rival);
    chain.insert(0, late);
    chain.push(site.example.entries[1].clone());
    chain.push("nothing".to_owned());
    chain.push(chain[1].clone());
    let lines = site.batch(&chain.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (last, lines) = lines.split_last().unwrap();
    let codes: Vec<String> = lines
        .iter()
        .map(|line| match line["problem"]["code"].as_str() {
            Some(code) => code.to_owned(),
            None => format!("{} {}", line["status"].as_str().unwrap(), line["index"]),
        })
        .collect();
    let want = ["bad_signature", "new 3", "conflict", "new 4", "known 1", "malformed", "known 3"];
    assert_eq!(codes, want);
    assert_eq!(lines[2]["problem"]["head"]["index"], 3, "the head as the batch made it");
    assert_eq!(last["indexes"], serde_json::json!([1, 3, 4]));
    let checkpoint = last["checkpoint"].as_str().unwrap().as_bytes();
    let checkpoint = site.policy.verify(UnverifiedCheckpoint::parse(checkpoint).unwrap()).unwrap();
    let hashes: Vec<Hash> = last["hashes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap())
        .collect();
    let leaf = |entry: &String| leaf_hash(entry.as_bytes());
    let leaves = [(1, leaf(&chain[4])), (3, leaf(&chain[1])), (4, leaf(&chain[3]))];
    assert_eq!(checkpoint.head().verify_batch(&leaves, &hashes), Ok(()));
}

// SPEC [W11]
#[tokio::test]
async fn a_key_does_not_sign_within_the_batch_of_its_mandate() {
    let site = Site::founded(Limits::default());
    let [_, mandate, tally] = &site.example.entries;
    let lines = site.batch(&[mandate, tally]).await;
    assert_eq!(lines[0]["status"], "new");
    assert_eq!(lines[1]["problem"]["code"], "unknown_key");
    assert_eq!(site.submit(tally).await.status, 201);
}

// SPEC [W13]
#[tokio::test]
async fn a_batch_has_1_to_1000_entries_and_4_mib() {
    let site = Site::new().await;
    let send = |body: Vec<u8>| {
        let site = &site;
        async move { site.post("/2024/entries/batch", BYTES, &body).await.code() }
    };
    let framed = |count: usize, entry: &[u8]| {
        let mut body = Vec::new();
        (0..count).for_each(|_| push_entry(&mut body, entry).unwrap());
        body
    };
    assert_eq!(send(vec![]).await, "400 malformed");
    assert_eq!(send(framed(2, b"x")[..5].to_vec()).await, "400 malformed");
    assert_eq!(send(framed(1_000, b"x")).await, "ok");
    assert_eq!(send(framed(1_001, b"x")).await, "413 too_large");
    let large = framed(64, &[b'x'; 65_534]);
    assert_eq!(large.len(), 4 << 20);
    assert_eq!(send(large.clone()).await, "ok");
    assert_eq!(send([large, vec![0]].concat()).await, "413 too_large");
}

// SPEC [W1] [W2] [W4] [X1]
#[tokio::test]
async fn every_route_has_its_headers() {
    let site = Site::new().await;
    let units = jejak_proofs::merkle::sha256(site.example.units.as_bytes());
    let leaf = site.example.leaves[1];
    let rows = [
        ("/".to_owned(), JSON, "no-store", ""),
        ("/2024/checkpoint".into(), TEXT, "max-age=1", "3"),
        ("/2024/checkpoint/latest".into(), TEXT, "max-age=1", "3"),
        ("/2024/tile/0/000.p/3".into(), BYTES, YEAR, ""),
        ("/2024/tile/entries/000.p/3".into(), BYTES, YEAR, ""),
        ("/2024/entry/1".into(), TEXT, YEAR, ""),
        ("/2024/receipt/1".into(), TEXT, "no-store", "3"),
        (format!("/2024/leaf/{leaf}"), JSON, "no-store", "3"),
        ("/2024/proof/inclusion/3/1".into(), JSON, YEAR, ""),
        ("/2024/proof/consistency/1/3".into(), JSON, YEAR, ""),
        ("/2024/proof/batch/3/0,2".into(), JSON, YEAR, ""),
        (format!("/2024/register/{units}"), BYTES, YEAR, ""),
        ("/2024/log.json".into(), JSON, "max-age=1", "3"),
        ("/healthz".into(), TEXT, "no-store", ""),
        ("/readyz".into(), TEXT, "no-store", ""),
    ];
    for (path, media_type, caching, size) in rows {
        let reply = site.get(&path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), media_type, "{path}");
        assert_eq!(reply.header("cache-control"), caching, "{path}");
        assert_eq!(reply.header("jejak-size"), size, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
    }
    assert_eq!(site.get("/2024/register/00").await.header("access-control-allow-origin"), "*");
    assert_eq!(site.get(&format!("/2024/leaf/{leaf}")).await.json()["index"], 1);
    let log = site.get("/2024/log.json").await.json();
    assert_eq!(log["vkeys"][0], site.example.log_key.verifier().to_string());
    assert_eq!(log["manifest"]["leaf"], site.example.leaves[0].to_string());
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&log), ["limits", "manifest", "origin", "policy", "vkeys"]);
    assert_eq!(members(&log["limits"]), ["batch_bytes", "batch_entries", "entry_bytes"]);
    let manifest = ["contests", "election", "index", "leaf", "units", "version"];
    assert_eq!(members(&log["manifest"]), manifest);
}

// SPEC [W3] [W5] [W7] [X1]
#[tokio::test]
async fn a_path_has_one_spelling() {
    let site = Site::new().await;
    let malformed = [
        "checkpoint?",
        "checkpoint?x=1",
        "entry/+1",
        "entry/01",
        "entry/-1",
        "entry/",
        "entry/1/",
        "entry//1",
        "entry/%31",
        "entry/../log.json",
        "entry/18446744073709551616",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/x000/000",
        "tile/0/000.p/01",
        "tile/data/000",
        "leaf/00",
        "register/00",
        "proof/inclusion/03/1",
        "proof/batch/3/1,2",
        "proof/batch/3/2,1",
        "proof/batch/3/1-1",
        "proof/batch/3/0-2,",
        "proof/batch/3/0-1024",
        "proof/batch/40/0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,32",
    ];
    for path in malformed {
        let reply = site.get(&format!("/2024/{path}")).await;
        assert_eq!(reply.code(), "400 malformed", "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
    }
    let upper = site.example.leaves[1].to_string().to_uppercase();
    assert_eq!(site.get(&format!("/2024/leaf/{upper}")).await.code(), "400 malformed");
    assert_eq!(site.submit(&site.example.entries[1]).await.header("cache-control"), "no-store");
}

// SPEC [W6]
#[tokio::test]
async fn what_is_not_there_is_404() {
    let site = Site::new().await;
    let none = "0".repeat(64);
    let missing = [
        "entry/3",
        "receipt/3",
        "entry/18446744073709551615",
        "tile/0/000",
        "tile/0/000.p/4",
        "tile/1/000.p/1",
        "tile/entries/001.p/1",
        "proof/inclusion/4/1",
        "proof/inclusion/3/3",
        "proof/inclusion/0/0",
        "proof/consistency/1/4",
        "proof/consistency/3/2",
        "proof/batch/3/2-3",
        "proof/batch/4/1",
        "nothing",
    ];
    let hashes = [format!("leaf/{none}"), format!("register/{none}")];
    for path in missing.into_iter().chain(hashes.iter().map(String::as_str)) {
        let reply = site.get(&format!("/2024/{path}")).await;
        assert_eq!(reply.code(), "404 not_found", "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
    }
    assert_eq!(site.get("/2025/checkpoint").await.code(), "404 not_found");
    assert_eq!(site.submit(&site.example.entries[1]).await.header("cache-control"), "no-store");
    assert_eq!(
        site.get("/2024/proof/consistency/0/3").await.json()["hashes"],
        Value::Array(vec![])
    );
}

// SPEC [W14] [W15] [W16] [W17]
#[tokio::test]
async fn what_holds_for_every_request() {
    let site = Site::new().await;
    let entry = &site.example.entries[1];
    let post = |name: &'static str, value: &'static str, length: bool| {
        let site = &site;
        async move {
            let mut request = request(Method::POST, "/2024/entries");
            if name != "content-type" {
                request = request.header("content-type", "text/plain");
            }
            if length {
                request = request.header("content-length", entry.len());
            }
            let request = request.header(name, value).body(Body::from(entry.clone())).unwrap();
            site.ask(request).await.code()
        }
    };
    assert_eq!(post("content-type", "Text/Plain; charset=latin1", true).await, "ok");
    assert_eq!(post("transfer-encoding", "chunked", false).await, "ok");
    assert_eq!(post("content-type", "application/json", true).await, "415 unsupported_media_type");
    assert_eq!(post("content-encoding", "gzip", true).await, "415 unsupported_media_type");
    assert_eq!(post("x-other", "1", false).await, "411 length_required");
    assert_eq!(post("host", "second.example", true).await, "400 malformed");
    assert_eq!(post("transfer-encoding", "chunked", true).await, "400 malformed");
    assert_eq!(post("content-length", "7", true).await, "400 malformed");
    let other = [(Method::POST, "/2024/checkpoint"), (Method::GET, "/2024/entries")];
    for (method, path) in other {
        let reply = site.ask(request(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!(reply.code(), "405 method_not_allowed");
        assert!(!reply.header("allow").is_empty());
    }
    let path = |len: usize| format!("/2024/{}", "a".repeat(len - "/2024/".len()));
    assert_eq!(site.get(&path(2_048)).await.code(), "404 not_found");
    assert_eq!(site.get(&path(2_049)).await.code(), "414 uri_too_long");
    let head = |len: usize| {
        let request = request(Method::GET, "/healthz").header("x-long", "a".repeat(len));
        site.ask(request.body(Body::empty()).unwrap())
    };
    assert_eq!(head(16_000).await.status, 200);
    assert_eq!(head(16_384).await.code(), "431 headers_too_large");
}

/// A body that never ends.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

// SPEC [W18] [W19]
#[tokio::test]
async fn time_is_bounded() {
    let soon = Duration::from_millis(20);
    let post_endless = |limits| async move {
        let site = Site::founded(limits);
        let request = request(Method::POST, "/2024/entries")
            .header("content-type", "text/plain")
            .header("transfer-encoding", "chunked");
        let reply = site.ask(request.body(Body::new(Endless)).unwrap()).await;
        (reply.code(), reply.header("retry-after").to_owned())
    };
    let (code, _) = post_endless(Limits { body_time_max: soon, ..Limits::default() }).await;
    assert_eq!(code, "408 timeout");
    let (code, wait) = post_endless(Limits { request_time_max: soon, ..Limits::default() }).await;
    assert_eq!((code.as_str(), wait.as_str()), ("503 overloaded", "1"));
}

// SPEC [X2]
#[tokio::test]
async fn nothing_of_a_request_comes_back() {
    let site = Site::new().await;
    let entry = tally_entry(&site, [98, 84]).replace("ppwp", "secret");
    let replies = [
        site.submit("secret").await,
        site.submit(&entry).await,
        site.get("/2024/secret").await,
        site.get("/2024/entry/secret").await,
        site.get("/secret/checkpoint").await,
        site.post("/2024/entries", "secret/secret", b"secret").await,
    ];
    for reply in replies {
        assert!(reply.status >= 400 && !reply.text().contains("secret"), "{}", reply.text());
        let members: Vec<String> = reply.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["code", "detail", "status", "title", "type"]);
    }
}

// SPEC [W8] [P3]
#[tokio::test]
async fn a_log_serves_every_width_and_no_false_receipt() {
    let site = Site::new().await;
    let revisions = site.revisions(300);
    let lines = site.batch(&revisions.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(lines.len(), 301);
    let whole = site.get("/2024/tile/0/000").await;
    let bundle = site.get("/2024/tile/entries/000").await;
    assert_eq!(whole.body.len(), 8_192);
    for width in [1, 2, 3, 7, 100, 255] {
        let tile = site.get(&format!("/2024/tile/0/000.p/{width}")).await;
        assert_eq!(tile.body, whole.body[..32 * width]);
        let part = site.get(&format!("/2024/tile/entries/000.p/{width}")).await;
        assert!(bundle.body.starts_with(&part.body));
    }
    // 303 entries: 256 and 47.
    assert_eq!(site.get("/2024/tile/0/001.p/47").await.body.len(), 47 * 32);
    assert_eq!(site.get("/2024/tile/0/001.p/48").await.status, 404);
    assert_eq!(site.get("/2024/tile/1/000.p/1").await.body.len(), 32);
    assert_eq!(site.get("/2024/receipt/5").await.status, 200);
    // The sibling of leaf 5 is damaged on disk: no receipt, rather than a false one.
    let file = site.dir.path().join("log/tile/0/000");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4 * 32] ^= 1;
    fs::write(&file, bytes).unwrap();
    let reply = site.get("/2024/receipt/5").await;
    assert_eq!(reply.code(), "500 internal");
    assert!(!reply.text().contains("tile"), "{}", reply.text());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

// SPEC [C3] [D6]
#[tokio::test]
async fn what_was_answered_is_in_the_files_and_heads_only_grow() {
    let site = Site::new().await;
    let mut old = TreeHead::EMPTY;
    for entry in site.revisions(5) {
        let reply = site.submit(&entry).await;
        // The files at the moment of the answer, as a crash would leave them.
        let crashed = tempfile::tempdir().unwrap();
        copy(site.dir.path(), crashed.path());
        let receipt = Receipt::parse(&reply.body).unwrap();
        let head = receipt.verify(entry.as_bytes(), &site.policy).unwrap().head();
        assert_eq!(site.log.published().head, head, "published before it is answered");
        let path = format!("/2024/proof/consistency/{}/{}", old.size, head.size);
        let json = site.get(&path).await.json();
        let hash = |hash: &Value| Hash::from_base64(hash.as_str().unwrap()).unwrap();
        let hashes: Vec<Hash> = json["hashes"].as_array().unwrap().iter().map(hash).collect();
        assert_eq!(head.verify_consistency(&old, &hashes), Ok(()));
        let recovered = open(crashed.path(), &site.example);
        assert_eq!(recovered.published().head, head);
        assert_eq!(recovered.published().note, site.log.published().note);
        recovered.close().unwrap();
        old = head;
    }
}
