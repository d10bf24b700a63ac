//! `jejak submit` with witnesses: receipts that are published, and later witnessed.

use std::{fs, path::Path, time::Duration};

use jejak_proofs::{
    evidence::Evidence,
    merkle::Hash,
    note::{Checkpoint, Policy, Receipt, SigningKey, UnverifiedCheckpoint},
};

use crate::{
    fake_witness::{Fake, Mode, three},
    oracle,
    program::{Serving, example_log, jejak},
};

/// The example's log, started again with three witnesses in its policy.
async fn witnessed_log(dir: &Path) -> ([Fake; 3], Serving) {
    example_log(dir).terminate();
    let file = dir.join("log/policy");
    let (fakes, policy) = three(&fs::read_to_string(&file).unwrap()).await;
    fs::write(&file, policy).unwrap();
    let serving = Serving::start(dir, "log");
    (fakes, serving)
}

fn receipt(dir: &Path, file: &str) -> Receipt {
    Receipt::parse(&fs::read(dir.join(file)).unwrap()).unwrap()
}

// SPEC [L6]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_published_receipt_becomes_a_witnessed_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (fakes, serving) = witnessed_log(dir).await;
    let place = ["-p", "log/policy", "--url", &serving.url];
    let submit = |more: &[&str]| jejak(dir, &[&["submit"][..], &place, more].concat());
    let verify = |receipt: &str| jejak(dir, &["verify", "-p", "log/policy", "form.note", receipt]);

    // Taken once the witnesses have answered; published at once, and witnessed a moment later.
    let said = submit(&["-k", "officer.key", "form.json"]).exit(0);
    assert!(said.stdout.contains("jejak submit --upgrade form.note"), "{}", said.stdout);
    verify("form.tlog-proof").exit(14);
    fakes.iter().for_each(|fake| fake.set(Mode::Status(503)));
    let published = fs::read(dir.join("form.tlog-proof")).unwrap();
    // The word of the log alone is enough to know that it is logged.
    let again = submit(&["-k", "officer.key", "form.json"]).exit(0);
    assert!(again.stdout.contains("already logged"), "{}", again.stdout);

    fakes.iter().for_each(|fake| fake.set(Mode::Honest));
    let mut upgraded = submit(&["--upgrade", "form.note"]);
    for _ in 0..200 {
        if upgraded.status != 75 {
            break;
        }
        assert_eq!(fs::read(dir.join("form.tlog-proof")).unwrap(), published);
        std::thread::sleep(Duration::from_millis(50));
        upgraded = submit(&["--upgrade", "form.note"]);
    }
    upgraded.exit(0);
    verify("form.tlog-proof").exit(0);
    // Both are kept, and the old one is still what it was.
    assert_eq!(fs::read(dir.join("form.published.tlog-proof")).unwrap(), published);
    verify("form.published.tlog-proof").exit(14);
    let said = submit(&["--upgrade", "form.tlog-proof"]).exit(0);
    assert!(said.stdout.contains("already"), "{}", said.stdout);

    // Whoever waits gets it at once.
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    fs::create_dir(dir.join("two")).unwrap();
    fs::write(dir.join("two/form.json"), form.replace("3173001", "3173002")).unwrap();
    let said = submit(&["--witnessed", "10s", "-k", "officer.key", "two/form.json"]).exit(0);
    assert!(!said.stdout.contains("upgrade"), "{}", said.stdout);
    jejak(dir, &["verify", "-p", "log/policy", "two/form.note", "two/form.tlog-proof"]).exit(0);
    assert_eq!(serving.terminate().0, Some(0));
}

