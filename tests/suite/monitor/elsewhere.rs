//! What a log showed to others: its witnesses, and whoever asks for its newest head.

use jejak_proofs::{
    evidence::Evidence,
    merkle::{leaf_hash, sha256},
    note::{CosigningKey, KeyKind},
};
use serde_json::{Value, json};

use super::{
    Run,
    election::{Clerk, ORIGIN, key},
    fake::{Desk, Fake, checkpoint},
    honest::honest,
};

/// A log and two witnesses that show what they are told to.
struct Scene {
    desk: Desk,
    log: Fake,
    witnesses: [Fake; 2],
}

impl Scene {
    /// The log shows these entries; the witnesses show nothing yet.
    fn of(entries: &[Vec<u8>]) -> Self {
        let witnesses = [Fake::serve(&[]), Fake::serve(&[])];
        let mut policy = format!(
            "# jejak-genesis {ORIGIN} {}\nlog {}\n",
            leaf_hash(&entries[0]),
            key(ORIGIN).verifier()
        );
        for (number, witness) in (1_u8..).zip(&witnesses) {
            let name = format!("witness.example/w{number}");
            let key = CosigningKey::from_seed(&name, KeyKind::CosignatureV1, [number; 32]);
            policy += &format!("witness w{number} {} {}\n", key.unwrap().verifier(), witness.url);
        }
        let desk = Desk::with(&(policy + "quorum none\n"));
        Self { desk, log: Fake::serve(entries), witnesses }
    }

    /// Lets a witness show the head of these entries.
    fn show(&self, witness: usize, entries: &[Vec<u8>]) {
        self.tell(witness, checkpoint(entries, &key(ORIGIN)).note());
    }

    fn tell(&self, witness: usize, text: &str) {
        let path = format!("{}/checkpoint", sha256(ORIGIN.as_bytes()));
        self.witnesses[witness].answers().files.insert(path, text.into());
    }

    fn run(&self, more: &[&str]) -> Run {
        self.desk.run(&self.log, more)
    }
}

/// A history that is another one from entry 5 on.
fn other(log: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut log = log.to_vec();
    log[5] = Clerk::new().tally("official/ID", 2, (1, 99));
    log
}

/// The run ended with 16, and its evidence convicts by itself.
#[track_caller]
fn convicted(run: &Run) {
    assert_eq!(run.exit, 16, "{:?} {}", run.lines, run.errors);
    assert_eq!(run.conviction()["id"], "L1");
    let path = run.conviction()["evidence"].as_str().expect("evidence");
    let evidence = Evidence::parse(&std::fs::read(path).unwrap()).unwrap();
    evidence.verify(&[key(ORIGIN).verifier()]).unwrap();
}

// SPEC [L8]
#[test]
fn what_a_witness_saw_of_the_same_history_is_no_finding() {
    let log = honest(&Clerk::new());
    let scene = Scene::of(&log[..400]);
    for size in [1, 255, 256, 399, 400] {
        scene.show(0, &log[..size]);
        let run = scene.run(&[]);
        assert_eq!(run.exit, 0, "{size}: {:?}", run.lines);
        let seen = &run.last()["elsewhere"];
        assert_eq!(seen["witness w1"]["size"], size);
        let problem = json!({"problem": "has no checkpoint of the log"});
        assert_eq!(seen["witness w2"], problem);
        assert_eq!(run.counts()["L5"], Value::Null);
    }
    // Wrong tiles are no fork either: our own leaf hashes tell.
    scene.show(0, &log[..300]);
    scene.log.change("tile/0/000", |tile| tile[9] ^= 1);
    assert_eq!(scene.run(&[]).exit, 0);
}

// SPEC [L8]
#[test]
fn what_a_witness_saw_of_another_history_convicts_within_one_look() {
    let log = honest(&Clerk::new());
    for size in [6, 255, 256, 300, 399, 400] {
        let scene = Scene::of(&log[..400]);
        scene.show(1, &other(&log)[..size]);
        convicted(&scene.run(&[]));
        // It stays convicted when the witness is gone.
        scene.tell(1, "nothing");
        assert_eq!(scene.run(&[]).exit, 16);
    }
    // A newer head, if the log itself serves what is under it.
    let scene = Scene::of(&log[..400]);
    assert_eq!(scene.run(&[]).exit, 0);
    scene.log.show(&other(&log)[..500]);
    scene.log.change("checkpoint", |note| {
        *note = checkpoint(&log[..400], &key(ORIGIN)).note().into();
    });
    scene.show(0, &other(&log)[..500]);
    convicted(&scene.run(&[]));
}

