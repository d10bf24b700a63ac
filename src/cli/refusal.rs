//! What the log's refusals mean, in our own words: of an answer nothing is shown but its code.

use std::{
    iter,
    path::{Path, PathBuf},
};

use jejak_proofs::{
    evidence::SignedRefusal,
    note::VerifierKey,
    tally::{Body, Entry, Field, ROOT_ROLE},
};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    files,
    output::Output,
    place::Place,
};
use crate::{client::Refusal, server::problem};

/// Keeps what the log signed about this entry, if it did: it holds the log to what it said.
/// Whether the key is the log's shows with its manifest.
pub fn keep(refusal: &Refusal, entry: &Entry, file: &Path) -> Option<String> {
    let signed = SignedRefusal::parse(refusal.refusal.as_deref()?.as_bytes()).ok()?;
    let said = signed.body();
    let same_code = Some(said.code.as_str()) == refusal.code.as_deref();
    if said.leaf != entry.leaf() || !same_code {
        return None;
    }
    let file = &free(file)?;
    // Without room for it the refusal is still what was answered.
    files::write(file, signed.to_string().as_bytes()).ok()?;
    Some(file.display().to_string())
}

/// Most refusals of one entry that are kept.
const KEPT_MAX: u32 = 1_000;

/// A name that no earlier refusal has: `x.refusal`, `x.refusal.2` and so on, since each of them
/// may be the false one.
fn free(file: &Path) -> Option<PathBuf> {
    let numbered = |n: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    let mut names = iter::once(file.to_owned()).chain((2..=KEPT_MAX).map(numbered));
    names.find(|name| !name.exists())
}

/// Shows what a signed refusal says, and demands that it is by the key which entry 0 names, where
/// entry 0 is known.
pub fn show(
    path: &Path,
    bytes: &[u8],
    place: Option<&Place>,
    output: &Output,
) -> Result<Exit, Failure> {
    let refusal = SignedRefusal::parse(bytes)
        .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", path.display())))?;
    let said = refusal.body();
    let verified = place.is_some_and(|place| is_by_first_key(&refusal, place));
    output.result(
        || {
            format!(
                "a refusal by {}: {} after {} entries, of {}",
                said.log,
                explain(Some(said.code.as_str())),
                said.size,
                said.leaf
            )
        },
        &json!({"kind": "refusal", "said": said, "verified": verified}),
    );
    if verified {
        return Ok(Exit::Ok);
    }
    let message = "not verified: it is not by the key for refusals that entry 0 of the policy's \
                   log names, or entry 0 is not known here";
    Err(Failure::new(Exit::Failure, message).next(
        "pass -p POLICY, with manifest.note beside it; a later manifest may name another key, and \
         evidence against a false refusal holds that manifest",
    ))
}

/// Whether entry 0, where it lies beside the policy, names the key that signed.
fn is_by_first_key(refusal: &SignedRefusal, place: &Place) -> bool {
    let said = refusal.body();
    let Some(manifest) = place.known_manifest() else { return false };
    let key = manifest.refusal_key.as_deref().and_then(|vkey| VerifierKey::parse(vkey).ok());
    *said.log == *place.origin
        && said.genesis == place.genesis
        && said.election == manifest.election
        && key.is_some_and(|key| refusal.verify(&key).is_ok())
}

/// The sentence of SPEC.md, "Errors", for a code.
pub fn sentence(code: &str) -> Option<&'static str> {
    let field = Field::ALL.iter().find(|field| field.code() == code);
    field.map(|field| field.meaning()).or_else(|| {
        let known = problem::ALL.iter().find(|known| known.as_str() == code);
        known.map(|known| known.detail())
    })
}

/// A code and its sentence, if it is one of ours.
pub fn explain(code: Option<&str>) -> String {
    let code = code.unwrap_or("no code");
    sentence(code).map_or_else(|| code.to_owned(), |sentence| format!("{code}: {sentence}"))
}

