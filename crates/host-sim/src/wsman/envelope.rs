//! SOAP envelopes: what a request asks, and how an answer is wrapped.

use std::time::Duration;

use uuid::Uuid;

use super::fault::SoapFault;
use super::ns;
use super::xml::{Element, Tag};

/// Smallest envelope a client may ask for.
const LEAST_ENVELOPE: usize = 8192;
/// Envelope size when the client names none.
const USUAL_ENVELOPE: usize = 153_600;
/// Largest envelope sent (MaxEnvelopeSizekb of 500).
const MOST_ENVELOPE: usize = 512_000;
/// Operation time-out when the client names none.
const USUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// One request, read.
#[derive(Debug)]
pub(crate) struct Request {
    envelope: Element,
    pub(crate) action: String,
    pub(crate) message_id: String,
    pub(crate) resource: String,
}

impl Request {
    /// Reads an envelope. `None` when the text is no SOAP envelope at all.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let envelope = Element::parse(text).ok().filter(|e| e.is(ns::SOAP, "Envelope"))?;
        let header = |namespace: &str, name: &str| {
            let block = envelope
                .child(ns::SOAP, "Header")
                .and_then(|h| h.child(namespace, name));
            block.map(|b| b.text.trim().to_owned()).unwrap_or_default()
        };
        let action = header(ns::ADDRESSING, "Action");
        let message_id = header(ns::ADDRESSING, "MessageID");
        let resource = header(ns::WSMAN, "ResourceURI");
        Some(Self {
            envelope,
            action,
            message_id,
            resource,
        })
    }

    fn header(&self, name: &str) -> Option<&Element> {
        self.envelope.child(ns::SOAP, "Header")?.child(ns::WSMAN, name)
    }

    /// An element of the body.
    pub(crate) fn body(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.envelope.child(ns::SOAP, "Body")?.child(namespace, name)
    }

    pub(crate) fn selector(&self, name: &str) -> Option<&str> {
        let set = self.header("SelectorSet")?;
        let found = set
            .all(ns::WSMAN, "Selector")
            .find(|s| s.attribute("Name") == Some(name));
        found.map(|s| s.text.trim())
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let set = self.header("OptionSet")?;
        let found = set
            .all(ns::WSMAN, "Option")
            .find(|o| o.attribute("Name").is_some_and(|n| n.eq_ignore_ascii_case(name)));
        found.map(|o| o.text.trim())
    }

    /// How many bytes the answer may have.
    pub(crate) fn max_envelope(&self) -> Result<usize, SoapFault> {
        let Some(header) = self.header("MaxEnvelopeSize") else {
            return Ok(USUAL_ENVELOPE);
        };
        match header.text.trim().parse::<usize>() {
            Ok(size) if size >= LEAST_ENVELOPE => Ok(size.min(MOST_ENVELOPE)),
            _ => Err(SoapFault::envelope_too_small()),
        }
    }

    /// How long the client lets an operation take.
    pub(crate) fn timeout(&self) -> Result<Duration, SoapFault> {
        let Some(header) = self.header("OperationTimeout") else {
            return Ok(USUAL_TIMEOUT);
        };
        duration(header.text.trim()).ok_or_else(SoapFault::bad_timeout)
    }
}

/// Reads an ISO 8601 duration in days, hours, minutes and seconds. `P`, `PT` and negative values are refused.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let mut seconds = 0.0;
    let mut parts = 0;
    for (part, units) in [
        (date, &[('Y', 31_536_000.0), ('M', 2_592_000.0), ('D', 86_400.0)]),
        (time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)]),
    ] {
        let mut number = String::new();
        for c in part.chars() {
            if c.is_ascii_digit() || c == '.' {
                number.push(c);
                continue;
            }
            let (_, factor) = units.iter().find(|(unit, _)| *unit == c)?;
            seconds += number.parse::<f64>().ok()? * factor;
            number.clear();
            parts += 1;
        }
        if !number.is_empty() {
            return None;
        }
    }
    if parts == 0 {
        None
    } else {
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Writes an ISO 8601 duration.
pub(crate) fn duration_text(duration: Duration) -> String {
    format!("PT{}.{:03}S", duration.as_secs(), duration.subsec_millis())
}

/// Wraps a body into the envelope of an answer.
pub(crate) fn wrap(action: &str, relates_to: &str, body: impl IntoIterator<Item = Tag>) -> String {
    let mut header = Tag::new("s:Header")
        .child(Tag::with_text("a:Action", action))
        .child(Tag::with_text("a:MessageID", fresh_id()))
        .child(Tag::with_text(
            "a:To",
            format!("{}/role/anonymous", ns::ADDRESSING),
        ));
    if !relates_to.is_empty() {
        header = header.child(Tag::with_text("a:RelatesTo", relates_to));
    }
    Tag::new("s:Envelope")
        .attr("xml:lang", "en-US")
        .attr("xmlns:s", ns::SOAP)
        .attr("xmlns:a", ns::ADDRESSING)
        .attr("xmlns:x", ns::TRANSFER)
        .attr("xmlns:w", ns::WSMAN)
        .attr("xmlns:rsp", ns::SHELL)
        .attr("xmlns:n", ns::ENUMERATION)
        .attr("xmlns:p", ns::WSMAN_MS)
        .child(header)
        .child(Tag::new("s:Body").children(body))
        .to_xml()
}

fn fresh_id() -> String {
    format!("uuid:{}", Uuid::new_v4().to_string().to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_nonsense_is_refused() {
        assert_eq!(duration("PT20S"), Some(Duration::from_secs(20)));
        assert_eq!(duration("PT60.000S"), Some(Duration::from_secs(60)));
        assert_eq!(duration("P1DT1H1M0.5S"), Some(Duration::from_millis(90_060_500)));
        for bad in ["", "P", "PT", "PT-5S", "-PT5S", "PT5", "5S", "PT1X", "PTS"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
