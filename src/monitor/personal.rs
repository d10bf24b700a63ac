//! P1: what looks like personal data in the text of an entry.
//!
//! The schema leaves no room for it but in ids and codes, and a log that lets something through
//! convicts itself. Hashes and keys are passed over, for chance alone makes such patterns in them;
//! so are the origin of the log, which is a URL without scheme, and codes of its registers.

use std::collections::BTreeSet;

use jejak_proofs::{
    merkle::Hash,
    tally::{UnitRegister, refusal_key_name},
};

/// Digits of an identity number.
const IDENTITY_DIGITS: usize = 16;

/// Characters of the public key in a vkey: base64 of a type and 32 bytes. Others are longer.
const KEY_LEN_MIN: usize = 44;

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

/// What a log may say although it looks like something else.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    origin: String,
    /// Codes that look like an identity number or a phone, of every register seen so far: a key of
    /// a unit that is gone may still be revoked.
    codes: BTreeSet<String>,
}

impl Known {
    /// A log of this name, and the codes that an earlier run learned.
    pub fn new(origin: &str, codes: BTreeSet<String>) -> Self {
        Self { origin: origin.to_owned(), codes }
    }

    /// The codes to remember.
    pub fn codes(&self) -> &BTreeSet<String> {
        &self.codes
    }

    /// Learns the codes of a register that came into force.
    pub fn learn(&mut self, units: &UnitRegister) {
        let codes = (0..units.len() as u32).map(|slot| units.code(slot));
        self.codes.extend(codes.filter(|code| number(code).is_some()).map(str::to_owned));
    }

    /// The first pattern in the text of an entry: everything before its signatures.
    pub fn find(&self, entry: &[u8]) -> Option<Pattern> {
        let text_len = entry.windows(2).position(|pair| pair == b"\n\n").unwrap_or(entry.len());
        let text = String::from_utf8_lossy(&entry[..text_len]);
        text.split('"').find_map(|piece| self.find_in(piece))
    }

    fn find_in(&self, piece: &str) -> Option<Pattern> {
        if piece.len() < 4 || piece.parse::<Hash>().is_ok() {
            return None;
        }
        // Of a key only its name could say something.
        let name = key_name(piece).unwrap_or(piece);
        // An election has the last element of the origin as its id, unless it is told another.
        let ours = name == self.origin || name == refusal_key_name(&self.origin);
        if ours || self.origin.rsplit('/').next() == Some(name) {
            return None;
        }
        if name.contains('@') {
            return Some(Pattern::Email);
        }
        let lower = name.to_ascii_lowercase();
        if lower.contains("http:") || lower.contains("https") || lower.contains("www.") {
            return Some(Pattern::Url);
        }
        // A key of a unit is `<role>/<code>`.
        let unknown = |part: &&str| !self.codes.contains(*part);
        name.split('/').filter(unknown).find_map(number)
    }
}

/// The name of a key, `<name>+<id>` or `<name>+<id>+<base64>`, if it is one.
fn key_name(piece: &str) -> Option<&str> {
    let (name, rest) = piece.split_once('+').filter(|(name, _)| !name.is_empty())?;
    let (id, key) = rest.split_once('+').map_or((rest, None), |(id, key)| (id, Some(key)));
    let is_id = id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let is_key = key.is_none_or(|key| key.len() >= KEY_LEN_MIN && key.bytes().all(base64));
    (is_id && is_key).then_some(name)
}

/// An identity number or a phone.
fn number(piece: &str) -> Option<Pattern> {
    let mut runs = piece.split(|c: char| !c.is_ascii_digit());
    if runs.any(|run| run.len() >= IDENTITY_DIGITS) {
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

    const ORIGIN: &str = "www.example/081234567890/http:2024";

    fn known() -> Known {
        let mut known = Known::new(ORIGIN, BTreeSet::new());
        for code in ["1234567890123456", "081234567891"] {
            let text = format!(
                "unit,parent,kind,name,registered.l,registered.p\n\
                ID,,nation,Nation,,\n{code},ID,tps,,1,2\n"
            );
            known.learn(&UnitRegister::parse(text.as_bytes()).unwrap());
        }
        known
    }

    fn found(value: &str) -> Option<Pattern> {
        let entry = format!("jejak/tally/v1\n{{\"unit\":\"{value}\",\"valid\":12}}\n\nlines");
        known().find(entry.as_bytes())
    }

    #[test]
    fn patterns_are_seen() {
        let table = [
            ("3173011005110001", Pattern::Identity),
            ("x:3173011005110001.1", Pattern::Identity),
            ("kpps/3173011005110001+1a2b3c4d", Pattern::Identity),
            ("3173011005110001/1234567890123456", Pattern::Identity),
            ("x+1a2b3c4d+3173011005110001", Pattern::Identity),
            ("081234567890", Pattern::Phone),
            ("+6281234567890", Pattern::Phone),
            ("kpps/081234567890+1a2b3c4d", Pattern::Phone),
            ("someone@example.com", Pattern::Email),
            ("http://example.com", Pattern::Url),
            ("HTTPS.example", Pattern::Url),
            ("www.example.com", Pattern::Url),
            ("www.example/081234567890/http:2024/more", Pattern::Url),
            ("http:2025", Pattern::Url),
        ];
        for (value, want) in table {
            assert_eq!(found(value), Some(want), "{value}");
        }
        let plain = b"jejak/tally/v1\n3173011005110001\n\nlines";
        assert_eq!(known().find(plain), Some(Pattern::Identity));
    }

    #[test]
    fn codes_hashes_and_keys_are_not_personal() {
        let hash = "0123456789012345678901234567890123456789012345678901234567890123";
        let public = "Ahttpwww012345678901234567890123456789012345";
        let log = format!("{ORIGIN}+1a2b3c4d+{public}");
        let key = format!("kpps/1234567890123456+1a2b3c4d+{public}");
        let refusals = format!("{ORIGIN}/refusal+1a2b3c4d+{public}");
        let good = [
            hash,
            &refusals,
            &key,
            &log,
            ORIGIN,
            "http:2024",
            "1234567890123456",
            "kpps/1234567890123456+12345678",
            "081234567891",
            "3173011005115",
            "form_signed",
            "ppwp",
            "",
        ];
        for value in good {
            assert_eq!(found(value), None, "{value}");
        }
        // Signatures are random text: they say nothing.
        let signed = b"jejak/tally/v1\n{}\n\n3173011005110001 http: @";
        assert_eq!(known().find(signed), None);
    }
}
