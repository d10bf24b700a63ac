//! `jejak init`: a new log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use jejak_proofs::{
    merkle::{Hash, leaf_hash},
    note::{CosigningKey, KeyKind, Policy, SigningKey, VerifierKey, Window, WitnessLine},
    tally::{
        Body, ContestRegister, Entry, REGISTER_LEN_MAX, ROOT_ROLE, UnitRegister, refusal_key_name,
    },
};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files::{self, HeldKey},
    key,
    manifest::{self, Built, Keys, RuleArgs},
    output::Output,
    serve::LISTEN_DEFAULT,
    sign,
};
use crate::{
    client::{Fetch, FetchLimits},
    log::{self, CreateError},
    store::{JournalOptions, check_room},
};

/// Make a log: keys, registers, manifest, and the policy that everyone else needs.
#[derive(Debug, Args)]
#[command(after_help = "Separate hands: pass --manifest with --log-key, and no root key is made.")]
pub struct InitArgs {
    /// Directory of the log; must be empty, or not there yet.
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
    /// The private ML-DSA-44 key of the log, if the manifest names one.
    #[arg(long, value_name = "FILE", requires = "manifest")]
    log_pq_key: Option<PathBuf>,
    /// The private key that signs the log's refusals, if the manifest names one.
    #[arg(long, value_name = "FILE", requires = "manifest")]
    refusal_key: Option<PathBuf>,
    /// A witness that the policy lists: its name there, its vkey, and where it answers. Repeatable.
    #[arg(
        long = "witness", value_name = "\"NAME VKEY URL\"", requires = "quorum",
        value_parser = parse_witness
    )]
    witnesses: Vec<WitnessLine>,
    /// How many of the witnesses must have cosigned a checkpoint.
    #[arg(long, value_name = "K", requires = "witnesses")]
    quorum: Option<usize>,
    /// A witness of these whose key says that it recounted. Repeatable.
    #[arg(long, value_name = "NAME", requires = "witnesses")]
    recounts: Vec<String>,
}

/// A witness as a policy line names it, without the keyword.
fn parse_witness(text: &str) -> Result<WitnessLine, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, vkey, url) = match words[..] {
        [name, vkey] => (name, vkey, None),
        [name, vkey, url] => (name, vkey, Some(url)),
        _ => return Err("expected a name, a vkey and a URL, with spaces between them".to_owned()),
    };
    let key = VerifierKey::parse(vkey).map_err(|error| error.to_string())?;
    let (name, url) = (name.to_owned(), url.map(str::to_owned));
    Ok(WitnessLine { name, key, url, window: Window::default(), recounts: false })
}

/// All that a log begins with.
struct Beginning {
    log_key: HeldKey,
    /// The log's ML-DSA-44 key; none if a manifest from elsewhere names none.
    log_pq_key: Option<CosigningKey>,
    /// The key that signs refusals; none if a manifest from elsewhere names none.
    refusal_key: Option<SigningKey>,
    /// Made here only where one pair of hands holds everything.
    root_key: Option<SigningKey>,
    manifest: String,
    units: String,
    contests: String,
}

impl Beginning {
    /// The public keys that sign for the log.
    fn log_keys(&self) -> Vec<VerifierKey> {
        let pq = self.log_pq_key.as_ref().map(CosigningKey::verifier);
        [self.log_key.verifier()].into_iter().chain(pq).collect()
    }
}

