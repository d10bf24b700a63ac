//! `jejak monitor`: follow a log, verify all of it, keep what convicts.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use jejak_proofs::{
    merkle::sha256,
    note::Policy,
    tally::{Id, Severity},
};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    elsewhere::{Around, Connections},
    exit::{Exit, Failure},
    files::{self, JudgeArgs},
    import::Sheet,
    output::Output,
};
use crate::{
    client::{Copies, Fetch, FetchLimits, source::Source},
    clock,
    monitor::{
        ContestSummary, Finding, Heard, MemoryError, Monitor, NotALog, OpenError, PollError,
        Published, Rule, Standing, Verdict, Watch, until_sealed,
    },
    state::{State, StateError},
};

/// How long `--once` waits for the log to seal what is there now; it should take a second.
const SEAL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a sleeping monitor may take to notice that it is to stop.
const NAP: Duration = Duration::from_millis(100);

/// Time between two reports of a monitor that goes on; each reads every finding again.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Contests whose tables are printed for people; `--json` and `--report` have more.
const TABLES_MAX: usize = 5;

/// Follow a log: verify every checkpoint, entry and signature, and keep what convicts.
///
/// The state directory remembers what the log showed: keep it, or a log can show another history.
/// Ends with the worst that it found: 16 before 19 before 13.
#[derive(Debug, Args)]
pub struct MonitorArgs {
    #[command(flatten)]
    policy: JudgeArgs,
    /// The directory that remembers; made if there is none.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Where the log answers; from the policy's log line if not given.
    #[arg(long)]
    url: Option<String>,
    /// A mirror that is asked where the log does not answer, or not with what verifies. May be
    /// given several times.
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// Ends when everything that is there now has been audited.
    #[arg(long)]
    once: bool,
    /// Time between two looks at the log: 500ms, 10s, 5m, 1h.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    interval: Duration,
    /// Oldest time that is accepted of a quorum of witnesses, or without one of the log itself;
    /// older or none is stale (exit 17).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    max_age: Option<Duration>,
    /// A head that the log signed and showed to others, and does not serve for this long, is a
    /// finding (L5).
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time)]
    pub unserved_after: Duration,
    /// A log that gives no answer for this long is a finding (L6).
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time)]
    pub silent_after: Duration,
    /// Ends with exit 1 if there are findings of this severity or above.
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Write what was found, with pictures, for people: one HTML file without scripts.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Compare an authority's published totals with the recap: a table as `import` reads it.
    #[arg(long, value_name = "FILE", requires = "contest")]
    published: Option<PathBuf>,
    /// The contest of the published totals.
    #[arg(long, requires = "published")]
    contest: Option<Id>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Info,
    Medium,
    High,
}

impl From<FailOn> for Severity {
    fn from(level: FailOn) -> Self {
        match level {
            FailOn::Info => Self::Info,
            FailOn::Medium => Self::Medium,
            FailOn::High => Self::High,
        }
    }
}

pub fn run(args: MonitorArgs, output: &Output) -> Result<Exit, Failure> {
    let policy = args.policy.read()?;
    let origin = policy.single_origin().map_err(Failure::config)?;
    if args.max_age.is_some() && !policy.dates(origin) {
        let message = "--max-age: by this policy nobody vouches for the time of a checkpoint";
        let next = "leave it out, or name a quorum or the log's ML-DSA-44 key in the policy";
        return Err(Failure::config(message).next(next));
    }
    let url = args.url.as_deref().or_else(|| policy.url(origin)).ok_or_else(|| {
        Failure::config("the policy names no URL for the log").next("pass --url URL")
    })?;
    let source = Fetch::new(url, &FetchLimits::default())
        .map_err(|error| Failure::config(format!("{url}: {error}")))?;
    let source = Copies::new(source, origin, &args.mirror)
        .map_err(|error| Failure::config(format!("--mirror: {error}")))?;
    let connections = Connections::new(&policy, &source)?;
    let places = connections.places(origin);
    let stop = stop_on_signals()?;
    let around = Around::new(&args, &connections, &places);
    follow(&args, &source, around, &policy, &stop, output)
}

