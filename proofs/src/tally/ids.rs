//! The few shapes of text that may stand in an entry: ids, codes and enum words, never prose.

use alloc::{boxed::Box, format, string::String};
use core::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::note::KeyId;

/// Longest id, code or word, in bytes.
pub const ID_LEN_MAX: usize = 32;

/// Text that does not have the shape its place demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ShapeError {
    expected: &'static str,
}

macro_rules! shaped_text {
    ($(#[$doc:meta])* $name:ident, $allowed:pat, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ShapeError;

            fn from_str(text: &str) -> Result<Self, ShapeError> {
                let length = (1..=ID_LEN_MAX).contains(&text.len());
                if length && text.bytes().all(|byte| matches!(byte, $allowed)) {
                    Ok(Self(text.into()))
                } else {
                    Err(ShapeError { expected: $expected })
                }
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        text_traits!($name);
    };
}

/// Debug as the bare text, and serde as a string that must parse.
macro_rules! text_traits {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

shaped_text! {
    /// The id of an election, contest, option or role: `[A-Za-z0-9:.-]{1,32}`.
    Id,
    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b':' | b'.' | b'-',
    "1 to 32 characters of [A-Za-z0-9:.-]"
}

shaped_text! {
    /// The code of a unit, as the unit register has it: `[0-9A-Z.-]{1,32}`.
    UnitCode,
    b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-',
    "1 to 32 characters of [0-9A-Z.-]"
}

shaped_text! {
    /// A word that the manifest defines: a unit kind, form, basis or round. `[a-z0-9_-]{1,32}`.
    Word,
    b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-',
    "1 to 32 characters of [a-z0-9_-]"
}

/// One key, by its name and C2SP key id: `<role>/<unit>+<hex8>`.
///
/// Ordered by (name, key id), the order in which co-signers stand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef {
    name: Box<str>,
    id: KeyId,
}

impl KeyRef {
    /// The key with this name and id. The name is taken as it is.
    pub fn new(name: &str, id: KeyId) -> Self {
        Self { name: name.into(), id }
    }

    /// The key name, `<role>/<unit>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The C2SP key id.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl FromStr for KeyRef {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        const ERROR: ShapeError = ShapeError { expected: "<role>/<unit>+<hex8 key id>" };
        let (name, id) = text.rsplit_once('+').ok_or(ERROR)?;
        let (role, unit) = name.split_once('/').ok_or(ERROR)?;
        role.parse::<Id>().map_err(|_| ERROR)?;
        unit.parse::<UnitCode>().map_err(|_| ERROR)?;
        Ok(Self { name: name.into(), id: id.parse().map_err(|_| ERROR)? })
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.name, self.id)
    }
}

text_traits!(KeyRef);

/// A minute in UTC, `2024-02-14T07:05Z`: the submitter's claim of when a form was issued.
///
/// No order follows from it: order in the log is the only time that Jejak knows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Minute(Box<str>);

impl FromStr for Minute {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        const ERROR: ShapeError = ShapeError { expected: "a minute in UTC, 2024-02-14T07:05Z" };
        let number = |range: core::ops::Range<usize>| -> Option<u32> {
            let digits = text.get(range)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        };
        let parts = (number(0..4), number(5..7), number(8..10), number(11..13), number(14..16));
        let (Some(year), Some(month), Some(day), Some(hour), Some(minute)) = parts else {
            return Err(ERROR);
        };
        let days = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        let spelled = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z");
        if (1..=days).contains(&day) && hour < 24 && minute < 60 && spelled == text {
            Ok(Self(text.into()))
        } else {
            Err(ERROR)
        }
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_traits!(Minute);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_accept_their_alphabet_and_nothing_else() {
        assert!("dpr:3101".parse::<Id>().is_ok());
        assert!("a".repeat(32).parse::<Id>().is_ok());
        for bad in ["", "a b", "a_b", "caf\u{e9}", &"a".repeat(33)] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        assert!("99.KSK-1".parse::<UnitCode>().is_ok());
        assert!("tps".parse::<UnitCode>().is_err());
        assert!("form_signed".parse::<Word>().is_ok());
        assert!("Form".parse::<Word>().is_err());
    }

    #[test]
    fn a_key_reference_has_one_spelling() {
        let good = "kpps/3173011005115+1a2b3c4d";
        assert_eq!(format!("{}", good.parse::<KeyRef>().unwrap()), good);
        for bad in
            ["kpps+1a2b3c4d", "kpps/31", "kpps/31+1A2B3C4D", "kpps/31+1a2b3c", "a/b/C+00000000"]
        {
            assert!(bad.parse::<KeyRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn minutes_exist_in_the_calendar() {
        for good in ["2024-02-14T07:05Z", "2024-02-29T23:59Z", "2000-02-29T00:00Z"] {
            assert!(good.parse::<Minute>().is_ok(), "{good}");
        }
        for bad in [
            "2023-02-29T00:00Z",
            "1900-02-29T00:00Z",
            "2024-04-31T00:00Z",
            "2024-13-01T00:00Z",
            "2024-01-01T24:00Z",
            "2024-01-01T00:60Z",
            "2024-01-01T00:00",
            "2024-01-01T00:00:00Z",
            "2024-01-00T00:00Z",
            "2024-1-01T00:00Z",
            "+024-01-01T00:00Z",
            "2024-01-01 00:00Z",
            "",
        ] {
            assert!(bad.parse::<Minute>().is_err(), "{bad}");
        }
    }
}
