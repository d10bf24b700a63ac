//! `jejak manifest add-registers`: the registers of the next manifest come to the log.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use clap::Args;
use jejak_proofs::{
    merkle::sha256,
    tally::{ContestRegister, FileRef, REGISTER_LEN_MAX, UnitRegister},
};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    manifest,
    output::Output,
};
use crate::store::Objects;

#[derive(Debug, Args)]
pub struct AddRegistersArgs {
    /// Directory of the log. It may be served meanwhile.
    dir: PathBuf,
    /// The units: a CSV with the columns unit,parent,kind,name,registered.l,registered.p.
    #[arg(long, value_name = "CSV[.gz]", required_unless_present = "contests")]
    units: Option<PathBuf>,
    /// The contests: a JSON line each, with id, options and scope.
    #[arg(long, value_name = "FILE")]
    contests: Option<PathBuf>,
}

pub fn run(args: &AddRegistersArgs, output: &Output) -> Result<Exit, Failure> {
    let dir = args.dir.display();
    let log = args.dir.join("log");
    if !log.join("journal").is_dir() {
        let message = format!("{dir} holds no log");
        return Err(Failure::config(message).next("run this where the log is, after jejak init"));
    }
    let units = args.units.as_deref().map(units).transpose()?;
    let contests = args.contests.as_deref().map(contests).transpose()?;
    if let (Some((_, units)), Some((_, contests))) = (&units, &contests) {
        check_scopes(units, contests)?;
    }
    let texts = [units.map(|(text, _)| text), contests.map(|(text, _)| text)];
    // Nothing was written so far.
    let objects = Objects::open(&log);
    let put = |text: &String| {
        objects.put_register(text.as_bytes()).map_err(|error| Failure::new(Exit::Failure, error))
    };
    texts.iter().flatten().try_for_each(|text| put(text).map(drop))?;
    let [units, contests] = texts.map(|text| text.map(|text| file_ref(&text)));
    let named = json!({"contests": contests, "units": units});
    output.result(|| format!("at the log, for `registers` of a manifest:\n{named}"), &named);
    output.text(format!(
        "next: jejak sign MANIFEST.json -p {dir}/policy -k ROOT_KEY, with these `registers`\n\
         then: jejak submit -p {dir}/policy MANIFEST.note"
    ));
    Ok(Exit::Ok)
}

fn file_ref(text: &str) -> FileRef {
    FileRef { bytes: text.len() as u64, sha256: sha256(text.as_bytes()) }
}

/// The units in their one spelling.
fn units(path: &Path) -> Result<(String, UnitRegister), Failure> {
    let (text, register) = manifest::spell_units(path)?;
    Ok((bounded(path, text)?, register))
}

/// The contests in their one spelling.
fn contests(path: &Path) -> Result<(String, ContestRegister), Failure> {
    let fail = |error: &dyn Display| Failure::config(format!("{}: {error}", path.display()));
    let text = ContestRegister::spell(&manifest::read_contest_file(path)?);
    let text = text.map_err(|error| fail(&error))?;
    let register = ContestRegister::parse(text.as_bytes()).map_err(|error| fail(&error))?;
    Ok((bounded(path, text)?, register))
}

fn bounded(path: &Path, text: String) -> Result<String, Failure> {
    match text.len() <= REGISTER_LEN_MAX {
        true => Ok(text),
        false => Err(Failure::config(format!("{} is over 64 MiB", path.display()))),
    }
}

/// Whether every contest is held in units that are there ([R6] in SPEC.md).
fn check_scopes(units: &UnitRegister, contests: &ContestRegister) -> Result<(), Failure> {
    for contest in contests.contests() {
        if let Some(code) = contest.scope.iter().find(|code| units.slot(code.as_str()).is_none()) {
            let id = &contest.id;
            let message = format!("contest {id} is held in {code}, which is not among the units");
            return Err(Failure::config(message));
        }
    }
    Ok(())
}
