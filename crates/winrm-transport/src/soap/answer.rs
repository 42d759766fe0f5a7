//! Answers as values.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Malformed;
use super::document::{Document, Element};
use super::scope::Ns;
use crate::output::{Identity, Instance};

fn body(envelope: &Document) -> Result<Element<'_>, Malformed> {
    let envelope = envelope.root();
    if !envelope.is(Ns::Soap, "Envelope") {
        return Err(Malformed("answer is not a soap envelope"));
    }
    envelope
        .child(Ns::Soap, "Body")
        .ok_or(Malformed("soap answer has no body"))
}

/// The message id that the answer says it answers.
pub(crate) fn relates_to(envelope: &Document) -> Option<&str> {
    envelope
        .root()
        .child(Ns::Soap, "Header")?
        .child(Ns::Addressing, "RelatesTo")
        .map(|e| e.text().trim())
}

/// An id as hosts choose them. It goes into requests and logs, so that nothing but visible characters is taken.
fn id(text: &str) -> Option<String> {
    let id = text.trim();
    let sane = (1..=256).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    sane.then(|| id.to_owned())
}

/// The id of the new shell: newer hosts repeat the shell, all of them name it as a selector.
pub(crate) fn shell_id(envelope: &Document) -> Result<String, Malformed> {
    let names_it = |element: &Element<'_>| {
        element.is(Ns::Shell, "ShellId")
            || (element.is(Ns::Wsman, "Selector") && element.attribute("Name") == Some("ShellId"))
    };
    let mut named = body(envelope)?.walk().filter(names_it);
    named
        .find_map(|element| id(element.text()))
        .ok_or(Malformed("answer to create has no shell id"))
}

/// The id of the new command.
pub(crate) fn command_id(envelope: &Document) -> Result<String, Malformed> {
    body(envelope)?
        .child(Ns::Shell, "CommandResponse")
        .and_then(|response| response.child(Ns::Shell, "CommandId"))
        .and_then(|element| id(element.text()))
        .ok_or(Malformed("answer to command has no command id"))
}

/// One shell of the host, as an enumeration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShellEntry {
    pub(crate) id: String,
    /// What its creator called it; hosts that forget it give nothing.
    pub(crate) name: Option<String>,
    /// `DOMAIN\\user` in most cases.
    pub(crate) owner: String,
    /// How long nobody used it, where the host says so.
    pub(crate) idle: Option<Duration>,
}

/// Reads the answer to Enumerate or Pull: the shells, and where to go on if there are more.
pub(crate) fn decode_shells(envelope: &Document) -> Result<(Vec<ShellEntry>, Option<String>), Malformed> {
    let (mut shells, mut context, mut ended) = (Vec::new(), None, false);
    for element in body(envelope)?.walk() {
        let text = |name| {
            let found = element.child(Ns::Shell, name).map(|child| child.text().trim());
            found
                .filter(|text| !text.is_empty() && text.len() <= 256)
                .map(str::to_owned)
        };
        if element.is(Ns::Shell, "Shell") {
            shells.extend(text("ShellId").and_then(|text| id(&text)).map(|id| ShellEntry {
                id,
                name: text("Name").or_else(|| element.attribute("Name").map(str::to_owned)),
                owner: text("Owner").unwrap_or_default(),
                idle: text("ShellInactivity").and_then(|text| duration(&text)),
            }));
        } else if element.is(Ns::Enumeration, "EnumerationContext") {
            let more = element.text().trim();
            context = (!more.is_empty() && more.len() <= 4_096).then(|| more.to_owned());
        } else if element.is(Ns::Enumeration, "EndOfSequence") || element.is(Ns::Wsman, "EndOfSequence") {
            ended = true;
        }
    }
    Ok((shells, context.filter(|_| !ended)))
}

/// An ISO 8601 duration of days, hours, minutes and seconds; the fraction of a second is dropped.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('P')?;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        rest = rest.strip_prefix('T').unwrap_or(rest);
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = (rest[..unit_at].split('.').next()?, &rest[unit_at..=unit_at]);
        let each = match unit {
            "D" => 86_400,
            "H" => 3_600,
            "M" => 60,
            "S" => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(each)?)?;
        rest = &rest[unit_at + 1..];
    }
    Some(Duration::from_secs(seconds))
}

/// What one Receive brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveAnswer {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// The host said that the command is done.
    pub(crate) done: bool,
    /// With done only; the low 32 bits of whatever was printed.
    pub(crate) exit_code: Option<i32>,
}

/// Reads the answer to Receive for one command. Streams are appended in document order; only a state ending in
/// `/Done` ends the command, never `End="true"`. Source: MS-WSMV 3.1.4.14.
pub(crate) fn decode_receive(envelope: &Document, command: &str) -> Result<ReceiveAnswer, Malformed> {
    let response = body(envelope)?
        .child(Ns::Shell, "ReceiveResponse")
        .ok_or(Malformed("answer to receive has no receive response"))?;
    let ours = |element: &Element<'_>| {
        element
            .attribute("CommandId")
            .is_none_or(|id| id.eq_ignore_ascii_case(command))
    };
    let mut answer = ReceiveAnswer::default();
    for stream in response.children_named(Ns::Shell, "Stream").filter(ours) {
        let target = match stream.attribute("Name") {
            Some("stdout") => &mut answer.stdout,
            Some("stderr") => &mut answer.stderr,
            _ => continue,
        };
        let so_far = target.len();
        if STANDARD.decode_vec(stream.text(), target).is_err() {
            // Some hosts break long lines.
            target.truncate(so_far);
            let compact: String = stream.text().split_ascii_whitespace().collect();
            STANDARD
                .decode_vec(&compact, target)
                .map_err(|_| Malformed("stream is not base64"))?;
        }
    }
    for state in response.children_named(Ns::Shell, "CommandState").filter(ours) {
        if state
            .attribute("State")
            .is_some_and(|state| state.ends_with("/Done"))
        {
            answer.done = true;
            if let Some(code) = state.child(Ns::Shell, "ExitCode") {
                let number: i64 = code
                    .text()
                    .trim()
                    .parse()
                    .map_err(|_| Malformed("exit code is no number"))?;
                // Printed signed by some hosts and unsigned by others: the low 32 bits are the code.
                answer.exit_code = Some(number as i32);
            }
        }
    }
    Ok(answer)
}

/// Reads the answer to Identify.
pub(crate) fn decode_identity(envelope: &Document) -> Result<Identity, Malformed> {
    let response = body(envelope)?
        .child(Ns::Identity, "IdentifyResponse")
        .ok_or(Malformed("answer to identify has no identify response"))?;
    let text = |name| {
        let found = response.child(Ns::Identity, name).map(|e| e.text().trim());
        let visible = found.unwrap_or_default().chars().filter(|c| !c.is_control());
        visible.take(1_024).collect()
    };
    Ok(Identity {
        protocol_version: text("ProtocolVersion"),
        product_vendor: text("ProductVendor"),
        product_version: text("ProductVersion"),
    })
}

/// Reads the answer to Get: the first element of the body, its children as properties.
pub(crate) fn decode_instance(envelope: &Document) -> Result<Instance, Malformed> {
    let instance = body(envelope)?
        .children()
        .next()
        .ok_or(Malformed("answer to get has an empty body"))?;
    let values = instance.children().map(|property| {
        let text = property.walk().map(|element| element.text().trim()).collect();
        (property.local().to_owned(), text)
    });
    Ok(Instance {
        class: instance.local().to_owned(),
        values: values.collect(),
    })
}
