//! Lies about heads, tiles and bundles: who is accused, and of what.

use jejak_proofs::{
    evidence::{Conviction, Evidence},
    merkle::{Hash, TreeHead, leaf_hash, sha256},
    note::{Checkpoint, CosigningKey, KeyKind, Policy, SigningKey},
};
use serde_json::{Value, json};

use super::{
    Run,
    election::{Clerk, ORIGIN, key},
    fake::{Desk, Fake, checkpoint, head},
    honest::honest,
};

/// Another history: the entry at `at` says something else, properly signed.
fn rewritten(log: &[Vec<u8>], at: usize) -> Vec<Vec<u8>> {
    let mut log = log.to_vec();
    log[at] = Clerk::new().tally("official/ID", at as u64 - 3, (1, 99));
    log
}

/// The evidence that a run named, judged with the log's key alone.
fn conviction(run: &Run) -> Conviction {
    let path = run.conviction()["evidence"].as_str().expect("evidence");
    let evidence = Evidence::parse(&std::fs::read(path).unwrap()).unwrap();
    let stranger = key("log.example/other").verifier();
    assert!(evidence.verify(&[stranger]).is_err());
    evidence.verify(&[key(ORIGIN).verifier()]).unwrap()
}

#[test]
fn a_fork_is_convicted_whatever_its_size() {
    let log = honest(&Clerk::new());
    for size in [255, 256, 257, 400, 512] {
        let (desk, fake) = (Desk::new(), Fake::serve(&log[..size]));
        assert_eq!(desk.run(&fake, &[]).exit, 0);
        for (at, shown) in [(5, 600), (size - 1, size + 1), (5, size), (5, size - 1), (5, 128)] {
            let lie = rewritten(&log, at);
            let desk = desk.copy();
            fake.show(&lie[..shown]);
            let run = desk.run(&fake, &[]);
            assert_eq!(run.exit, 16, "{size} {shown}: {:?} {}", run.lines, run.errors);
            assert_eq!(run.conviction()["id"], "L1");
            let (ours, theirs) = (head(&log[..size]), head(&lie[..shown]));
            let origin = ORIGIN.to_owned();
            let want = match shown {
                _ if shown == size => {
                    let roots = [ours.root, theirs.root];
                    Conviction::TwoRoots { origin, size: size as u64, roots }
                }
                _ if shown > size => {
                    let root_in_newer = head(&lie[..size]).root;
                    Conviction::Inconsistent { origin, older: ours, newer: theirs, root_in_newer }
                }
                _ => {
                    let root_in_newer = head(&log[..shown]).root;
                    Conviction::Inconsistent { origin, older: theirs, newer: ours, root_in_newer }
                }
            };
            assert_eq!(conviction(&run), want, "{size} and {shown}");
            // It stays convicted, also once it shows the first history again.
            fake.show(&log[..size]);
            assert_eq!(desk.run(&fake, &[]).exit, 16);
        }
    }
}

#[test]
fn an_older_head_of_the_same_history_is_a_report() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    for size in [599, 512, 256, 1, 0] {
        fake.show(&log[..size]);
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 16);
        assert_eq!(run.conviction()["evidence"], Value::Null);
        let detail = run.conviction()["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("600 entries were signed before, {size} ")),
            "{detail}"
        );
        let kept = desk.state().join(format!("reports/rollback-600-{size}.checkpoint"));
        let kept = std::fs::read_to_string(kept).unwrap();
        assert_eq!(kept, checkpoint(&log[..size], &key(ORIGIN)).note());
    }
    // A cache may have been to blame: nothing is held against the log once it is back.
    fake.show(&log);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
}

#[test]
fn another_genesis_is_another_history() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    let pinned = Policy::compose(&[key(ORIGIN).verifier()], None, &leaf_hash(b"other")).unwrap();
    let desk = Desk::with(&pinned);
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 16);
    let detail = run.conviction()["detail"].as_str().unwrap();
    assert!(detail.ends_with(&leaf_hash(&log[0]).to_string()), "{detail}");
}

#[test]
fn a_checkpoint_that_the_log_did_not_sign() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let stranger = {
        let seed = *sha256(b"stranger").as_bytes();
        jejak_proofs::note::SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, seed).unwrap()
    };
    let flipped = |note: &mut Vec<u8>| {
        let at = note.len() - 20;
        note[at] = if note[at] == b'A' { b'B' } else { b'A' };
    };
    fake.change("checkpoint", flipped);
    let run = desk.run(&fake, &[]);
    assert_eq!((run.exit, &run.conviction()["id"]), (13, &"L1".into()));
    fake.change("checkpoint", |note| *note = checkpoint(&log, &stranger).note().into());
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 13);
    assert_eq!(run.conviction()["evidence"], Value::Null);
    fake.show(&log);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
}

