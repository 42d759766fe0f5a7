//! SOAP faults: what the host refuses, as a number.

use super::document::Document;
use super::scope::Ns;

/// Longest text of a peer that we pass on, in characters.
const MESSAGE_CHARS: usize = 1_024;

/// One fault, reduced to what decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The innermost WSMan or WMI code; 0 when there is none.
    pub(crate) code: u32,
    /// The local name of the subcode, such as `TimedOut`.
    pub(crate) subcode: Option<String>,
    /// The host's own words, shortened. Never to be interpreted.
    pub(crate) message: String,
}

impl Fault {
    /// The fault in an envelope, if it is one.
    pub(crate) fn find(envelope: &Document) -> Option<Self> {
        let fault = envelope
            .root()
            .child(Ns::Soap, "Body")?
            .child(Ns::Soap, "Fault")?;
        let subcode = fault
            .child(Ns::Soap, "Code")
            .and_then(|code| code.child(Ns::Soap, "Subcode"))
            .and_then(|subcode| subcode.child(Ns::Soap, "Value"))
            .map(|value| shorten(value.text().rsplit(':').next().unwrap_or_default()));
        let mut code = None;
        let mut message = String::new();
        for element in fault.walk() {
            let number = match (element.ns(), element.local()) {
                (Ns::Fault, "WSManFault") => element.attribute("Code").and_then(number),
                (_, "error_Code") => number(element.text()),
                _ => None,
            };
            // A nested fault comes later in document order, and is the one that says why.
            code = number.or(code);
            if element.is(Ns::Fault, "Message") && !element.text().trim().is_empty() {
                message = shorten(element.text());
            }
        }
        if message.is_empty() {
            let reason = fault
                .child(Ns::Soap, "Reason")
                .and_then(|reason| reason.child(Ns::Soap, "Text"));
            message = shorten(reason.map_or("", |text| text.text()));
        }
        Some(Self {
            code: code.unwrap_or(0),
            subcode,
            message,
        })
    }
}

fn shorten(text: &str) -> String {
    text.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARS)
        .collect()
}

/// Decimal, signed decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse::<i64>().ok().and_then(|n| {
            u32::try_from(n)
                .ok()
                .or_else(|| i32::try_from(n).ok().map(|n| n as u32))
        }),
    }
}
