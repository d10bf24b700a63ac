//! `jejak witness`: cosign the heads of logs, each consistent with the one before.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand, ValueEnum};
use jejak_proofs::{
    merkle::Hash,
    note::{CosigningKey, KeyKind, Policy, VerifierKey},
};
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    exit::{Exit, Failure},
    files::{self, PolicyArg},
    key,
    output::Output,
    serve::{end_with, runtime, stop_signal, trace},
};
use crate::{
    clock,
    state::{State, StateError},
    witness::{
        Memory, MemoryError, Options, Rate, StartError, Statement, Witness, http, record::Record,
    },
};

/// Where a witness is served unless told otherwise.
const LISTEN_DEFAULT: &str = "127.0.0.1:7118";

/// Cosign the heads of logs, each consistent with the one before (C2SP tlog-witness).
///
/// One process uses a directory at a time: stop `serve` before `add-log` or `list`.
#[derive(Debug, Args)]
pub struct WitnessArgs {
    #[command(subcommand)]
    verb: WitnessVerb,
}

#[derive(Debug, Subcommand)]
enum WitnessVerb {
    Init(InitArgs),
    AddLog(AddLogArgs),
    List(ListArgs),
    Serve(ServeArgs),
}

/// Make a witness: its key and its state. Prints the line for policies.
#[derive(Debug, Args)]
struct InitArgs {
    /// Directory of the witness; must not be there yet.
    dir: PathBuf,
    /// Name of the key: a URL without scheme, such as `witness.example/w1`.
    #[arg(long)]
    name: String,
    /// What the key signs with.
    #[arg(long, value_enum, default_value_t = Kind::Ed25519)]
    kind: Kind,
    /// The key states more: that every entry was replayed and the state at the end is right.
    #[arg(long)]
    recount: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Ed25519,
    #[value(name = "ml-dsa-44")]
    MlDsa44,
}

/// Add logs to a witness that is not being served.
#[derive(Debug, Args)]
struct AddLogArgs {
    /// Directory of the witness.
    dir: PathBuf,
    /// Policies: the keys, URL and genesis of each log in them.
    #[arg(short, long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// A log by its origin.
    #[arg(long, requires = "vkey", required_unless_present = "policy")]
    origin: Option<String>,
    /// A key of that log; may be given several times.
    #[arg(long, requires = "origin")]
    vkey: Vec<VerifierKey>,
    /// Where its entries are, for a recount.
    #[arg(long, requires = "origin")]
    url: Option<String>,
    /// The leaf hash of its entry 0, for a recount.
    #[arg(long, value_name = "HEX", requires = "origin")]
    genesis: Option<Hash>,
    /// Let a known log have other keys, another URL or genesis; what was cosigned stays.
    #[arg(long)]
    replace: bool,
}

/// Show the logs of a witness that is not being served, and what it cosigned last.
#[derive(Debug, Args)]
struct ListArgs {
    /// Directory of the witness.
    dir: PathBuf,
}

/// Serve a witness: `add-checkpoint`, and the heads that it cosigned.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Directory of the witness.
    dir: PathBuf,
    /// Where anyone may connect; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Where the operator may connect, for /metrics.
    #[arg(long, value_name = "ADDR")]
    operator: Option<SocketAddr>,
    /// Replay every entry first; the key must have been made for it.
    #[arg(long)]
    recount: bool,
    /// Log-signed requests of one log a second, in the long run.
    #[arg(long, value_name = "N", default_value_t = Rate::default().per_second)]
    rate: u32,
    /// Log-signed requests of one log at once.
    #[arg(long, value_name = "N", default_value_t = Rate::default().burst)]
    burst: u32,
    /// End when this parent of the process does, however it ends: for the demo.
    #[arg(long, value_name = "PID", hide = true)]
    with_parent: Option<i32>,
}

pub fn run(args: WitnessArgs, output: &Output) -> Result<Exit, Failure> {
    match args.verb {
        WitnessVerb::Init(args) => init(&args, output),
        WitnessVerb::AddLog(args) => add_log(args, output),
        WitnessVerb::List(args) => list(&args, output),
        WitnessVerb::Serve(args) => serve(&args, output),
    }
}

