//! From an unsigned body to a signed entry.

use std::path::Path;

use jejak_proofs::{
    merkle::ENTRY_LEN_MAX,
    note::{NoteSigner, SignError},
    tally::{Attestation, Body, Entry, Freeze, KeyRef, Mandate, Manifest, Revocation, Tally},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    exit::{Exit, Failure},
    files,
    place::Place,
    strict,
};
use crate::clock;

/// Reads an unsigned body and fills in what follows from policy and key. What the file says
/// itself is never changed.
pub fn read(
    path: &Path,
    place: &Place,
    author: &dyn NoteSigner,
    election: impl FnOnce() -> Result<String, Failure>,
) -> Result<Body, Failure> {
    let text = files::read_text(path)?;
    let name = path.display();
    let mut body = strict::object(&text)
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
        let verifier = author.public();
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
    typed(path, kind, &body)
}

/// Reads an unsigned first manifest, which says everything itself.
pub fn read_manifest(path: &Path) -> Result<Body, Failure> {
    let name = path.display();
    let body = strict::object(&files::read_text(path)?)
        .map_err(|error| Failure::config(format!("{name} is not a JSON object: {error}")))?;
    if kind(&body) != Some("manifest") {
        return Err(Failure::config(format!("{name} is not a manifest"))
            .next("pass -p POLICY to sign anything but a first manifest"));
    }
    typed(path, "manifest", &body)
}

/// The body that these fields are, or which of them is wrong.
fn typed(path: &Path, kind: &str, fields: &Map<String, Value>) -> Result<Body, Failure> {
    // serde_json keeps the keys of a map sorted, so this is the canonical spelling.
    let text = json!(fields).to_string();
    Body::from_canonical(kind, &text).map_err(|refusal| {
        let fault = match kind {
            "tally" => fault::<Tally>(fields, &text),
            "manifest" => fault::<Manifest>(fields, &text),
            "mandate" => fault::<Mandate>(fields, &text),
            "revocation" => fault::<Revocation>(fields, &text),
            "attestation" => fault::<Attestation>(fields, &text),
            _ => fault::<Freeze>(fields, &text),
        };
        let fault = fault.unwrap_or_else(|| refusal.to_string());
        Failure::config(format!("{}: {fault}", path.display()))
            .next("compare the fields with SPEC.md, \"Entries\"")
    })
}

/// The field that keeps `text`, which is `fields` on one line, from being a `T`, and why.
fn fault<T: Serialize + DeserializeOwned>(
    fields: &Map<String, Value>,
    text: &str,
) -> Option<String> {
    let plain = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'\\');
    let odd = fields.iter().find(|(field, value)| !plain(field) || !plain(&value.to_string()));
    if let Some((field, _)) = odd {
        return Some(format!("{field}: a character that is not plain ASCII, or needs an escape"));
    }
    match serde_json::from_str::<T>(text) {
        Err(error) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Some(match field_at(fields, error.column()) {
                Some(field) => format!("{field}: {what}"),
                None => what.to_owned(),
            })
        }
        // Where null is allowed, a field may be missing for serde, but not in an entry.
        Ok(value) => {
            let spelled = serde_json::to_value(&value).ok()?;
            let spelled = spelled.as_object()?;
            if let Some(field) = spelled.keys().find(|field| !fields.contains_key(*field)) {
                return Some(format!("missing field `{field}`, which may be null"));
            }
            let (field, value) =
                fields.iter().find(|(field, value)| spelled.get(*field) != Some(*value))?;
            Some(match value.is_null() {
                true => format!("{field}: leave it out where the form has no such section"),
                false => format!("{field}: a field is missing in it, which may be null"),
            })
        }
    }
}

/// The field that ends at or after this column of `fields` on one line; none for the end itself.
fn field_at(fields: &Map<String, Value>, column: usize) -> Option<&String> {
    let mut end = 1;
    fields.iter().find_map(|(field, value)| {
        end += json!({field: value}).to_string().len() - 1;
        (column < end).then_some(field)
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
pub fn sign(body: &Body, keys: &[&dyn NoteSigner]) -> Result<Entry, Failure> {
    let names_author = body.author().is_none_or(|author| {
        keys.iter().any(|key| {
            let verifier = key.public();
            KeyRef::new(verifier.name(), verifier.id()) == *author
        })
    });
    if !names_author {
        let message = "the author that the body names in `by` is not among the keys";
        return Err(Failure::config(message));
    }
    let note = body.try_sign(keys).map_err(not_signed)?;
    if note.len() > ENTRY_LEN_MAX {
        return Err(Failure::config(format!("the entry has {} bytes, over 65535", note.len())));
    }
    Entry::parse(note.as_bytes()).map_err(|refusal| Failure::new(Exit::Config, refusal))
}

/// A key that is elsewhere did not sign.
pub fn not_signed(error: SignError) -> Failure {
    Failure::new(Exit::TryAgain, format!("signing: {error}"))
        .next("look at the ssh-agent, and try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let form = json!({
            "basis": "form_signed", "by": "official/ID+00000000", "children": null,
            "contest": "ppwp", "decision": null, "docs": [], "election": "2024",
            "form": "c-hasil", "genesis": "0".repeat(64), "invalid": 3,
            "issued_at": "2024-02-14T09:30Z", "log": "log.example/2024", "prev": null,
            "reason": null, "round": "regular", "seq": 0, "total": 154, "unit": "3173001",
            "valid": 150, "votes": {"01": 100, "02": 50},
        });
        let read = |change: Value| {
            let mut fields = form.as_object().unwrap().clone();
            fields.extend(change.as_object().unwrap().clone());
            fields.retain(|_, value| value != "gone");
            typed(Path::new("form.json"), "tally", &fields).map_err(|failure| failure.message)
        };
        assert!(read(json!({})).is_ok());
        for (change, want) in [
            (json!({"basis": 1}), "basis: invalid type"),
            (json!({"valid": "150"}), "valid: invalid type"),
            (json!({"total": 154.0}), "total: invalid type"),
            (json!({"total": 4_294_967_296_u64}), "total: invalid value"),
            (json!({"unit": "tps 1"}), "unit: expected 1 to 32 characters"),
            (json!({"votes": {"01": -1}}), "votes: invalid value"),
            (json!({"ballots": {"used": 1}}), "ballots: a field is missing"),
            (json!({"sum": 1}), "sum: unknown field `sum`"),
            (json!({"valid": "gone"}), "missing field `valid`"),
            (json!({"voters": null}), "voters: leave it out"),
            (json!({"unit": "T\u{e9}"}), "unit: a character that is not plain ASCII"),
        ] {
            let message = read(change).unwrap_err();
            assert!(message.starts_with(&format!("form.json: {want}")), "{message}, not {want}");
        }
    }
}