// SPEC [F1] [F2] [L7]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_frozen_log_ends_under_a_witnessed_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (fakes, serving) = witnessed_log(dir).await;
    let place = ["-p", "log/policy", "--url", &serving.url];
    let submit = ["submit", "--witnessed", "10s", "-k", "officer.key", "form.json"];
    jejak(dir, &[&submit[..], &place].concat()).exit(0);
    let decision = Hash::new([7; 32]).to_string();
    let why = ["--by", "log/keys/root", "--reason", "completed", "--decision", &decision];
    let freeze = |more: &[&str]| jejak(dir, &[&["freeze"][..], &place, &why, more].concat());
    freeze(&[]).exit(2);
    freeze(&["--for-ever", "--sign-only", "-o", "later.note"]).exit(0);
    let before = jejak(dir, &["verify", "later.note"]).exit(0);
    assert!(before.stdout.contains("a freeze"), "{}", before.stdout);

    let said = freeze(&["--for-ever"]).exit(0);
    assert!(said.stdout.contains("frozen: "), "{}", said.stdout);
    let policy = Policy::parse(&fs::read_to_string(dir.join("log/policy")).unwrap()).unwrap();
    let last = fs::read(dir.join("freeze.checkpoint")).unwrap();
    let last = policy.verify(UnverifiedCheckpoint::parse(&last).unwrap()).unwrap();
    assert_eq!(last.head().size, receipt(dir, "freeze.tlog-proof").index + 2);
    jejak(dir, &["verify", "-p", "log/policy", "freeze.note", "freeze.tlog-proof"]).exit(0);
    // Again it only says what is so; anything else is refused, also after a restart.
    freeze(&["--for-ever"]).exit(0);
    let form = fs::read_to_string(dir.join("form.json")).unwrap();
    fs::write(dir.join("late.json"), form.replace("3173001", "3173002")).unwrap();
    let late = |url: &str| {
        jejak(dir, &["submit", "-p", "log/policy", "--url", url, "-k", "officer.key", "late.json"])
    };
    assert!(late(&serving.url).exit(1).stderr.contains("log_frozen"));
    serving.terminate();
    fs::rename(dir.join("late.refused"), dir.join("late.note")).unwrap();
    let again = Serving::start(dir, "log");
    assert!(fakes.iter().all(|fake| fake.size() == last.head().size));
    assert!(late(&again.url).exit(1).stderr.contains("log_frozen"));
}

// SPEC [L6]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receipt_of_another_history_is_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (_fakes, serving) = witnessed_log(dir).await;
    let place = ["-p", "log/policy", "--url", &serving.url];
    let submit = |more: &[&str]| jejak(dir, &[&["submit"][..], &place, more].concat());
    submit(&["--witnessed", "10s", "-k", "officer.key", "form.json"]).exit(0);

    // What the log gave for the same entry in a history in which entry 1 was another one.
    let note = fs::read(dir.join("form.note")).unwrap();
    let index = receipt(dir, "form.tlog-proof").index as usize;
    let mut leaves: Vec<Hash> = (0..index).map(|n| oracle::leaf(&[n as u8])).collect();
    leaves.push(oracle::leaf(&note));
    let key = fs::read_to_string(dir.join("log/keys/log")).unwrap();
    let key = SigningKey::parse(key.trim_end()).unwrap();
    let checkpoint = Checkpoint::sign(oracle::head(&leaves), &key).unwrap().into();
    let proof = oracle::path(&leaves, index);
    let forged = Receipt { index: index as u64, proof, checkpoint, extra: None };
    fs::write(dir.join("form.tlog-proof"), forged.to_bytes()).unwrap();

    submit(&["--upgrade", "form.note"]).exit(16);
    assert_eq!(fs::read(dir.join("form.tlog-proof")).unwrap(), forged.to_bytes(), "it is kept");
    let evidence = fs::read(dir.join("form.evidence")).unwrap();
    let policy = Policy::parse(&fs::read_to_string(dir.join("log/policy")).unwrap()).unwrap();
    let keys = policy.log_keys(policy.single_origin().unwrap());
    Evidence::parse(&evidence).unwrap().verify(&keys).unwrap();
    jejak(dir, &["verify", "-p", "log/policy", "form.evidence"]).exit(0);
}
