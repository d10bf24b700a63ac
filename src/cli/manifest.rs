//! `jejak manifest`: registers and rules out of what an authority has.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use jejak_proofs::{
    merkle::{Hash, sha256},
    note::VerifierKey,
    tally::{
        Body, Contest, ContestRegister, FileRef, Id, LogKey, Manifest, REGISTER_LEN_MAX, Registers,
        Role, Sexes, Unit, UnitCode, UnitRegister, Word,
    },
};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files,
    output::Output,
    registers::{self, AddRegistersArgs},
};

/// Build the manifest of an election.
#[derive(Debug, Args)]
pub struct ManifestArgs {
    #[command(subcommand)]
    verb: ManifestVerb,
}

#[derive(Debug, Subcommand)]
enum ManifestVerb {
    /// Bring the registers into their one spelling and write the unsigned manifest beside them.
    Build(BuildArgs),
    /// Bring the registers of the next manifest into their one spelling, and to the log.
    AddRegisters(AddRegistersArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// Origin of the log: a URL without scheme, such as `log.example/2024`.
    #[arg(long)]
    origin: String,
    #[command(flatten)]
    rules: RuleArgs,
    /// vkeys of the log, Ed25519 first, then ML-DSA-44; their name is the origin.
    #[arg(long = "log-key", value_name = "VKEY", required = true)]
    log_keys: Vec<String>,
    /// vkey of the key that signs the log's refusals, named `<origin>/refusal`.
    #[arg(long, value_name = "VKEY")]
    refusal_key: Option<String>,
    /// vkeys of the root keys, named `root/<unit>`.
    #[arg(long = "root", value_name = "VKEY", required = true)]
    roots: Vec<String>,
    /// How many root keys must sign.
    #[arg(long, default_value_t = 1)]
    threshold: u32,
    /// Directory for `manifest.json`, `units.csv` and `contests.jsonl`.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// Units, contests and what differs from the default rules.
#[derive(Clone, Debug, Args)]
pub struct RuleArgs {
    /// The units: a CSV with the columns unit,parent,kind,name,registered.l,registered.p.
    #[arg(long, value_name = "CSV[.gz]")]
    pub units: PathBuf,
    /// A contest and its options in order, held everywhere: `ppwp=01,02`. Repeatable.
    #[arg(long = "contest", value_name = "ID=OPTION,...")]
    contests: Vec<String>,
    /// Contests with a scope of their own: a JSON line each, with id, options and scope.
    #[arg(long = "contests", value_name = "FILE")]
    pub contest_file: Option<PathBuf>,
    /// The election id [default: the last element of the origin].
    #[arg(long)]
    election: Option<Id>,
    /// Kinds of units that are polling stations [default: kinds without names and children].
    #[arg(long = "station-kind", value_name = "KIND")]
    station_kinds: Vec<Word>,
    /// Kinds of stations that the limits by register do not bind: post, mobile, special.
    #[arg(long = "exempt-kind", value_name = "KIND")]
    exempt_kinds: Vec<Word>,
    /// The largest plausible number at an ordinary station.
    #[arg(long, default_value_t = 300)]
    station_max: u32,
}

/// A manifest and its two registers, each in its one spelling.
pub struct Built {
    pub manifest: Manifest,
    pub units: String,
    pub contests: String,
}

pub fn run(args: ManifestArgs, output: &Output) -> Result<Exit, Failure> {
    match args.verb {
        ManifestVerb::Build(args) => write(&args, output),
        ManifestVerb::AddRegisters(args) => registers::run(&args, output),
    }
}

fn write(args: &BuildArgs, output: &Output) -> Result<Exit, Failure> {
    let vkey = |vkey: &String| {
        VerifierKey::parse(vkey).map_err(|error| Failure::config(format!("{vkey}: {error}")))
    };
    check_origin(&args.origin)?;
    let log_keys = args.log_keys.iter().map(vkey).collect::<Result<Vec<_>, _>>()?;
    let roots = args.roots.iter().map(vkey).collect::<Result<Vec<_>, _>>()?;
    let registers = read_registers(&args.rules)?;
    let refusal_key = args.refusal_key.as_ref().map(vkey).transpose()?;
    let keys = Keys { log: &log_keys, refusal: refusal_key.as_ref(), roots: &roots };
    let built = build(&args.origin, &args.rules, registers, &keys, args.threshold)?;
    files::make_dir(&args.out)?;
    let text = Body::Manifest(Box::new(built.manifest)).text();
    let json = text.split_once('\n').map_or("", |(_, json)| json);
    files::write(&args.out.join("manifest.json"), json.as_bytes())?;
    files::write(&args.out.join("units.csv"), built.units.as_bytes())?;
    files::write(&args.out.join("contests.jsonl"), built.contests.as_bytes())?;
    let (units, contests) = (sha256(built.units.as_bytes()), sha256(built.contests.as_bytes()));
    let out = args.out.display().to_string();
    output.result(
        || format!("units     {units}\ncontests  {contests}\nwrote {out}/manifest.json"),
        &json!({"units": units, "contests": contests, "out": out}),
    );
    output.text(format!("next: jejak sign {out}/manifest.json -k ROOT_KEY -o {out}/manifest.note"));
    Ok(Exit::Ok)
}

/// Whether this can be the origin of a log (SPEC.md, N2, E14 and W5): a name in checkpoints and
/// keys, and, after its last slash, in paths.
pub fn check_origin(origin: &str) -> Result<(), Failure> {
    let fits = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
    };
    let reserved = origin.starts_with("jejak/") || origin == "cosignature/v1";
    match !reserved && origin.split('/').all(fits) {
        true => Ok(()),
        false => Err(Failure::config(format!("{origin} cannot be an origin")).next(
            "a URL without scheme, such as log.example/2024: letters, digits, . - _ : between \
             single slashes",
        )),
    }
}

/// The registers of an election, read and in their one spelling.
pub struct ReadRegisters {
    units: String,
    register: UnitRegister,
    contests: String,
}

impl ReadRegisters {
    /// Code of the unit at the top.
    pub fn top(&self) -> &str {
        self.register.code(0)
    }
}

/// Reads units in any order, as an authority has them, and brings them into their one spelling.
pub fn spell_units(path: &Path) -> Result<(String, UnitRegister), Failure> {
    let read = read_units(path)?;
    let file = path.display();
    let units = UnitRegister::spell(&read.units).map_err(|error| {
        Failure::config(match error.place {
            Some(place) => {
                let (line, code) = (read.lines[place], &read.units[place].code);
                format!("{file} line {line}, unit {code}: {error}")
            }
            None => format!("{file}: {error}"),
        })
    })?;
    let register = UnitRegister::parse(units.as_bytes())
        .map_err(|error| Failure::config(format!("{file}: {error}")))?;
    Ok((units, register))
}

/// Reads units and contests and brings them into their one spelling.
pub fn read_registers(rules: &RuleArgs) -> Result<ReadRegisters, Failure> {
    let (units, register) = spell_units(&rules.units)?;
    let contests = read_contests(rules, register.code(0))?;
    Ok(ReadRegisters { units, register, contests })
}

/// The public keys that a manifest names.
pub struct Keys<'a> {
    pub log: &'a [VerifierKey],
    pub refusal: Option<&'a VerifierKey>,
    pub roots: &'a [VerifierKey],
}

