//! The client's transport, against scripted servers and against ours.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use jejak::{
    client::{Fetch, FetchError, FetchLimits, Post, UnreachableKind},
    server::{Audience, Binding, limits::Limits, serve},
};

use crate::{
    election::{election, entry, flagged},
    fixture::Fixture,
};

const TEXT: &str = "text/plain";

/// Answers one connection after the other with the next of `answers`, the last one for ever.
/// Returns a client of it and the number of requests that it got.
fn scripted(answers: Vec<Vec<u8>>) -> (Fetch, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/base/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let len = socket.read(&mut request).unwrap();
            let head = String::from_utf8_lossy(&request[..len]).to_ascii_lowercase();
            assert!(head.contains("user-agent: jejak/0."), "{head}");
            assert!(head.contains(" /base/x http/1.1"), "{head}");
            let answer = &answers[number.min(answers.len() - 1)];
            // The client may have gone away on purpose.
            let _ = socket.write_all(answer);
        }
    });
    (Fetch::new(&base, &quick()).unwrap(), count)
}

fn quick() -> FetchLimits {
    let time = Duration::from_millis(500);
    FetchLimits {
        connect_time_max: time,
        send_stall_max: time,
        answer_time_max: time,
        body_time_max: time,
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len}\r\n");
    [head.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn get(answers: Vec<Vec<u8>>, len_max: u64) -> Result<jejak::client::Answer, FetchError> {
    scripted(answers).0.get("x", len_max)
}

#[test]
fn an_answer_is_kept_whole_and_bounded() {
    let good = answer("200", "Jejak-Size: 7\r\nJejak-Flags: A1,A3\r\n", b"hello");
    let got = get(vec![good.clone()], 5).unwrap();
    assert_eq!((got.status, got.size, got.flags.as_str()), (200, Some(7), "A1,A3"));
    assert_eq!(got.body, b"hello");
    assert!(matches!(get(vec![good], 4), Err(FetchError::TooLong { len_max: 4 })));
    let endless = [b"HTTP/1.1 200 X\r\n\r\n".to_vec(), vec![b'x'; 100_000]].concat();
    assert!(matches!(get(vec![endless], 99_999), Err(FetchError::TooLong { .. })));
    let short = answer("200", "", b"hello").split_last().unwrap().1.to_vec();
    let error = get(vec![short], 5).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }) && error.is_passing(), "{error:?}");
}

#[test]
fn a_bundle_may_come_packed_but_not_as_a_bomb() {
    let packed = |bytes: &[u8]| answer("200", "Content-Encoding: gzip\r\n", &gzip(bytes));
    assert_eq!(get(vec![packed(b"hello")], 100).unwrap().body, b"hello");
    let bomb = packed(&vec![0; 10_000_000]);
    assert!(matches!(get(vec![bomb], 1_000_000), Err(FetchError::TooLong { .. })));
    let broken = answer("200", "Content-Encoding: gzip\r\n", b"no gzip at all");
    let error = get(vec![broken], 100).unwrap_err();
    assert!(matches!(error, FetchError::Unexpected { status: 200 }), "{error:?}");
    let other = answer("200", "Content-Encoding: br\r\n", b"x");
    assert!(matches!(get(vec![other], 100), Err(FetchError::Unexpected { status: 200 })));
}

