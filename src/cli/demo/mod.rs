//! `jejak demo`: a log, an election, an audit, and three crimes, each with its proof.
//!
//! Nothing is staged but the crimes: every step runs the real commands over HTTP, and the files
//! stay to be looked at.

mod election;
mod forge;
mod stage;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use serde_json::json;

use self::{
    election::Election,
    stage::{Running, Stage, free_address},
};
use super::{
    exit::{Exit, Failure},
    files, monitor,
    output::Output,
};
use crate::client::{Fetch, FetchLimits};

const ORIGIN: &str = "log.example/election";
const SEED: u64 = 2024;
/// Votes that the dishonest operator moves.
const STOLEN: u32 = 40;
/// A file that says: the demo made this directory, and may make it again.
const MARK: &str = "made-by-jejak-demo";

/// See it work: an election, an audit, and three crimes, each with its proof.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the files go. What an earlier demo left there is replaced; nothing else ever is.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    dir: PathBuf,
    /// Where the log is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when the story is told, with exit 0 only if every crime was convicted.
    #[arg(long)]
    once: bool,
}

/// One planted crime, and whether its proof convicted.
struct Charge {
    crime: &'static str,
    proof: &'static str,
    convicted: bool,
}

pub fn run(args: DemoArgs, output: &Output) -> Result<Exit, Failure> {
    let started = Instant::now();
    clear(&args.dir)?;
    let election = election::election(SEED);
    // Before the first server starts: none may outlive the story.
    let stop = monitor::stop_on_signals()?;
    let mut stage = Stage::new(&args.dir, output, &stop)?;
    let log = found(&mut stage, &args, &election)?;
    submit(&mut stage, &args, &election)?;
    audit(&mut stage)?;
    let charges = [
        rewrite_history(&mut stage, &args, &log)?,
        drop_form(&mut stage, &args, &log)?,
        overwrite_numbers(&mut stage, &args, &log)?,
    ];
    let exit = judge(&charges, output);
    output.text(format!(
        "\nTold in {:.0} s. The files are in {}: forms, receipts, the log, evidence.",
        started.elapsed().as_secs_f64(),
        args.dir.display()
    ));
    if args.once {
        return Ok(exit);
    }
    output.text(format!(
        "\nThe honest log goes on at {}. Try, in {}:\n\n   \
         curl {}/checkpoint\n   \
         jejak monitor -p log/policy --state mine --once\n\n\
         (A state of your own: `watch` has seen the lie, and does not forget it.) Ctrl-C ends it.",
        log.url,
        args.dir.display(),
        log.url
    ));
    stage.linger();
    drop(log);
    Ok(exit)
}

/// Makes the directory empty, if it is ours or does not exist.
fn clear(dir: &Path) -> Result<(), Failure> {
    if dir.exists() {
        let empty = fs::read_dir(dir).is_ok_and(|mut files| files.next().is_none());
        if !dir.join(MARK).exists() && !empty {
            let message = format!("{} is not from an earlier demo", dir.display());
            return Err(Failure::config(message).next("jejak demo --dir DIR"));
        }
        fs::remove_dir_all(dir)
            .map_err(|error| Failure::config(format!("{}: {error}", dir.display())))?;
    }
    files::make_dir(dir)?;
    files::write(&dir.join(MARK), b"jejak demo may replace this directory.\n")
}

fn found(stage: &mut Stage<'_>, args: &DemoArgs, election: &Election) -> Result<Running, Failure> {
    stage.act(
        "A log is founded",
        "An authority lists its 1,000 polling stations and makes keys. Everyone else needs one\n\
         small file, the policy, whose fingerprint fits on a sheet of paper.",
    );
    files::write(&args.dir.join("units.csv"), election.units_csv().as_bytes())?;
    let address = free_address(args.listen)?;
    let url = format!("http://{address}/election");
    let contest = "president=01,02,03";
    let init = ["init", "log", "--origin", ORIGIN, "--units", "units.csv"];
    stage.must(&[&init[..], &["--contest", contest, "--url", &url]].concat())?;
    stage.serve("log", address)
}

fn submit(stage: &mut Stage<'_>, args: &DemoArgs, election: &Election) -> Result<(), Failure> {
    let station = election.stations[0].unit.code.as_str();
    stage.act(
        "Officers get keys, and submit what is on the paper",
        "The root key mandates the commission; the commission mandates the officer of one station.",
    );
    let policy = ["-p", "log/policy"];
    let commission = ["--role", "official", "--units", "00", "--new", "commission.key"];
    stage.must(&[&["mandate"][..], &policy, &["--by", "log/keys/root"], &commission].concat())?;
    let officer = ["--role", "official", "--units", station, "--new", "officer.key"];
    stage.must(&[&["mandate"][..], &policy, &["--by", "commission.key"], &officer].concat())?;
    files::write(&args.dir.join("form.json"), election.first_form().as_bytes())?;
    stage.tell(
        "The officer types in the form. It is signed, logged, and a receipt comes back as a file.",
    );
    stage.must(&[&["submit"][..], &policy, &["-k", "officer.key", "form.json"]].concat())?;
    stage.tell("The receipt is checked without the log, from the policy alone:");
    stage.must(&[&["verify"][..], &policy, &["form.note", "form.tlog-proof"]].concat())?;
    stage.tell(
        "The other 999 stations follow. Some forms do not add up, as in every real election. They\n\
         are logged as they are: arithmetic raises a flag, it does not silence a station.",
    );
    files::write(&args.dir.join("results.csv"), election.results_csv().as_bytes())?;
    let import = ["-k", "commission.key", "--contest", "president", "results.csv", "import"];
    stage.must(&[&["import"][..], &policy, &import].concat())
}

