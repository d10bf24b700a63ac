//! `jejak fsck`: is every file of a log there and undamaged?

use std::path::{Path, PathBuf};

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
    audit::{self, AuditError, Finding, Report, Severity, Source},
    client::{Fetch, FetchLimits},
    store::{DirLock, StoreError},
};

/// Read every file of a log and list all that are damaged, missing or unexpected.
///
/// PLACE is the directory of a log, a static copy, or a URL. It only reads, also while a server is
/// at work. Exit code 0 if all is well or only derived state is damaged, else 1.
///
/// With `--repair-from` full tiles, bundles and registers that are damaged or missing are fetched
/// by their places, and taken only if they lead to the log's own signed head. What is wrong with
/// anything else is named and left alone. The log must not be served meanwhile.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// A directory or a URL.
    place: String,
    /// The policy file; for the directory of a log its own one, unless this is given.
    #[arg(short, long, value_name = "FILE", env = "JEJAK_POLICY")]
    policy: Option<PathBuf>,
    /// Mend PLACE, a directory, from this other directory or URL, such as a mirror's.
    #[arg(long, value_name = "PLACE")]
    repair_from: Option<String>,
}

pub fn run(args: FsckArgs, output: &Output) -> Result<Exit, Failure> {
    let source = source(&args.place)?;
    let policy = policy(args.policy, &source)?.1;
    let bar = output.progress(0, "entries");
    let progress = |entries, all| {
        bar.set_length(all);
        bar.inc(entries);
    };
    let report = match &args.repair_from {
        None => audit::check(&source, &policy, &progress),
        Some(from) => mend(&args.place, &source, from, &policy, &progress, output)?,
    };
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

/// Mends a directory, and says what was mended.
fn mend(
    place: &str,
    source: &Source,
    from: &str,
    policy: &Policy,
    progress: &(dyn Fn(u64, u64) + Sync),
    output: &Output,
) -> Result<Result<Report, AuditError>, Failure> {
    if is_url(place) {
        let message = "--repair-from mends a directory, and not what a server serves";
        return Err(Failure::new(Exit::Usage, message));
    }
    let from = self::source(from)?;
    let _locks = locks(Path::new(place))?;
    let repaired = match audit::repair(source, &from, policy, progress) {
        Ok(repaired) => repaired,
        Err(error) => return Ok(Err(error)),
    };
    for file in &repaired.mended {
        output.result(|| format!("repaired {file}"), &json!({"repaired": file}));
    }
    Ok(Ok(repaired.report))
}

/// The locks of a place that is mended: a server and a mirror publish files of their own, and must
/// not meet ours. A log's is in `log/`, which may be the place; a mirror's beside its copies.
fn locks(place: &Path) -> Result<Vec<DirLock>, Failure> {
    let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    let log = place.join("log");
    let has_lock = |dir: &&Path| dir.join("lock").is_file() || (**dir == *log && dir.is_dir());
    let dirs = [Some(&*log), Some(&*place), place.parent()];
    let lock = |dir: &Path| {
        DirLock::acquire(dir).map_err(|error| match &error {
            StoreError::Locked { .. } => Failure::new(Exit::TryAgain, error)
                .next("stop `jejak serve` first, or `jejak mirror` that keeps this copy"),
            _ => Failure::new(Exit::Failure, error),
        })
    };
    dirs.into_iter().flatten().filter(has_lock).map(lock).collect()
}

/// One line for each file.
pub fn print_findings(findings: &[Finding], output: &Output) {
    for finding in findings {
        let note = if finding.severity == Severity::Info { "note: " } else { "" };
        output.result(|| format!("{note}{finding}"), finding);
    }
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// The place, a URL if it says so.
fn source(place: &str) -> Result<Source, Failure> {
    if is_url(place) {
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