#[test]
fn redirects_and_other_statuses_are_not_followed() {
    for (status, location) in [("301", "http://127.0.0.1:9/"), ("302", "/base/y"), ("308", "x")] {
        let (fetch, count) =
            scripted(vec![answer(status, &format!("Location: {location}\r\n"), b"")]);
        let error = fetch.get("x", 100).unwrap_err();
        let want: u16 = status.parse().unwrap();
        assert!(matches!(error, FetchError::Unexpected { status } if status == want), "{error:?}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
    for status in ["204", "206"] {
        assert!(matches!(
            get(vec![answer(status, "", b"")], 9),
            Err(FetchError::Unexpected { .. })
        ));
    }
}

#[test]
fn a_refusal_is_read_as_far_as_it_is_one() {
    let kind = "Content-Type: application/problem+json\r\n";
    let leaf = "ab".repeat(32);
    let body = format!(r#"{{"code":"conflict","head":{{"index":7,"leaf":"{leaf}","seq":3}}}}"#);
    let error = get(vec![answer("409", kind, body.as_bytes())], 9).unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.status, refusal.code.as_deref()), (409, Some("conflict")));
    let head = refusal.head.as_deref().unwrap();
    assert_eq!((head.index, head.leaf.to_string(), head.seq), (7, leaf, 3));
    assert!(!error.is_passing());

    let long = format!(r#"{{"code":"{}"}}"#, "x".repeat(65));
    let huge = format!(r#"{{"code":"x","pad":"{}"}}"#, "x".repeat(20_000));
    for body in ["", "{}", "[]", r#"{"code":"A\u001b[2J"}"#, r#"{"code":""}"#, &long, &huge] {
        let error = get(vec![answer("404", kind, body.as_bytes())], 9).unwrap_err();
        let refusal = error.refusal().unwrap();
        assert_eq!((refusal.status, refusal.code.as_deref()), (404, None), "{body}");
    }
    let html = answer("404", "Content-Type: text/html\r\n", br#"{"code":"conflict"}"#);
    assert_eq!(get(vec![html], 9).unwrap_err().refusal().unwrap().code, None);
}

#[test]
fn patience_outlasts_a_server_that_is_away_or_busy() {
    let busy = answer("503", "Retry-After: 1\r\n", b"");
    let many = answer("429", "", b"");
    let (fetch, count) = scripted(vec![busy, many, Vec::new(), answer("201", "", b"ok")]);
    let started = Instant::now();
    let got =
        fetch.post_patiently(&Post::new("x", TEXT, b"entry", 9), Duration::from_secs(20)).unwrap();
    assert_eq!((got.status, got.body.as_slice()), (201, b"ok".as_slice()));
    assert_eq!(count.load(Ordering::SeqCst), 4);
    // 1 s as asked, then 200 and 400 ms of our own.
    assert!(started.elapsed() >= Duration::from_millis(1600), "{:?}", started.elapsed());
}

#[test]
fn patience_ends_and_is_not_spent_on_what_cannot_change() {
    let (fetch, count) = scripted(vec![answer("503", "", b"")]);
    let started = Instant::now();
    let error = fetch.get_patiently("x", 9, Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 503);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!((3..=4).contains(&count.load(Ordering::SeqCst)), "{count:?}");

    let (fetch, count) = scripted(vec![answer("503", "Retry-After: 3600\r\n", b"")]);
    let started = Instant::now();
    assert!(fetch.get_patiently("x", 9, Duration::from_secs(5)).is_err());
    assert!(started.elapsed() < Duration::from_secs(1), "a pause beyond our patience is not begun");
    assert_eq!(count.load(Ordering::SeqCst), 1);

    for status in ["400", "404", "409", "500", "301"] {
        let (fetch, count) = scripted(vec![answer(status, "", b"")]);
        assert!(fetch.get_patiently("x", 9, Duration::from_secs(5)).is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[test]
fn who_cannot_be_reached_is_said_to_be_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fetch = Fetch::new(&format!("http://{closed}"), &quick()).unwrap();
    let error = fetch.get("x", 9).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { kind: UnreachableKind::Connection, .. }));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let fetch = Fetch::new(&format!("http://{}", silent.local_addr().unwrap()), &quick()).unwrap();
    let started = Instant::now();
    let error = fetch.get("x", 9).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { kind: UnreachableKind::TimedOut, .. }));
    assert!(started.elapsed() < Duration::from_secs(3));

    for base in ["", "log.example", "/log", "ftp://h/x", "http://", "http://h/?x", "http://u@h/"] {
        assert!(matches!(Fetch::new(base, &quick()), Err(FetchError::BadUrl)), "{base}");
    }
    assert_eq!(Fetch::new("https://h/a/", &quick()).unwrap().base(), "https://h/a");
}

#[test]
fn a_server_that_drips_its_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.read_exact(&mut [0; 20]).unwrap();
        socket.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n").unwrap();
        while socket.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let started = Instant::now();
    let error = Fetch::new(&base, &quick()).unwrap().get("x", 1000).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { kind: UnreachableKind::TimedOut, .. }));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_and_server_agree() {
    let fixture = Fixture::with(4, Limits::default()).await;
    let any = "127.0.0.1:0".parse().unwrap();
    let binding = Binding::new(any, Audience::Public).await.unwrap();
    let base = format!("http://{}/test", binding.address().unwrap());
    let server = fixture.server.clone();
    let serving =
        tokio::spawn(async move { serve(&server, vec![binding], std::future::pending()).await });
    let talk = tokio::task::spawn_blocking(move || {
        let fetch = Fetch::new(&base, &FetchLimits::default()).unwrap();
        let new = fetch.post(&Post::new("entries", TEXT, &flagged(9), 100_000)).unwrap();
        assert_eq!((new.status, new.flags.as_str()), (201, "A1,A3"));
        assert_eq!(
            fetch.post(&Post::new("entries", TEXT, &flagged(9), 100_000)).unwrap().status,
            200
        );
        let leaf = jejak_proofs::merkle::leaf_hash(&entry(1));
        let found = fetch.get(&format!("leaf/{leaf}"), 100).unwrap();
        assert_eq!((found.size, found.body.as_slice()), (Some(5), br#"{"index":1}"#.as_slice()));
        let refused =
            fetch.post(&Post::new("entries", TEXT, &election().rival(3), 100_000)).unwrap_err();
        let head = refused.refusal().unwrap().head.as_deref().unwrap();
        assert_eq!((head.index, head.seq), (3, 0));
        assert_eq!(head.leaf.to_string(), jejak_proofs::merkle::leaf_hash(&entry(3)).to_string());
        let missing = fetch.get("entry/99", 100).unwrap_err();
        assert_eq!(missing.refusal().unwrap().code.as_deref(), Some("not_found"));
        let large = vec![b'x'; 300_000];
        let refused = fetch.post(&Post::new("entries", TEXT, &large, 100)).unwrap_err();
        let code = refused.refusal().map(|refusal| refusal.code.as_deref());
        assert_eq!(code, Some(Some("too_large")), "{refused:?}");
    });
    talk.await.unwrap();
    serving.abort();
}