/// Makes everything under another name and renames it: there is a whole witness or none.
fn init(args: &InitArgs, output: &Output) -> Result<Exit, Failure> {
    let dir = &args.dir;
    if dir.exists() {
        let next = format!("jejak witness serve {}", dir.display());
        return Err(Failure::config(format!("{} is there already", dir.display())).next(next));
    }
    let kind = match args.kind {
        Kind::Ed25519 => KeyKind::CosignatureV1,
        Kind::MlDsa44 => KeyKind::MlDsa44,
    };
    let key = key::generate_cosigning(&args.name, kind)?;
    let statement = if args.recount { Statement::Recounted } else { Statement::Consistent };
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = dir.with_file_name(name);
    files::make_dir(&temporary)?;
    files::write_cosigning_key(&key_of(&temporary), &key)?;
    let state = State::open(&state_of(&temporary)).map_err(|error| failed(dir, error.into()))?;
    drop(Memory::create(state, &key, statement).map_err(|error| failed(dir, error))?);
    files::sync_dir(&temporary)?;
    files::rename(&temporary, dir)?;
    files::sync_dir(&files::parent(dir))?;
    let vkey = key.verifier();
    output.result(
        || {
            format!(
                "witness {} {vkey}\n\
                 That line is for policies, with the URL at its end. Next: jejak witness add-log \
                 {} -p POLICY",
                vkey.name(),
                dir.display()
            )
        },
        &json!({"vkey": vkey.to_string(), "name": vkey.name(), "recount": args.recount}),
    );
    Ok(Exit::Ok)
}

fn add_log(args: AddLogArgs, output: &Output) -> Result<Exit, Failure> {
    let (_, memory) = open(&args.dir)?;
    let mut wanted = Vec::new();
    for file in &args.policy {
        let policy = PolicyArg { policy: file.clone() }.read()?;
        wanted.extend(logs_of(&policy));
    }
    if let Some(origin) = &args.origin {
        wanted.push(Record::new(origin, args.vkey, args.url, args.genesis));
    }
    let mut records = Vec::with_capacity(wanted.len());
    for new in wanted {
        records.extend(merged(&args.dir, &memory, new, args.replace)?);
    }
    memory.add(&records).map_err(|error| failed(&args.dir, error))?;
    for Record { origin, keys, .. } in &records {
        output.result(
            || format!("added {origin}, keys: {}", keys.len()),
            &json!({"origin": origin, "keys": keys.len()}),
        );
    }
    output.text(format_args!("next: jejak witness serve {}", args.dir.display()));
    Ok(Exit::Ok)
}

/// Every log of a policy, once.
fn logs_of(policy: &Policy) -> Vec<Record> {
    let mut origins: Vec<&str> = policy.logs().map(|log| log.key.name()).collect();
    origins.sort_unstable();
    origins.dedup();
    let record = |origin: &str| {
        let url = policy.url(origin).map(str::to_owned);
        Record::new(origin, policy.log_keys(origin), url, policy.genesis(origin))
    };
    origins.into_iter().map(record).collect()
}

/// What to store for a log; `None` if it stands there already.
fn merged(
    dir: &Path,
    memory: &Memory,
    new: Record,
    replace: bool,
) -> Result<Option<Record>, Failure> {
    let origin = &new.origin;
    if let Some(key) = new.keys.iter().find(|key| key.name() != origin || !key.kind().signs_logs())
    {
        let message = format!("{key} signs for no log {origin}");
        return Err(Failure::config(message).next("pass a key that bears the origin as its name"));
    }
    if memory.statement() == Statement::Recounted && (new.url.is_none() || new.genesis.is_none()) {
        let message = format!("{origin}: a recount needs its URL and its genesis");
        return Err(Failure::config(message).next("pass -p POLICY, or --url and --genesis"));
    }
    match memory.record(new.id()).map_err(|error| failed(dir, error))? {
        None => Ok(Some(new)),
        Some(known) if known.has_the_settings_of(&new) => Ok(None),
        Some(mut known) if replace => {
            known.replace(new);
            Ok(Some(known))
        }
        Some(_) => {
            let message = format!("{origin} is known with other keys, URL or genesis");
            Err(Failure::config(message).next("if that is meant, the same with --replace"))
        }
    }
}