fn audit(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.act(
        "A monitor audits everything",
        "A newspaper, a party or a university needs only the policy. It reads every entry, checks\n\
         every signature and mandate, recomputes the tree, and remembers the head that was signed.",
    );
    stage.must(&["monitor", "-p", "log/policy", "--state", "watch", "--once"])
}

fn rewrite_history(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    log: &Running,
) -> Result<Charge, Failure> {
    stage.act(
        "First crime: an old result is rewritten",
        "The operator takes 40 votes from one candidate and gives them to another, in the form of\n\
         the first station. He has the log's key and even the officer's, so every signature is\n\
         right. He builds the whole log anew and serves it under its own name.",
    );
    let officer = files::read_key(&args.dir.join("officer.key"))?;
    let changed = |entry: &[u8]| Some(vec![forge::resigned(entry, STOLEN, &officer)?]);
    let copy = forge_copy(args, log, "rewritten", changed)?;
    let copy = stage.serve(&copy, "127.0.0.1:0".parse().expect("an address"))?;
    stage.tell("The monitor that followed the true log looks again:");
    let url = ["--url", copy.url.as_str()];
    let monitor = ["monitor", "-p", "log/policy", "--state", "watch", "--once"];
    let seen = stage.run(&[&monitor[..], &url].concat())?;
    let evidence = newest_evidence(&args.dir.join("watch").join("evidence"))?;
    stage.tell("The evidence convicts by itself; whoever has the policy can check it, offline:");
    let evidence = format!("watch/evidence/{evidence}");
    let judged = stage.run(&["verify", "-p", "log/policy", &evidence])?;
    Ok(Charge {
        crime: "an old result rewritten",
        proof: "evidence: two signed heads that cannot both be true",
        convicted: (seen, judged) == (16, 0),
    })
}

fn drop_form(stage: &mut Stage<'_>, args: &DemoArgs, log: &Running) -> Result<Charge, Failure> {
    stage.act(
        "Second crime: a form disappears",
        "The operator builds the log without the form of the first station, as if it had never\n\
         been submitted. No monitor is at hand, but the officer has the receipt: it alone holds the\n\
         log to what it signed.",
    );
    let copy = forge_copy(args, log, "dropped", |_| Some(Vec::new()))?;
    let copy = stage.serve(&copy, "127.0.0.1:0".parse().expect("an address"))?;
    let files = ["form.note", "form.tlog-proof", "--against", copy.url.as_str()];
    let got = stage.run(&[&["verify", "-p", "log/policy"][..], &files].concat())?;
    Ok(Charge {
        crime: "a form dropped",
        proof: "evidence: the officer's receipt, and a head without the form",
        convicted: got == 16,
    })
}

fn overwrite_numbers(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    log: &Running,
) -> Result<Charge, Failure> {
    stage.act(
        "Third crime: numbers changed under an officer's signature",
        "This time the operator does not have the officer's key. He changes the numbers, leaves\n\
         the old signature under them, and shows the copy to a monitor that has never seen the\n\
         true log.",
    );
    let changed = |entry: &[u8]| Some(vec![forge::overwritten(entry, STOLEN)?]);
    let copy = forge_copy(args, log, "overwritten", changed)?;
    let copy = stage.serve(&copy, "127.0.0.1:0".parse().expect("an address"))?;
    let monitor = ["monitor", "-p", "log/policy", "--state", "newcomer", "--once"];
    let got = stage.run(&[&monitor[..], &["--url", copy.url.as_str()]].concat())?;
    Ok(Charge {
        crime: "numbers changed under an old signature",
        proof: "replay: the log admitted what its rules refuse",
        convicted: got == 19,
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
    let key = files::read_key(&args.dir.join("log/keys/log"))?;
    forge::write_copy(&args.dir.join(name), &args.dir.join("log"), &entries, &key)?;
    Ok(name.to_owned())
}

fn newest_evidence(dir: &Path) -> Result<String, Failure> {
    let none = || Failure::new(Exit::Failure, "the monitor left no evidence");
    let files = fs::read_dir(dir).map_err(|_| none())?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".evidence")).max().ok_or_else(none)
}

/// Says how each crime ended. Only if all were convicted is the demo a success.
fn judge(charges: &[Charge], output: &Output) -> Exit {
    output.text("\nVerdict\n");
    for Charge { crime, proof, convicted } in charges {
        let verdict = if *convicted { "convicted" } else { "NOT CONVICTED" };
        output.text(format!("   {crime:<40} {verdict} by {proof}"));
    }
    let convicted = charges.iter().filter(|charge| charge.convicted).count();
    if output.is_json() {
        output.result(String::new, &json!({"crimes": charges.len(), "convicted": convicted}));
    }
    if convicted == charges.len() { Exit::Ok } else { Exit::Failure }
}