/// The monitor over any source, until it is stopped or cannot go on.
fn follow(
    args: &MonitorArgs,
    source: &Copies,
    mut around: Around<'_>,
    policy: &Policy,
    stop: &AtomicBool,
    output: &Output,
) -> Result<Exit, Failure> {
    let dir = &args.state;
    let state = State::open(dir).map_err(|error| state_failure(dir, &error))?;
    let mut monitor =
        Monitor::open(source, policy, state).map_err(|error| open_failure(dir, &error))?;
    let bar: RefCell<Option<ProgressBar>> = RefCell::new(None);
    let watch = Watch {
        stop,
        progress: &|done, all| {
            let mut bar = bar.borrow_mut();
            let bar = bar.get_or_insert_with(|| output.progress(all, "entries"));
            bar.set_length(all);
            bar.set_position(done);
        },
        found: &|finding| show(finding, dir, output, bar.borrow().as_ref()),
    };
    if let Some(published) = read_published(args)? {
        monitor.compare_with(published);
    }
    if args.once {
        until_sealed(source, SEAL_PATIENCE);
    }
    let mut last = None;
    let mut reported = None;
    let exit = loop {
        let polled = monitor.poll(&watch);
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
        let heard = heard(&polled, source);
        if source.is_away() && polled.is_ok() {
            let notice = "the log cannot be reached: its mirrors are read instead";
            output.notice(|| notice.to_owned(), &json!({ "notice": notice }));
        }
        let exit = settle(args, &mut monitor, polled, &mut last, &watch, output)?;
        let exit = around.look(&mut monitor, heard, exit, &watch, output)?;
        if args.once || stop.load(Ordering::Relaxed) || exit.is_some_and(is_final) {
            break exit;
        }
        if reported.is_none_or(|time: Instant| time.elapsed() >= REPORT_EVERY) {
            report(args, &mut monitor)?;
            reported = Some(Instant::now());
        }
        sleep(args.interval, stop);
        if stop.load(Ordering::Relaxed) {
            break exit;
        }
    };
    monitor.close().map_err(|error| state_failure(dir, &error))?;
    report(args, &mut monitor)?;
    let found = monitor.standing_findings();
    let verdict = found.verdict().map(exit_of_verdict);
    let worst = found.severity();
    let fails = args.fail_on.is_some_and(|level| worst >= Some(level.into()));
    let fallback = if fails { Exit::Failure } else { Exit::Ok };
    let exit = verdict.or(exit).unwrap_or(fallback);
    conclude(&monitor, &around, exit, output);
    Ok(exit)
}

/// How the log itself took the question, whatever its mirrors answered.
fn heard(polled: &Result<Standing, PollError>, source: &Copies) -> Heard {
    match polled {
        _ if source.is_away() => Heard::Silence,
        Err(PollError::Unreachable(_) | PollError::NotALog(NotALog::NoCheckpoint)) => {
            Heard::Silence
        }
        Err(PollError::NotALog(_)) => Heard::Other,
        _ => Heard::Answer,
    }
}

/// The last that a monitor says: what was found, and each contest in numbers.
fn conclude<S: Source>(monitor: &Monitor<'_, S>, around: &Around<'_>, exit: Exit, output: &Output) {
    output.text(monitor.summary());
    let contests = monitor.contests();
    let spoken: Vec<_> = contests.iter().filter(|contest| contest.spoken_of()).collect();
    spoken.iter().take(TABLES_MAX).for_each(|contest| output.text(format!("\n{contest}")));
    if spoken.len() > TABLES_MAX {
        output.text(format!("\nand {} contests more", spoken.len() - TABLES_MAX));
    }
    if output.is_json() {
        let by_id = |contest: &&ContestSummary| (contest.contest.to_string(), contest.regional());
        let only = match contests {
            [contest] => contest.brief(),
            _ => Value::Null,
        };
        let summary = json!({
            "contests": spoken.iter().map(by_id).collect::<Map<_, _>>(),
            "elsewhere": around.json(),
            "exit": exit as u8,
            "findings": monitor.summary().json(),
            "summary": only,
        });
        output.result(String::new, &summary);
    }
}

/// Writes the report, if one is wanted.
fn report<S: Source>(args: &MonitorArgs, monitor: &mut Monitor<'_, S>) -> Result<(), Failure> {
    let Some(path) = &args.report else { return Ok(()) };
    let html = monitor.report().map_err(|error| state_failure(&args.state, &error))?;
    files::write(path, html.as_bytes())
}

/// The table of published totals, if there is one to compare with.
fn read_published(args: &MonitorArgs) -> Result<Option<Published>, Failure> {
    let (Some(path), Some(contest)) = (&args.published, &args.contest) else { return Ok(None) };
    let bytes = files::read_maybe_gzip(path)?;
    let sheet = Sheet::parse(&bytes)
        .map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
    let rows = sheet.rows().iter().map(|row| (row.unit.to_string(), row.results())).collect();
    let name = format!("published in {}", sha256(&bytes));
    Ok(Some(Published { contest: contest.to_string(), name, rows }))
}

