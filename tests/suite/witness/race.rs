//! Many at once, on two forks, and a process that is killed meanwhile: one chain is signed.

use std::{
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    history::{History, ORIGIN},
    place::{Ours, Place as _, try_send},
};

/// Clients, half on each fork.
const CLIENTS: usize = 64;
/// Where the forks begin.
const FORK: usize = 5;
/// How long a client tries.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A cosignature that somebody got: which fork, and the size.
type Signed = (usize, usize);

/// Asks for `size` on a fork, from whatever the witness says that it cosigned; true if it cosigned.
fn client(url: &str, fork: &History, size: usize) -> bool {
    let started = Instant::now();
    let mut old = FORK;
    while started.elapsed() < TIME_MAX {
        let body = fork.request(old, size);
        let url = format!("{url}/add-checkpoint");
        let Ok(reply) = try_send(&url, Some(body.as_bytes())) else {
            // Killed, or not yet back.
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        match reply.status {
            200 => return true,
            422 => return false,
            409 => {
                let known: usize = reply.body.trim_end().parse().unwrap();
                if known > size {
                    return false;
                }
                old = known;
            }
            500 | 503 => thread::sleep(Duration::from_millis(20)),
            _ => panic!("{reply:?}"),
        }
    }
    panic!("no answer in time");
}

/// Runs all clients at once, and `meanwhile` until they are done.
fn race(url: &str, forks: &[History; 2], meanwhile: impl FnOnce(&AtomicBool)) -> Vec<Signed> {
    let signed = Mutex::new(Vec::new());
    let (barrier, done) = (Barrier::new(CLIENTS), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (signed, barrier) = (&signed, &barrier);
                scope.spawn(move || {
                    let (fork, size) = (number % 2, FORK + 1 + number / 2);
                    barrier.wait();
                    if client(url, &forks[fork], size) {
                        signed.lock().unwrap().push((fork, size));
                    }
                })
            })
            .collect();
        let done = &done;
        scope.spawn(move || {
            clients.into_iter().for_each(|client| client.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        meanwhile(done);
    });
    signed.into_inner().unwrap()
}

fn forks() -> [History; 2] {
    let log = History::new(ORIGIN, FORK + 1 + CLIENTS / 2);
    [log.forked(FORK, "the other"), log]
}

/// What was signed is one chain, and the witness still knows its newest head.
fn check(ours: &Ours, forks: &[History; 2], signed: &[Signed]) {
    let (fork, _) = *signed.first().expect("somebody was cosigned");
    assert!(signed.iter().all(|one| one.0 == fork), "{signed:?}");
    let last = signed.iter().map(|one| one.1).max().unwrap();
    let shown = ours.monitored(ORIGIN).body;
    let checkpoint = forks[fork].checkpoint(last);
    // A killed witness may have cosigned a later one that nobody heard of.
    let size: usize = shown.lines().nth(1).unwrap().parse().unwrap();
    assert!(size >= last && shown.starts_with(forks[fork].checkpoint(size).text()), "{shown}");
    assert_eq!(checkpoint.head(), forks[fork].head(last));
}

// SPEC [J8]
#[test]
fn of_two_forks_one_chain_is_signed() {
    let forks = forks();
    let mut ours = Ours::of(&[], &[&forks[0]]);
    ours.serve(&["--burst", "100000"]);
    ours.cosigned(&forks[0], 0, FORK);
    let signed = race(ours.url(), &forks, |_| {});
    check(&ours, &forks, &signed);
    let evidence = ours.kept("evidence");
    assert!(!evidence.is_empty() && evidence.len() <= 16, "{evidence:?}");
}

// SPEC [J8]
#[test]
fn of_two_forks_one_chain_is_signed_over_kills() {
    let forks = forks();
    for round in 0..3 {
        let mut ours = Ours::of(&[], &[&forks[0]]);
        ours.serve(&["--burst", "100000"]);
        ours.cosigned(&forks[0], 0, FORK);
        let url = ours.url().to_owned();
        let mut kills = 0;
        let signed = race(&url, &forks, |done| {
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(15 + 25 * round));
                ours.kill();
                kills += 1;
            }
        });
        assert!(kills > 0);
        check(&ours, &forks, &signed);
    }
}