// SPEC [C8]
#[test]
fn a_checkpoint_by_a_key_that_does_not_count_for_its_size() {
    let old = key(ORIGIN);
    let seed = *sha256(b"next").as_bytes();
    let new = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, seed).unwrap();
    let window = |key: &SigningKey, from: u64, until: Value| {
        let vkey = key.verifier().to_string();
        json!({"from": from, "until": until, "vkey": vkey})
    };
    let clerk = Clerk::with(json!([window(&old, 0, json!(3)), window(&new, 3, Value::Null)]));
    let mut log = vec![clerk.manifest.clone(), clerk.mandate("root/ID", "official/ID")];
    log.extend((0..2).map(|number| clerk.tally("official/ID", number, (1, 1))));
    let keys = [old.verifier(), new.verifier()];
    let desk = Desk::with(&Policy::compose(&keys, None, &clerk.genesis.unwrap()).unwrap());
    let fake = Fake::serve(&log[..2]);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    // Any key may add its line beside one that counts.
    let [by_old, by_new] = [&old, &new].map(|key| checkpoint(&log, key));
    let line = by_old.note().rsplit_once("\n\n").unwrap().1;
    let by_both = by_new.with_lines(&[line]).unwrap();
    for (shown, exit) in [(&by_new, 0), (&by_both, 0), (&by_old, 19)] {
        let desk = desk.copy();
        fake.show(&log);
        fake.change("checkpoint", |note| *note = shown.note().into());
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, exit, "{:?} {}", run.lines, run.errors);
        if exit == 19 {
            assert_eq!(run.conviction()["id"], "L1");
            let detail = "no key that `log_keys` names for 4 entries signed them";
            assert_eq!(run.conviction()["detail"], detail);
            // It was signed, and stays so; it is said once.
            let again = desk.run(&fake, &[]);
            assert_eq!((again.exit, again.counts()), (19, run.counts()));
        }
    }
}

/// A wrong URL or policy: whoever typed it is told, and nobody is accused.
#[test]
fn a_checkpoint_of_another_log_accuses_nobody() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let other = checkpoint(&log, &key("log.example/other"));
    fake.change("checkpoint", |note| *note = other.note().into());
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 78, "{:?}", run.lines);
    assert!(run.lines.iter().all(|line| line["severity"] != "critical"), "{:?}", run.lines);
    assert!(run.errors.contains("is that of another log"), "{}", run.errors);
    assert!(run.errors.contains("check the URL and the policy"), "{}", run.errors);
    fake.show(&log);
    let run = desk.run(&fake, &[]);
    assert_eq!((run.exit, &run.counts()["L1"]), (0, &Value::Null));
}

#[test]
fn no_answer_accuses_nobody() {
    let log = honest(&Clerk::new());
    let (desk, fake) = (Desk::new(), Fake::serve(&log));
    let unreachable = |run: Run| {
        assert_eq!(run.exit, 69, "{:?}", run.lines);
        assert!(run.lines.iter().all(|line| line["severity"] != "critical"));
    };
    fake.change("checkpoint", |note| *note = b"<html>Welcome to this network</html>".to_vec());
    let run = desk.run(&fake, &[]);
    assert!(run.errors.contains("its checkpoint cannot be read: "), "{}", run.errors);
    unreachable(run);
    fake.change("checkpoint", |note| *note = vec![b'a'; 1 << 20]);
    unreachable(desk.run(&fake, &[]));
    fake.remove("checkpoint");
    let run = desk.run(&fake, &[]);
    assert!(run.errors.contains("it has no checkpoint"), "{}", run.errors);
    unreachable(run);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    unreachable(super::run(&closed, &desk.policy, &desk.state(), &[]));
    fake.show(&log);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
}

