//! A log that is gone is served on.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use jejak::client::{Fetch, FetchLimits};
use jejak_proofs::{
    merkle::sha256,
    note::{Policy, UnverifiedCheckpoint},
};
use tempfile::TempDir;

use crate::{
    program::{Serving, example_log, jejak},
    witness::place::send,
};

/// Waits until `url` answers with what is wanted.
pub fn until(url: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = send(url, None);
        if wanted(reply.status, &reply.body) {
            return reply.body;
        }
        assert!(Instant::now() < end, "{url}: {reply:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn size_of(note: &str) -> u64 {
    UnverifiedCheckpoint::parse(note.as_bytes()).unwrap().claimed_head().size
}

// SPEC [Y8]
#[test]
fn the_copy_of_a_real_log_is_served_on_when_the_log_is_gone() {
    let dir = TempDir::new().unwrap();
    let log = example_log(dir.path());
    let submit =
        ["submit", "-p", "log/policy", "-k", "officer.key", "form.json", "--url", &log.url];
    jejak(dir.path(), &submit).exit(0);
    let sealed = until(&format!("{}/checkpoint", log.url), |_, note| size_of(note) >= 4);
    let url = log.url.clone();
    let listen = ["--listen", "127.0.0.1:0", "--from", &url, "--every", "100ms"];
    let serve = [&["mirror", "serve", "m", "-p", "log/policy"][..], &listen].concat();
    let mirror = Serving::with(dir.path(), &serve);
    let policy = fs::read_to_string(dir.path().join("log/policy")).unwrap();
    let policy = Policy::parse(&policy).unwrap();
    let id = sha256(policy.single_origin().unwrap().as_bytes());
    assert!(mirror.url.ends_with(&format!("/{id}")), "{}", mirror.url);
    let checkpoint = format!("{}/checkpoint", mirror.url);
    let size = size_of(&sealed);
    let note = until(&checkpoint, |status, note| status == 200 && size_of(note) >= size);
    policy.verify(UnverifiedCheckpoint::parse(note.as_bytes()).unwrap()).unwrap();

    log.kill();
    let ready = mirror.url.replace(&format!("/{id}"), "/readyz");
    let said = until(&ready, |status, said| status == 200 && said.contains("cannot be reached"));
    assert!(said.starts_with("ok\n") && said.contains(&format!("{size} entries, signed ")));
    assert_eq!(send(&checkpoint, None).body, note);
    let fetch = Fetch::new(&mirror.url, &FetchLimits::default()).unwrap();
    fetch.get(&format!("tile/entries/000.p/{size}"), 1 << 20).unwrap();

    // Also after a restart without the log; and there is one process a directory.
    jejak(dir.path(), &["mirror", "pull", "m", "-p", "log/policy", "--once"]).exit(75);
    assert_eq!(mirror.terminate().0, Some(0));
    jejak(dir.path(), &["mirror", "pull", "m", "-p", "log/policy", "--once"]).exit(69);
    let mirror = Serving::with(dir.path(), &serve);
    assert_eq!(send(&format!("{}/checkpoint", mirror.url), None).body, note);
    let ready = mirror.url.replace(&format!("/{id}"), "/readyz");
    until(&ready, |_, said| said.contains("not pulled since the start"));
    // A copy is a static copy, and the tools for those read it.
    let copy = format!("m/{id}");
    jejak(dir.path(), &["fsck", &copy, "-p", "log/policy"]).exit(0);
    jejak(dir.path(), &["fsck", &mirror.url, "-p", "log/policy"]).exit(0);
}
