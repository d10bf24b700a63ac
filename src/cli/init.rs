//! `jejak init`: a new log.

use std::path::{Path, PathBuf};

use clap::Args;
use jejak_proofs::{
    merkle::leaf_hash,
    note::{Policy, SigningKey},
    tally::{Body, ContestRegister, Entry, REGISTER_LEN_MAX, ROOT_ROLE, UnitRegister},
};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files, key,
    manifest::{self, Built, RuleArgs},
    output::Output,
    serve::LISTEN_DEFAULT,
    sign,
};
use crate::{
    client::{Fetch, FetchLimits},
    log::{self, CreateError},
};

/// Make a log: keys, registers, manifest, and the policy that everyone else needs.
#[derive(Debug, Args)]
#[command(after_help = "Separate hands: pass --manifest with --log-key, and no root key is made.")]
pub struct InitArgs {
    /// Directory of the log; must not hold one yet.
    dir: PathBuf,
    /// Origin of the log: a URL without scheme, such as `log.example/2024`.
    #[arg(long, required_unless_present = "manifest")]
    origin: Option<String>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Where the log will be served [default: the default address of `jejak serve`].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A manifest that the root keys have signed; `--contests` is then its contest register.
    #[arg(
        long,
        value_name = "FILE.note",
        requires_all = ["log_key", "contest_file"],
        conflicts_with_all = [
            "contests", "election", "station_kinds", "exempt_kinds", "station_max",
        ]
    )]
    manifest: Option<PathBuf>,
    /// The private key of the log that the manifest names.
    #[arg(long, value_name = "FILE", requires = "manifest")]
    log_key: Option<PathBuf>,
}

/// All that a log begins with.
struct Beginning {
    log_key: SigningKey,
    /// Made here only where one pair of hands holds everything.
    root_key: Option<SigningKey>,
    manifest: String,
    units: String,
    contests: String,
}

pub fn run(args: InitArgs, output: &Output) -> Result<Exit, Failure> {
    if args.dir.join("policy").exists() || args.dir.join("log").exists() {
        let message = format!("{} holds a log already", args.dir.display());
        return Err(Failure::config(message).next(format!("jejak serve {}", args.dir.display())));
    }
    let beginning = match (&args.manifest, &args.log_key) {
        (Some(manifest), Some(log_key)) => given(&args, manifest, log_key)?,
        _ => fresh(&args)?,
    };
    let Beginning { log_key, root_key, manifest, units, contests } = beginning;
    let name = log_key.name().rsplit('/').next().unwrap_or_default();
    let url = args.url.clone().unwrap_or_else(|| format!("http://{LISTEN_DEFAULT}/{name}"));
    check_url(&url, &log_key)?;
    let files = (manifest.as_bytes(), units.as_bytes(), contests.as_bytes());
    log::judge_genesis(&log_key, files.0, files.1, files.2).map_err(cannot_create)?;
    // Nothing was written so far; from here on only the disk can fail. Keys come before the log
    // that nobody could sign for without them.
    if let Some(key_file) = &args.log_key {
        bind(key_file, &log_key)?;
    }
    write_keys(&args.dir.join("keys"), &log_key, root_key.as_ref())?;
    let genesis =
        log::create(&args.dir, &log_key, files.0, files.1, files.2).map_err(cannot_create)?;
    files::write(&args.dir.join("manifest.note"), manifest.as_bytes())?;
    let policy = Policy::compose(&[log_key.verifier()], Some(&url), &genesis)
        .map_err(|error| Failure::config(format!("policy: {error}")))?;
    let policy_file = args.dir.join("policy");
    files::write(&policy_file, policy.as_bytes())?;
    let fingerprint = manifest::fingerprint(&policy);
    let origin = log_key.name();
    output.result(
        || {
            format!(
                "log      {origin}\ngenesis  {genesis}\npolicy   {}\n         SHA-256 {fingerprint}",
                policy_file.display()
            )
        },
        &json!({
            "origin": origin,
            "genesis": genesis,
            "policy": policy_file.display().to_string(),
            "policy_sha256": fingerprint,
        }),
    );
    say_next(&args, output);
    Ok(Exit::Ok)
}

