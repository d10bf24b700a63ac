//! `jejak serve`: one or more logs over HTTP.

use std::{
    collections::BTreeSet,
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{
    exit::{Exit, Failure},
    files,
    output::Output,
};
use crate::{
    cosign::{self, Cosigner},
    log::{Fatal, Log, LogKeys, OpenError, Options},
    server::{Audience, Binding, Server, limits::Limits, serve},
    store::{FREE_MIN_DEFAULT, JournalOptions, StoreError},
};

/// Where logs are served unless told otherwise; also what `init` writes into a policy.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7117";

/// Serve one or more logs.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Directories of logs, as `jejak init` made them.
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Where anyone may connect; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Where the operator may connect, for /metrics.
    #[arg(long, value_name = "ADDR")]
    operator: Option<SocketAddr>,
    /// Take no entries and write nothing: serve what verifies.
    #[arg(long)]
    read_only: bool,
    /// Take entries before the witnesses of the policy have said that they know of no newer head.
    #[arg(long)]
    start_unwitnessed: bool,
    /// Bytes of disk to leave free; below them entries are refused and reads go on.
    #[arg(long, value_name = "BYTES", default_value_t = FREE_MIN_DEFAULT)]
    free_min: u64,
    /// End when this parent of the process does, however it ends: for the demo.
    #[arg(long, value_name = "PID", hide = true)]
    with_parent: Option<i32>,
}

pub fn run(args: ServeArgs, output: &Output) -> Result<Exit, Failure> {
    if let Some(parent) = args.with_parent {
        end_with(parent)?;
    }
    trace(output);
    let options = Options {
        journal: JournalOptions { free_min: args.free_min, ..JournalOptions::default() },
        read_only: args.read_only,
        start_unwitnessed: args.start_unwitnessed,
        ..Options::default()
    };
    each_once(&args.dirs)?;
    let logs: Vec<Log> =
        args.dirs.iter().map(|dir| open(dir, &options)).collect::<Result<_, _>>()?;
    runtime()?.block_on(serve_logs(logs, &args, output))
}

/// Refuses a directory that is named twice, in whatever spelling: its second opening would wait for
/// the lock of its first.
fn each_once(dirs: &[PathBuf]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for dir in dirs {
        // What cannot be resolved cannot be opened either, and opening it says why.
        let place = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        if !seen.insert(place) {
            let message = format!("{} is named twice", dir.display());
            return Err(Failure::config(message).next("name each directory once"));
        }
    }
    Ok(())
}

/// Asks for SIGTERM when the parent ends: nobody else would end a child of a killed process.
pub fn end_with(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::new(Exit::Internal, format!("signals: {error}")))?;
    // It may have ended before.
    match Pid::as_raw(getppid()) == parent {
        true => Ok(()),
        false => Err(Failure::new(Exit::Failure, "the process that this server is for has ended")),
    }
}

/// Structured logs on stderr; `RUST_LOG` chooses what, `--json` how.
pub fn trace(output: &Output) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // A full disk or a closed pipe costs the logs, not the log.
        .log_internal_errors(false);
    // A second call in one process (the demo) keeps the first one's settings.
    let _ = match output.is_json() {
        true => builder.json().try_init(),
        false => builder.try_init(),
    };
}

/// The runtime of a server: the reactor on few threads, since the work is done elsewhere.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, format!("no runtime: {error}")))
}

/// Opens the log of a directory with the key in it, which reading alone does not need.
pub fn open(dir: &Path, options: &Options) -> Result<Log, Failure> {
    if options.read_only {
        return Log::open_read_only(dir).map_err(|error| cannot_open(dir, &error));
    }
    let keys = dir.join("keys");
    let there = |name: &str| Some(keys.join(name)).filter(|path| path.exists());
    let held = |path: PathBuf| files::read_key(&path).map(|key| key.signer());
    let mut note = vec![held(keys.join("log"))?];
    // The key that will follow it: while their windows overlap, both sign.
    note.extend(there("log-next").map(held).transpose()?);
    let dated = [there("log-pq"), there("log-pq-next")].into_iter().flatten();
    let timestamped = dated.map(|path| files::read_cosigning_key(&path));
    let timestamped = timestamped.collect::<Result<_, _>>()?;
    let refusals = [there("refusal"), there("refusal-next")].into_iter().flatten();
    let refusals = refusals.map(|path| files::read_private_key(&path)).collect::<Result<_, _>>()?;
    let keys = LogKeys { note, timestamped, refusals };
    Log::open(dir, keys, options).map_err(|error| cannot_open(dir, &error))
}

