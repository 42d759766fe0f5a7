//! Answers as values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Malformed;
use super::reader::{Element, Ns};
use crate::output::{Identity, Instance};

fn body(envelope: &Element) -> Result<&Element, Malformed> {
    if !envelope.is(Ns::Soap, "Envelope") {
        return Err(Malformed("answer is not a soap envelope"));
    }
    envelope
        .child(Ns::Soap, "Body")
        .ok_or(Malformed("soap answer has no body"))
}

/// The message id that the answer says it answers.
pub(crate) fn relates_to(envelope: &Element) -> Option<&str> {
    envelope
        .child(Ns::Soap, "Header")?
        .child(Ns::Addressing, "RelatesTo")
        .map(|e| e.text.trim())
}

/// The id of the new shell: newer hosts repeat the shell, all of them name it as a selector.
pub(crate) fn shell_id(envelope: &Element) -> Result<String, Malformed> {
    let mut found = None;
    body(envelope)?.walk(&mut |element| {
        let selector = element.is(Ns::Wsman, "Selector") && element.attribute("Name") == Some("ShellId");
        if (selector || element.is(Ns::Shell, "ShellId")) && !element.text.trim().is_empty() {
            found.get_or_insert_with(|| element.text.trim().to_owned());
        }
    });
    found
        .filter(|id| id.len() <= 256)
        .ok_or(Malformed("answer to create has no shell id"))
}

/// The id of the new command.
pub(crate) fn command_id(envelope: &Element) -> Result<String, Malformed> {
    body(envelope)?
        .child(Ns::Shell, "CommandResponse")
        .and_then(|response| response.child(Ns::Shell, "CommandId"))
        .map(|id| id.text.trim().to_owned())
        .filter(|id| !id.is_empty() && id.len() <= 256)
        .ok_or(Malformed("answer to command has no command id"))
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
pub(crate) fn decode_receive(envelope: &Element, command: &str) -> Result<ReceiveAnswer, Malformed> {
    let response = body(envelope)?
        .child(Ns::Shell, "ReceiveResponse")
        .ok_or(Malformed("answer to receive has no receive response"))?;
    let ours = |element: &&Element| {
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
        let compact: Vec<u8> = stream
            .text
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        STANDARD
            .decode_vec(&compact, target)
            .map_err(|_| Malformed("stream is not base64"))?;
    }
    for state in response.children_named(Ns::Shell, "CommandState").filter(ours) {
        if state
            .attribute("State")
            .is_some_and(|state| state.ends_with("/Done"))
        {
            answer.done = true;
            if let Some(code) = state.child(Ns::Shell, "ExitCode") {
                let number: i64 = code
                    .text
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
pub(crate) fn decode_identity(envelope: &Element) -> Result<Identity, Malformed> {
    let response = body(envelope)?
        .child(Ns::Identity, "IdentifyResponse")
        .ok_or(Malformed("answer to identify has no identify response"))?;
    let text = |name| {
        let found = response.child(Ns::Identity, name).map(|e| e.text.trim());
        found.unwrap_or_default().chars().take(1_024).collect()
    };
    Ok(Identity {
        protocol_version: text("ProtocolVersion"),
        product_vendor: text("ProductVendor"),
        product_version: text("ProductVersion"),
    })
}

/// Reads the answer to Get: the first element of the body, its children as properties.
pub(crate) fn decode_instance(envelope: &Element) -> Result<Instance, Malformed> {
    let instance = body(envelope)?
        .children
        .first()
        .ok_or(Malformed("answer to get has an empty body"))?;
    let values = instance.children.iter().map(|property| {
        let mut text = String::new();
        property.walk(&mut |element| text.push_str(element.text.trim()));
        (property.local.clone(), text)
    });
    Ok(Instance {
        class: instance.local.clone(),
        values: values.collect(),
    })
}
