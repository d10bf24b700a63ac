//! JSON as people write it, read without guessing: a key that stands twice is an error.
//!
//! `serde_json` keeps the last of two equal keys. Whoever wrote the first one would sign a number
//! that he did not mean.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Reads one JSON object.
///
/// # Errors
/// Fails on anything else, and on a key that stands twice, at any depth. Names line and column.
pub fn object(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::from_str::<Strict>(text)?.0 {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("expected an object in braces")),
    }
}

/// A value without doubled keys.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key \"{key}\" stands twice")));
            }
            let Strict(value) = fields.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::object;

    #[test]
    fn keys_stand_once_at_every_depth() {
        let text = r#"{"a": [{"b": null, "c": [true, -1, 1.5]}], "d": {"b": "e"}}"#;
        let want = json!({"a": [{"b": null, "c": [true, -1, 1.5]}], "d": {"b": "e"}});
        assert_eq!(object(text).unwrap(), *want.as_object().unwrap());
        let bad = [
            r#"{"a": 1, "a": 1}"#,
            r#"{"v": {"01": 1, "01": 2}}"#,
            r#"{"a": [{"b": 1, "\u0062": 2}]}"#,
            r#"{"a": 1} {}"#,
            r#"[{"a": 1}]"#,
            "1",
            "",
        ];
        for text in bad {
            assert!(object(text).is_err(), "{text}");
        }
    }
}
