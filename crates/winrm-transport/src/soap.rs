//! SOAP envelopes of WS-Management: requests as text, answers as values. No I/O.
//!
//! Source: DSP0226 (WS-Management), MS-WSMV (the shell and the extensions of Microsoft).

mod answer;
pub(crate) mod codes;
mod document;
mod fault;
mod reader;
pub(crate) mod request;
mod scope;

pub(crate) use answer::{
    ReceiveAnswer, ShellEntry, command_id, decode_identity, decode_instance, decode_receive, decode_shells,
    relates_to, shell_id,
};
pub(crate) use document::Document;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use document::Element;
pub(crate) use fault::Fault;
pub(crate) use reader::parse;

/// A document that is not what it should be. The text names the rule, never the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

#[cfg(test)]
mod tests;
