//! SOAP answers, through every decoder.

use crate::settings::Limits;
use crate::soap::{self, Document, Element, Fault, parse};

/// Longest text of a peer that leaves a decoder other than output, property values and namespaces, in characters.
const SHORT_TEXT: usize = 1_024;

/// Reads `data` as an answer to every request there is.
///
/// # Panics
/// When a limit does not hold, or something that must be refused is not.
pub fn soap(data: &[u8]) {
    let limits = Limits::default();
    let Ok(root) = parse(data, &limits) else { return };
    let size = measure(root.root(), 1, &limits);
    assert!(size.elements <= limits.xml_elements);
    // UTF-16 grows by a half at most when it becomes UTF-8; escapes only shrink.
    assert!(size.text <= data.len() * 3 / 2, "text out of nothing");
    answers(&root, size.text);
    if data.len() < 4_096 && !wide(data) {
        refused(data, &limits);
    }
}

fn wide(data: &[u8]) -> bool {
    data.starts_with(&[0xff, 0xfe]) || data.starts_with(&[0xfe, 0xff])
}

#[derive(Default)]
struct Size {
    elements: usize,
    text: usize,
}

fn measure(element: Element<'_>, depth: usize, limits: &Limits) -> Size {
    assert!(depth <= limits.xml_depth, "deeper than allowed");
    assert!(element.attribute_count() <= limits.xml_attributes);
    let mut size = Size {
        elements: 1,
        text: element.text().len(),
    };
    for child in element.children() {
        let inner = measure(child, depth + 1, limits);
        size.elements += inner.elements;
        size.text += inner.text;
    }
    size
}

/// No decoder gives more than there was.
fn answers(root: &Document, text: usize) {
    if let Some(fault) = Fault::find(root) {
        assert!(fault.message.chars().count() <= SHORT_TEXT);
        assert!(!fault.message.contains(char::is_control));
        assert!(
            fault
                .subcode
                .is_none_or(|code| code.chars().count() <= SHORT_TEXT)
        );
    }
    for id in [soap::shell_id(root), soap::command_id(root)]
        .into_iter()
        .flatten()
    {
        check_id(&id);
    }
    if let Ok((shells, context)) = soap::decode_shells(root) {
        shells.iter().for_each(|shell| check_id(&shell.id));
        assert!(context.is_none_or(|context| context.len() <= 4_096));
    }
    if let Ok(answer) = soap::decode_receive(root, "8C1F0A2E-1D57-4B6A-9C1B-0A1B2C3D4E5F") {
        assert!(answer.stdout.len() + answer.stderr.len() <= text);
        assert!(answer.done || answer.exit_code.is_none());
    }
    if let Ok(identity) = soap::decode_identity(root) {
        for text in [
            identity.protocol_version,
            identity.product_vendor,
            identity.product_version,
        ] {
            assert!(text.chars().count() <= SHORT_TEXT && !text.contains(char::is_control));
        }
    }
    if let Ok(instance) = soap::decode_instance(root) {
        assert!(instance.values().map(|(_, value)| value.len()).sum::<usize>() <= text);
    }
    let _ = soap::relates_to(root);
}

/// Ids go back into requests and into logs.
fn check_id(id: &str) {
    assert!((1..=256).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
}

/// A document that is read becomes one that is not, by a document type, an entity or too many levels around it.
fn refused(data: &[u8], limits: &Limits) {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let around = |before: &str, after: &str| {
        let document = [before.as_bytes(), data, after.as_bytes()].concat();
        parse(document, limits).map(drop)
    };
    assert!(
        around("<!DOCTYPE a [<!ENTITY e 'x'>]>", "").is_err(),
        "document type"
    );
    assert!(around("<a>&e;", "</a>").is_err(), "entity");
    assert!(around("<a b='&e;'>", "</a>").is_err(), "entity in an attribute");
    let (before, after) = ("<a>".repeat(limits.xml_depth), "</a>".repeat(limits.xml_depth));
    assert!(around(&before, &after).is_err(), "depth");
    assert!(around("", "<a/>").is_err(), "two roots");
    assert!(around("<p:a>", "</p:a>").is_err(), "undeclared prefix");
}
