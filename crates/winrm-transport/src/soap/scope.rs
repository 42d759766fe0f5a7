//! Namespaces: which there are, and which prefix means which of them.

use super::Malformed;

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
    pub(crate) const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
    pub(crate) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
    pub(crate) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
    pub(crate) const FAULT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault";
    pub(crate) const IDENTITY: &str = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd";
}

/// Namespaces with one meaning only. Source: Namespaces in XML 1.0, section 3.
const RESERVED: [&str; 2] = [
    "http://www.w3.org/XML/1998/namespace",
    "http://www.w3.org/2000/xmlns/",
];
const UNDECLARED: Malformed = Malformed("xml uses an undeclared prefix");
/// Declarations in force at once. Hosts make about ten; each prefix is looked for among all of them.
const MOST: usize = 128;

/// The declarations in force, innermost last.
#[derive(Debug, Default)]
pub(super) struct Scope<'a>(Vec<Binding<'a>>);

#[derive(Debug)]
struct Binding<'a> {
    /// Empty for the default.
    prefix: &'a str,
    /// Nothing where a declaration only ends another.
    ns: Option<Ns>,
    /// How many elements are around the one that declares it.
    depth: usize,
}

impl<'a> Scope<'a> {
    /// Takes the declaration of a prefix.
    pub(super) fn declare(&mut self, prefix: &'a str, uri: &str, depth: usize) -> Result<(), Malformed> {
        match prefix {
            "xml" if uri == RESERVED[0] => Ok(()),
            "xml" | "xmlns" => Err(Malformed("xml declares a reserved prefix")),
            _ if RESERVED.contains(&uri) => Err(Malformed("xml declares a reserved namespace")),
            _ => self.bind(prefix, uri, depth),
        }
    }

    pub(super) fn bind(&mut self, prefix: &'a str, uri: &str, depth: usize) -> Result<(), Malformed> {
        if self.0.len() >= MOST {
            return Err(Malformed("xml declares too many namespaces"));
        }
        let ns = (!uri.is_empty()).then(|| Ns::of(uri));
        self.0.push(Binding { prefix, ns, depth });
        Ok(())
    }

    /// Forgets what was declared with `depth` elements around it.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.0.pop_if(|binding| binding.depth >= depth).is_some() {}
    }

    /// The namespace of an element.
    pub(super) fn resolve(&self, prefix: Option<&str>) -> Result<Ns, Malformed> {
        let last = |prefix| self.0.iter().rev().find(|binding| binding.prefix == prefix);
        match prefix {
            None => Ok(last("").and_then(|binding| binding.ns).unwrap_or(Ns::Other)),
            Some("xml" | "xmlns") => Ok(Ns::Other),
            // A name that begins with a colon has no prefix that could be declared.
            Some("") => Err(UNDECLARED),
            Some(prefix) => last(prefix).and_then(|binding| binding.ns).ok_or(UNDECLARED),
        }
    }
}