// SPEC [L8]
#[test]
fn a_head_beyond_the_followed_one_is_remembered_until_it_fits() {
    let log = honest(&Clerk::new());
    let lie = other(&log);
    let scene = Scene::of(&log[..400]);
    scene.show(0, &lie[..450]);
    assert_eq!(scene.run(&[]).exit, 0);
    // The witness forgets it, the monitor does not; nor when it was restarted.
    scene.tell(0, "nothing");
    scene.log.show(&log[..449]);
    assert_eq!(scene.run(&[]).exit, 0);
    scene.log.show(&log[..451]);
    convicted(&scene.run(&[]));

    // It need not be the followed head that contradicts: a newer one, with or without its quorum.
    for (shown, seen) in [(500, 450), (450, 500), (450, 450)] {
        let scene = Scene::of(&log[..5]);
        assert_eq!(scene.run(&[]).exit, 0);
        scene.log.show(&log[..shown]);
        scene.log.change("checkpoint", |note| {
            *note = checkpoint(&log[..5], &key(ORIGIN)).note().into();
        });
        let latest = checkpoint(&log[..shown], &key(ORIGIN)).note().into();
        scene.log.answers().files.insert("checkpoint/latest".to_owned(), latest);
        let five = super::fake::files(&log[..5]);
        for file in ["tile/0/000.p/5", "tile/entries/000.p/5"] {
            scene.log.answers().files.insert(file.to_owned(), five[file].clone());
        }
        assert_eq!(scene.run(&[]).exit, 0);
        scene.show(0, &lie[..seen]);
        let run = scene.run(&[]);
        match seen > shown {
            // What the other log holds beyond is not served by this one: it waits.
            true => assert_eq!(run.exit, 0, "{:?}", run.lines),
            false => convicted(&run),
        }
    }

    // Two witnesses that saw two trees of one size.
    let scene = Scene::of(&log[..400]);
    scene.show(0, &lie[..450]);
    scene.show(1, &log[..450]);
    convicted(&scene.run(&[]));

    // One that was only early.
    let scene = Scene::of(&log[..400]);
    scene.show(0, &log[..450]);
    assert_eq!(scene.run(&[]).exit, 0);
    scene.log.show(&log[..450]);
    assert_eq!(scene.run(&["--unserved-after", "0s"]).findings("L5").len(), 0);
}

// SPEC [L8]
#[test]
fn the_newest_head_of_the_log_is_compared_too() {
    let log = honest(&Clerk::new());
    let scene = Scene::of(&log[..400]);
    let latest = |entries: &[Vec<u8>]| {
        let note = checkpoint(entries, &key(ORIGIN)).note().as_bytes().to_vec();
        scene.log.answers().files.insert("checkpoint/latest".to_owned(), note);
    };
    latest(&log[..400]);
    assert_eq!(scene.run(&[]).exit, 0);
    latest(&other(&log)[..400]);
    convicted(&scene.run(&[]));
}

/// A tail that was published, with receipts, and then replaced by another: the followed head has
/// not moved, because a quorum is away, say.
#[test]
fn a_newest_head_that_was_served_is_remembered_too() {
    let log = honest(&Clerk::new());
    let lie = other(&log);
    let pq = CosigningKey::from_seed(ORIGIN, KeyKind::MlDsa44, [9; 32]).unwrap();
    let publish = |scene: &Scene, entries: &[Vec<u8>]| {
        scene.log.show(entries);
        let latest = checkpoint(entries, &key(ORIGIN)).note().as_bytes().to_vec();
        let few = super::fake::files(&log[..5]);
        let files = &mut scene.log.answers().files;
        files.insert("checkpoint/latest".to_owned(), latest);
        for file in ["tile/0/000.p/5", "tile/entries/000.p/5"] {
            files.insert(file.to_owned(), few[file].clone());
        }
        let followed = checkpoint(&log[..5], &key(ORIGIN));
        let line = pq.cosign(&followed, 1_700_000_000).unwrap();
        let followed = followed.with_lines(&[line]).unwrap();
        files.insert("checkpoint".to_owned(), followed.note().into());
    };
    for (before, after, strict) in [(300, 300, false), (300, 450, true), (450, 300, false)] {
        let scene = Scene::of(&log[..5]);
        let policy = std::fs::read_to_string(&scene.desk.policy).unwrap();
        let policy = format!("{policy}log {}\n", pq.verifier());
        std::fs::write(&scene.desk.policy, policy).unwrap();
        publish(&scene, &log[..5]);
        assert_eq!(scene.run(&[]).exit, 0);
        publish(&scene, &log[..before]);
        assert_eq!(scene.run(&["--unserved-after", "0s"]).findings("L5").len(), 0);
        publish(&scene, &lie[..after]);
        // What the log signed convicts it, whichever lines a policy asks for.
        let more: &[&str] = if strict { &["--require-pq"] } else { &[] };
        let run = scene.run(more);
        match after < before {
            // Nobody serves the hashes that prove it; it waits until the log has grown.
            true => {
                publish(&scene, &lie[..before + 1]);
                convicted(&scene.run(&[]));
            }
            false => convicted(&run),
        }
    }
}

