//! What PowerShell writes to standard error when that is not a console: XML objects, made readable.
//!
//! With `-EncodedCommand` and a redirected standard error, PowerShell writes a line `#< CLIXML` and then one `Objs`
//! document, perhaps several, perhaps with plain text between and a byte order mark in front. Progress is in there
//! even when all went well ("Preparing modules for first use."), so standard error that is not empty is no error:
//! the exit code decides.
//!
//! Source: MS-PSRP 2.2.5 for the serialization; `_xHHHH_` for UTF-16 units that XML cannot carry.

use quick_xml::Reader;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesStart, Event};

/// The line in front of a document.
const MARK: &str = "#< CLIXML";
/// Nesting beyond this is no error message.
const DEPTH: usize = 64;
/// Attributes of an element that are looked at.
const ATTRIBUTES: usize = 16;
/// Characters shown of a document that cannot be read.
const RAW: usize = 4_096;
/// Bytes that are read, and bytes of text that come out: nobody reads more, and nothing is gained by making it.
const LONGEST: usize = 4 * 1024 * 1024;
/// What stands at the end of a text of which the rest was left out.
const CUT: &str = "[...]";

/// Errors and warnings of PowerShell as text, in the order in which they were written; progress and other records
/// are left out, plain text stays as it is, and a document that cannot be read is shown as it came, shortened.
///
/// # Limits
///
/// Time and memory grow with the length of the input and no faster, whatever it holds:
///
/// * of the input the first 4 MiB are read, and 4 MiB of text come out at most; where something was left out for
///   that, the text ends in `[...]`;
/// * a document with elements nested more than 64 deep, or with a document type, is one that cannot be read;
/// * of a document that cannot be read 4,096 characters are shown;
/// * of each record 16 attributes are looked at.
///
/// ```
/// let stderr = b"#< CLIXML\r\n<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\">\
///     <Obj S=\"progress\" RefId=\"0\"><MS><I64 N=\"SourceId\">1</I64></MS></Obj>\
///     <S S=\"Error\">Cannot find path_x000D__x000A_</S></Objs>";
/// assert_eq!(winrm_transport::clixml_text(stderr), "Cannot find path\r\n");
/// ```
pub fn clixml_text(stderr: &[u8]) -> String {
    let read = beginning(stderr);
    let cut = read.len() < stderr.len();
    let text = String::from_utf8_lossy(read);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut out = String::new();
    // The mark frames the documents; what lies within them is left to a parser.
    while let Some((before, after)) = rest.split_once(MARK) {
        out.push_str(before.strip_suffix('\u{feff}').unwrap_or(before));
        rest = documents(after.trim_start(), cut, &mut out);
    }
    out.push_str(rest);
    // Bytes that are no text become longer by being shown as such.
    if cut || out.len() > LONGEST {
        out.truncate(out.floor_char_boundary(LONGEST - CUT.len()));
        out.push_str(CUT);
    }
    out
}

/// As much as is read, not cut within a character.
fn beginning(stderr: &[u8]) -> &[u8] {
    let Some(mut end) = (stderr.len() > LONGEST).then_some(LONGEST) else {
        return stderr;
    };
    let continues = |byte: u8| byte & 0xc0 == 0x80;
    while end > LONGEST - 3 && continues(stderr[end]) {
        end -= 1;
    }
    &stderr[..end]
}

/// Reads documents for as long as one follows the other; gives what comes after. Of the last one, if the input is
/// `cut`, what was readable is better than nothing.
fn documents<'a>(mut rest: &'a str, cut: bool, out: &mut String) -> &'a str {
    loop {
        let next = rest.trim_start_matches(['\u{feff}', '\r', '\n']);
        if !next.starts_with("<Objs") {
            return rest;
        }
        let mut readable = String::new();
        match document(next, &mut readable) {
            Some(length) => {
                out.push_str(&readable);
                rest = &next[length..];
            }
            None if cut && !readable.is_empty() => {
                out.push_str(&readable);
                return "";
            }
            None => {
                out.extend(next.chars().take(RAW));
                return "";
            }
        }
    }
}