/// Says how a poll ended, and with which exit code a monitor would end now.
fn settle<S: Source>(
    args: &MonitorArgs,
    monitor: &mut Monitor<'_, S>,
    polled: Result<Standing, PollError>,
    last: &mut Option<Standing>,
    watch: &Watch<'_>,
    output: &Output,
) -> Result<Option<Exit>, Failure> {
    let standing = match polled {
        Ok(standing) => standing,
        Err(PollError::State(error)) => return Err(state_failure(&args.state, &error)),
        Err(PollError::Stopped) => return Ok(None),
        // It was shown when it was found.
        Err(PollError::Found(finding)) => {
            let exit = finding.rule.verdict().map_or(Exit::Unreachable, exit_of_verdict);
            return Ok(Some(exit));
        }
        Err(error @ PollError::Quorum(_)) => {
            output.failure(&Failure::new(Exit::Quorum, error));
            return Ok(Some(Exit::Quorum));
        }
        Err(PollError::NotALog(error)) => {
            let failure = not_a_log(error);
            output.failure(&failure);
            return Ok(Some(failure.exit));
        }
        Err(error) => {
            output.failure(&Failure::new(Exit::Unreachable, error));
            return Ok(Some(Exit::Unreachable));
        }
    };
    if let (Err(error), Some(path)) = (monitor.published_fits(), &args.published) {
        return Err(Failure::config(format!("{}: {error}", path.display())));
    }
    if last.is_none_or(|last| last.head != standing.head) {
        say(&standing, output);
    }
    *last = Some(standing);
    let now = clock::now_ms() / 1_000;
    let age = standing.vouched.map(|time| now.saturating_sub(time));
    let message = match (args.max_age, age) {
        (Some(max), Some(age)) if age > max.as_secs() => {
            format!("the newest checkpoint is {age} s old")
        }
        (Some(_), None) => "nobody vouches for the time of the newest checkpoint".to_owned(),
        _ => return Ok(None),
    };
    let detail = format!("the head of {} entries", standing.head.size);
    monitor
        .note(Finding::of_log(Rule::Stale, detail), watch)
        .map_err(|error| state_failure(&args.state, &error))?;
    output.failure(&Failure::new(Exit::Stale, message));
    Ok(Some(Exit::Stale))
}

/// What answers is no log, or another one: nobody is accused.
pub fn not_a_log(error: NotALog) -> Failure {
    let exit = match error {
        NotALog::OtherLog => Exit::Config,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, PollError::NotALog(error)).next("check the URL and the policy")
}

fn say(standing: &Standing, output: &Output) {
    let Standing { head, audited, .. } = standing;
    output.result(
        || match head.size == *audited {
            true => format!("audited: {audited} entries, root {}", head.root),
            false => format!("audited: {audited} of {} entries, then stopped", head.size),
        },
        &json!({"audited": audited, "root": head.root, "size": head.size}),
    );
}

/// Shows what must be published at once; the rest is counted, and printed whole by `--json`.
fn show(finding: &Finding, dir: &Path, output: &Output, bar: Option<&ProgressBar>) {
    let evidence = finding.evidence.as_ref().map(|file| dir.join(file).display().to_string());
    if output.is_json() {
        let mut object = finding.json();
        object["evidence"] = json!(evidence);
        output.result(String::new, &object);
        return;
    }
    let urgent = finding.rule.verdict().is_some();
    let of_log = finding.unit.is_none() && finding.index.is_none();
    if urgent || of_log {
        let mut lines = finding.to_string();
        if let Some(evidence) = evidence {
            lines = format!("{lines}\nevidence: {evidence}");
        }
        match bar {
            Some(bar) => bar.suspend(|| output.text(&lines)),
            None => output.text(&lines),
        }
    }
}

/// Whether nothing that comes later can make it good again.
fn is_final(exit: Exit) -> bool {
    matches!(exit, Exit::Fork | Exit::RulesBroken)
}

fn exit_of_verdict(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Fork => Exit::Fork,
        Verdict::RulesBroken => Exit::RulesBroken,
        Verdict::LogSignature => Exit::LogSignature,
    }
}

fn open_failure(dir: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Memory(MemoryError::State(error)) => state_failure(dir, error),
        OpenError::Memory(error) => Failure::config(format!("{}: {error}", dir.display()))
            .next("give each log a state directory of its own"),
        error => Failure::config(error),
    }
}

/// A state that cannot be read is an alarm: beginning anew would be to trust the log blindly.
pub fn state_failure(dir: &Path, error: &StateError) -> Failure {
    let message = format!("state {}: {error}", dir.display());
    match error {
        StateError::Busy => Failure::new(Exit::TryAgain, message),
        StateError::Io { .. } => Failure::new(Exit::Internal, message),
        _ => Failure::new(Exit::Internal, message).next(
            "keep the directory, find out what happened to it, and follow the log from a new one",
        ),
    }
}

/// A flag that SIGINT and SIGTERM set.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let failure = |error| Failure::new(Exit::Internal, format!("signals: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failure)?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        let pair = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        (pair.0.map_err(failure)?, pair.1.map_err(failure)?)
    };
    // Ends with the process.
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        flag.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}

fn sleep(time: Duration, stop: &AtomicBool) {
    let until = Instant::now() + time;
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(NAP));
    }
}

/// Reads `500ms`, `10s`, `5m` or `1h`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - unit.len()];
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a number with ms, s, m or h, such as 10s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number before the unit".to_owned())?;
    let time = number.checked_mul(milliseconds).ok_or("too long")?;
    Ok(Duration::from_millis(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_time("1h"), Ok(Duration::from_secs(3_600)));
        for bad in ["", "10", "s", "-1s", "+1s", "1.5s", "10 s", "99999999999999999999s", "1d"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
