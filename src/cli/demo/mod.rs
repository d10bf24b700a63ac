//! `jejak demo`: a log, an election, an audit with findings, a citizen's file, and three crimes,
//! each with its proof.
//!
//! Nothing is staged but the crimes: every step runs the real commands over HTTP, and the files
//! stay to be looked at.

mod crimes;
mod election;
mod forge;
mod meaning;
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

const ORIGIN: &str = "log.example/election";
const SEED: u64 = 2024;
/// A file that says: the demo made this directory, and may make it again.
const MARK: &str = "made-by-jejak-demo";

/// See it work: an election, findings, and three crimes, each with its proof.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the files go. What an earlier demo left there is replaced; nothing else ever is.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    dir: PathBuf,
    /// Where the log is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when the story is told, with exit 0 only if all that was planted came to light.
    #[arg(long)]
    once: bool,
}

/// Something that was planted, and whether it came to light.
struct Outcome {
    what: &'static str,
    /// What it is if it holds: `found`, `verified` or `convicted`.
    word: &'static str,
    /// By which proof.
    by: String,
    holds: bool,
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
    let found = meaning::tell(&mut stage, &election)?;
    let convicted = crimes::tell(&mut stage, &args, &log)?;
    let exit = judge(&found, &convicted, output);
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
    stage.write_json("form.json", &election.stations[0].form())?;
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

/// Says what came to light. Only if all of it did is the demo a success.
fn judge(planted: &[Outcome], crimes: &[Outcome], output: &Output) -> Exit {
    output.text("\nVerdict\n");
    for Outcome { what, word, by, holds } in planted.iter().chain(crimes) {
        let verdict =
            if *holds { (*word).to_owned() } else { format!("NOT {word}").to_uppercase() };
        output.text(format!("   {what:<40} {verdict} by {by}"));
    }
    let hold = |all: &[Outcome]| all.iter().filter(|outcome| outcome.holds).count();
    let (found, convicted) = (hold(planted), hold(crimes));
    if output.is_json() {
        let verdict = json!({
            "convicted": convicted,
            "crimes": crimes.len(),
            "found": found,
            "planted": planted.len(),
        });
        output.result(String::new, &verdict);
    }
    let all = (found, convicted) == (planted.len(), crimes.len());
    if all { Exit::Ok } else { Exit::Failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_of_it_is_a_success() {
        let outcome = |holds| Outcome { what: "x", word: "found", by: String::new(), holds };
        let judge = |planted: &[bool], crimes: &[bool]| {
            let all = |holds: &[bool]| holds.iter().map(|h| outcome(*h)).collect::<Vec<_>>();
            super::judge(&all(planted), &all(crimes), &Output::new(true))
        };
        assert_eq!(judge(&[true, true], &[true]), Exit::Ok);
        assert_eq!(judge(&[true, false], &[true]), Exit::Failure);
        assert_eq!(judge(&[true, true], &[false]), Exit::Failure);
    }
}
