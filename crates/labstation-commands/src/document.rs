//! Reading a station's JSON as it really comes, and picking values out of it.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::stamp::parse_stamp;

/// Longest document that is looked at, in bytes. Real ones have some kilobytes.
pub const DOCUMENT_LIMIT: usize = 4 << 20;

/// Why a station's document cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// There is nothing in it: perhaps it is just being replaced. Reading again helps.
    #[error("the document is empty")]
    Empty,
    /// It is longer than [`DOCUMENT_LIMIT`].
    #[error("the document has {length} bytes, more than {limit}")]
    TooLarge {
        /// Length in bytes.
        length: usize,
        /// Greatest length.
        limit: usize,
    },
    /// Its byte order mark says UTF-16, and it is not.
    #[error("the document is marked as UTF-16 but is not")]
    NotText,
    /// It is not JSON, also with the station's habits allowed for: torn, or an error message.
    #[error("the document is not JSON at line {line}, column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1; 0 at the end of a line before.
        column: usize,
        /// What the parser met.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, but no object.
    #[error("the document is {found}, not an object")]
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
}

/// The version of a document's shape, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaVersion {
    /// The document names none.
    Absent,
    /// Major and minor number.
    Known {
        /// Changes when the meaning of fields changes. 1 is understood here.
        major: u64,
        /// Changes when fields are added.
        minor: u64,
    },
    /// The document has something else in that place; at most 64 characters of it.
    Unreadable(String),
}

impl SchemaVersion {
    /// The major version that is understood.
    pub const UNDERSTOOD: u64 = 1;

    pub(crate) fn read(document: Node<'_>) -> Self {
        let Some(text) = document.get("schemaVersion").text() else {
            return Self::Absent;
        };
        let mut numbers = text.trim().split('.').map(|part| part.parse::<u64>().ok());
        match (numbers.next().flatten(), numbers.next()) {
            (Some(major), None) => Self::Known { major, minor: 0 },
            (Some(major), Some(Some(minor))) => Self::Known { major, minor },
            _ => Self::Unreadable(text.chars().take(64).collect()),
        }
    }

    /// What a reader should be told about it; nothing when it is understood.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Known { major, .. } if *major == Self::UNDERSTOOD => None,
            Self::Known { .. } => Some(format!(
                "schemaVersion {self} is not understood, only {}.x is: fields may mean something else",
                Self::UNDERSTOOD
            )),
            Self::Absent => Some("schemaVersion is absent".to_owned()),
            Self::Unreadable(text) => Some(format!("schemaVersion {text:?} is no version")),
        }
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Known { major, minor } => write!(f, "{major}.{minor}"),
            Self::Unreadable(text) => f.write_str(text),
        }
    }
}

/// A document's object, and what was odd about its text.
pub(crate) struct Document {
    pub(crate) value: Value,
    /// The same as strict JSON: as it came, where it was that.
    pub(crate) text: String,
    pub(crate) warnings: Vec<String>,
}

impl Document {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, HeartbeatError> {
        if bytes.len() > DOCUMENT_LIMIT {
            return Err(HeartbeatError::TooLarge {
                length: bytes.len(),
                limit: DOCUMENT_LIMIT,
            });
        }
        let text = decode(bytes).ok_or(HeartbeatError::NotText)?;
        let mut warnings = Vec::new();
        if matches!(&text, Cow::Owned(text) if text.contains(char::REPLACEMENT_CHARACTER)) {
            warnings.push("some characters are not valid UTF-8 and were replaced".to_owned());
        }
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if text.is_empty() {
            return Err(HeartbeatError::Empty);
        }
        let (value, text) = parse_strictly(text)?;
        if value.is_object() {
            let text = text.into_owned();
            return Ok(Self {
                value,
                text,
                warnings,
            });
        }
        // An empty map is written as an empty list, also at the top.
        if value.as_array().is_some_and(Vec::is_empty) {
            return Ok(Self {
                value: Value::Object(serde_json::Map::new()),
                text: "{}".to_owned(),
                warnings,
            });
        }
        Err(HeartbeatError::NotAnObject {
            found: kind_of(&value),
        })
    }
}

