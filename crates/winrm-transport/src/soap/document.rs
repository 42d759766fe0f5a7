//! What was read, by namespace and local name: where things are in the text, without copies of them.

use std::ops::Range;

use super::scope::Ns;

/// A document that was read once: its text, and where in it everything is. Only text that is not there in one
/// piece, or is written with references, is kept a second time.
#[derive(Debug)]
pub(crate) struct Document {
    pub(super) text: String,
    /// In document order: an element is followed by everything below it.
    pub(super) nodes: Vec<Node>,
    /// Local name and value.
    pub(super) attributes: Vec<(Span, Text)>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) ns: Ns,
    pub(super) local: Span,
    /// Which of the document's attributes are its own.
    pub(super) attributes: Span,
    pub(super) text: Text,
    /// The position behind the last element below it.
    pub(super) end: u32,
}

/// From and to, in bytes of the text or in entries of a list. Documents are far shorter than 4 GiB.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Span {
    pub(super) fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    /// Where `piece` is in `whole`, if it is a part of it.
    pub(super) fn of(piece: &str, whole: &str) -> Option<Self> {
        let from = (piece.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let to = from + piece.len();
        let inside = to <= whole.len();
        inside.then_some(Self {
            from: from as u32,
            to: to as u32,
        })
    }
}

/// Some text of a document.
#[derive(Debug)]
pub(super) enum Text {
    There(Span),
    Own(String),
}

impl Text {
    pub(super) const NONE: Self = Self::There(Span { from: 0, to: 0 });

    pub(super) fn push(&mut self, piece: &str, whole: &str) {
        match self {
            _ if piece.is_empty() => {}
            Self::Own(text) => text.push_str(piece),
            Self::There(span) => {
                let before = &whole[span.range()];
                *self = match Span::of(piece, whole) {
                    Some(span) if before.is_empty() => Self::There(span),
                    _ => Self::Own([before, piece].concat()),
                };
            }
        }
    }

    pub(super) fn get<'a>(&'a self, whole: &'a str) -> &'a str {
        match self {
            Self::There(span) => &whole[span.range()],
            Self::Own(text) => text,
        }
    }
}

impl Document {
    pub(crate) fn root(&self) -> Element<'_> {
        Element {
            document: self,
            at: 0,
        }
    }
}

/// One element with everything below it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    document: &'a Document,
    at: usize,
}

impl<'a> Element<'a> {
    fn node(self) -> &'a Node {
        &self.document.nodes[self.at]
    }

    pub(crate) fn ns(self) -> Ns {
        self.node().ns
    }

    /// The name without its prefix.
    pub(crate) fn local(self) -> &'a str {
        &self.document.text[self.node().local.range()]
    }

    /// The text directly inside, all pieces together.
    pub(crate) fn text(self) -> &'a str {
        self.node().text.get(&self.document.text)
    }

    pub(crate) fn is(self, ns: Ns, local: &str) -> bool {
        self.ns() == ns && self.local() == local
    }

    pub(crate) fn child(self, ns: Ns, local: &str) -> Option<Self> {
        self.children_named(ns, local).next()
    }

    pub(crate) fn children_named(self, ns: Ns, local: &str) -> impl Iterator<Item = Self> {
        self.children().filter(move |child| child.is(ns, local))
    }

    pub(crate) fn children(self) -> impl Iterator<Item = Self> {
        let (document, end) = (self.document, self.node().end as usize);
        let child = move |at| (at < end).then_some(Self { document, at });
        std::iter::successors(child(self.at + 1), move |before| {
            child(before.node().end as usize)
        })
    }

    /// By local name; the namespaces of attributes never matter here.
    pub(crate) fn attribute(self, local: &str) -> Option<&'a str> {
        let whole = &self.document.text;
        self.attributes()
            .iter()
            .find(|(name, _)| &whole[name.range()] == local)
            .map(|(_, value)| value.get(whole))
    }

    fn attributes(self) -> &'a [(Span, Text)] {
        &self.document.attributes[self.node().attributes.range()]
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn attribute_count(self) -> usize {
        self.attributes().len()
    }

    /// This element and everything below it, in document order.
    pub(crate) fn walk(self) -> impl Iterator<Item = Self> {
        let document = self.document;
        (self.at..self.node().end as usize).map(move |at| Self { document, at })
    }
}
