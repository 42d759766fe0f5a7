//! XML into a small tree, within limits, by namespace and local name.

use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

use super::Malformed;
use crate::settings::Limits;

/// The namespaces we tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ns {
    Soap,
    Addressing,
    Wsman,
    Shell,
    Transfer,
    Fault,
    Identity,
    Enumeration,
    Other,
}

impl Ns {
    fn of(uri: &str) -> Self {
        match uri {
            uri::SOAP => Self::Soap,
            uri::ADDRESSING => Self::Addressing,
            uri::WSMAN => Self::Wsman,
            uri::SHELL => Self::Shell,
            uri::TRANSFER => Self::Transfer,
            uri::FAULT => Self::Fault,
            uri::IDENTITY => Self::Identity,
            uri::ENUMERATION => Self::Enumeration,
            _ => Self::Other,
        }
    }
}

/// Namespace URIs. Source: DSP0226 section 4, MS-WSMV section 2.2.1.
pub(crate) mod uri {
    pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
    pub(crate) const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
    pub(crate) const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
    pub(crate) const MICROSOFT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";
    pub(crate) const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
    pub(crate) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
    pub(crate) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
    pub(crate) const FAULT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault";
    pub(crate) const IDENTITY: &str = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd";
}

/// One element with everything below it.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) ns: Ns,
    pub(crate) local: String,
    /// By local name; the namespaces of attributes never matter here.
    attributes: Vec<(String, String)>,
    /// The text directly inside, all pieces together.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn is(&self, ns: Ns, local: &str) -> bool {
        self.ns == ns && self.local == local
    }

    pub(crate) fn child(&self, ns: Ns, local: &str) -> Option<&Self> {
        self.children_named(ns, local).next()
    }

    pub(crate) fn children_named(&self, ns: Ns, local: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.is(ns, local))
    }

    pub(crate) fn attribute(&self, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(name, _)| name == local)
            .map(|(_, value)| value.as_str())
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn attribute_count(&self) -> usize {
        self.attributes.len()
    }

    /// This element and everything below it, in document order.
    pub(crate) fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        self.children.iter().for_each(|child| child.walk(visit));
    }
}

/// Reads one document. DTDs and entities other than the five of XML itself are refused.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Element, Malformed> {
    let text = decode(bytes)?;
    let mut reader = NsReader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0_usize;
    loop {
        let (resolved, event) = reader
            .read_resolved_event()
            .map_err(|_| Malformed("answer is not well-formed xml"))?;
        match event {
            Event::Start(start) => {
                elements += 1;
                if root.is_some() || elements > limits.xml_elements || open.len() >= limits.xml_depth {
                    return Err(Malformed("xml is nested too deeply or has too many elements"));
                }
                open.push(element(resolved, &start, limits)?);
            }
            Event::End(_) => {
                let done = open
                    .pop()
                    .ok_or(Malformed("xml ends an element that was not begun"))?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(piece) => push_text(&mut open, &piece.xml10_content())?,
            Event::CData(piece) => push_text(&mut open, &piece.xml10_content())?,
            Event::GeneralRef(name) => {
                let character = name
                    .resolve_char_ref()
                    .map_err(|_| Malformed("xml has a bad character"))?;
                match character {
                    Some(character) => push_text(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    None => push_text(
                        &mut open,
                        resolve_xml_entity(&name).ok_or(Malformed("xml has an entity of its own"))?,
                    )?,
                }
            }
            Event::DocType(_) => return Err(Malformed("xml has a document type")),
            Event::Eof => break,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match (root, open.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err(Malformed("xml is cut short")),
    }
}

fn element(
    resolved: ResolveResult<'_>,
    start: &BytesStart<'_>,
    limits: &Limits,
) -> Result<Element, Malformed> {
    let ns = match resolved {
        ResolveResult::Bound(namespace) => Ns::of(namespace.0),
        ResolveResult::Unbound => Ns::Other,
        ResolveResult::Unknown(_) => return Err(Malformed("xml uses an undeclared prefix")),
    };
    let mut attributes = Vec::new();
    for (count, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| Malformed("xml has a malformed attribute"))?;
        if count >= limits.xml_attributes {
            return Err(Malformed("xml element has too many attributes"));
        }
        if attribute.key.as_namespace_binding().is_none() {
            let value = unescape(&attribute.value).map_err(|_| Malformed("xml has an entity of its own"))?;
            attributes.push((
                attribute.key.local_name().into_inner().to_owned(),
                value.into_owned(),
            ));
        }
    }
    let local = start.local_name().into_inner().to_owned();
    Ok(Element {
        ns,
        local,
        attributes,
        text: String::new(),
        children: Vec::new(),
    })
}

fn push_text(open: &mut [Element], text: &str) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Malformed("xml has text outside of its root")),
    }
    Ok(())
}

/// UTF-8 with or without a byte order mark, UTF-16 with one.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let (units, odd) = bytes[2..].as_chunks::<2>();
        let units = units.iter().map(|pair| from(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        match text {
            Ok(text) if odd.is_empty() => Ok(Cow::Owned(text)),
            _ => Err(Malformed("answer is not valid utf-16")),
        }
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        all => utf8(all),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|_| Malformed("answer is not valid utf-8"))
}
