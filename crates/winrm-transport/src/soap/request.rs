//! Requests, written with a real XML writer.

use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use super::reader::uri;
use crate::command::Command;
use crate::settings::Limits;

const CMD_SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd";
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";

/// How a command is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalCode {
    /// Politely, as if somebody pressed the keys.
    CtrlC,
    /// At once; also frees the operation of a command that has ended.
    Terminate,
}

/// What stays the same for every request of a client.
#[derive(Debug, Clone)]
pub(crate) struct Addressing {
    /// The endpoint URL.
    pub(crate) to: String,
    pub(crate) operation_timeout: Duration,
    pub(crate) envelope_bytes: u32,
    /// Groups our requests in the host's logs.
    pub(crate) session_id: String,
}

impl Addressing {
    pub(crate) fn new(to: String, operation_timeout: Duration, limits: &Limits) -> Self {
        let session_id = fresh_id();
        Self {
            to,
            operation_timeout,
            envelope_bytes: limits.envelope_bytes,
            session_id,
        }
    }
}

/// One request: its text and the id that the answer must repeat.
pub(crate) struct Request {
    pub(crate) message_id: String,
    pub(crate) xml: String,
}

/// A UUID in the spelling WinRM uses.
pub(crate) fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string().to_uppercase()
}

/// Source: MS-WSMV 3.1.4.5; the order of the children is that of its schema.
pub(crate) fn create(addressing: &Addressing, shell_id: &str, idle: Duration) -> Request {
    let head = Head {
        action: "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create",
        resource: CMD_SHELL,
        shell_id: None,
        options: &[("WINRS_NOPROFILE", "TRUE"), ("WINRS_CODEPAGE", "65001")],
    };
    envelope(addressing, &head, |xml| {
        xml.open("rsp:Shell", &[("ShellId", shell_id)]);
        xml.leaf("rsp:IdleTimeOut", &[], &seconds(idle));
        xml.leaf("rsp:InputStreams", &[], "stdin");
        xml.leaf("rsp:OutputStreams", &[], "stdout stderr");
        xml.close("rsp:Shell");
    })
}

/// `words` are quoted already; the host joins them with blanks. Source: MS-WSMV 3.1.4.11.
pub(crate) fn command(
    addressing: &Addressing,
    shell_id: &str,
    command_id: &str,
    command: &Command,
    words: &[String],
) -> Request {
    let skip = if command.skips_cmd_shell() {
        "TRUE"
    } else {
        "FALSE"
    };
    let head = Head {
        action: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Command",
        resource: CMD_SHELL,
        shell_id: Some(shell_id),
        options: &[
            ("WINRS_CONSOLEMODE_STDIN", "TRUE"),
            ("WINRS_SKIP_CMD_SHELL", skip),
        ],
    };
    envelope(addressing, &head, |xml| {
        xml.open("rsp:CommandLine", &[("CommandId", command_id)]);
        for (position, word) in words.iter().enumerate() {
            xml.leaf(
                if position == 0 {
                    "rsp:Command"
                } else {
                    "rsp:Arguments"
                },
                &[],
                word,
            );
        }
        xml.close("rsp:CommandLine");
    })
}

/// Source: MS-WSMV 3.1.4.14.
pub(crate) fn receive(addressing: &Addressing, shell_id: &str, command_id: &str) -> Request {
    let head = Head {
        action: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Receive",
        resource: CMD_SHELL,
        shell_id: Some(shell_id),
        options: &[("WSMAN_CMDSHELL_OPTION_KEEPALIVE", "TRUE")],
    };
    envelope(addressing, &head, |xml| {
        xml.open("rsp:Receive", &[]);
        xml.leaf("rsp:DesiredStream", &[("CommandId", command_id)], "stdout stderr");
        xml.close("rsp:Receive");
    })
}

/// Source: MS-WSMV 3.1.4.12.
pub(crate) fn signal(addressing: &Addressing, shell_id: &str, command_id: &str, code: SignalCode) -> Request {
    let head = Head {
        action: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Signal",
        resource: CMD_SHELL,
        shell_id: Some(shell_id),
        options: &[],
    };
    let code = match code {
        SignalCode::CtrlC => "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/ctrl_c",
        SignalCode::Terminate => "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/terminate",
    };
    envelope(addressing, &head, |xml| {
        xml.open("rsp:Signal", &[("CommandId", command_id)]);
        xml.leaf("rsp:Code", &[], code);
        xml.close("rsp:Signal");
    })
}

/// Source: MS-WSMV 3.1.4.4.
pub(crate) fn delete(addressing: &Addressing, shell_id: &str) -> Request {
    let head = Head {
        action: "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete",
        resource: CMD_SHELL,
        shell_id: Some(shell_id),
        options: &[],
    };
    envelope(addressing, &head, |_| {})
}

