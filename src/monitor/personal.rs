//! P1: what looks like personal data in the text of an entry.
//!
//! The schema leaves no room for it but in ids and codes, and a log that lets something through
//! convicts itself. Hashes and keys are passed over, for chance alone makes such patterns in them.

use jejak_proofs::{merkle::Hash, tally::UnitRegister};

/// Digits of an identity number.
const IDENTITY_DIGITS: usize = 16;

/// What a piece of text looks like. The text itself is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Identity,
    Phone,
    Email,
    Url,
}

impl Pattern {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identity => "an identity number",
            Self::Phone => "a phone number",
            Self::Email => "an e-mail address",
            Self::Url => "a URL",
        }
    }
}

/// The first pattern in the text of an entry: everything before its signatures.
///
/// Codes of the unit register in force are known for what they are, however many digits they have.
pub(super) fn find(entry: &[u8], units: Option<&UnitRegister>) -> Option<Pattern> {
    let text_len = entry.windows(2).position(|pair| pair == b"\n\n").unwrap_or(entry.len());
    let text = String::from_utf8_lossy(&entry[..text_len]);
    text.split('"').find_map(|piece| find_in(piece, units))
}

fn find_in(piece: &str, units: Option<&UnitRegister>) -> Option<Pattern> {
    if piece.len() < 4 || piece.parse::<Hash>().is_ok() {
        return None;
    }
    // A key, `<name>+<id>` or `<name>+<id>+<base64>`: its name is what could say something.
    let name = piece.split('+').next().filter(|name| !name.is_empty()).unwrap_or(piece);
    if piece.contains('@') {
        return Some(Pattern::Email);
    }
    let lower = name.to_ascii_lowercase();
    if lower.contains("http:") || lower.contains("https") || lower.contains("www.") {
        return Some(Pattern::Url);
    }
    let code = name.rsplit('/').next().unwrap_or(name);
    if units.is_some_and(|units| units.slot(code).is_some()) {
        return None;
    }
    let runs = || piece.split(|c: char| !c.is_ascii_digit());
    if runs().any(|run| run.len() >= IDENTITY_DIGITS) {
        return Some(Pattern::Identity);
    }
    let mobile = |run: &str| {
        let national = run.starts_with("08") && (10..=13).contains(&run.len());
        national || (run.starts_with("628") && (11..=14).contains(&run.len()))
    };
    // Only a whole piece: a code that merely contains such digits is a code.
    let digits = piece.strip_prefix('+').unwrap_or(piece);
    (digits.bytes().all(|b| b.is_ascii_digit()) && mobile(digits)).then_some(Pattern::Phone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> UnitRegister {
        UnitRegister::parse(
            b"unit,parent,kind,name,registered.l,registered.p\n\
            ID,,nation,Nation,,\n1234567890123456,ID,tps,,1,2\n",
        )
        .unwrap()
    }

    fn found(value: &str) -> Option<Pattern> {
        let entry = format!("jejak/tally/v1\n{{\"unit\":\"{value}\",\"valid\":12}}\n\nlines");
        find(entry.as_bytes(), Some(&units()))
    }

    #[test]
    fn patterns_are_seen() {
        let table = [
            ("3173011005110001", Pattern::Identity),
            ("x:3173011005110001.1", Pattern::Identity),
            ("081234567890", Pattern::Phone),
            ("+6281234567890", Pattern::Phone),
            ("someone@example.com", Pattern::Email),
            ("http://example.com", Pattern::Url),
            ("HTTPS.example", Pattern::Url),
            ("www.example.com", Pattern::Url),
        ];
        for (value, want) in table {
            assert_eq!(found(value), Some(want), "{value}");
        }
        let plain = b"jejak/tally/v1\n3173011005110001\n\nlines";
        assert_eq!(find(plain, None), Some(Pattern::Identity));
    }

    #[test]
    fn codes_hashes_and_keys_are_not_personal() {
        let hash = "0123456789012345678901234567890123456789012345678901234567890123";
        let key = "kpps/1234567890123456+1a2b3c4d+Ahttpwww0123456789012345678901234567890123";
        let good = [hash, key, "1234567890123456", "3173011005115", "form_signed", "ppwp", ""];
        for value in good {
            assert_eq!(found(value), None, "{value}");
        }
        // Signatures are random text: they say nothing.
        let signed = b"jejak/tally/v1\n{}\n\n3173011005110001 http: @";
        assert_eq!(find(signed, None), None);
    }
}