/// Text of a file in UTF-8, or in UTF-16 with a byte order mark. One mark is removed. Bytes that are no UTF-8
/// are replaced: one mangled name must not hide a whole heartbeat. `None` for broken UTF-16.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).map(Cow::Owned),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).map(Cow::Owned),
        [0xef, 0xbb, 0xbf, rest @ ..] => Some(String::from_utf8_lossy(rest)),
        _ => Some(String::from_utf8_lossy(bytes)),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let text = char::decode_utf16(units).collect::<Result<String, _>>().ok()?;
    rest.is_empty().then_some(text)
}

pub(crate) fn parse(text: &str) -> Result<Value, HeartbeatError> {
    parse_strictly(text).map(|(value, _)| value)
}

/// The value of a text, and the text as strict JSON. Most texts are that; the others are mended and parsed again.
fn parse_strictly(text: &str) -> Result<(Value, Cow<'_, str>), HeartbeatError> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok((value, Cow::Borrowed(text)));
    }
    let mended = mended(text);
    match serde_json::from_str(&mended) {
        Ok(value) => Ok((value, Cow::Owned(mended))),
        Err(source) => Err(HeartbeatError::NotJson {
            line: source.line(),
            column: source.column(),
            source,
        }),
    }
}

/// The station escapes only some control characters in its strings, where JSON wants all of them escaped; and half of a
/// surrogate pair, which a text cut to length may end with, is no character.
fn mended(text: &str) -> String {
    let mut mended = String::with_capacity(text.len() + 64);
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\\' if in_string => taken = mend_escape(rest, &mut mended),
            '"' => {
                in_string = !in_string;
                mended.push(c);
            }
            '\0'..' ' if in_string => mended.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => mended.push(c),
        }
        rest = &rest[taken..];
    }
    mended
}

