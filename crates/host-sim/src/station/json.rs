//! JSON as the station's AutoHotkey serializer writes it.

use serde_json::Value;

/// Byte order mark at the head of the station's files.
pub(super) const MARK: char = '\u{FEFF}';

/// Writes a value with sorted keys, an empty object as `[]`, and the numbers 0 and 1 as `false` and `true`.
pub(super) fn write(value: &Value) -> String {
    let mut text = String::new();
    append(&mut text, value);
    text
}

/// The same with a byte order mark in front, as in a file.
pub(super) fn with_mark(value: &Value) -> String {
    let mut text = String::from(MARK);
    append(&mut text, value);
    text
}

fn append(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("\"\""),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => match number.as_i64() {
            Some(0) => text.push_str("false"),
            Some(1) => text.push_str("true"),
            _ => text.push_str(&number.to_string()),
        },
        Value::String(string) => append_string(text, string),
        Value::Array(items) => append_list(text, ('[', ']'), items, append),
        Value::Object(members) if members.is_empty() => text.push_str("[]"),
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_str());
            append_list(text, ('{', '}'), &sorted, |text, (key, value)| {
                append_string(text, key);
                text.push(':');
                append(text, value);
            });
        }
    }
}

fn append_list<T>(
    text: &mut String,
    (open, close): (char, char),
    items: &[T],
    mut each: impl FnMut(&mut String, &T),
) {
    text.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        each(text, item);
    }
    text.push(close);
}

/// Only seven characters are escaped; other control characters stay raw, which makes the text invalid JSON.
fn append_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_quirks_of_the_stations_serializer_are_kept() {
        let value = json!({"b": {}, "a": [1, 0, 2, "x\"\u{1}"], "c": true});
        assert_eq!(
            write(&value),
            "{\"a\":[true,false,2,\"x\\\"\u{1}\"],\"b\":[],\"c\":true}"
        );
    }

    #[test]
    fn a_file_begins_with_a_byte_order_mark() {
        assert!(with_mark(&json!([])).as_bytes().starts_with(&[0xEF, 0xBB, 0xBF]));
    }
}