/// Get of a singleton resource. Source: DSP0226 section 7.3.
pub(crate) fn get(addressing: &Addressing, resource: &str) -> Request {
    let action = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Get";
    envelope(
        addressing,
        &Head {
            action,
            resource,
            shell_id: None,
            options: &[],
        },
        |_| {},
    )
}

/// Source: DSP0226 section 11. No header at all.
pub(crate) fn identify() -> String {
    let mut xml = Xml::new();
    xml.open(
        "s:Envelope",
        &[("xmlns:s", uri::SOAP), ("xmlns:wsmid", uri::IDENTITY)],
    );
    xml.leaf("s:Header", &[], "");
    xml.open("s:Body", &[]);
    xml.leaf("wsmid:Identify", &[], "");
    xml.close("s:Body");
    xml.close("s:Envelope");
    xml.finish()
}

struct Head<'a> {
    action: &'a str,
    resource: &'a str,
    shell_id: Option<&'a str>,
    options: &'a [(&'a str, &'a str)],
}

const MUST: (&str, &str) = ("s:mustUnderstand", "true");
const MAY: (&str, &str) = ("s:mustUnderstand", "false");

fn envelope(addressing: &Addressing, head: &Head<'_>, body: impl FnOnce(&mut Xml)) -> Request {
    let message_id = format!("uuid:{}", fresh_id());
    let mut xml = Xml::new();
    xml.open(
        "s:Envelope",
        &[
            ("xmlns:s", uri::SOAP),
            ("xmlns:a", uri::ADDRESSING),
            ("xmlns:w", uri::WSMAN),
            ("xmlns:p", uri::MICROSOFT),
            ("xmlns:rsp", uri::SHELL),
        ],
    );
    xml.open("s:Header", &[]);
    header(&mut xml, addressing, head, &message_id);
    xml.close("s:Header");
    xml.open("s:Body", &[]);
    body(&mut xml);
    xml.close("s:Body");
    xml.close("s:Envelope");
    Request {
        message_id,
        xml: xml.finish(),
    }
}

fn header(xml: &mut Xml, addressing: &Addressing, head: &Head<'_>, message_id: &str) {
    xml.leaf("a:To", &[], &addressing.to);
    xml.open("a:ReplyTo", &[]);
    xml.leaf("a:Address", &[MUST], ANONYMOUS);
    xml.close("a:ReplyTo");
    xml.leaf("a:Action", &[MUST], head.action);
    xml.leaf("a:MessageID", &[], message_id);
    xml.leaf("w:ResourceURI", &[MUST], head.resource);
    xml.leaf(
        "w:MaxEnvelopeSize",
        &[MUST],
        &addressing.envelope_bytes.to_string(),
    );
    xml.leaf("w:OperationTimeout", &[], &seconds(addressing.operation_timeout));
    xml.leaf("w:Locale", &[("xml:lang", "en-US"), MAY], "");
    xml.leaf("p:DataLocale", &[("xml:lang", "en-US"), MAY], "");
    xml.leaf("p:SessionId", &[MAY], &format!("uuid:{}", addressing.session_id));
    if let Some(shell_id) = head.shell_id {
        xml.open("w:SelectorSet", &[]);
        xml.leaf("w:Selector", &[("Name", "ShellId")], shell_id);
        xml.close("w:SelectorSet");
    }
    if !head.options.is_empty() {
        xml.open("w:OptionSet", &[]);
        for (name, value) in head.options {
            xml.leaf("w:Option", &[("Name", name)], value);
        }
        xml.close("w:OptionSet");
    }
}

/// An ISO 8601 duration with milliseconds only where there are any.
fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("PT{}S", duration.as_secs()),
        millis => format!("PT{}.{millis:03}S", duration.as_secs()),
    }
}

/// The writer, with the few shapes we need.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn new() -> Self {
        Self(Writer::new(Vec::with_capacity(2_048)))
    }

    fn event(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("writing to memory cannot fail");
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.event(Event::Start(
            BytesStart::new(name).with_attributes(attributes.iter().copied()),
        ));
    }

    fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        if text.is_empty() {
            self.event(Event::Empty(
                BytesStart::new(name).with_attributes(attributes.iter().copied()),
            ));
            return;
        }
        self.open(name, attributes);
        self.event(Event::Text(BytesText::from_escaped(escape(text))));
        self.close(name);
    }

    fn finish(self) -> String {
        String::from_utf8(self.0.into_inner()).expect("only text was written")
    }
}

/// Escapes text, a carriage return included: as a bare character it would arrive as a line feed.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\r' => out.push_str("&#xD;"),
            c => out.push(c),
        }
    }
    out
}
