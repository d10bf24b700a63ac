//! `jejak fsck`: is every file of a log there and undamaged?

use std::path::PathBuf;

use clap::Args;
use jejak_proofs::note::Policy;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files::PolicyArg,
    output::Output,
    place,
};
use crate::{
    audit::{self, AuditError, Finding, Severity, Source},
    client::{Fetch, FetchLimits},
};

/// Read every file of a log and list all that are damaged, missing or unexpected.
///
/// PLACE is the directory of a log, a static copy, or a URL. It only reads, also while a server is
/// at work. Exit code 0 if all is well or only derived state is damaged, else 1.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// A directory or a URL.
    place: String,
    /// The policy file; for the directory of a log its own one, unless this is given.
    #[arg(short, long, value_name = "FILE", env = "JEJAK_POLICY")]
    policy: Option<PathBuf>,
}

pub fn run(args: FsckArgs, output: &Output) -> Result<Exit, Failure> {
    let source = source(&args.place)?;
    let policy = policy(args.policy, &source)?.1;
    let bar = output.progress(0, "entries");
    let report = audit::check(&source, &policy, &|entries, all| {
        bar.set_length(all);
        bar.inc(entries);
    });
    bar.finish_and_clear();
    let report = report.map_err(failure)?;
    print_findings(&report.findings, output);
    let damaged = report.findings.iter().filter(|f| f.severity == Severity::Damage).count();
    let head = report.checkpoint.as_ref().map(|checkpoint| checkpoint.head());
    output.result(
        || match (damaged, head) {
            (0, Some(head)) => format!(
                "clean: {} entries, {} files, root {}",
                report.size, report.files, head.root
            ),
            _ => format!("{damaged} findings in {} entries", report.size),
        },
        &json!({
            "clean": report.is_clean(),
            "size": report.size,
            "files": report.files,
            "findings": report.findings.len(),
            "checkpoint": head.map(|head| json!({ "size": head.size, "root": head.root })),
        }),
    );
    Ok(if report.is_clean() { Exit::Ok } else { Exit::Failure })
}

/// One line for each file.
pub fn print_findings(findings: &[Finding], output: &Output) {
    for finding in findings {
        let note = if finding.severity == Severity::Info { "note: " } else { "" };
        output.result(|| format!("{note}{finding}"), finding);
    }
}

/// The place, a URL if it says so.
fn source(place: &str) -> Result<Source, Failure> {
    if place.starts_with("http://") || place.starts_with("https://") {
        let fetch = Fetch::new(place, &FetchLimits::default());
        return fetch.map(Source::url).map_err(place::unreachable);
    }
    Source::directory(place.as_ref()).map_err(failure)
}

/// The policy that was given, or the one beside the log: its file and itself.
pub fn policy(given: Option<PathBuf>, source: &Source) -> Result<(PathBuf, Policy), Failure> {
    let path = given.or_else(|| source.policy_path()).ok_or_else(|| {
        Failure::new(Exit::Usage, "the log's keys come from a policy").next("pass -p POLICY")
    })?;
    let policy = PolicyArg { policy: path.clone() }.read()?;
    Ok((path, policy))
}

/// What an audit without a result means for the exit code.
pub fn failure(error: AuditError) -> Failure {
    match error {
        AuditError::Fetch(error) => place::unreachable(error),
        AuditError::NotALog(_) => Failure::config(error),
        error => Failure::new(Exit::Failure, error),
    }
}