/// Copies what the backslash at the beginning of `rest` begins; gives how many bytes of `rest` that was.
fn mend_escape(rest: &str, mended: &mut String) -> usize {
    let as_it_is = |length: usize, mended: &mut String| {
        mended.push_str(&rest[..length]);
        length
    };
    match rest[1..].chars().next() {
        // The backslash stands for itself, and the raw character comes next.
        Some('\0'..' ') => {
            mended.push_str("\\\\");
            1
        }
        Some('u') => match (escaped_unit(rest), rest.get(6..).and_then(escaped_unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => as_it_is(12, mended),
            (Some(0xd800..0xe000), _) => {
                mended.push_str("\\ufffd");
                6
            }
            _ => as_it_is(2, mended),
        },
        Some(other) => as_it_is(1 + other.len_utf8(), mended),
        None => as_it_is(1, mended),
    }
}

/// The UTF-16 unit of `\uXXXX` at the beginning of a text.
fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A place in a document that may not be there. Every reading of it allows for the station's habits: `[]` for
/// an empty map, `true` and `false` for the numbers 1 and 0, numbers as text.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a>(Option<&'a Value>);

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self(Some(value))
    }

    pub(crate) fn get(self, key: &str) -> Self {
        Self(self.0.and_then(|value| value.get(key)))
    }

    /// Itself when it is a map with something in it.
    pub(crate) fn filled_map(self) -> Option<Self> {
        self.0?.as_object().filter(|map| !map.is_empty()).map(|_| self)
    }

    /// The members of a list. A single map counts as a list of one.
    pub(crate) fn members(self) -> impl Iterator<Item = Node<'a>> {
        let members = match self.0 {
            Some(Value::Array(members)) => members.as_slice(),
            Some(value @ Value::Object(_)) => std::slice::from_ref(value),
            _ => &[],
        };
        members.iter().map(Node::root)
    }

    pub(crate) fn flag(self) -> Option<bool> {
        match self.0? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_f64().map(|number| number != 0.0),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(true),
                "false" | "0" | "no" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn count(self) -> Option<u64> {
        match self.0? {
            Value::Bool(one) => Some(u64::from(*one)),
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A text that is not blank. A number or a flag is what the station makes of a text of digits.
    pub(crate) fn text(self) -> Option<String> {
        match self.0? {
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(one) => Some(u8::from(*one).to_string()),
            _ => None,
        }
    }

    /// The texts of a list, or a single one.
    pub(crate) fn texts(self) -> Vec<String> {
        match self.0 {
            Some(Value::Array(members)) => members
                .iter()
                .filter_map(|member| Node::root(member).text())
                .collect(),
            Some(Value::String(_)) => self.text().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn stamp(self) -> Option<DateTime<Utc>> {
        parse_stamp(self.0?.as_str()?)
    }
}

/// A whole number that was written with a fraction of zero.
fn whole(number: f64) -> Option<u64> {
    let fits = (0.0..9e15).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn raw_control_characters_are_escaped_in_strings_only() {
        let text = "{\n\t\"a\": \"x\ty\u{1}\", \"b\\\"\r\": 1}\n";
        let value = parse(text).unwrap();
        assert_eq!(value, json!({"a": "x\ty\u{1}", "b\"\r": 1}));
    }

    #[test]
    fn valid_json_is_left_as_it_is() {
        let text = "{\r\n \"a\": \"\\u0001 \\\\ \\ud83d\\ude00\", \"b\": [\"\\\"\"]\n}";
        assert!(matches!(parse_strictly(text).unwrap().1, Cow::Borrowed(same) if same == text));
        assert_eq!(mended(text), text);
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        let read = |text: &str| parse(text).unwrap();
        assert_eq!(read(r#"{"a":"x\ud83d"}"#), json!({"a": "x\u{fffd}"}));
        assert_eq!(
            read(r#"{"a":"\ude00y\\ud83d"}"#),
            json!({"a": "\u{fffd}y\\ud83d"})
        );
        assert_eq!(
            read(r#"{"a":"\ud83d\ud83d\ude00"}"#),
            json!({"a": "\u{fffd}\u{1f600}"})
        );
        assert!(parse(r#"{"a":"\uzzzz"}"#).is_err());
        assert!(parse("{\"a\":\"\\").is_err());
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_one_counts() {
        assert_eq!(
            parse(r#"{"ready":true,"ready":false}"#).unwrap(),
            json!({"ready": false})
        );
    }

    #[test]
    fn numbers_flags_and_texts_are_read_in_every_spelling() {
        let value = json!({"t": true, "f": false, "n": 7, "d": 3.0, "s": "12", "yes": "True", "bad": "x", "m": [], "blank": " "});
        let node = Node::root(&value);
        assert_eq!(
            ["t", "f", "n", "d", "s", "bad", "m", "none"].map(|key| node.get(key).count()),
            [Some(1), Some(0), Some(7), Some(3), Some(12), None, None, None]
        );
        assert_eq!(
            ["t", "f", "n", "yes", "bad", "m"].map(|key| node.get(key).flag()),
            [Some(true), Some(false), Some(true), Some(true), None, None]
        );
        assert_eq!(node.get("t").text().as_deref(), Some("1"));
        assert_eq!(node.get("blank").text(), None);
        assert!(node.get("m").filled_map().is_none() && node.get("m").get("x").text().is_none());
    }

    #[test]
    fn versions_are_read_and_judged() {
        let version = |text: &str| SchemaVersion::read(Node::root(&json!({"schemaVersion": text})));
        assert_eq!(version("1.4.2"), SchemaVersion::Known { major: 1, minor: 4 });
        assert_eq!(version("1.4.2").warning(), None);
        assert!(version("2.0").warning().unwrap().contains("2.0"));
        assert!(version("0.9").warning().is_some());
        assert_eq!(version("new"), SchemaVersion::Unreadable("new".into()));
        assert_eq!(
            SchemaVersion::read(Node::root(&json!({}))).warning().as_deref(),
            Some("schemaVersion is absent")
        );
        assert_eq!(
            SchemaVersion::read(Node::root(&json!({"schemaVersion": true}))).warning(),
            None
        );
    }

    proptest! {
        #[test]
        fn any_value_survives_the_escaping(text in any::<String>()) {
            let value = json!({"a": text});
            prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
        }

        #[test]
        fn any_string_written_raw_but_for_quotes_reads_back(text in "[^\"\\\\]*") {
            prop_assert_eq!(parse(&format!("{{\"a\":\"{text}\"}}")).unwrap(), json!({"a": text}));
        }
    }
}