#[test]
fn entries_that_are_not_served() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    type Damage = fn(&mut Vec<u8>);
    let cut: [(&str, Damage); 4] = [
        ("tile/entries/002.p/88", |bundle| bundle.truncate(bundle.len() - 1)),
        ("tile/entries/000", |bundle| bundle.truncate(1_000)),
        ("tile/entries/001", |bundle| bundle.push(0)),
        ("tile/entries/001", Vec::clear),
    ];
    for (path, change) in cut {
        fake.show(&log);
        fake.change(path, change);
        let desk = Desk::new();
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 69, "{:?} {}", run.lines, run.errors);
        assert_eq!(run.findings("L5")[0]["detail"], format!("{path} is not what its path names"));
        fake.show(&log);
        fake.remove(path);
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 69);
        assert_eq!(run.findings("L5")[0]["detail"], format!("{path} is missing"));
        // What was read before is not read again, and counts once it is complete.
        fake.show(&log);
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 0);
        assert_eq!(run.counts()["T1"], 2);
        assert_eq!(run.counts()["A2"], 19);
    }
    // A partial bundle that has grown into the full one is there.
    fake.show(&log[..300]);
    let full = super::fake::files(&log);
    fake.remove("tile/entries/001.p/44");
    fake.remove("tile/0/001.p/44");
    for path in ["tile/entries/001", "tile/0/001"] {
        fake.answers().files.insert(path.to_owned(), full[path].clone());
    }
    assert_eq!(Desk::new().run(&fake, &[]).exit, 0);
}

#[test]
fn entries_that_are_not_under_the_root() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    let lie = super::fake::files(&rewritten(&log, 300));
    fake.change("tile/entries/001", |bundle| *bundle = lie["tile/entries/001"].clone());
    let desk = Desk::new();
    let run = desk.run(&fake, &[]);
    assert_eq!(run.exit, 19);
    assert_eq!((&run.conviction()["id"], &run.conviction()["index"]), (&"L4".into(), &300.into()));
    assert_eq!(run.conviction()["evidence"], Value::Null);
    fake.show(&log);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
}

#[test]
fn tiles_that_are_wrong_beside_entries_that_are_right() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    let lies: [fn(&Fake); 3] = [
        |fake| fake.change("tile/0/001", |tile| tile[99] ^= 1),
        |fake| fake.change("tile/0/001", |tile| tile.truncate(33)),
        |fake| fake.remove("tile/0/000"),
    ];
    for lie in lies {
        fake.show(&log);
        lie(&fake);
        let run = Desk::new().run(&fake, &[]);
        assert_eq!(run.exit, 0, "{:?}", run.lines);
        assert_eq!(run.findings("L5").len(), 1);
        assert_eq!(run.counts()["T1"], 2);
        // Also where an older head is known: wrong tiles are no fork.
        let desk = Desk::new();
        let honest = Fake::serve(&log[..200]);
        assert_eq!(desk.run(&honest, &[]).exit, 0);
        assert_eq!(desk.run(&fake, &[]).exit, 0);
    }
}

#[test]
fn a_root_that_follows_from_nothing() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    let bare = TreeHead { size: 600, root: Hash::new([7; 32]) };
    let note = Checkpoint::sign(bare, &key(ORIGIN)).unwrap();
    fake.change("checkpoint", |bytes| *bytes = note.note().into());
    let known = Desk::new();
    assert_eq!(known.run(&Fake::serve(&log[..300]), &[]).exit, 0);
    for desk in [Desk::new(), known] {
        let run = desk.run(&fake, &[]);
        assert_eq!(run.exit, 19, "{:?}", run.lines);
        assert_eq!(run.conviction()["id"], "L4");
    }
}

#[test]
fn a_quorum_is_demanded_and_must_be_fresh() {
    let log = honest(&Clerk::new());
    let fake = Fake::serve(&log);
    let witness =
        CosigningKey::from_seed("witness.example/w", KeyKind::CosignatureV1, [3; 32]).unwrap();
    let policy = format!(
        "# jejak-genesis {ORIGIN} {}\nlog {}\nwitness w {}\nquorum w\n",
        Clerk::new().genesis.unwrap(),
        key(ORIGIN).verifier(),
        witness.verifier()
    );
    let desk = Desk::with(&policy);
    let bare = desk.run(&fake, &[]);
    assert_eq!((bare.exit, bare.findings("L1").len()), (14, 0));
    let show = |seconds: u64| {
        let head = checkpoint(&log, &key(ORIGIN));
        let line = witness.cosign(&head, seconds).unwrap();
        let note = head.with_lines(&[line]).unwrap();
        fake.change("checkpoint", |bytes| *bytes = note.note().into());
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    show(now - 100);
    assert_eq!(desk.run(&fake, &[]).exit, 0);
    assert_eq!(desk.run(&fake, &["--max-age", "10m"]).exit, 0);
    let stale = desk.run(&fake, &["--max-age", "90s"]);
    assert_eq!((stale.exit, stale.findings("L3").len()), (17, 1));
    show(now);
    assert_eq!(desk.run(&fake, &["--max-age", "90s"]).exit, 0);
    // Without witnesses nobody vouches for a time.
    assert_eq!(Desk::new().run(&fake, &["--max-age", "90s"]).exit, 78);
}
