//! When two documents say the same: all values are equal but for the station's own stamps.
//!
//! A document is read as text, once and without making its values: whether it is JSON and what it says come from one pass.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use twox_hash::XxHash3_128;

/// 128 bits as hex digits, the same for any order of keys; without `timestamp` and `status.timestamp`, which change with
/// every report. `None` where the text is no strict JSON.
///
/// They tell a document from the one that is stored and keep nobody out: whoever makes two that collide hides a change of
/// his own host, which he could have left out as well. So the hash is a fast one.
pub(crate) fn of_document(document: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(document);
    let hash = Level::Document.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(hex(&hash.to_be_bytes()))
}

/// Of a text that is not read as JSON, byte by byte.
pub(crate) fn of_text(text: &str) -> String {
    hex(&hashed(Kind::Unread, text.as_bytes()).to_be_bytes())
}

/// What a hash is of, so that a text is not taken for a number, or a list for an object.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Null = 1,
    Flag,
    Whole,
    Negative,
    Fraction,
    Text,
    List,
    Entry,
    Object,
    Unread,
}

fn hashed(kind: Kind, bytes: &[u8]) -> u128 {
    // Any odd number does: the kinds only have to end far from each other.
    XxHash3_128::oneshot(bytes)
        .wrapping_add((kind as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn paired(kind: Kind, first: u128, second: u128) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&first.to_le_bytes());
    bytes[16..].copy_from_slice(&second.to_le_bytes());
    hashed(kind, &bytes)
}

/// Where the value stands that is read next.
#[derive(Debug, Clone, Copy)]
enum Level {
    Document,
    Status,
    Below,
}

impl Level {
    /// Where the value of this key stands; `None` for a stamp.
    fn under(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Document | Self::Status, "timestamp") => None,
            (Self::Document, "status") => Some(Self::Status),
            _ => Some(Self::Below),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = u128;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<u128, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<u128, E> {
        Ok(hashed(Kind::Null, &[]))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<u128, E> {
        Ok(hashed(Kind::Flag, &[u8::from(flag)]))
    }

    fn visit_u64<E>(self, number: u64) -> Result<u128, E> {
        Ok(hashed(Kind::Whole, &number.to_le_bytes()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<u128, E> {
        Ok(hashed(Kind::Negative, &number.to_le_bytes()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<u128, E> {
        Ok(hashed(Kind::Fraction, &number.to_bits().to_le_bytes()))
    }

    fn visit_str<E>(self, text: &str) -> Result<u128, E> {
        Ok(hashed(Kind::Text, text.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u128, A::Error> {
        let mut all = hashed(Kind::List, &[]);
        while let Some(item) = items.next_element_seed(Self::Below)? {
            all = paired(Kind::List, all, item);
        }
        Ok(all)
    }

    /// The sum of the entries, which has no order.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<u128, A::Error> {
        let (mut sum, mut count) = (0_u128, 0_u128);
        while let Some((key, level)) = entries.next_key_seed(Key(self))? {
            // A stamp is read all the same: it has to be JSON.
            let value = entries.next_value_seed(level.unwrap_or(Self::Below))?;
            if level.is_some() {
                sum = sum.wrapping_add(paired(Kind::Entry, key, value));
                count += 1;
            }
        }
        Ok(paired(Kind::Object, sum, count))
    }
}

/// A key, and where its value stands.
struct Key(Level);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = (u128, Option<Level>);

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = (u128, Option<Level>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok((hashed(Kind::Text, key.as_bytes()), self.0.under(key)))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// 16 bytes from their 32 hex digits.
pub(crate) fn bytes(hex: &str) -> Option<[u8; 16]> {
    let digits = hex.as_bytes();
    let mut bytes = [0; 16];
    if digits.len() != 32 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_stations_own_stamps_are_left_out() {
        let of = |stamp: &str, other: Value| {
            let status = json!({"timestamp": stamp, "a": 1});
            of_document(&json!({"timestamp": stamp, "status": status, "x": other}).to_string()).unwrap()
        };
        let base = of("1", json!({"timestamp": 1}));
        assert_eq!(base, of("2", json!({"timestamp": 1})));
        for other in [
            json!({"timestamp": 2}),
            json!(null),
            json!([]),
            json!({}),
            json!(""),
            json!(0),
            json!([{"timestamp": 1}]),
        ] {
            assert_ne!(base, of("1", other));
        }
        assert_eq!(base.len(), 32);
        assert_eq!(hex(&bytes(&base).unwrap()), base);
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        let all = [
            json!({"a": ["b", "c"]}),
            json!({"a": ["c", "b"]}),
            json!({"a": "b", "c": "d"}),
            json!({"a": "d", "c": "b"}),
            json!({"a": {"c": "d"}}),
            json!({"a": [{}]}),
            json!({"a": [[]]}),
            json!({"a": []}),
            json!({"a": -1}),
            json!({"a": 1.0}),
            json!({"a": null}),
            json!({"a": {"status": {"timestamp": 1}}}),
            json!({"a": {"status": {"timestamp": 2}}}),
            json!({"a": false}),
            json!({"a": ""}),
            json!({"a": ["bc"]}),
            json!({"a": [["b"], "c"]}),
            json!({"a": "1"}),
            json!({"a": 1}),
            json!({"a": true}),
            json!([]),
            json!({}),
        ];
        let distinct: std::collections::BTreeSet<String> = all
            .iter()
            .map(|value| of_document(&value.to_string()).unwrap())
            .collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn neither_the_order_of_keys_nor_blanks_nor_escapes_make_a_difference() {
        let one = r#"{"status": {"a": 1, "timestamp": 1}, "b": "\u00e4", "c": [1, 2]}"#;
        let other = r#"{"c":[1,2],"b":"ä","timestamp":"x","status":{"timestamp":2,"a":1}}"#;
        assert_eq!(of_document(one), of_document(other));
        assert!(of_document(one).is_some());
    }

    #[test]
    fn what_is_no_strict_json_has_no_digest() {
        for text in [
            "",
            "{",
            "{} x",
            r#"{"a": "\ud800"}"#,
            r#"{"timestamp": "\ud800"}"#,
            "{\"a\": \"\n\"}",
            "1e999",
        ] {
            assert_eq!(of_document(text), None, "{text}");
        }
        assert_eq!(of_document(&"[".repeat(100_000)), None);
        assert_ne!(of_text("a"), of_text("b"));
    }

    #[test]
    fn broken_hex_is_no_digest() {
        for text in ["", "zz", &"g".repeat(32), &"é".repeat(16)] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
