//! Three crimes of an operator who has the log's key and every file, each with its proof.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    DemoArgs, Outcome, WITNESSES, forge,
    stage::{Running, Stage},
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        files,
    },
    client::{Fetch, FetchLimits},
};

/// Votes that the dishonest operator moves.
const STOLEN: u32 = 40;

/// All three, on copies of the true log.
pub fn tell(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    log: &Running,
) -> Result<Vec<Outcome>, Failure> {
    Ok(vec![
        rewrite_history(stage, args, log)?,
        drop_form(stage, args, log)?,
        overwrite_numbers(stage, args, log)?,
    ])
}

fn rewrite_history(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    log: &Running,
) -> Result<Outcome, Failure> {
    stage.act(
        "First crime: an old result is rewritten",
        "The operator takes 40 votes from one candidate and gives them to another, in the form of\n\
         the first station. He has the log's key and even the officer's, so every signature is\n\
         right. He builds the whole log anew and serves it under its own name.",
    );
    let officer = files::read_private_key(&args.dir.join("officer.key"))?;
    let changed = |entry: &[u8]| Some(vec![forge::resigned(entry, STOLEN, &officer)?]);
    let copy = forge_copy(args, log, "rewritten", changed)?;
    stage.tell("He shows the copy to the witnesses, for their signatures. They know another head:");
    let refused = stage.run(&["serve", &copy, "--listen", "127.0.0.1:0"])?;
    stage.tell("They keep what convicts him. So does the log: it lets no such copy start.");
    let kept = newest_evidence(&args.dir.join(WITNESSES[0]).join("state/evidence"))?;
    let kept = kept.strip_prefix(&args.dir).unwrap_or(&kept).display().to_string();
    let witnessed = stage.run(&["verify", "-p", "log/policy", &kept])?;
    stage.tell(
        "So he serves it without witnesses. The monitor that followed the true log looks again:",
    );
    forge::forget_witnesses(&args.dir.join(&copy))?;
    let copy = stage.serve(&copy, "127.0.0.1:0".parse().expect("an address"))?;
    let url = ["--url", copy.url.as_str()];
    let monitor = ["monitor", "-p", "log/policy", "--state", "watch", "--once"];
    let seen = stage.run(&[&monitor[..], &url].concat())?;
    let evidence = newest_evidence(&args.dir.join("watch/evidence"))?;
    let evidence = evidence.strip_prefix(&args.dir).unwrap_or(&evidence).display().to_string();
    stage.tell("The evidence convicts by itself; whoever has the policy can check it, offline:");
    let judged = stage.run(&["verify", "-p", "log/policy", &evidence])?;
    Ok(Outcome {
        what: "an old result rewritten",
        word: "convicted",
        by: "evidence, of a monitor and of a witness: two signed heads that cannot both be true"
            .to_owned(),
        holds: (refused, witnessed, seen, judged) == (16, 0, 16, 0),
    })
}

fn drop_form(stage: &mut Stage<'_>, args: &DemoArgs, log: &Running) -> Result<Outcome, Failure> {
    stage.act(
        "Second crime: a form disappears",
        "The operator builds the log without the form of the first station, as if it had never\n\
         been submitted. No monitor is at hand, but the officer has the receipt: it alone holds\n\
         the log to what it signed.",
    );
    let copy = forge_copy(args, log, "dropped", |_| Some(Vec::new()))?;
    forge::forget_witnesses(&args.dir.join(&copy))?;
    let copy = stage.serve(&copy, "127.0.0.1:0".parse().expect("an address"))?;
    let files = ["form.note", "form.tlog-proof", "--against", copy.url.as_str()];
    let got = stage.run(&[&["verify", "-p", "log/policy"][..], &files].concat())?;
    Ok(Outcome {
        what: "a form dropped",
        word: "convicted",
        by: "evidence: the officer's receipt, and a head without the form".to_owned(),
        holds: got == 16,
    })
}

fn overwrite_numbers(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    log: &Running,
) -> Result<Outcome, Failure> {
    stage.act(
        "Third crime: numbers changed under an officer's signature",
        "This time the operator does not have the officer's key. He changes the numbers, leaves\n\
         the old signature under them, and shows the copy to somebody who has never seen the true\n\
         log. But the witnesses have:",
    );
    let changed = |entry: &[u8]| Some(vec![forge::overwritten(entry, STOLEN)?]);
    let copy = forge_copy(args, log, "overwritten", changed)?;
    forge::forget_witnesses(&args.dir.join(&copy))?;
    let serving = stage.serve(&copy, "127.0.0.1:0".parse().expect("an address"))?;
    let look = |policy: &str, state: &str| {
        let monitor = ["monitor", "-p", policy, "--state", state, "--once"];
        stage.run(&[&monitor[..], &["--url", serving.url.as_str()]].concat())
    };
    let newcomer = look("log/policy", "newcomer")?;
    stage.tell("Even if there were no witnesses at all, every entry is replayed:");
    let alone = look(&format!("{copy}/policy"), "alone")?;
    Ok(Outcome {
        what: "numbers changed under an old signature",
        word: "convicted",
        by: "the witnesses' heads; and by replay: the log admitted what its rules refuse"
            .to_owned(),
        holds: (newcomer, alone) == (16, 19),
    })
}

/// Writes a copy of the log beside the true one, with other entries in place of the first tally.
fn forge_copy(
    args: &DemoArgs,
    log: &Running,
    name: &str,
    change: impl Fn(&[u8]) -> Option<Vec<bytes::Bytes>>,
) -> Result<String, Failure> {
    let fetch = Fetch::new(&log.url, &FetchLimits::default()).map_err(Failure::config)?;
    let mut entries = forge::read_entries(&fetch)?;
    let original = files::read(&args.dir.join("form.note"))?;
    let place = entries.iter().position(|entry| *entry == original);
    let changed = change(&original).zip(place);
    let (changed, place) = changed.ok_or_else(|| {
        Failure::new(Exit::Failure, "the demo's first form is not in the demo's log")
    })?;
    entries.splice(place..=place, changed);
    let key = files::read_private_key(&args.dir.join("log/keys/log"))?;
    forge::write_copy(&args.dir.join(name), &args.dir.join("log"), &entries, &key)?;
    Ok(name.to_owned())
}

/// The newest evidence anywhere below a directory.
fn newest_evidence(dir: &Path) -> Result<PathBuf, Failure> {
    fn below(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => below(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut files = Vec::new();
    below(dir, &mut files);
    let evidence =
        files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "evidence"));
    let none = || Failure::new(Exit::Failure, format!("no evidence in {}", dir.display()));
    evidence.max().ok_or_else(none)
}
