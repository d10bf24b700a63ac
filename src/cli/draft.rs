//! From an unsigned body to a signed entry.

use std::path::Path;

use jejak_proofs::{
    merkle::ENTRY_LEN_MAX,
    note::SigningKey,
    tally::{Body, Entry, KeyRef},
};
use serde_json::{Map, Value, json};

use super::{
    exit::{Exit, Failure},
    files,
    place::Place,
};
use crate::clock;

/// Reads an unsigned body and fills in what follows from policy and key. What the file says
/// itself is never changed.
pub fn read(
    path: &Path,
    place: &Place,
    author: &SigningKey,
    election: impl FnOnce() -> Result<String, Failure>,
) -> Result<Body, Failure> {
    let text = files::read_text(path)?;
    let name = path.display();
    let mut body: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| Failure::config(format!("{name} is not a JSON object: {error}")))?;
    let kind = kind(&body).ok_or_else(|| {
        Failure::config(format!(
            "{name} is none of tally, attestation, mandate, revocation, manifest, freeze"
        ))
    })?;
    fill(&mut body, "log", || Ok(json!(place.origin)))?;
    fill(&mut body, "election", || Ok(json!(election()?)))?;
    if kind == "manifest" {
        fill(&mut body, "genesis", || Ok(Value::Null))?;
    } else {
        let verifier = author.verifier();
        let by = KeyRef::new(verifier.name(), verifier.id());
        fill(&mut body, "genesis", || Ok(json!(place.genesis)))?;
        fill(&mut body, "by", || Ok(json!(by)))?;
    }
    if kind == "tally" {
        for field in ["prev", "reason", "decision", "children"] {
            fill(&mut body, field, || Ok(Value::Null))?;
        }
        fill(&mut body, "seq", || Ok(json!(0)))?;
        fill(&mut body, "docs", || Ok(json!([])))?;
        fill(&mut body, "issued_at", || Ok(json!(clock::now_minute())))?;
    }
    // serde_json keeps the keys of a map sorted, so this is the canonical spelling.
    let text = Value::Object(body).to_string();
    Body::from_canonical(kind, &text).map_err(|refusal| {
        Failure::config(format!("{name}: {refusal}"))
            .next("compare the fields with SPEC.md, \"Entries\"")
    })
}

fn fill(
    body: &mut Map<String, Value>,
    field: &str,
    value: impl FnOnce() -> Result<Value, Failure>,
) -> Result<(), Failure> {
    if !body.contains_key(field) {
        body.insert(field.to_owned(), value()?);
    }
    Ok(())
}

/// The kind of a body, by the field that no other kind has.
fn kind(body: &Map<String, Value>) -> Option<&'static str> {
    let marks = [
        ("votes", "tally"),
        ("root_keys", "manifest"),
        ("keys", "mandate"),
        ("subtree", "revocation"),
        ("verdict", "attestation"),
    ];
    let found = marks.into_iter().find(|(field, _)| body.contains_key(*field));
    found.map(|(_, kind)| kind).or_else(|| body.contains_key("decision").then_some("freeze"))
}

/// Signs a body, and reads the entry back as the log will.
pub fn sign(body: &Body, keys: &[&SigningKey]) -> Result<Entry, Failure> {
    let names_author = body.author().is_none_or(|author| {
        keys.iter().any(|key| {
            let verifier = key.verifier();
            KeyRef::new(verifier.name(), verifier.id()) == *author
        })
    });
    if !names_author {
        let message = "the author that the body names in `by` is not among the keys";
        return Err(Failure::config(message));
    }
    let note = body.sign(keys);
    if note.len() > ENTRY_LEN_MAX {
        return Err(Failure::config(format!("the entry has {} bytes, over 65535", note.len())));
    }
    Entry::parse(note.as_bytes()).map_err(|refusal| Failure::new(Exit::Config, refusal))
}