/// Whether the log has judged the entry itself, after it had looked for the same bytes: then they
/// are not logged. Other refusals are about the request.
pub fn is_judgement(refusal: &Refusal) -> bool {
    let code = refusal.code.as_deref().unwrap_or_default();
    let of_entry = [
        "malformed",
        "bad_signature",
        "unknown_key",
        "key_revoked",
        "out_of_scope",
        "conflict",
        "duplicate",
        "log_frozen",
    ];
    refusal.is_final()
        && (of_entry.contains(&code) || Field::ALL.iter().any(|field| field.code() == code))
}

/// A refusal of this entry, with what can be done about it.
pub fn failure(refusal: &Refusal, entry: &Entry) -> Failure {
    let code = refusal.code.as_deref();
    let failure = Failure::new(Exit::Failure, format!("the log refused: {}", explain(code)));
    if let Some(head) = &refusal.head {
        return failure.next(format!(
            "read entry {}; a revision has \"seq\":{} and \"prev\":\"{}\"",
            head.index,
            u64::from(head.seq) + 1,
            head.leaf
        ));
    }
    match code {
        Some("out_of_scope") => match needs_roots(entry) {
            Some(next) => failure.next(next),
            None => failure.next("ask who mandated the key for a mandate that covers this"),
        },
        Some("duplicate") if matches!(entry.body(), Body::Attestation(_)) => {
            failure.next("a key attests a form once: jejak history shows what it said")
        }
        Some("invalid_leaf") => {
            failure.next("only a logged form is attested: jejak submit sends it")
        }
        Some("unknown_key") => {
            failure.next("a key speaks once its mandate is logged: jejak mandate")
        }
        None => failure.next("is the log served there? Pass --url URL for another address"),
        _ => failure,
    }
}

/// What is most likely missing where root keys speak.
fn needs_roots(entry: &Entry) -> Option<&'static str> {
    if matches!(entry.body(), Body::Manifest(_)) {
        return Some(
            "root signatures are missing, or one is too many: a manifest is signed by the \
             threshold of the root keys that it replaces and by every one that it adds; \
             jejak sign FILE -k KEY adds one",
        );
    }
    let author = entry.body().author()?.name().split_once('/')?.0;
    (author == ROOT_ROLE).then_some(
        "root signatures are missing if the manifest's threshold is not reached: \
         --with KEY, or jejak sign FILE -k KEY, adds one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_sentence_and_nothing_else_is_repeated() {
        for code in problem::ALL.iter().map(|code| code.as_str()) {
            assert!(sentence(code).is_some(), "{code}");
        }
        for field in Field::ALL {
            assert_eq!(sentence(field.code()), Some(field.meaning()));
        }
        assert_eq!(explain(Some("invalid_moon")), "invalid_moon");
        assert_eq!(explain(None), "no code");
    }

    // SPEC [Z6]
    #[test]
    fn a_second_refusal_leaves_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.refusal");
        for name in ["x.refusal", "x.refusal.2", "x.refusal.3"] {
            let free = free(&file).unwrap();
            assert_eq!(free, dir.path().join(name));
            std::fs::write(free, name).unwrap();
        }
    }

    #[test]
    fn only_a_judgement_on_the_entry_sets_it_aside() {
        let refusal = |status, code: &str| Refusal {
            status,
            code: Some(code.into()),
            head: None,
            retry_after: None,
            refusal: None,
            tlog_size: None,
        };
        for (status, code) in [(400, "malformed"), (409, "conflict"), (422, "invalid_unit")] {
            assert!(is_judgement(&refusal(status, code)), "{code}");
        }
        for (status, code) in [
            (404, "not_found"),
            (408, "timeout"),
            (413, "too_large"),
            (429, "rate_limited"),
            (503, "conflict"),
            (422, "invalid_moon"),
        ] {
            assert!(!is_judgement(&refusal(status, code)), "{code}");
        }
        assert!(!is_judgement(&Refusal { code: None, ..refusal(403, "") }));
    }
}
