//! Texts for tables whose charset does not have every character.

/// The same JSON in ASCII, for tables whose charset does not have every character.
pub(crate) fn ascii_json(text: &str) -> String {
    use std::fmt::Write as _;
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut ascii = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// A text with a question mark for each character that is not ASCII.
pub(crate) fn ascii_text(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_in_ascii_means_the_same() {
        let text = json!({"ä": "\u{1f600}\n\\\"", "b": ["\u{0}"]}).to_string();
        let ascii = ascii_json(&text);
        assert!(ascii.is_ascii());
        let back: Value = serde_json::from_str(&ascii).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(&text).unwrap());
    }
}