/// Whether clients can use this URL, and whether it fits into a policy.
fn check_url(url: &str, key: &SigningKey) -> Result<(), Failure> {
    Fetch::new(url, &FetchLimits::default())
        .map_err(|error| Failure::config(format!("--url {url}: {error}")))?;
    // The pin does not matter here: no log has an empty entry 0.
    Policy::compose(&[key.verifier()], Some(url), &leaf_hash(b""))
        .map_err(|error| Failure::config(format!("--url {url}: {error}")))?;
    Ok(())
}

fn cannot_create(error: CreateError) -> Failure {
    let exit = if matches!(error, CreateError::Store(_)) { Exit::Failure } else { Exit::Config };
    Failure::new(exit, error)
}

fn write_keys(dir: &Path, log: &SigningKey, root: Option<&SigningKey>) -> Result<(), Failure> {
    files::make_dir(dir)?;
    if let Some(root) = root {
        files::write_key(&dir.join("root"), root)?;
    }
    files::write_key(&dir.join("log"), log)
}

fn say_next(args: &InitArgs, output: &Output) {
    let dir = args.dir.display();
    output.text(format!("next: jejak serve {dir}"));
    if args.manifest.is_none() {
        output.text(format!(
            "then: jejak mandate -p {dir}/policy --by {dir}/keys/root --role official --units UNIT \
             --new officer.key"
        ));
    }
}

/// Makes both keys and the manifest here: one pair of hands.
fn fresh(args: &InitArgs) -> Result<Beginning, Failure> {
    let origin = args.origin.as_deref().unwrap_or_default();
    manifest::check_origin(origin)?;
    let registers = manifest::read_registers(&args.rules)?;
    let log_key = key::generate(origin)?;
    let root_key = key::generate(&format!("{ROOT_ROLE}/{}", registers.top()))?;
    let roots = [root_key.verifier()];
    let Built { manifest, units, contests } =
        manifest::build(origin, &args.rules, registers, &log_key.verifier(), &roots, 1)?;
    let manifest = Body::Manifest(Box::new(manifest)).sign(&[&root_key]);
    Ok(Beginning { log_key, root_key: Some(root_key), manifest, units, contests })
}

/// Takes a manifest that was signed elsewhere, and the registers that it names.
fn given(args: &InitArgs, manifest: &Path, key_file: &Path) -> Result<Beginning, Failure> {
    let log_key = files::read_key(key_file)?;
    manifest::check_origin(log_key.name())?;
    if args.origin.as_ref().is_some_and(|origin| origin != log_key.name()) {
        return Err(Failure::config("--origin is not the name of the log's key"));
    }
    let manifest_text = files::read_text(manifest)?;
    let entry = Entry::parse(manifest_text.as_bytes())
        .map_err(|refusal| Failure::config(format!("{}: {refusal}", manifest.display())))?;
    let missing = sign::missing_roots(&entry);
    if !missing.is_empty() {
        let message = format!("root signatures are missing: {}", missing.join(", "));
        let next = format!("jejak sign {} -k KEY", manifest.display());
        return Err(Failure::config(message).next(next));
    }
    let units = register(&args.rules.units)?;
    UnitRegister::parse(units.as_bytes())
        .map_err(|error| Failure::config(format!("{}: {error}", args.rules.units.display())))?;
    let contest_file = args.rules.contest_file.as_deref().unwrap_or(Path::new(""));
    let contests = register(contest_file)?;
    ContestRegister::parse(contests.as_bytes())
        .map_err(|error| Failure::config(format!("{}: {error}", contest_file.display())))?;
    Ok(Beginning { log_key, root_key: None, manifest: manifest_text, units, contests })
}

fn register(path: &Path) -> Result<String, Failure> {
    let bytes = files::read_maybe_gzip(path)?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= REGISTER_LEN_MAX);
    text.ok_or_else(|| Failure::config(format!("{} is not a register", path.display())))
}

/// One key, one origin, one directory: a key that made a log once does not make another.
fn bind(key_file: &Path, key: &SigningKey) -> Result<(), Failure> {
    let mut name = key_file.as_os_str().to_owned();
    name.push(".bound");
    let mark = PathBuf::from(name);
    if mark.exists() {
        let message = format!("{} already belongs to a log", key_file.display());
        let next = format!("jejak key new FILE --name {}", key.name());
        return Err(Failure::config(message).next(next));
    }
    files::write(&mark, format!("{}\n", key.verifier()).as_bytes())
}
