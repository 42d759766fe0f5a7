//! Requests as text: names of ours, and values that are escaped without exception.
//!
//! `DataLocale` and `SessionId` of MS-WSMV are left out: clients may send them (MS-WSMV 3.2.4.1), nothing here depends
//! on the first, and a host binds a shell to the second, so that a later life of the program could not delete it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::scope::uri;
use crate::command::{Command, Surroundings};
use crate::settings::Limits;

const CMD_SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd";
/// More than the default quotas of a host allow.
const SHELLS_AT_ONCE: &str = "300";
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";

/// How a command is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalCode {
    /// Politely, as if somebody pressed the keys.
    CtrlC,
    /// At once; also frees the operation of a command that has ended.
    Terminate,
}

/// What stays the same for every request of a client, written once: it is more than half of every request.
#[derive(Debug, Clone)]
pub(crate) struct Addressing {
    /// From the start of the envelope to the middle of its header.
    opening: Box<str>,
}

impl Addressing {
    /// `to` is the endpoint URL.
    pub(crate) fn new(to: &str, operation_timeout: Duration, limits: &Limits) -> Self {
        let mut xml = Xml::new();
        let namespaces = [
            ("xmlns:s", uri::SOAP),
            ("xmlns:a", uri::ADDRESSING),
            ("xmlns:w", uri::WSMAN),
            ("xmlns:rsp", uri::SHELL),
        ];
        xml.open("s:Envelope", &namespaces);
        xml.open("s:Header", &[]);
        xml.leaf("a:To", &[], to);
        xml.open("a:ReplyTo", &[]);
        xml.leaf("a:Address", &[MUST], ANONYMOUS);
        xml.close("a:ReplyTo");
        xml.leaf("w:MaxEnvelopeSize", &[MUST], &limits.envelope_bytes.to_string());
        xml.leaf("w:OperationTimeout", &[], &seconds(operation_timeout));
        xml.leaf("w:Locale", &[("xml:lang", "en-US"), MAY], "");
        Self {
            opening: xml.finish().into_boxed_str(),
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
    // From the generator of this thread: the other way is a system call for each.
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    format!("{:X}", id.hyphenated())
}

/// Source: MS-WSMV 3.1.4.5; the order of the children is that of its schema.
pub(crate) fn create(
    addressing: &Addressing,
    shell_id: &str,
    name: &str,
    idle: Duration,
    surroundings: &Surroundings,
) -> Request {
    let head = Head {
        action: "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create",
        resource: CMD_SHELL,
        shell_id: None,
        options: &[("WINRS_NOPROFILE", "TRUE"), ("WINRS_CODEPAGE", "65001")],
    };
    envelope(addressing, &head, |xml| {
        // The name is how a later sweep knows our shells from those of others.
        xml.open("rsp:Shell", &[("ShellId", shell_id), ("Name", name)]);
        if !surroundings.variables.is_empty() {
            xml.open("rsp:Environment", &[]);
            for (name, value) in &surroundings.variables {
                xml.leaf("rsp:Variable", &[("Name", name)], value);
            }
            xml.close("rsp:Environment");
        }
        if let Some(directory) = &surroundings.directory {
            xml.leaf("rsp:WorkingDirectory", &[], directory);
        }
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
    let console = if command.is_piped() { "FALSE" } else { "TRUE" };
    let head = Head {
        action: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Command",
        resource: CMD_SHELL,
        shell_id: Some(shell_id),
        options: &[
            ("WINRS_CONSOLEMODE_STDIN", console),
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

/// One piece of standard input. Source: MS-WSMV 3.1.4.13.
pub(crate) fn send(
    addressing: &Addressing,
    shell_id: &str,
    command_id: &str,
    bytes: &[u8],
    end: bool,
) -> Request {
    let head = Head {
        action: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Send",
        resource: CMD_SHELL,
        shell_id: Some(shell_id),
        options: &[],
    };
    let mut attributes = vec![("Name", "stdin"), ("CommandId", command_id)];
    if end {
        attributes.push(("End", "true"));
    }
    envelope(addressing, &head, |xml| {
        xml.open("rsp:Send", &[]);
        xml.leaf("rsp:Stream", &attributes, &STANDARD.encode(bytes));
        xml.close("rsp:Send");
    })
}

/// All shells of the host, or as many as fit. Source: DSP0226 section 8, MS-WSMV 3.1.4.2.
pub(crate) fn enumerate(addressing: &Addressing) -> Request {
    let action = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate";
    envelope(addressing, &Head::of_shells(action), |xml| {
        xml.open("n:Enumerate", &[("xmlns:n", uri::ENUMERATION)]);
        xml.leaf("w:OptimizeEnumeration", &[], "");
        xml.leaf("w:MaxElements", &[], SHELLS_AT_ONCE);
        xml.close("n:Enumerate");
    })
}

/// The next part of an enumeration. Source: DSP0226 section 8.4.
pub(crate) fn pull(addressing: &Addressing, context: &str) -> Request {
    let action = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Pull";
    envelope(addressing, &Head::of_shells(action), |xml| {
        xml.open("n:Pull", &[("xmlns:n", uri::ENUMERATION)]);
        xml.leaf("n:EnumerationContext", &[], context);
        xml.leaf("n:MaxElements", &[], SHELLS_AT_ONCE);
        xml.close("n:Pull");
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

impl<'a> Head<'a> {
    fn of_shells(action: &'a str) -> Self {
        Self {
            action,
            resource: uri::SHELL,
            shell_id: None,
            options: &[],
        }
    }
}

const MUST: (&str, &str) = ("s:mustUnderstand", "true");
const MAY: (&str, &str) = ("s:mustUnderstand", "false");

fn envelope(addressing: &Addressing, head: &Head<'_>, body: impl FnOnce(&mut Xml)) -> Request {
    let message_id = format!("uuid:{}", fresh_id());
    let mut xml = Xml::after(&addressing.opening);
    header(&mut xml, head, &message_id);
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

/// The blocks that differ.
fn header(xml: &mut Xml, head: &Head<'_>, message_id: &str) {
    xml.leaf("a:Action", &[MUST], head.action);
    xml.leaf("a:MessageID", &[], message_id);
    xml.leaf("w:ResourceURI", &[MUST], head.resource);
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

/// The writer, with the few shapes we need. Names are literals, and closed as they were opened: every request is read
/// back by a test.
struct Xml(String);

impl Xml {
    fn new() -> Self {
        Self(String::with_capacity(2_048))
    }

    /// Goes on after what was written before.
    fn after(opening: &str) -> Self {
        let mut xml = Self::new();
        xml.0.push_str(opening);
        xml
    }

    /// All but the end of a start tag.
    fn begin(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.0.push('<');
        self.0.push_str(name);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.escaped(value);
            self.0.push('"');
        }
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.begin(name, attributes);
        self.0.push('>');
    }

    fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.begin(name, attributes);
        if text.is_empty() {
            self.0.push_str("/>");
            return;
        }
        self.0.push('>');
        self.escaped(text);
        self.close(name);
    }

    /// A carriage return is escaped too: as a bare character it would arrive as a line feed.
    fn escaped(&mut self, text: &str) {
        let mut written = 0;
        for (at, byte) in text.bytes().enumerate() {
            let reference = match byte {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                b'\'' => "&apos;",
                b'\r' => "&#xD;",
                _ => continue,
            };
            self.0.push_str(&text[written..at]);
            self.0.push_str(reference);
            written = at + 1;
        }
        self.0.push_str(&text[written..]);
    }

    fn finish(self) -> String {
        self.0
    }
}