fn cannot_open(dir: &Path, error: &OpenError) -> Failure {
    let (exit, next) = match error {
        OpenError::Io { .. }
        | OpenError::Policy { .. }
        | OpenError::Windows { .. }
        | OpenError::LogKey(_)
        | OpenError::Genesis => (Exit::Config, None),
        OpenError::KeyWindow { .. } => {
            let next = "put the key that `log_keys` of the manifest names for that size into";
            (Exit::Config, Some(format!("{next} {}/keys/log-next", dir.display())))
        }
        OpenError::Store(StoreError::Locked { .. }) => (Exit::TryAgain, None),
        OpenError::Store(full) if full.is_out_of_space() => {
            let next = "free some space; meanwhile `jejak serve --read-only` serves";
            (Exit::TryAgain, Some(format!("{next} {}", dir.display())))
        }
        OpenError::Store(StoreError::JournalMissing(_)) => (Exit::Config, None),
        OpenError::Store(StoreError::Rollback { .. }) | OpenError::Fork { .. } => {
            (Exit::Fork, Some(format!("jejak fsck {}", dir.display())))
        }
        _ => (Exit::Internal, Some(format!("jejak fsck {}", dir.display()))),
    };
    let failure = Failure::new(exit, format!("{}: {error}", dir.display()));
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

async fn serve_logs(logs: Vec<Log>, args: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let server = Server::new(logs.clone(), Limits::default()).map_err(Failure::config)?;
    let public = bind(args.listen, Audience::Public).await?;
    let address = public.address().map_err(Failure::config)?;
    let mut bindings = vec![public];
    if let Some(operator) = args.operator {
        bindings.push(bind(operator, Audience::Operator).await?);
    }
    for log in &logs {
        let url = format!("http://{address}/{}", log.name());
        let size = log.published().head.size;
        output.result(
            || format!("serving {} at {url}, {size} entries", log.origin()),
            &json!({"origin": log.origin(), "url": url, "size": size}),
        );
    }
    let asking = logs.iter().filter(|_| !args.read_only).map(cosign::start);
    let cosigners = asking.collect::<Result<_, _>>().map_err(Failure::config)?;
    run_until_stopped(&server, logs, cosigners, bindings).await
}

async fn bind(address: SocketAddr, audience: Audience) -> Result<Binding, Failure> {
    Binding::new(address, audience)
        .await
        .map_err(|error| Failure::config(format!("cannot listen on {address}: {error}")))
}

/// Serves until a signal asks to stop or a log must not go on, then closes every log.
pub async fn run_until_stopped(
    server: &Arc<Server>,
    logs: Vec<Log>,
    cosigners: Vec<Cosigner>,
    bindings: Vec<Binding>,
) -> Result<Exit, Failure> {
    let failed = {
        let logs = logs.clone();
        async move {
            let waiting = logs.iter().map(|log| Box::pin(log.failed()));
            first(waiting.collect()).await
        }
    };
    let drained = serve(server, bindings, async {
        tokio::select! {
            () = stop_signal() => tracing::info!("stopping"),
            fatal = failed => tracing::error!(cause = %fatal, "refusing to continue"),
        }
    })
    .await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "cut at the end of the grace period");
    }
    // Before the lock of the directory goes: they write into it.
    for cosigner in cosigners {
        cosigner.stop().await;
    }
    let mut exit = Ok(Exit::Ok);
    for log in logs {
        let name = log.name().to_owned();
        let closed = tokio::task::spawn_blocking(move || log.close()).await;
        if let Ok(Err(fatal)) = closed {
            exit = Err(ended(&name, &fatal));
        }
    }
    exit
}

fn ended(name: &str, fatal: &Fatal) -> Failure {
    match fatal {
        Fatal::Fork { .. } => Failure::new(Exit::Fork, format!("{name}: {fatal}")).next(
            "find the newer copy and serve that; `jejak serve --start-unwitnessed` goes on with \
             this one, and what the other has signed stays evidence",
        ),
        _ => Failure::new(Exit::Internal, format!("{name}: {fatal}"))
            .next("start again: start-up is the recovery"),
    }
}

/// The first of several futures to finish.
async fn first<F: Future<Output = Arc<Fatal>> + Unpin>(mut futures: Vec<F>) -> Arc<Fatal> {
    std::future::poll_fn(|context| {
        for future in &mut futures {
            if let std::task::Poll::Ready(fatal) = std::pin::Pin::new(future).poll(context) {
                return std::task::Poll::Ready(fatal);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Resolves on SIGTERM or SIGINT.
pub async fn stop_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler can be set");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
