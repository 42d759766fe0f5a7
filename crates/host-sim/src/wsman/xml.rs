//! Small XML trees: reading requests by namespace, writing answers.

use quick_xml::NsReader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::name::ResolveResult;
use quick_xml::writer::Writer;

/// Deepest nesting taken.
const DEPTH_LIMIT: usize = 64;

/// Why a request is no usable XML.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("not well-formed")]
    Syntax(#[from] quick_xml::Error),
    #[error("bad attribute")]
    Attribute(#[from] quick_xml::events::attributes::AttrError),
    #[error("document type definitions are refused")]
    DocType,
    #[error("unknown entity")]
    Entity,
    #[error("nested deeper than {DEPTH_LIMIT}")]
    TooDeep,
    #[error("ends before its root element does")]
    Unfinished,
}

/// An element that was read.
#[derive(Debug, Default)]
pub(crate) struct Element {
    namespace: String,
    name: String,
    attributes: Vec<(String, String)>,
    /// Its own text, entities resolved, children left out.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn parse(text: &str) -> Result<Self, XmlError> {
        let mut reader = NsReader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        loop {
            let (resolved, event) = reader.read_resolved_event()?;
            let closed = match event {
                Event::Start(tag) => {
                    if open.len() >= DEPTH_LIMIT {
                        return Err(XmlError::TooDeep);
                    }
                    let element = Self::from_tag(&resolved, &tag)?;
                    open.push(element);
                    None
                }
                Event::Empty(tag) => Some(Self::from_tag(&resolved, &tag)?),
                Event::End(_) => open.pop(),
                Event::Text(piece) => {
                    if let Some(top) = open.last_mut() {
                        top.text.push_str(&piece.xml10_content());
                    }
                    None
                }
                Event::CData(piece) => {
                    if let Some(top) = open.last_mut() {
                        top.text.push_str(&piece);
                    }
                    None
                }
                Event::GeneralRef(entity) => {
                    if let Some(top) = open.last_mut() {
                        match entity.resolve_char_ref()? {
                            Some(c) => top.text.push(c),
                            None => top
                                .text
                                .push_str(resolve_xml_entity(&entity).ok_or(XmlError::Entity)?),
                        }
                    }
                    None
                }
                Event::DocType(_) => return Err(XmlError::DocType),
                Event::Eof => return Err(XmlError::Unfinished),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => None,
            };
            if let Some(element) = closed {
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(element),
                }
            }
        }
    }

    fn from_tag(resolved: &ResolveResult<'_>, tag: &BytesStart<'_>) -> Result<Self, XmlError> {
        let namespace = match resolved {
            ResolveResult::Bound(namespace) => namespace.0.to_owned(),
            ResolveResult::Unbound | ResolveResult::Unknown(_) => String::new(),
        };
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute?;
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)?
                .into_owned();
            attributes.push((attribute.key.local_name().as_ref().to_owned(), value));
        }
        let name = tag.local_name().as_ref().to_owned();
        Ok(Self {
            namespace,
            name,
            attributes,
            text: String::new(),
            children: Vec::new(),
        })
    }

    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    pub(crate) fn child(&self, namespace: &str, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| c.is(namespace, name))
    }

    pub(crate) fn all<'a>(&'a self, namespace: &'a str, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |c| c.is(namespace, name))
    }

    /// An attribute by its local name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// An element to be written. Prefixes are those of the answer's envelope.
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Tag>,
}

impl Tag {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            text: String::new(),
            children: Vec::new(),
        }
    }

    pub(crate) fn with_text(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::new(name)
        }
    }

    pub(crate) fn attr(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    pub(crate) fn child(mut self, child: Tag) -> Self {
        self.children.push(child);
        self
    }

    pub(crate) fn children(mut self, children: impl IntoIterator<Item = Tag>) -> Self {
        self.children.extend(children);
        self
    }

    pub(crate) fn to_xml(&self) -> String {
        let mut writer = Writer::new(Vec::new());
        // Writing into memory does not fail.
        if self.write(&mut writer).is_err() {
            return String::new();
        }
        String::from_utf8(writer.into_inner()).unwrap_or_default()
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let attributes = self
            .attributes
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let element = writer.create_element(self.name).with_attributes(attributes);
        if self.children.is_empty() && self.text.is_empty() {
            element.write_empty()?;
        } else {
            element.write_inner_content(|inner| {
                if !self.text.is_empty() {
                    inner.write_event(Event::Text(BytesText::new(&self.text)))?;
                }
                self.children.iter().try_for_each(|child| child.write(inner))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_by_namespace_and_text_is_unescaped() {
        let root =
            Element::parse("<q:a xmlns:q='urn:x' k=\"1 &amp; 2\"><b xmlns='urn:y'>x &lt;&#65;</b></q:a>")
                .unwrap();
        assert!(root.is("urn:x", "a"));
        assert_eq!(root.attribute("k"), Some("1 & 2"));
        assert_eq!(root.child("urn:y", "b").unwrap().text, "x <A");
        assert!(root.child("urn:x", "b").is_none());
    }

    #[test]
    fn dangerous_or_broken_documents_are_refused() {
        assert!(matches!(
            Element::parse("<!DOCTYPE a><a/>"),
            Err(XmlError::DocType)
        ));
        assert!(matches!(Element::parse("<a>&x;</a>"), Err(XmlError::Entity)));
        assert!(matches!(
            Element::parse(&"<a>".repeat(100)),
            Err(XmlError::TooDeep)
        ));
        assert!(matches!(Element::parse("<a>"), Err(XmlError::Unfinished)));
        assert!(Element::parse("<a></b>").is_err());
    }

    #[test]
    fn written_text_is_escaped() {
        let xml = Tag::new("a")
            .attr("k", "\"<")
            .child(Tag::with_text("b", "x & y"))
            .to_xml();
        let read = Element::parse(&xml).unwrap();
        assert_eq!(read.attribute("k"), Some("\"<"));
        assert_eq!(read.children[0].text, "x & y");
    }
}
