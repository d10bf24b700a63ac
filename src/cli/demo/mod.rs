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

/// How long a submission may wait for the witnesses.
const WAIT: &str = "20s";

/// The witnesses: who they are, and who of them replays every entry.
const WITNESSES: [&str; 3] = ["w1", "w2", "w3"];
const RECOUNT: &str = "w3";

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
    let (log, witnesses) = found(&mut stage, &args, &election)?;
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
    drop((log, witnesses));
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

fn found(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    election: &Election,
) -> Result<(Running, Vec<Running>), Failure> {
    stage.act(
        "A log is founded, and three witnesses with it",
        "A witness signs a head of the log only if it extends what it signed before, so nobody\n\
         can be shown another history. The third one also replays every entry first.",
    );
    let mut witnesses = Vec::new();
    for name in WITNESSES {
        let key_name = format!("witness.example/{name}");
        let init = ["witness", "init", name, "--name", &key_name];
        let recount = if name == RECOUNT { &["--recount"][..] } else { &[] };
        let made = stage.ask(&[&init[..], recount].concat(), &format!("{name}.json"))?;
        let address = free_address(SocketAddr::from((args.listen.ip(), 0)))?;
        let vkey = made["vkey"].as_str().unwrap_or_default();
        let line = format!("{name} {vkey} http://{address}");
        witnesses.push((name, recount, address, line));
    }
    stage.tell(
        "An authority lists its 1,000 polling stations and makes keys. Everyone else needs one\n\
         small file, the policy, whose fingerprint fits on a sheet of paper. It demands the\n\
         cosignatures of two of the three.",
    );
    files::write(&args.dir.join("units.csv"), election.units_csv().as_bytes())?;
    let address = free_address(args.listen)?;
    let url = format!("http://{address}/election");
    let contest = "president=01,02,03";
    let mut init = vec!["init", "log", "--origin", ORIGIN, "--units", "units.csv"];
    init.extend(["--contest", contest, "--url", &url, "--quorum", "2", "--recounts", RECOUNT]);
    witnesses.iter().for_each(|(.., line)| init.extend(["--witness", line]));
    stage.must(&init)?;
    let mut running = Vec::new();
    for (name, recount, address, _) in &witnesses {
        stage.must(&["witness", "add-log", name, "-p", "log/policy"])?;
        let serve = [&["witness", "serve", name][..], recount].concat();
        running.push(stage.start(name, &serve, *address)?);
    }
    Ok((stage.serve("log", address)?, running))
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
        "The officer types in the form. It is signed, logged and cosigned by witnesses, and a\n\
         receipt comes back as a file.",
    );
    let form = ["--witnessed", WAIT, "-k", "officer.key", "form.json"];
    stage.must(&[&["submit"][..], &policy, &form].concat())?;
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
