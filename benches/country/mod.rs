//! A country for the benches: a register of national size, its contest, and entry 0 of its log.

use std::sync::{Arc, OnceLock};

use jejak_proofs::{
    merkle::sha256,
    note::{KeyKind, SigningKey},
    tally::{
        Body, Contest, ContestRegister, FileRef, LogKey, Manifest, Registers, Role, UNIT_HEADER,
        UnitRegister,
    },
};

const LEVELS: [(&str, usize); 5] = [
    ("province", 38),
    ("regency", 514),
    ("district", 7_277),
    ("village", 83_731),
    ("tps", 823_236),
];
/// Stations of the register.
pub const STATIONS: u32 = 823_236;
/// The log of the election.
pub const ORIGIN: &str = "log.example/2024";

/// Writes the units below one, `first` to `end` of their level, spread evenly.
fn write_units(text: &mut String, parent: &str, level: usize, (first, end): (usize, usize)) {
    let Some((kind, count)) = LEVELS.get(level) else { return };
    for (place, unit) in (first..end).enumerate() {
        let station = *kind == "tps";
        let (dot, width) = if station { (".", 3) } else { ("", 2) };
        let prefix = if level == 0 { "" } else { parent };
        let code = format!("{prefix}{dot}{:0width$}", place + 10);
        let (name, voters) = if station { ("", "131,134") } else { ("A region", ",") };
        text.push_str(&format!("{code},{parent},{kind},{name},{voters}\n"));
        let below = LEVELS.get(level + 1).map_or(0, |(_, below)| *below);
        let range = (unit * below / count, (unit + 1) * below / count);
        write_units(text, &code, level + 1, range);
    }
}

/// The register: read once, shared by all.
pub fn units() -> Arc<UnitRegister> {
    static UNITS: OnceLock<Arc<UnitRegister>> = OnceLock::new();
    let units = UNITS.get_or_init(|| {
        let mut text = format!("{UNIT_HEADER}\nID,,nation,The nation,,\n");
        write_units(&mut text, "ID", 0, (0, LEVELS[0].1));
        Arc::new(UnitRegister::parse(text.as_bytes()).expect("a register"))
    });
    units.clone()
}

/// A contest of the whole country.
pub fn contest(options: usize) -> Contest {
    let option = |n| format!("{n:02}").parse().expect("an id");
    let (id, scope) = ("ppwp".parse().expect("an id"), vec!["ID".parse().expect("a code")]);
    Contest { id, options: (1..=options).map(option).collect(), scope }
}

/// The key of this name.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, KeyKind::Ed25519, *sha256(name.as_bytes()).as_bytes())
        .expect("a name")
}

/// Entry 0 of a log with these registers.
pub fn founding(units: &UnitRegister, contests: &ContestRegister) -> Vec<u8> {
    let file = |sha256, bytes: &[u8]| FileRef { bytes: bytes.len() as u64, sha256 };
    let vkey = |name: &str| key(name).verifier().to_string().into();
    let word = |word: &str| word.parse().expect("a word");
    let mut levels = vec![word("nation")];
    levels.extend(LEVELS.map(|(kind, _)| word(kind)));
    let role = Role {
        forms: vec![word("c-hasil")],
        id: "official".parse().expect("an id"),
        may_grant: vec![],
        may_open: vec![word("tps")],
        may_revise: vec![word("tps")],
        official: true,
    };
    let body = Manifest {
        bases: vec![word("form_signed")],
        decision: None,
        election: "2024".parse().expect("an id"),
        exempt_kinds: vec![],
        genesis: None,
        levels,
        log: ORIGIN.into(),
        log_keys: vec![LogKey { from: 0, until: None, vkey: vkey(ORIGIN) }],
        previous: None,
        reason: None,
        refusal_key: None,
        registers: Registers {
            contests: file(contests.sha256(), contests.bytes()),
            units: file(units.sha256(), units.bytes()),
        },
        roles: vec![role],
        root_keys: vec![vkey("root/ID")],
        rounds: vec![word("regular")],
        station_kinds: vec![word("tps")],
        station_max: 300,
        threshold: 1,
        version: 1,
    };
    Body::Manifest(Box::new(body)).sign(&[&key("root/ID")]).into_bytes()
}
