//! `jejak export`: a static copy of a log, for any web server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files, fsck,
    output::Output,
};
use crate::{
    audit::{self, ExportError, Source},
    store::Directory,
};

/// Write a complete static copy of a log, which any web server serves as it is.
///
/// The copy is checked before and after it is written. Run again, it adds what is new.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The directory of a log.
    dir: PathBuf,
    /// The directory of the copy; made if it does not exist.
    out: PathBuf,
}

pub fn run(args: ExportArgs, output: &Output) -> Result<Exit, Failure> {
    let source = Source::directory(&args.dir).map_err(fsck::failure)?;
    refuse_overlap(&args.dir, &args.out)?;
    let (policy_path, policy) = fsck::policy(None, &source)?;
    let policy_text = files::read_text(&policy_path)?;
    files::make_dir(&args.out)?;
    let bar = output.progress(0, "entries");
    let exported = audit::export(
        &source,
        &policy,
        &policy_text,
        &Directory::open(&args.out),
        &|entries, all| {
            bar.set_length(all);
            bar.inc(entries);
        },
    );
    bar.finish_and_clear();
    let exported = match exported {
        Ok(exported) => exported,
        Err(ExportError::Damaged(findings)) => {
            fsck::print_findings(&findings, output);
            let message = "the log is damaged; nothing was written";
            let next = format!("jejak fsck {}", args.dir.display());
            return Err(Failure::new(Exit::Failure, message).next(next));
        }
        Err(ExportError::Audit(error)) => return Err(fsck::failure(error)),
        Err(error @ ExportError::OtherHistory { .. }) => {
            return Err(Failure::new(Exit::Fork, error));
        }
        Err(error @ ExportError::NotAnExport) => return Err(Failure::config(error)),
        Err(error) => return Err(Failure::new(Exit::Failure, error)),
    };
    fsck::print_findings(&exported.report.findings, output);
    let head = exported.checkpoint.head();
    output.result(
        || {
            let audit::Exported { written, kept, removed, .. } = &exported;
            format!(
                "exported {} entries: {written} files written, {kept} kept, {removed} removed",
                head.size
            )
        },
        &json!({
            "size": head.size,
            "root": head.root,
            "written": exported.written,
            "kept": exported.kept,
            "removed": exported.removed,
            "clean": exported.report.is_clean(),
        }),
    );
    Ok(if exported.report.is_clean() { Exit::Ok } else { Exit::Failure })
}

/// A copy is another directory than the log: what it removes and replaces must be its own.
fn refuse_overlap(dir: &Path, out: &Path) -> Result<(), Failure> {
    let (log, copy) = (real(dir), real(out));
    if log.starts_with(&copy) || copy.starts_with(&log) {
        let message = format!("{} and {} overlap", dir.display(), out.display());
        return Err(Failure::config(message).next("name a directory beside that of the log"));
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    match found {
        Some((above, real)) => real.join(absolute.strip_prefix(above).unwrap_or(Path::new(""))),
        None => absolute,
    }
}