// SPEC [L9]
#[test]
fn a_head_that_is_not_served_is_a_finding_after_a_time() {
    let log = honest(&Clerk::new());
    let scene = Scene::of(&log[..400]);
    scene.show(0, &log[..450]);
    assert_eq!(scene.run(&[]).findings("L5").len(), 0, "five minutes by default");
    let at_once = ["--unserved-after", "0s"];
    let run = scene.run(&at_once);
    let [finding] = run.findings("L5")[..] else { panic!("{:?}", run.lines) };
    let detail = finding["detail"].as_str().unwrap();
    assert!(detail.starts_with("a head of 450 entries, seen at witness w1 since "), "{detail}");
    let kept = detail.rsplit(' ').next().unwrap();
    let kept = std::fs::read_to_string(scene.desk.state().join(kept)).unwrap();
    assert_eq!(kept, checkpoint(&log[..450], &key(ORIGIN)).note());
    assert_eq!((run.exit, &finding["severity"]), (0, &"high".into()));
    // Tiles alone are not enough: the entries must be there.
    scene.log.show(&log[..450]);
    scene.log.change("checkpoint", |note| {
        *note = checkpoint(&log[..400], &key(ORIGIN)).note().into();
    });
    let bundle = "tile/entries/001.p/194";
    let bytes = scene.log.answers().files.remove(bundle).unwrap();
    let whole = super::fake::files(&log[..400])["tile/entries/001.p/144"].clone();
    scene.log.answers().files.insert("tile/entries/001.p/144".to_owned(), whole);
    assert_eq!(scene.run(&at_once).findings("L5").len(), 1);
    scene.log.answers().files.insert(bundle.to_owned(), bytes);
    let run = scene.run(&at_once);
    assert_eq!((run.findings("L5").len(), run.exit), (0, 0), "{:?}", run.lines);
}

// SPEC [L10]
#[test]
fn a_log_that_is_silent_is_a_finding_after_a_time() {
    let log = honest(&Clerk::new());
    let scene = Scene::of(&log);
    assert_eq!(scene.run(&[]).exit, 0);
    let note = scene.log.answers().files.remove("checkpoint").unwrap();
    let run = scene.run(&[]);
    assert_eq!((run.exit, run.findings("L6").len()), (69, 0));
    let run = scene.run(&["--silent-after", "0s"]);
    assert_eq!((run.exit, run.findings("L6").len()), (69, 1), "{:?}", run.lines);
    assert_eq!(run.findings("L6")[0]["severity"], "high");
    // It answers again.
    scene.log.answers().files.insert("checkpoint".to_owned(), note);
    let run = scene.run(&["--silent-after", "0s"]);
    assert_eq!((run.exit, run.findings("L6").len()), (0, 0));
    // What is another log says nothing of this one.
    let stranger = checkpoint(&log, &key("log.example/other")).note().into();
    scene.log.answers().files.insert("checkpoint".to_owned(), stranger);
    let run = scene.run(&["--silent-after", "0s"]);
    assert_eq!((run.exit, run.findings("L6").len()), (78, 0));
    // A silent log is still judged by what others saw of it.
    scene.log.answers().files.clear();
    scene.show(0, &other(&log)[..300]);
    convicted(&scene.run(&[]));
}

// SPEC [L11]
#[test]
fn what_the_log_did_not_sign_accuses_nobody() {
    let log = honest(&Clerk::new());
    let scene = Scene::of(&log[..400]);
    let mut broken = checkpoint(&other(&log)[..300], &key(ORIGIN)).note().to_owned();
    broken = broken.replace("\n300\n", "\n301\n");
    let stranger = checkpoint(&other(&log)[..300], &key("log.example/other"));
    for text in [broken.as_str(), stranger.note(), "<html>", "", &"a".repeat(1 << 20)] {
        scene.tell(0, text);
        let run = scene.run(&[]);
        assert_eq!(run.exit, 0, "{text}: {:?}", run.lines);
        assert!(run.last()["elsewhere"]["witness w1"]["problem"].is_string());
    }
}