/// Makes the first manifest of a log: the default rules, with what the arguments change.
pub fn build(
    origin: &str,
    rules: &RuleArgs,
    registers: ReadRegisters,
    keys: &Keys<'_>,
    threshold: u32,
) -> Result<Built, Failure> {
    let ReadRegisters { units, register, contests } = registers;
    let election = match &rules.election {
        Some(election) => election.clone(),
        None => origin.rsplit('/').next().unwrap_or(origin).parse().map_err(|error| {
            Failure::config(format!("election id from the origin: {error}")).next("pass --election")
        })?,
    };
    let levels = levels(&register)?;
    let station_kinds = match rules.station_kinds.is_empty() {
        true => station_kinds(&register, &levels),
        false => rules.station_kinds.clone(),
    };
    let mut roots: Vec<&VerifierKey> = keys.roots.iter().collect();
    roots.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
    let file =
        |text: &String| FileRef { bytes: text.len() as u64, sha256: sha256(text.as_bytes()) };
    let manifest = Manifest {
        bases: words(&BASES),
        decision: None,
        election,
        exempt_kinds: rules.exempt_kinds.clone(),
        genesis: None,
        levels: levels.clone(),
        log: origin.into(),
        log_keys: keys
            .log
            .iter()
            .map(|key| LogKey { from: 0, until: None, vkey: key.to_string().into() })
            .collect(),
        previous: None,
        reason: None,
        refusal_key: keys.refusal.map(|key| key.to_string().into()),
        registers: Registers { contests: file(&contests), units: file(&units) },
        roles: default_roles(&levels),
        root_keys: roots.iter().map(|key| key.to_string().into()).collect(),
        rounds: words(&ROUNDS),
        station_kinds,
        station_max: rules.station_max,
        threshold,
        version: 1,
    };
    Ok(Built { manifest, units, contests })
}