fn list(args: &ListArgs, output: &Output) -> Result<Exit, Failure> {
    let (_, memory) = open(&args.dir)?;
    let now = clock::now_ms() / 1_000;
    for record in memory.records() {
        let record = record.map_err(|error| failed(&args.dir, error))?;
        let last = record.last.as_ref();
        let head = last.map(|last| last.checkpoint.head());
        let [evidence, reports] = record.kept.each_ref().map(Vec::len);
        output.result(
            || {
                let said = match last {
                    None => "never cosigned".to_owned(),
                    Some(last) => {
                        let age = now.saturating_sub(last.time);
                        format!("{} entries, {age} s ago", last.checkpoint.head().size)
                    }
                };
                let origin = &record.origin;
                format!("{origin}: {said}; {evidence} pieces of evidence, {reports} reports")
            },
            &json!({
                "origin": record.origin,
                "id": record.id(),
                "keys": record.keys.iter().map(VerifierKey::to_string).collect::<Vec<_>>(),
                "size": head.map(|head| head.size),
                "root": head.map(|head| head.root),
                "time": last.map(|last| last.time),
                "evidence": record.kept[0],
                "reports": record.kept[1],
            }),
        );
    }
    Ok(Exit::Ok)
}

fn serve(args: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    if let Some(parent) = args.with_parent {
        end_with(parent)?;
    }
    trace(output);
    let (key, memory) = open(&args.dir)?;
    let recounts = memory.statement() == Statement::Recounted;
    if recounts != args.recount {
        let (message, next) = match recounts {
            true => ("this key says that it recounted", "pass --recount"),
            false => ("this key says nothing of a recount", "make one with init --recount"),
        };
        return Err(Failure::config(message).next(next));
    }
    let vkey = key.verifier();
    let options = Options { rate: Rate { per_second: args.rate, burst: args.burst } };
    let witness = Witness::start(key, memory, options).map_err(|error| match error {
        StartError::Memory(error) => failed(&args.dir, error),
        StartError::Thread(_) => Failure::new(Exit::Internal, error),
        _ => Failure::config(error).next("jejak witness add-log --replace with a policy"),
    })?;
    if witness.is_empty() {
        let next = format!("stop, then jejak witness add-log {} -p POLICY", args.dir.display());
        output.notice(
            || format!("this witness knows no log: {next}"),
            &json!({"notice": "this witness knows no log", "next": next}),
        );
    }
    runtime()?.block_on(run_until_stopped(Arc::new(witness), &vkey, args, output))
}

async fn run_until_stopped(
    witness: Arc<Witness>,
    vkey: &VerifierKey,
    args: &ServeArgs,
    output: &Output,
) -> Result<Exit, Failure> {
    let public = bind(args.listen).await?;
    let address = public.local_addr().map_err(Failure::config)?;
    let operator = match args.operator {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let (url, logs) = (format!("http://{address}"), witness.len());
    output.result(
        || format!("witness {vkey} {url}, {logs} logs"),
        &json!({"url": url, "vkey": vkey.to_string(), "logs": logs}),
    );
    let drained = http::serve(&witness, public, operator, async {
        stop_signal().await;
        tracing::info!("stopping");
    })
    .await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "cut at the end of the grace period");
    }
    match witness.failure().cause() {
        None => Ok(Exit::Ok),
        Some(cause) => Err(damaged(&args.dir, cause)),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::config(format!("cannot listen on {address}: {error}")))
}

/// The key and the state of a witness.
fn open(dir: &Path) -> Result<(CosigningKey, Memory), Failure> {
    let next = format!("jejak witness init {} --name NAME", dir.display());
    if !dir.is_dir() {
        return Err(Failure::config(format!("no witness in {}", dir.display())).next(next));
    }
    let key = files::read_cosigning_key(&key_of(dir))?;
    // Opening would make what is missing, and a witness that forgot would believe anything.
    if !state_of(dir).is_dir() {
        return Err(failed(dir, MemoryError::Lost));
    }
    let state = State::open(&state_of(dir)).map_err(|error| failed(dir, error.into()))?;
    let memory = Memory::open(state, &key).map_err(|error| failed(dir, error))?;
    Ok((key, memory))
}

fn failed(dir: &Path, error: MemoryError) -> Failure {
    match &error {
        MemoryError::State(StateError::Busy) => {
            Failure::new(Exit::TryAgain, format!("{}: {error}", dir.display()))
                .next("stop `jejak witness serve` first; logs are added while it is down")
        }
        error if error.is_damage() => damaged(dir, error),
        _ => Failure::config(format!("{}: {error}", dir.display())),
    }
}

/// What was cosigned is not known for sure: this key must not sign again.
fn damaged(dir: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("{}: {cause}", dir.display())).next(
        "keep the directory and find out what happened to it; if nothing brings it back, \
         `jejak witness init` another witness and retire this key",
    )
}

fn key_of(dir: &Path) -> PathBuf {
    dir.join("key")
}

fn state_of(dir: &Path) -> PathBuf {
    dir.join("state")
}
