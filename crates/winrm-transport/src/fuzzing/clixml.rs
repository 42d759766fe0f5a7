//! What PowerShell writes to standard error.

use crate::clixml::clixml_text;

const MARK: &str = "#< CLIXML";

/// Reads `data` as standard error, as part of a document, and as the text of an error that comes back from one.
///
/// # Panics
/// When text is lost or made up, or what is no error is shown as one.
pub fn clixml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let plain = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let shown = clixml_text(data);
    assert!(shown.len() <= text.len(), "text out of nothing");
    if !plain.contains(MARK) {
        assert_eq!(shown, plain);
    }
    inside(plain);
    round_trip(plain);
}

/// Whatever stands in a document: its frame may be broken by it, but nothing is made up.
fn inside(text: &str) {
    let document = format!("{MARK}\r\n<Objs><Obj S=\"progress\">{text}</Obj></Objs>");
    assert!(clixml_text(document.as_bytes()).len() <= document.len());
    if !text.contains(['<', '&', '>']) && !text.contains(MARK) {
        assert_eq!(clixml_text(document.as_bytes()), "", "progress is no error");
    }
    let with_type =
        format!("{MARK}\r\n<Objs><!DOCTYPE a [<!ENTITY e 'x'>]><S S=\"Error\">&e;{text}</S></Objs>");
    assert!(
        clixml_text(with_type.as_bytes()).starts_with("<Objs><!DOCTYPE"),
        "read on after a document type"
    );
}

/// The text as PowerShell would write it, in two pieces, with a progress record between.
fn round_trip(text: &str) {
    let half = text.floor_char_boundary(text.len() / 2);
    let (first, second) = text.split_at(half);
    let document = format!(
        "{MARK}\r\n<Objs><S S=\"Error\">{}</S><Obj S=\"progress\"><ToString>x</ToString></Obj><S S=\"error\">{}</S></Objs>",
        written(first),
        written(second)
    );
    assert_eq!(clixml_text(document.as_bytes()), text);
}

/// Source: MS-PSRP 2.2.5.3.2: what XML cannot carry, and each underscore that begins an escape, as `_xHHHH_`.
fn written(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '_'
            | '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                out.push_str(&format!("_x{:04X}_", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}