/// The vocabulary of version 1 (SPEC.md, "Entries"); a manifest may list less, or other words.
const BASES: [&str; 6] =
    ["form_signed", "human_transcription", "machine_reading", "observer", "renvoi", "witness_copy"];
const ROUNDS: [&str; 6] = ["regular", "pss", "psl", "psu", "recount", "court"];
const FORMS: [&str; 3] = ["c-hasil", "c-salinan", "d-hasil"];
/// Roles, and whether they speak in the official chain. Each may grant itself further down.
const ROLES: [(&str, bool); 4] =
    [("observer", false), ("official", true), ("party-witness", false), ("supervisor", false)];

fn words(list: &[&str]) -> Vec<Word> {
    list.iter().map(|word| word.parse().expect("a word of the vocabulary")).collect()
}

fn default_roles(levels: &[Word]) -> Vec<Role> {
    let role = |(id, official): (&str, bool)| {
        let id: Id = id.parse().expect("a role of the vocabulary");
        Role {
            forms: words(&FORMS),
            may_grant: vec![id.clone()],
            id,
            may_open: levels.to_vec(),
            may_revise: levels.to_vec(),
            official,
        }
    };
    ROLES.map(role).into()
}

#[derive(serde::Deserialize)]
struct UnitRow {
    unit: String,
    parent: String,
    kind: String,
    name: String,
    #[serde(rename = "registered.l")]
    registered_l: Option<u32>,
    #[serde(rename = "registered.p")]
    registered_p: Option<u32>,
}

/// The units of a file, and the line on which each stands.
struct ReadUnits {
    units: Vec<Unit>,
    lines: Vec<u64>,
}

/// Reads units in any order, as an authority has them.
fn read_units(path: &Path) -> Result<ReadUnits, Failure> {
    let bytes = files::read_maybe_gzip(path)?;
    if bytes.len() > REGISTER_LEN_MAX {
        return Err(Failure::config(format!("{} is over 64 MiB", path.display())));
    }
    let unreadable = |error| Failure::config(format!("{}: {error}", path.display()));
    let mut reader = csv::Reader::from_reader(&*bytes);
    let header = reader.headers().map_err(unreadable)?.clone();
    let mut read = ReadUnits { units: Vec::new(), lines: Vec::new() };
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, |position| line_of(&bytes, position));
        read.units.push(
            unit_of(&record, &header).map_err(|what| {
                Failure::config(format!("{} line {line}: {what}", path.display()))
            })?,
        );
        read.lines.push(line);
    }
    Ok(read)
}

/// The line on which a record begins; its position may be that of empty lines before it.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let before = bytes.get(from..).unwrap_or_default();
    let ends = before.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    position.line() + ends.filter(|b| **b == b'\n').count() as u64
}

