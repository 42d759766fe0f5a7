//! Text from elsewhere, made harmless: nothing a host or service says may move the cursor, set a title, or hide text.

use std::fmt::Write as _;

/// Whether a terminal would do something else than show it, or show it out of order.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn cleaned(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if keep(letter) || !is_harmful(letter) {
            clean.push(letter);
        } else {
            clean.extend(letter.escape_unicode());
        }
    }
    clean
}

/// One line of it.
pub(crate) fn clean(text: &str) -> String {
    cleaned(text, |_| false)
}

/// Several lines of it; line ends of Windows become plain ones.
pub(crate) fn clean_lines(text: &str) -> String {
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    cleaned(&text, |letter| matches!(letter, '\n' | '\t'))
}

/// JSON that means the same. What is harmful can stand inside strings only, where it may be escaped; line ends
/// between values stay.
pub(super) fn json(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter == '\n' || !is_harmful(letter) {
            clean.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(clean, "\\u{unit:04x}");
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_turned_text_are_shown_as_what_they_are() {
        assert_eq!(clean("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(clean("a\u{9b}2Jb\u{7}"), "a\\u{9b}2Jb\\u{7}");
        assert_eq!(clean("x\u{202e}y\u{200b}"), "x\\u{202e}y\\u{200b}");
        assert_eq!(clean("a\r\nb"), "a\\u{d}\\u{a}b");
        assert_eq!(clean("Übung 09:00 – ok"), "Übung 09:00 – ok");
    }

    #[test]
    fn lines_stay_lines_and_nothing_else_passes() {
        assert_eq!(
            clean_lines("\u{feff}one\r\ntwo\t2\x1b]0;x\x07"),
            "one\ntwo\t2\\u{1b}]0;x\\u{7}"
        );
        assert_eq!(clean_lines("50 %\r100 %"), "50 %\\u{d}100 %");
    }

    #[test]
    fn json_says_the_same_without_the_harm() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{202e}\x1b\u{7f}", "b": "ü\n"});
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains(['\u{9b}', '\u{202e}', '\x1b', '\u{7f}']), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