/// What is being read right now.
#[derive(Default)]
struct Place {
    depth: usize,
    /// The stream of the record that is open, and its depth.
    record: Option<(Kind, usize)>,
    /// The element is one whose text counts.
    wanted: bool,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A string record: its text is the message.
    Text,
    /// An object: the text of its `ToString` is the message.
    Object,
    Ignored,
}

/// Reads one document into `out`; gives its length in bytes, or nothing when it is none.
fn document(text: &str, out: &mut String) -> Option<usize> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut place = Place::default();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => place.enter(&start)?,
            Event::End(_) => {
                place.leave(out);
                if place.depth == 0 {
                    return usize::try_from(reader.buffer_position()).ok();
                }
            }
            Event::Text(piece) => place.add(&piece.xml10_content()),
            Event::CData(piece) => place.add(&piece.xml10_content()),
            Event::GeneralRef(name) => match name.resolve_char_ref().ok()? {
                Some(character) => place.add(character.encode_utf8(&mut [0; 4])),
                None => place.add(resolve_xml_entity(&name)?),
            },
            Event::DocType(_) | Event::Eof => return None,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

impl Place {
    fn enter(&mut self, start: &BytesStart<'_>) -> Option<()> {
        if self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        let name = start.local_name();
        let name = name.into_inner();
        if self.depth == 2 {
            // Not all of them: each is compared with those before it.
            let mut attributes = start.attributes().take(ATTRIBUTES).flatten();
            let stream = attributes.find(|a| a.key.local_name().into_inner() == "S");
            let stream = stream.and_then(|a| unescape(&a.value).ok().map(|value| value.to_ascii_lowercase()));
            let kind = match (stream.as_deref(), name) {
                (Some("error" | "warning"), "S") => Kind::Text,
                (Some("error" | "warning"), "Obj") => Kind::Object,
                _ => Kind::Ignored,
            };
            self.record = Some((kind, self.depth));
        }
        self.wanted = match self.record {
            Some((Kind::Text, depth)) => depth == self.depth,
            Some((Kind::Object, depth)) => depth + 1 == self.depth && name == "ToString",
            _ => false,
        };
        Some(())
    }

    fn add(&mut self, text: &str) {
        if self.wanted {
            self.text.push_str(text);
        }
    }

    fn leave(&mut self, out: &mut String) {
        if self.wanted {
            out.push_str(&decode_units(&self.text));
            if matches!(self.record, Some((Kind::Object, _))) {
                out.push_str("\r\n");
            }
            self.text.clear();
        }
        self.wanted = false;
        self.depth = self.depth.saturating_sub(1);
        if self.depth < 2 {
            self.record = None;
        }
    }
}