fn unit_of(record: &csv::StringRecord, header: &csv::StringRecord) -> Result<Unit, String> {
    let row: UnitRow = record.deserialize(Some(header)).map_err(|error| match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => error.to_string(),
    })?;
    let code = |code: &str| code.parse::<UnitCode>().map_err(|error| format!("unit code: {error}"));
    Ok(Unit {
        code: code(&row.unit)?,
        parent: match row.parent.as_str() {
            "" => None,
            parent => Some(code(parent)?),
        },
        kind: row.kind.parse().map_err(|error| format!("kind: {error}"))?,
        name: row.name,
        registered: Sexes { l: row.registered_l, p: row.registered_p },
    })
}

/// Reads contests, a JSON line each, as an authority has them.
pub fn read_contest_file(path: &std::path::Path) -> Result<Vec<Contest>, Failure> {
    let fail = |error| Failure::config(format!("{}: {error}", path.display()));
    files::read_text(path)?.lines().map(|line| serde_json::from_str(line).map_err(fail)).collect()
}

fn read_contests(rules: &RuleArgs, top: &str) -> Result<String, Failure> {
    let mut contests = Vec::new();
    // Where each contest comes from, for people.
    let mut places = Vec::new();
    if let Some(path) = &rules.contest_file {
        for (line, number) in files::read_text(path)?.lines().zip(1..) {
            let place = format!("{} line {number}", path.display());
            let contest: Contest = serde_json::from_str(line)
                .map_err(|error| Failure::config(format!("{place}: {error}")))?;
            places.push(format!("{place}, contest {}", contest.id));
            contests.push(contest);
        }
    }
    for text in &rules.contests {
        let fail = || Failure::config(format!("--contest {text}: expected ID=OPTION,OPTION"));
        let (id, options) = text.split_once('=').ok_or_else(fail)?;
        let options = options.split(',').map(|option| option.parse::<Id>());
        places.push(format!("--contest {text}"));
        contests.push(Contest {
            id: id.parse().map_err(|_| fail())?,
            options: options.collect::<Result<_, _>>().map_err(|_| fail())?,
            scope: vec![top.parse().expect("codes of a register are codes")],
        });
    }
    if contests.is_empty() {
        return Err(Failure::config("an election needs a contest").next("pass --contest"));
    }
    ContestRegister::spell(&contests).map_err(|error| {
        let place = error.place.map_or("contests", |place| &places[place]);
        Failure::config(format!("{place}: {error}"))
    })
}

/// The kinds in an order in which every parent's stands before its children's.
fn levels(register: &UnitRegister) -> Result<Vec<Word>, Failure> {
    let mut below: BTreeMap<&Word, BTreeSet<&Word>> =
        register.kinds().iter().map(|kind| (kind, BTreeSet::new())).collect();
    for slot in 0..register.len() as u32 {
        if let Some(parent) = register.parent(slot) {
            below.entry(register.kind(parent)).or_default().insert(register.kind(slot));
        }
    }
    let mut levels: Vec<Word> = Vec::new();
    while !below.is_empty() {
        // In the order of the register, whichever kind is below none that remains.
        let is_top = |kind: &&Word| {
            below.contains_key(*kind) && !below.values().any(|children| children.contains(kind))
        };
        let Some(next) = register.kinds().iter().find(is_top) else {
            return Err(Failure::config(
                "the kinds of the units are not levels: they form a circle",
            ));
        };
        levels.push(next.clone());
        below.remove(next);
    }
    Ok(levels)
}

/// The kinds of which every unit is without a name and without children.
fn station_kinds(register: &UnitRegister, levels: &[Word]) -> Vec<Word> {
    let is_station =
        |slot: u32| register.subtree(slot).len() == 1 && register.name(slot).is_empty();
    let all = |kind: &&Word| {
        (0..register.len() as u32).filter(|slot| register.kind(*slot) == *kind).all(is_station)
    };
    levels.iter().filter(all).cloned().collect()
}

/// SHA-256 of a policy file: short enough for paper.
pub fn fingerprint(text: &str) -> Hash {
    sha256(text.as_bytes())
}