pub fn run(args: InitArgs, output: &Output) -> Result<Exit, Failure> {
    refuse_used(&args.dir)?;
    let beginning = match (&args.manifest, &args.log_key) {
        (Some(manifest), Some(log_key)) => given(&args, manifest, log_key)?,
        _ => fresh(&args)?,
    };
    let Beginning { log_key, manifest, units, contests, .. } = &beginning;
    check_url(&args, &beginning)?;
    let files = (manifest.as_bytes(), units.as_bytes(), contests.as_bytes());
    log::judge_genesis(log_key, files.0, files.1, files.2).map_err(cannot_create)?;
    let given = [&args.log_key, &args.log_pq_key].into_iter().flatten();
    let marks = given.map(|file| unbound(file)).collect::<Result<Vec<_>, _>>()?;
    // Nothing was written so far; from here on only the disk can fail.
    let place = files::parent(&args.dir);
    check_room(&place, &JournalOptions::default())
        .map_err(|error| cannot_create(CreateError::Store(error)))?;
    files::make_dir(&place)?;
    let unfinished = Unfinished::new(&args.dir)?;
    let (genesis, policy) = build(unfinished.dir(), &args, &beginning)?;
    unfinished.finish(&args.dir)?;
    for (mark, key) in marks.iter().zip(beginning.log_keys()) {
        bind(mark, &key)?;
    }
    let policy_file = args.dir.join("policy");
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

/// Where the log will be served.
fn url(args: &InitArgs, log_key: &HeldKey) -> String {
    let name = log_key.name().rsplit('/').next().unwrap_or_default();
    args.url.clone().unwrap_or_else(|| format!("http://{LISTEN_DEFAULT}/{name}"))
}

/// Whether clients can use the log's URL, and whether it and the witnesses make a policy.
fn check_url(args: &InitArgs, beginning: &Beginning) -> Result<(), Failure> {
    let url = url(args, &beginning.log_key);
    let refused = |error: &dyn std::fmt::Display| Failure::config(format!("--url {url}: {error}"));
    Fetch::new(&url, &FetchLimits::default()).map_err(|error| refused(&error))?;
    // The pin does not matter here: no log has an empty entry 0.
    let pin = leaf_hash(b"");
    Policy::compose(&beginning.log_keys(), Some(&url), &pin).map_err(|error| refused(&error))?;
    compose(args, beginning, &pin).map(|_| ())
}

/// The text of the policy.
fn compose(args: &InitArgs, beginning: &Beginning, genesis: &Hash) -> Result<String, Failure> {
    let (keys, url) = (beginning.log_keys(), url(args, &beginning.log_key));
    let quorum = args.quorum.unwrap_or_default();
    let mut witnesses = args.witnesses.clone();
    for name in &args.recounts {
        let witness = witnesses.iter_mut().find(|line| line.name == *name);
        let unknown = || Failure::config(format!("--recounts {name}: no --witness has that name"));
        witness.ok_or_else(unknown)?.recounts = true;
    }
    Policy::compose_witnessed(&keys, Some(&url), genesis, &witnesses, quorum)
        .map_err(|error| Failure::config(format!("--witness, --quorum: {error}")))
}

/// A new log takes the place of nothing: the directory must be empty, if it is there.
fn refuse_used(dir: &Path) -> Result<(), Failure> {
    if dir.join("policy").exists() || dir.join("log").exists() {
        let message = format!("{} holds a log already", dir.display());
        return Err(Failure::config(message).next(format!("jejak serve {}", dir.display())));
    }
    match fs::read_dir(dir).map(|mut names| names.next().is_none()) {
        Ok(false) => Err(Failure::config(format!("{} is not empty", dir.display()))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::config(format!("cannot read {}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}

/// A directory beside the one that is to be, until everything is in it. An `init` that is killed
/// leaves it there, and nothing of the name of the log; one that fails removes it.
struct Unfinished {
    dir: PathBuf,
}

impl Unfinished {
    fn new(dir: &Path) -> Result<Self, Failure> {
        let Some(name) = dir.file_name() else {
            return Err(Failure::config(format!("{} names no directory", dir.display())));
        };
        let mut name = name.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let dir = files::parent(dir).join(name);
        fs::create_dir(&dir)
            .map_err(|error| Failure::config(format!("cannot write {}: {error}", dir.display())))?;
        Ok(Self { dir })
    }

    fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives the directory its name, which is durable then.
    fn finish(self, name: &Path) -> Result<(), Failure> {
        files::sync_dir(&self.dir)?;
        // Replaces an empty directory, and nothing else.
        fs::rename(&self.dir, name).map_err(|error| {
            Failure::config(format!("cannot write {}: {error}", name.display()))
        })?;
        files::sync_dir(&files::parent(name))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has another name by now, or was never a log.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Writes everything below `dir`. Gives the genesis and the text of the policy.
fn build(dir: &Path, args: &InitArgs, beginning: &Beginning) -> Result<(Hash, String), Failure> {
    let Beginning { log_key, manifest, units, contests, .. } = beginning;
    write_keys(&dir.join("keys"), beginning)?;
    let files = (manifest.as_bytes(), units.as_bytes(), contests.as_bytes());
    let genesis = log::create(dir, log_key, files.0, files.1, files.2).map_err(cannot_create)?;
    files::write(&dir.join("manifest.note"), files.0)?;
    let policy = compose(args, beginning, &genesis)?;
    files::write(&dir.join("policy"), policy.as_bytes())?;
    Ok((genesis, policy))
}

fn cannot_create(error: CreateError) -> Failure {
    let exit = if matches!(error, CreateError::Store(_)) { Exit::Failure } else { Exit::Config };
    Failure::new(exit, error)
}

fn write_keys(dir: &Path, beginning: &Beginning) -> Result<(), Failure> {
    files::make_dir(dir)?;
    if let Some(root) = &beginning.root_key {
        files::write_key(&dir.join("root"), root)?;
    }
    let file = dir.join("log");
    files::write_held_key(&file, &beginning.log_key)?;
    bind(&mark_of(&file), &beginning.log_key.verifier())?;
    if let Some(key) = &beginning.log_pq_key {
        let file = dir.join("log-pq");
        files::write_cosigning_key(&file, key)?;
        bind(&mark_of(&file), &key.verifier())?;
    }
    if let Some(key) = &beginning.refusal_key {
        files::write_key(&dir.join("refusal"), key)?;
    }
    Ok(())
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

/// Makes all keys and the manifest here: one pair of hands.
fn fresh(args: &InitArgs) -> Result<Beginning, Failure> {
    let origin = args.origin.as_deref().unwrap_or_default();
    manifest::check_origin(origin)?;
    let registers = manifest::read_registers(&args.rules)?;
    let log_key = key::generate(origin)?;
    let log_pq_key = key::generate_cosigning(origin, KeyKind::MlDsa44)?;
    let root_key = key::generate(&format!("{ROOT_ROLE}/{}", registers.top()))?;
    let refusal_key = key::generate(&refusal_key_name(origin))?;
    let roots = [root_key.verifier()];
    let log_keys = [log_key.verifier(), log_pq_key.verifier()];
    let refusal = refusal_key.verifier();
    let keys = Keys { log: &log_keys, refusal: Some(&refusal), roots: &roots };
    let Built { manifest, units, contests } =
        manifest::build(origin, &args.rules, registers, &keys, 1)?;
    let manifest = Body::Manifest(Box::new(manifest)).sign(&[&root_key]);
    let (log_pq_key, root_key) = (Some(log_pq_key), Some(root_key));
    let (log_key, refusal_key) = (HeldKey::from(log_key), Some(refusal_key));
    Ok(Beginning { log_key, log_pq_key, refusal_key, root_key, manifest, units, contests })
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
    let log_pq_key = args.log_pq_key.as_deref().map(files::read_cosigning_key).transpose()?;
    check_pq_key(&entry, log_pq_key.as_ref())?;
    let refusal_key = args.refusal_key.as_deref().map(files::read_private_key).transpose()?;
    check_refusal_key(&entry, refusal_key.as_ref())?;
    let units = register(&args.rules.units)?;
    UnitRegister::parse(units.as_bytes())
        .map_err(|error| Failure::config(format!("{}: {error}", args.rules.units.display())))?;
    let contest_file = args.rules.contest_file.as_deref().unwrap_or(Path::new(""));
    let contests = register(contest_file)?;
    ContestRegister::parse(contests.as_bytes())
        .map_err(|error| Failure::config(format!("{}: {error}", contest_file.display())))?;
    let (root_key, manifest) = (None, manifest_text);
    Ok(Beginning { log_key, log_pq_key, refusal_key, root_key, manifest, units, contests })
}

/// Demands the key for refusals that a manifest names, and no other.
fn check_refusal_key(manifest: &Entry, key: Option<&SigningKey>) -> Result<(), Failure> {
    let Body::Manifest(body) = manifest.body() else { return Ok(()) };
    match (key.map(|key| key.verifier().to_string()), body.refusal_key.as_deref()) {
        (None, None) => Ok(()),
        (Some(vkey), Some(named)) if vkey == named => Ok(()),
        (None, Some(_)) => {
            let message = "the manifest names a key that signs the log's refusals";
            Err(Failure::config(message).next("pass its file with --refusal-key"))
        }
        (Some(_), _) => {
            let message = "the manifest does not name the key of --refusal-key in `refusal_key`";
            Err(Failure::config(message).next("pass the key that it names, or none"))
        }
    }
}

/// Demands the ML-DSA-44 key of the log that a manifest names for its first tree, and no other.
fn check_pq_key(manifest: &Entry, key: Option<&CosigningKey>) -> Result<(), Failure> {
    let Body::Manifest(body) = manifest.body() else { return Ok(()) };
    let named = |vkey: &str| body.log_key_counts(vkey, 1);
    let is_pq =
        |vkey: &str| VerifierKey::parse(vkey).is_ok_and(|key| key.kind() == KeyKind::MlDsa44);
    match key.map(|key| key.verifier().to_string()) {
        Some(vkey) if is_pq(&vkey) && named(&vkey) => Ok(()),
        Some(_) => {
            let message = "the manifest does not name the key of --log-pq-key in `log_keys`";
            Err(Failure::config(message).next("pass the ML-DSA-44 key that it names"))
        }
        None if body.log_keys.iter().any(|key| is_pq(&key.vkey) && named(&key.vkey)) => {
            let message = "the manifest names an ML-DSA-44 key of the log";
            Err(Failure::config(message).next("pass its file with --log-pq-key"))
        }
        None => Ok(()),
    }
}

fn register(path: &Path) -> Result<String, Failure> {
    let bytes = files::read_maybe_gzip(path)?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= REGISTER_LEN_MAX);
    text.ok_or_else(|| Failure::config(format!("{} is not a register", path.display())))
}

/// One key, one origin, one directory: a key that made a log once does not make another. Gives
/// the file that is to say so. A copy of a key file cannot be told from a key that was never used.
fn unbound(key_file: &Path) -> Result<PathBuf, Failure> {
    // A link is not a copy.
    let file = fs::canonicalize(key_file).unwrap_or_else(|_| key_file.to_owned());
    let mark = mark_of(&file);
    let beside_a_log = file
        .parent()
        .and_then(Path::parent)
        .is_some_and(|dir| dir.join("log").join("journal").exists() || dir.join("policy").exists());
    if mark.exists() || beside_a_log {
        let message = format!("{} already belongs to a log", key_file.display());
        return Err(Failure::config(message).next("jejak key new FILE --name ORIGIN"));
    }
    Ok(mark)
}

/// The file beside a key file that says that the key has made a log.
fn mark_of(key_file: &Path) -> PathBuf {
    let mut name = key_file.as_os_str().to_owned();
    name.push(".bound");
    PathBuf::from(name)
}

fn bind(mark: &Path, key: &VerifierKey) -> Result<(), Failure> {
    files::write(mark, format!("{key}\n").as_bytes())
}
