//! One pass over an XML document, within limits.

use quick_xml::Reader;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::PrefixDeclaration;

use super::Malformed;
use super::document::{Document, Node, Span, Text};
use super::scope::Scope;
use crate::settings::Limits;

const ILL_FORMED: Malformed = Malformed("answer is not well-formed xml");
const BAD_ATTRIBUTE: Malformed = Malformed("xml has a malformed attribute");
const OWN_ENTITY: Malformed = Malformed("xml has an entity of its own");

/// Room that is made at once: enough for what hosts answer to commands.
const USUAL_ELEMENTS: usize = 24;
const USUAL_DEPTH: usize = 8;

/// Reads one document. DTDs and entities other than the five of XML itself are refused.
pub(crate) fn parse(bytes: impl Into<Vec<u8>>, limits: &Limits) -> Result<Document, Malformed> {
    let text = decode(bytes.into())?;
    if u32::try_from(text.len()).is_err() {
        return Err(Malformed("answer is larger than can be read"));
    }
    let parts = Parts::read(&text, limits)?;
    let (nodes, attributes) = (parts.nodes, parts.attributes);
    Ok(Document {
        text,
        nodes,
        attributes,
    })
}

/// What has been read so far of `text`.
struct Parts<'a> {
    text: &'a str,
    limits: &'a Limits,
    nodes: Vec<Node>,
    attributes: Vec<(Span, Text)>,
    /// Positions of the elements that have not ended, outermost first.
    open: Vec<u32>,
    scope: Scope<'a>,
    /// Names of the attributes of the element being read, to find one that is there twice.
    names: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str, limits: &'a Limits) -> Result<Self, Malformed> {
        let mut parts = Self {
            text,
            limits,
            nodes: Vec::with_capacity(USUAL_ELEMENTS),
            attributes: Vec::with_capacity(USUAL_ELEMENTS),
            open: Vec::with_capacity(USUAL_DEPTH),
            scope: Scope::default(),
            names: Vec::new(),
        };
        let mut reader = Reader::from_str(text);
        loop {
            match reader.read_event().map_err(|_| ILL_FORMED)? {
                Event::Start(start) => parts.begin(&start)?,
                Event::Empty(start) => {
                    parts.begin(&start)?;
                    parts.end()?;
                }
                Event::End(_) => parts.end()?,
                Event::Text(piece) => parts.push_text(&piece.xml10_content())?,
                Event::CData(piece) => parts.push_text(&piece.xml10_content())?,
                Event::GeneralRef(name) => parts.push_reference(&name)?,
                Event::DocType(_) => return Err(Malformed("xml has a document type")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => break,
            }
        }
        if parts.nodes.is_empty() || !parts.open.is_empty() {
            return Err(Malformed("xml is cut short"));
        }
        Ok(parts)
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), Malformed> {
        let (count, depth) = (self.nodes.len(), self.open.len());
        let second_root = depth == 0 && count > 0;
        if second_root || count >= self.limits.xml_elements || depth >= self.limits.xml_depth {
            return Err(Malformed("xml is nested too deeply or has too many elements"));
        }
        let attributes = self.take_attributes(start, depth)?;
        let (local, prefix) = start.name().decompose();
        let ns = self
            .scope
            .resolve(prefix.as_ref().map(|prefix| prefix.into_inner()))?;
        let local = Span::of(local.into_inner(), self.text).ok_or(ILL_FORMED)?;
        self.open.push(count as u32);
        self.nodes.push(Node {
            ns,
            local,
            attributes,
            text: Text::NONE,
            end: 0,
        });
        Ok(())
    }

    /// Adds the attributes of one element to those of the document, and the namespaces that it declares to those
    /// in scope.
    fn take_attributes(&mut self, start: &BytesStart<'_>, depth: usize) -> Result<Span, Malformed> {
        let from = self.attributes.len() as u32;
        self.names.clear();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| BAD_ATTRIBUTE)?;
            if self.names.len() >= self.limits.xml_attributes {
                return Err(Malformed("xml element has too many attributes"));
            }
            let name = self.part(attribute.key.into_inner())?;
            if self.names.contains(&name) {
                return Err(BAD_ATTRIBUTE);
            }
            self.names.push(name);
            match attribute.key.as_namespace_binding() {
                Some(PrefixDeclaration::Default) => self.scope.bind("", &attribute.value, depth)?,
                Some(PrefixDeclaration::Named(prefix)) => {
                    let prefix = self.part(prefix)?;
                    self.scope.declare(prefix, &attribute.value, depth)?;
                }
                None => {
                    let value = unescape(&attribute.value).map_err(|_| OWN_ENTITY)?;
                    let local = attribute.key.local_name().into_inner();
                    let local = Span::of(local, self.text).ok_or(ILL_FORMED)?;
                    let mut kept = Text::NONE;
                    kept.push(&value, self.text);
                    self.attributes.push((local, kept));
                }
            }
        }
        let to = self.attributes.len() as u32;
        Ok(Span { from, to })
    }

    /// The same text, for as long as the document lives.
    fn part(&self, piece: &str) -> Result<&'a str, Malformed> {
        let span = Span::of(piece, self.text).ok_or(ILL_FORMED)?;
        Ok(&self.text[span.range()])
    }

    fn end(&mut self) -> Result<(), Malformed> {
        let ended = self.open.pop();
        let at = ended.ok_or(Malformed("xml ends an element that was not begun"))?;
        self.nodes[at as usize].end = self.nodes.len() as u32;
        self.scope.leave(self.open.len());
        Ok(())
    }

    fn push_text(&mut self, piece: &str) -> Result<(), Malformed> {
        match self.open.last() {
            Some(&at) => self.nodes[at as usize].text.push(piece, self.text),
            None if piece.trim().is_empty() => {}
            None => return Err(Malformed("xml has text outside of its root")),
        }
        Ok(())
    }

    fn push_reference(&mut self, name: &BytesRef<'_>) -> Result<(), Malformed> {
        let character = name
            .resolve_char_ref()
            .map_err(|_| Malformed("xml has a bad character"))?;
        match character {
            Some(character) => self.push_text(character.encode_utf8(&mut [0; 4])),
            None => self.push_text(resolve_xml_entity(name).ok_or(OWN_ENTITY)?),
        }
    }
}

/// UTF-8 with or without a byte order mark, UTF-16 with one.
fn decode(mut bytes: Vec<u8>) -> Result<String, Malformed> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let (units, odd) = bytes[2..].as_chunks::<2>();
        let units = units.iter().map(|pair| from(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        match text {
            Ok(text) if odd.is_empty() => Ok(text),
            _ => Err(Malformed("answer is not valid utf-16")),
        }
    };
    match *bytes {
        [0xff, 0xfe, ..] => return wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => return wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, ..] => drop(bytes.drain(..3)),
        _ => {}
    }
    String::from_utf8(bytes).map_err(|_| Malformed("answer is not valid utf-8"))
}
