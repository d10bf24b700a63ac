//! `jejak mirror`: keep a verified copy of logs, and serve it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    exit::{Exit, Failure},
    files::{self, PolicyArg},
    monitor::parse_time,
    output::Output,
    serve::{runtime, stop_signal, trace},
    verify::exit_of_checkpoint,
};
use crate::{
    audit::PullError,
    mirror::{Following, Mirror, Options, RoundError, StartError, http},
    store::StoreError,
};

/// Where a mirror is served unless told otherwise.
const LISTEN_DEFAULT: &str = "127.0.0.1:7119";

/// How often followers are asked whether they still follow.
const STUCK_EVERY: Duration = Duration::from_millis(200);

/// Keep a verified copy of logs, and serve it, also when a log is gone.
///
/// The directory has a directory for each log, named by the SHA-256 of its origin, which is a
/// static copy; `evidence` and `reports` hold what a log signed that contradicts the copy.
#[derive(Debug, Args)]
pub struct MirrorArgs {
    #[command(subcommand)]
    verb: MirrorVerb,
}

#[derive(Debug, Subcommand)]
enum MirrorVerb {
    Serve(ServeArgs),
    Pull(PullArgs),
}

/// What to copy, and where.
#[derive(Debug, Args)]
struct CopyArgs {
    /// The directory of the mirror; made if there is none.
    dir: PathBuf,
    /// Policies: the keys, URL and genesis of each log in them.
    #[arg(short, long, value_name = "FILE", required = true, env = "JEJAK_POLICY")]
    policy: Vec<PathBuf>,
    /// Where to pull from instead of the URL in the policy, such as another mirror; for one log.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Cosign each head once everything under it is durable: a private key of type 0x04 or 0x06.
    /// May be given several times.
    #[arg(short, long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Time between two looks at a log: 1s, 10s, 5m.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_time)]
    every: Duration,
}

/// Follow logs and serve their copies.
#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    copy: CopyArgs,
    /// Where anyone may connect; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Where the operator may connect, for /metrics.
    #[arg(long, value_name = "ADDR")]
    operator: Option<SocketAddr>,
}

/// Follow logs without serving them; any web server can serve the directory.
#[derive(Debug, Args)]
struct PullArgs {
    #[command(flatten)]
    copy: CopyArgs,
    /// Looks at each log once, and at every file of its copy.
    #[arg(long)]
    once: bool,
}

pub fn run(args: MirrorArgs, output: &Output) -> Result<Exit, Failure> {
    trace(output);
    match args.verb {
        MirrorVerb::Serve(args) => {
            let mirror = open(&args.copy)?;
            runtime()?.block_on(serve(&Arc::new(mirror), &args, output))
        }
        MirrorVerb::Pull(args) if args.once => once(open(&args.copy)?, output),
        MirrorVerb::Pull(args) => {
            let mirror = open(&args.copy)?;
            let following = mirror.follow(args.copy.every).map_err(|error| failed(&error))?;
            let is_stuck = runtime()?.block_on(async {
                tokio::select! {
                    () = stop_signal() => false,
                    () = stuck(&following) => true,
                }
            });
            drop(following);
            match is_stuck {
                false => Ok(Exit::Ok),
                true => {
                    let message = "the copy could not be written; what is durable is not known";
                    Err(Failure::new(Exit::Internal, message)
                        .next("look at the disk, then start it again: it reads all of the copy"))
                }
            }
        }
    }
}

/// Waits until nothing more can be pulled.
async fn stuck(following: &Following) {
    while !following.is_stuck() {
        tokio::time::sleep(STUCK_EVERY).await;
    }
}

fn open(args: &CopyArgs) -> Result<Mirror, Failure> {
    let read = |file: &PathBuf| PolicyArg { policy: file.clone() }.read();
    let policies = args.policy.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if args.from.is_some()
        && (policies.len() > 1 || policies.iter().any(|policy| policy.single_origin().is_err()))
    {
        let message = "--from says where one log is, and the policies name several";
        return Err(Failure::new(Exit::Usage, message).next("pass one policy of one log"));
    }
    let key = |file: &PathBuf| files::read_cosigning_key(file);
    let keys = args.key.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let options = Options { policies, from: args.from.clone(), keys };
    Mirror::open(&args.dir, options).map_err(|error| failed(&error))
}