/// Undoes `_xHHHH_`; units that make no character become replacement characters.
fn decode_units(text: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let (before, after) = rest.split_at(at);
        units.extend(before.encode_utf16());
        let unit = after
            .get(2..6)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()) && after[6..].starts_with('_'))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let taken = match unit {
            Some(unit) => {
                units.push(unit);
                7
            }
            None => {
                units.extend("_x".encode_utf16());
                2
            }
        };
        rest = &after[taken..];
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objs(inner: &str) -> String {
        format!(
            "<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\">{inner}</Objs>"
        )
    }

    fn read(text: &str) -> String {
        clixml_text(text.as_bytes())
    }

    #[test]
    fn pieces_of_an_error_are_joined_and_progress_is_left_out() {
        let text = format!(
            "#< CLIXML\r\n{}",
            objs(
                "<Obj S=\"progress\" RefId=\"0\"><TN RefId=\"0\"><T>x</T></TN><MS><S N=\"Activity\">Preparing \
                  modules for first use.</S></MS></Obj><S S=\"Error\">The path &lt;C:\\a_x005F_b&gt; is too lo</S>\
                  <S S=\"Error\">ng_x000D__x000A_</S><S S=\"verbose\">chatter</S><S S=\"warning\">mind</S>"
            )
        );
        assert_eq!(read(&text), "The path <C:\\a_b> is too long\r\nmind");
    }

    #[test]
    fn several_documents_marks_and_text_between_are_all_read() {
        let error = objs("<S S=\"Error\">a_xD83D__xDE00_</S>");
        let text = format!(
            "\u{feff}before\u{feff}#< CLIXML\r\n{error}\u{feff}{error}between\r\n#< CLIXML\r\n{error}after"
        );
        assert_eq!(
            read(&text),
            "beforea\u{1f600}a\u{1f600}between\r\na\u{1f600}after"
        );
    }

    #[test]
    fn an_error_record_gives_its_own_text() {
        let record = "<Obj S=\"Error\" RefId=\"0\"><ToString>no such file</ToString><Props><S N=\"Message\">x</S></Props>\
                      </Obj>";
        assert_eq!(read(&format!("#< CLIXML\n{}", objs(record))), "no such file\r\n");
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_it_came_and_bounded() {
        assert_eq!(read("plain text"), "plain text");
        assert_eq!(
            read("#< CLIXML\r\n<Objs><S S=\"Error\">cut"),
            "<Objs><S S=\"Error\">cut"
        );
        assert_eq!(read("#< CLIXML\r\n<Objs><!DOCTYPE a>"), "<Objs><!DOCTYPE a>");
        let long = format!("#< CLIXML\n<Objs>{}", "x".repeat(100_000));
        assert_eq!(read(&long).len(), RAW);
        let deep = format!("#< CLIXML\n{}{}", "<Objs>".repeat(100), "</Objs>".repeat(100));
        assert_eq!(read(&deep).len(), 1_300);
        assert_eq!(clixml_text(&[0xff, b'a']), "\u{fffd}a");
    }

    #[test]
    fn a_document_is_read_down_to_the_stated_depth_and_no_deeper() {
        let nested = |levels: usize| {
            let (open, close) = ("<Obj>".repeat(levels), "</Obj>".repeat(levels));
            let inner = format!("{open}{close}<S S=\"Error\">shown</S>");
            read(&format!("#< CLIXML\n{}", objs(&inner)))
        };
        assert_eq!(nested(DEPTH - 1), "shown");
        assert!(nested(DEPTH).starts_with("<Objs"));
    }

    #[test]
    fn only_so_much_is_read_and_only_so_much_comes_out() {
        let ends_in_mark = |text: &str| text.len() <= LONGEST && text.ends_with(CUT);
        let plain = "a".repeat(LONGEST);
        assert_eq!(read(&plain), plain, "exactly as much as is allowed");
        assert!(ends_in_mark(&read(&format!("{plain}b"))));
        // Each of these bytes is three when it is shown.
        let shown = clixml_text(&vec![0xff; LONGEST / 2]);
        assert!(ends_in_mark(&shown) && shown.len() > LONGEST - 10);
        // A character across the limit is left out whole.
        let wide = format!("{}\u{1f600}", "a".repeat(LONGEST - 2));
        assert!(!read(&wide).contains('\u{fffd}'));
    }

    #[test]
    fn of_a_document_beyond_the_limit_the_records_before_it_are_read() {
        let record = format!("<S S=\"Error\">line_x000D__x000A_{}</S>", "x".repeat(1_000));
        let text = format!("#< CLIXML\n{}", objs(&record.repeat(LONGEST / record.len() + 1)));
        assert!(text.len() > LONGEST);
        let shown = read(&text);
        assert!(shown.starts_with("line\r\nxxx") && shown.ends_with(CUT));
        // The last one that fits begins a document's head later.
        assert_eq!(shown.matches("line\r\n").count(), LONGEST / record.len());
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for text in ["_x", "_x00", "_x00g0_", "_x0041", "a_x_b", "_x004\u{e9}_"] {
            assert_eq!(decode_units(text), text);
        }
        assert_eq!(decode_units("_x0041__x0042_"), "AB");
    }
}
