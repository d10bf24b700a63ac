//! Slow and hostile clients, over real sockets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use jejak::server::{Audience, Binding, Drained, limits::Limits, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{election::entry, fixture::Fixture};

/// Nothing here may take longer, whatever goes wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// The documented limits, made short enough to wait for.
fn short() -> Limits {
    Limits {
        head_time_max: Duration::from_millis(400),
        body_time_max: Duration::from_millis(600),
        write_stall_max: Duration::from_millis(600),
        shutdown_time_max: Duration::from_millis(800),
        linger_time_max: Duration::from_millis(200),
        ..Limits::default()
    }
}

/// A served fixture.
struct Served {
    fixture: Fixture,
    address: SocketAddr,
    operator: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

impl Served {
    async fn new(limits: Limits) -> Self {
        Self::of(3, limits).await
    }

    /// Serves a log of `size` entries.
    async fn of(size: u64, limits: Limits) -> Self {
        let fixture = Fixture::with(size, limits).await;
        let any = "127.0.0.1:0".parse().unwrap();
        let public = Binding::new(any, Audience::Public).await.unwrap();
        let own = Binding::new(any, Audience::Operator).await.unwrap();
        let (address, operator) = (public.address().unwrap(), own.address().unwrap());
        let (stop, stopped) = oneshot::channel();
        let server = fixture.server.clone();
        let serving = tokio::spawn(async move {
            let until = async { stopped.await.unwrap_or(()) };
            serve(&server, vec![public, own], until).await
        });
        Self { fixture, address, operator, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `bytes` on a connection of its own and reads until the server closes it.
    async fn exchange(&self, bytes: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes.as_bytes()).await.unwrap();
        read_all(&mut socket).await
    }

    /// Begins to stop; the fixture, and with it the log, lives on.
    fn stop(self) -> (JoinHandle<Drained>, Fixture) {
        self.stop.send(()).unwrap();
        (self.serving, self.fixture)
    }

    /// Waits until `count` connections are open.
    async fn connections(&self, count: u64) {
        let reached = async {
            while self.metric("jejak_connections ").await != count + 1 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the number of connections is never reached");
    }

    /// A metric; the connection that asks for it counts itself.
    async fn metric(&self, name: &str) -> u64 {
        let mut socket = TcpStream::connect(self.operator).await.unwrap();
        let ask = "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        socket.write_all(ask.as_bytes()).await.unwrap();
        let text = read_all(&mut socket).await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.parse().unwrap()
    }
}

/// Everything until the end or a reset.
async fn read_all(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        while let Ok(len @ 1..) = socket.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..len]);
        }
    };
    timeout(PATIENCE, read).await.expect("the server never closes");
    String::from_utf8(all).unwrap()
}