/// Looks at each log once; ends with the worst that it found.
fn once(mirror: Mirror, output: &Output) -> Result<Exit, Failure> {
    let mirror = Arc::new(mirror);
    let to_stop = Arc::clone(&mirror);
    let runtime = runtime()?;
    runtime.spawn(async move {
        stop_signal().await;
        to_stop.stop();
    });
    let mut worst = Exit::Ok;
    for (origin, pulled) in mirror.pull_once() {
        match pulled {
            Ok(standing) => {
                let head = standing.head;
                let size = head.map_or(0, |head| head.size);
                output.result(
                    || format!("{origin}: {size} entries, {} files fetched", standing.written),
                    &json!({
                        "origin": origin,
                        "size": size,
                        "root": head.map(|head| head.root),
                        "fetched": standing.written,
                    }),
                );
            }
            Err(error) => {
                let exit = exit_of(&error);
                output.failure(&Failure::new(exit, format!("{origin}: {error}")));
                worst = if rank(exit) > rank(worst) { exit } else { worst };
            }
        }
    }
    Ok(worst)
}

async fn serve(mirror: &Arc<Mirror>, args: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let public = bind(args.listen).await?;
    let address = public.local_addr().map_err(Failure::config)?;
    let operator = match args.operator {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    for (origin, id) in mirror.logs() {
        let url = format!("http://{address}/{id}");
        output.result(
            || format!("mirror of {origin} at {url}"),
            &json!({"origin": origin, "url": url, "id": id}),
        );
    }
    let following = mirror.follow(args.copy.every).map_err(|error| failed(&error))?;
    let drained = http::serve(mirror, public, operator, async {
        stop_signal().await;
        tracing::info!("stopping");
    })
    .await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "cut at the end of the grace period");
    }
    // Waits for what is being pulled, at the utmost for a few files.
    let ended = tokio::task::spawn_blocking(move || drop(following)).await;
    ended.map_err(|error| Failure::new(Exit::Internal, error))?;
    Ok(Exit::Ok)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::config(format!("cannot listen on {address}: {error}")))
}

fn failed(error: &StartError) -> Failure {
    match error {
        StartError::Store(error @ StoreError::Locked { .. }) => {
            Failure::new(Exit::TryAgain, error).next("stop the other `jejak mirror` first")
        }
        StartError::Store(error) => Failure::new(exit_of_store(error), error),
        StartError::Thread(_) => Failure::new(Exit::Internal, error),
        StartError::NoUrl { .. } => Failure::config(error).next("pass --from URL"),
        StartError::Checkpoint { file, .. } => Failure::new(Exit::Internal, error).next(format!(
            "find out what happened to {}; without it the copy begins anew, and what the log \
             showed before is forgotten",
            parent(file)
        )),
        StartError::Lost { file, record } => Failure::new(Exit::Internal, error).next(format!(
            "find out what happened to {}, and copy {} to {}; it says what the log showed before",
            parent(file),
            record.display(),
            file.display()
        )),
        _ => Failure::config(error),
    }
}

fn parent(file: &Path) -> String {
    files::parent(file).display().to_string()
}

/// What a look at a log that changed nothing means for the exit code.
fn exit_of(error: &RoundError) -> Exit {
    match error {
        RoundError::Pull { error, .. } => match error {
            PullError::Unreachable(_) | PullError::NotTheLog(_) => Exit::Unreachable,
            PullError::Signature(error) => exit_of_checkpoint(error),
            PullError::Fork(_) | PullError::Rollback { .. } | PullError::Genesis(_) => Exit::Fork,
            PullError::Store(error) => exit_of_store(error),
            PullError::Stopped => Exit::TryAgain,
            _ => Exit::Failure,
        },
        RoundError::Behind { .. } => Exit::TryAgain,
        RoundError::Quorum(error) => exit_of_checkpoint(error),
        RoundError::Sign(_) => Exit::Config,
        RoundError::Store(error) => exit_of_store(error),
    }
}

fn exit_of_store(error: &StoreError) -> Exit {
    if error.is_out_of_space() { Exit::TryAgain } else { Exit::Internal }
}

/// Which of two exit codes says more: a conviction before a signature before what may pass.
fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::Ok => 0,
        Exit::TryAgain => 1,
        Exit::Unreachable => 2,
        Exit::Quorum => 4,
        Exit::LogSignature => 5,
        Exit::Internal => 6,
        Exit::Fork => 7,
        _ => 3,
    }
}
