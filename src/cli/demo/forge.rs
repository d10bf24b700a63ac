//! What a dishonest operator can do: he has the log's key and every file.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use jejak_proofs::{
    merkle::{BundleId, Hash, leaf_hash, parse_bundle},
    note::{Checkpoint, SigningKey, UnverifiedCheckpoint},
    tally::{Body, ContestRegister, Entry, Ledger, Tally, UnitRegister},
};

use crate::{
    cli::{
        exit::{Exit, Failure},
        files, place,
    },
    client::Fetch,
    clock,
    log::{Edge, integrate},
    monitor::until_sealed,
    store::{Journal, JournalOptions, Objects, Record},
};

/// How long the demo's log may take to seal the last form.
const SEAL_PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of a bundle: 256 entries of the largest size.
const BUNDLE_LEN_MAX: u64 = 256 * (2 + 65_535);

/// Every entry of the log at this URL.
pub fn read_entries(fetch: &Fetch) -> Result<Vec<Bytes>, Failure> {
    let broken = || Failure::new(Exit::Failure, "the demo log does not serve its own entries");
    until_sealed(fetch, SEAL_PATIENCE);
    let checkpoint = fetch.get("checkpoint", 1 << 16).map_err(place::unreachable)?;
    let checkpoint = UnverifiedCheckpoint::parse(&checkpoint.body).map_err(|_| broken())?;
    let mut entries = Vec::new();
    for id in BundleId::of_tree(0, checkpoint.claimed_head().size) {
        let bundle = fetch.get(&id.path(), BUNDLE_LEN_MAX).map_err(place::unreachable)?.body;
        let bundle = Bytes::from(bundle);
        let parsed = parse_bundle(id, &bundle).map_err(|_| broken())?;
        entries.extend(parsed.into_iter().map(|entry| bundle.slice_ref(entry)));
    }
    Ok(entries)
}

/// Moves votes from the first option to the second: sums stay as they are.
fn shift_votes(entry: &[u8], votes: u32) -> Option<(Entry, Tally)> {
    let entry = Entry::parse(entry).ok()?;
    let Body::Tally(tally) = entry.body() else { return None };
    let mut tally = (**tally).clone();
    let mut counts = tally.votes.values_mut();
    let (from, to) = (counts.next()?.as_mut()?, counts.next()?.as_mut()?);
    *from = from.checked_sub(votes)?;
    *to += votes;
    drop(counts);
    Some((entry, tally))
}

/// The same form with other numbers, signed anew: as if the operator had the officer's key too.
pub fn resigned(entry: &[u8], votes: u32, officer: &SigningKey) -> Option<Bytes> {
    let (_, tally) = shift_votes(entry, votes)?;
    Some(Body::Tally(Box::new(tally)).sign(&[officer]).into())
}

/// The same form with other numbers over the officer's old signature.
pub fn overwritten(entry: &[u8], votes: u32) -> Option<Bytes> {
    let (original, tally) = shift_votes(entry, votes)?;
    let mut bytes = Body::Tally(Box::new(tally)).text().into_bytes();
    bytes.extend_from_slice(&original.bytes()[original.text().len()..]);
    Some(bytes.into())
}

/// The same entries with states that fit them: he is not caught by a sum he forgot. States are what
/// the entries say if nobody looks at the signatures.
fn reseal(origin: &str, registers: &Path, entries: &[Bytes]) -> Option<Vec<Bytes>> {
    let mut ledger = Ledger::new(origin);
    for file in std::fs::read_dir(registers).ok()? {
        let bytes = std::fs::read(file.ok()?.path()).ok()?;
        match (UnitRegister::parse(&bytes), ContestRegister::parse(&bytes)) {
            (Ok(units), _) => ledger.provide_units(Arc::new(units)),
            (_, Ok(contests)) => ledger.provide_contests(Arc::new(contests)),
            _ => return None,
        }
    }
    let mut sealed = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut bytes = entry.clone();
        if matches!(Entry::parse(&bytes).ok()?.body(), Body::State(_)) {
            bytes = Body::State(ledger.next_state()?).text().into();
        }
        ledger.apply(&Entry::parse(&bytes).ok()?.assume_checked().ok()?).ok()?;
        sealed.push(bytes);
    }
    Some(sealed)
}

/// Makes the policy of a copy one that demands no witness: whoever serves the copy asks none.
pub fn forget_witnesses(dir: &Path) -> Result<(), Failure> {
    let file = dir.join("policy");
    let policy = String::from_utf8(files::read(&file)?).map_err(Failure::config)?;
    let of_witnesses = ["witness ", "# jejak-recount", "group ", "quorum "];
    let kept =
        policy.lines().filter(|line| !of_witnesses.iter().any(|word| line.starts_with(word)));
    let kept: Vec<&str> = kept.chain(["quorum none\n"]).collect();
    files::write(&file, kept.join("\n").as_bytes())
}

/// Writes a log of these entries, past every rule that the server would hold him to, and signs it
/// with the true log's key.
pub fn write_copy(
    dir: &Path,
    original: &Path,
    entries: &[Bytes],
    key: &SigningKey,
) -> Result<(), Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::new(Exit::Failure, error);
    files::make_dir(&dir.join("keys"))?;
    files::write(&dir.join("policy"), &files::read(&original.join("policy"))?)?;
    files::write_key(&dir.join("keys").join("log"), key)?;
    let log = dir.join("log");
    let objects = Objects::open(&log);
    let registers = original.join("log").join("register");
    for file in std::fs::read_dir(&registers).map_err(|error| fail(&error))? {
        let file = file.map_err(|error| fail(&error))?;
        objects.put_register(&files::read(&file.path())?).map_err(|error| fail(&error))?;
    }
    let mut journal = Journal::create(&log.join("journal"), JournalOptions::default())
        .map_err(|error| fail(&error))?;
    let entries = reseal(key.name(), &registers, entries)
        .ok_or_else(|| fail(&"the forged entries do not even make a log"))?;
    let mut edge = Edge::new();
    for batch in entries.chunks(256) {
        let leaves: Vec<Hash> = batch.iter().map(|entry| leaf_hash(entry)).collect();
        let grown = integrate(&edge, batch, &leaves);
        let record = Record {
            first: edge.size(),
            time_ms: clock::now_ms().max(journal.time_ms()),
            head: grown.edge.head(),
            entries: batch.to_vec(),
        };
        let len = batch.iter().map(|entry| 2 + entry.len() as u64).sum();
        journal.reserve(len).map_err(|error| fail(&error))?;
        journal.append(&record).map_err(|error| fail(&error))?;
        objects.publish(record.head.size, grown.objects).map_err(|error| fail(&error))?;
        edge = grown.edge;
    }
    let checkpoint = Checkpoint::sign(edge.head(), key).map_err(|error| fail(&error))?;
    objects.put_checkpoint(checkpoint.note().as_bytes()).map_err(|error| fail(&error))
}