/// Reads one answer with a `Content-Length`.
async fn read_one(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = async {
        loop {
            let mut byte = [0];
            if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                return;
            }
            all.push(byte[0]);
            let text = String::from_utf8_lossy(&all);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if len.is_some_and(|len| body.len() == len.parse::<usize>().unwrap()) {
                return;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("no whole answer");
    String::from_utf8(all).unwrap()
}

fn post(body: &[u8]) -> String {
    let len = body.len();
    let body = str::from_utf8(body).unwrap();
    format!(
        "POST /test/entries HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
}

const GET: &str = "GET /test/entry/0 HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn silent_and_dripping_heads_are_closed_in_time() {
    let served = Served::new(short()).await;
    let started = Instant::now();
    let mut silent = served.connect().await;
    let mut dripping = served.connect().await;
    let mut used = served.connect().await;
    used.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_one(&mut used).await.starts_with("HTTP/1.1 200 "));
    let drip = async {
        // Each byte comes well within the limit; only all of them together do not.
        for byte in GET.bytes().filter(|byte| *byte != b'\n').cycle() {
            sleep(Duration::from_millis(50)).await;
            if dripping.write_all(&[byte]).await.is_err() {
                return started.elapsed();
            }
        }
        unreachable!("the drip never ends by itself")
    };
    let closed = async {
        read_all(&mut silent).await;
        read_all(&mut used).await;
        started.elapsed()
    };
    let both = async { tokio::join!(closed, drip) };
    let (closed, dripped) = timeout(PATIENCE, both).await.expect("a slow client is kept");
    for elapsed in [closed, dripped] {
        assert!(elapsed >= Duration::from_millis(400), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    }
    served.connections(0).await;
}

#[tokio::test]
async fn a_dripping_body_is_refused_and_not_logged() {
    let served = Served::new(short()).await;
    let mut socket = served.connect().await;
    let request = post(&entry(50));
    let (head, body) = request.split_at(request.len() - 5);
    socket.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let (mut reader, mut writer) = socket.split();
    let drip = async {
        for byte in body[..3].bytes() {
            sleep(Duration::from_millis(100)).await;
            writer.write_all(&[byte]).await.unwrap();
        }
    };
    let mut answer = String::new();
    let read = timeout(PATIENCE, reader.read_to_string(&mut answer));
    let (_, read) = tokio::join!(drip, read);
    read.expect("closed").unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"timeout\""), "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(600));
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(served.fixture.size(), 3);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_logged() {
    let served = Served::new(short()).await;
    let mut socket = served.connect().await;
    let request = post(&entry(50));
    socket.write_all(&request.as_bytes()[..request.len() - 1]).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(!answer.contains(" 201 "), "{answer}");
    served.connections(0).await;
    assert_eq!(served.fixture.size(), 3);
    assert!(
        served
            .exchange(&post(&entry(50)).replacen("Host", "Connection: close\r\nHost", 1))
            .await
            .starts_with("HTTP/1.1 201 ")
    );
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut() {
    let served = Served::new(short()).await;
    let (register, _) = served.fixture.large_register();
    let mut socket = served.connect().await;
    let request = format!("GET /test/register/{register} HTTP/1.1\r\nHost: h\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    served.connections(1).await;
    let started = Instant::now();
    served.connections(0).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(served.metric("jejak_connections_cut_total ").await, 1);
}

#[tokio::test]
async fn a_slow_but_steady_reader_gets_everything() {
    let served = Served::new(short()).await;
    let (register, len) = served.fixture.large_register();
    let mut socket = served.connect().await;
    let request = format!("GET /test/register/{register} HTTP/1.0\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        // Longer in sum than the limit on one stall.
        sleep(Duration::from_millis(50)).await;
        match timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap() {
            0 => break,
            len => taken += len,
        }
    }
    assert!(taken > len);
}

#[tokio::test]
async fn two_lengths_are_refused_and_nothing_is_smuggled() {
    let served = Served::new(short()).await;
    let smuggled = "0\r\n\r\nGET /test/entry/0 HTTP/1.1\r\nHost: h\r\n\r\n";
    let two = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let swapped = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    let double = "Content-Length: 5\r\nContent-Length: 5\r\n";
    let zeros = format!("Content-Length: {}5\r\n", "0".repeat(70));
    let spaces = format!("Content-Length:{}5\r\n", " ".repeat(70));
    let short = "Content-Length: 05\r\n";
    for lengths in [two, swapped, double, &zeros, &spaces, short] {
        for first in ["", GET] {
            let head = "POST /test/entries HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n";
            let answer = served.exchange(&format!("{first}{head}{lengths}\r\n{smuggled}")).await;
            let answers: Vec<&str> =
                answer.split("HTTP/1.1 ").skip(1).map(|one| &one[..3]).collect();
            assert_eq!(answers.last(), Some(&"400"), "{lengths}: {answers:?}");
            assert!(answers.len() <= 1 + usize::from(!first.is_empty()), "{answers:?}");
        }
    }
    assert_eq!(served.fixture.size(), 3);
}

#[tokio::test]
async fn a_length_that_can_be_misread_ends_the_connection() {
    let served = Served::new(short()).await;
    // The second request would go through unseen if the first body were taken for shorter.
    let second = "POST /test/entries HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n\
                  Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let body = "x".repeat(43);
    let zeros = format!("{}43", "0".repeat(70));
    for (length, second, status) in [(&*zeros, second, "400"), ("43", GET, "200")] {
        for method in ["GET", "HEAD"] {
            let head = format!("{method} /test/entry/0 HTTP/1.1\r\nHost: h\r\nContent-Length: ");
            let answer = served.exchange(&format!("{head}{length}\r\n\r\n{body}{second}")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{length}: {answer}");
        }
    }
    // An empty body is none.
    let empty = GET.replace("Host", "Content-Length: 0\r\nHost");
    let last = GET.replace("Host", "Connection: close\r\nHost");
    assert_eq!(served.exchange(&format!("{empty}{last}")).await.matches("HTTP/1.1 200").count(), 2);
}

// SPEC [W15]
#[tokio::test]
async fn a_request_without_its_one_host_ends_the_connection() {
    let served = Served::new(short()).await;
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n"] {
        for request in [GET.to_owned(), post(&entry(50))] {
            let request = request.replacen("Host: h\r\n", hosts, 1);
            let answer = served.exchange(&format!("{request}{GET}")).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{hosts:?}: {answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{hosts:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{hosts:?}: {answer}");
        }
    }
    assert_eq!(served.fixture.size(), 3);
}

#[tokio::test]
async fn broken_heads_are_refused_and_closed() {
    let served = Served::new(short()).await;
    let long = "a".repeat(40 << 10);
    let requests = [
        ("GET /test/entry/0 HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /test/entry/0 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        ("G\u{7f}T / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/3.7\r\nHost: h\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", &long[..17 << 10]), "431"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(200)), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", &long[..4000]), "414"),
        (post(b"x").replace("Length: 1", "Length: 18446744073709551616"), "400"),
        (post(b"x").replace("Length: 1", "Length: -1"), "400"),
        (post(b"x").replace("Content-Length: 1", "Transfer-Encoding: gzip"), "400"),
        (post(b"x").replace("Content-Length: 1\r\n", ""), "411"),
    ];
    for (request, status) in requests {
        let request = request.replacen("Host: h", "Connection: close\r\nHost: h", 1);
        let answer = served.exchange(&request).await;
        let start: String = request.chars().take(60).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start:?}: {answer}");
    }
    let old = served.exchange("GET /test/entry/0 HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
    served.connections(0).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_while_it_is_sent() {
    let served = Served::new(short()).await;
    // Announced: the answer survives the bytes that are still on their way.
    let announced = post(&vec![b'x'; 200_000]).replacen("Host", "Connection: close\r\nHost", 1);
    let answer = served.exchange(&announced).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Counted: chunks without end.
    let mut socket = served.connect().await;
    let head = post(b"").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..17 {
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(served.fixture.size(), 3);
    served.connections(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_first_is_told_at_once_and_never_to_go_on() {
    let served = Served::new(Limits { linger_time_max: PATIENCE, ..short() }).await;
    let head = post(b"").replace("Length: 0", "Length: 65536\r\nExpect: 100-continue");
    // Often: the refusal could race with whatever still looks at the body.
    for _ in 0..50 {
        let started = Instant::now();
        // The request behind it is no body, and is not answered either.
        let answer = served.exchange(&format!("{head}{GET}")).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn who_asks_first_may_go_on() {
    let served = Served::new(short()).await;
    let request = post(&entry(50)).replace("Host", "Expect: 100-continue\r\nHost");
    let (head, body) = request.split_at(request.len() - entry(50).len());
    let mut socket = served.connect().await;
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    timeout(PATIENCE, socket.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(body.as_bytes()).await.unwrap();
    assert!(read_one(&mut socket).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn connections_are_kept_and_chunked_ones_end() {
    let served = Served::new(short()).await;
    let mut socket = served.connect().await;
    for round in 0..3 {
        socket.write_all(GET.as_bytes()).await.unwrap();
        let answer = read_one(&mut socket).await;
        assert!(answer.ends_with(str::from_utf8(&entry(0)).unwrap()), "{round}: {answer}");
        socket.write_all(post(&entry(60 + round)).as_bytes()).await.unwrap();
        assert!(read_one(&mut socket).await.starts_with("HTTP/1.1 201 "));
    }
    let body = String::from_utf8(entry(70)).unwrap();
    let chunked = post(b"").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunked = format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n{GET}", body.len());
    socket.write_all(chunked.as_bytes()).await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "nothing follows a chunked request");
}

#[tokio::test]
async fn good_traffic_goes_on_among_slow_clients() {
    let served = Served::new(Limits { head_time_max: PATIENCE, ..short() }).await;
    let mut slow = Vec::new();
    for number in 0..300 {
        let mut socket = served.connect().await;
        let request = post(&entry(50));
        let part = [0, 10, request.len() - 1][number % 3];
        socket.write_all(&request.as_bytes()[..part]).await.unwrap();
        slow.push(socket);
    }
    let mut worst = Duration::ZERO;
    for number in 0..50 {
        let started = Instant::now();
        let mut socket = served.connect().await;
        socket.write_all(post(&entry(100 + number)).as_bytes()).await.unwrap();
        assert!(read_one(&mut socket).await.starts_with("HTTP/1.1 201 "));
        worst = worst.max(started.elapsed());
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    drop(slow);
}

#[tokio::test]
async fn a_full_house_makes_wait_and_does_not_lock_out_the_operator() {
    let served =
        Served::new(Limits { connections_max: 2, head_time_max: PATIENCE, ..short() }).await;
    let (first, _second) = (served.connect().await, served.connect().await);
    served.connections(2).await;
    let mut third = served.connect().await;
    third.write_all(GET.as_bytes()).await.unwrap();
    let mut byte = [0];
    let early = timeout(Duration::from_millis(200), third.peek(&mut byte)).await;
    assert!(early.is_err(), "the third one has to wait");
    served.connections(2).await;
    drop(first);
    assert!(read_one(&mut third).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_graceful_stop_answers_what_is_in_flight_and_closes_the_rest() {
    let served = Served::of(300, Limits { head_time_max: PATIENCE, ..short() }).await;
    let mut idle = served.connect().await;
    let mut used = served.connect().await;
    used.write_all(GET.as_bytes()).await.unwrap();
    read_one(&mut used).await;
    let stall = served.fixture.stall().await;
    let mut busy = served.connect().await;
    busy.write_all(post(&entry(400)).as_bytes()).await.unwrap();
    served.connections(3).await;
    let address = served.address;
    let started = Instant::now();
    let released = stall.release_after(Duration::from_millis(300));
    let (serving, _fixture) = served.stop();
    assert_eq!(read_all(&mut idle).await, "");
    assert_eq!(read_all(&mut used).await, "");
    assert!(TcpStream::connect(address).await.is_err(), "no longer accepting");
    let answer = read_all(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(serving.await.unwrap(), Drained { cut: 0 });
    assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
    released.join().unwrap();
}

#[tokio::test]
async fn a_graceful_stop_does_not_wait_for_ever() {
    let served = Served::of(300, short()).await;
    let stall = served.fixture.stall().await;
    let mut busy = served.connect().await;
    busy.write_all(post(&entry(400)).as_bytes()).await.unwrap();
    served.connections(1).await;
    let started = Instant::now();
    let (serving, fixture) = served.stop();
    assert_eq!(serving.await.unwrap(), Drained { cut: 1 });
    assert!(started.elapsed() >= Duration::from_millis(800));
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(read_all(&mut busy).await, "");
    drop(stall);
    drop(fixture);
}
