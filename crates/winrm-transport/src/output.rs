//! What a command left behind.

use std::borrow::Cow;
use std::time::Duration;

/// Exit code and output of one command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The program's exit code; `None` when the host never said.
    pub exit_code: Option<i32>,
    /// Standard output, byte for byte.
    pub stdout: Vec<u8>,
    /// Standard error, byte for byte.
    pub stderr: Vec<u8>,
    /// Bytes may be missing: a limit was reached, or an answer was lost on the way.
    pub truncated: bool,
    /// From the call to the host's word that the command is done, waiting in the queue included.
    pub duration: Duration,
}

impl Output {
    /// Standard output as text; invalid UTF-8 is replaced and one byte order mark removed.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        text(&self.stdout)
    }

    /// Standard error as text; invalid UTF-8 is replaced and one byte order mark removed.
    pub fn stderr_text(&self) -> Cow<'_, str> {
        text(&self.stderr)
    }

    /// Standard error of PowerShell made readable, see [`clixml_text`](crate::clixml_text); plain text stays plain.
    pub fn error_text(&self) -> String {
        crate::clixml::clixml_text(&self.stderr)
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// The answer to Identify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The namespace URI of the protocol spoken.
    pub protocol_version: String,
    /// Such as `Microsoft Corporation`.
    pub product_vendor: String,
    /// Such as `OS: 0.0.0 SP: 0.0 Stack: 3.0`; zeros towards strangers.
    pub product_version: String,
}

/// The properties of one CIM instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub(crate) class: String,
    pub(crate) values: Vec<(String, String)>,
}

impl Instance {
    /// The local name of the instance element, such as `Win32_OperatingSystem`.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The text of the first property with this local name, also where it is wrapped as in `cim:Datetime`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Every property with its text, in document order.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What a client has done since it was made. Only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// TCP connections opened.
    pub connections: u64,
    /// NTLM handshakes completed.
    pub handshakes: u64,
    /// HTTP requests sent, handshakes included.
    pub requests: u64,
    /// Shells created.
    pub shells_created: u64,
    /// Commands the host accepted.
    pub commands: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_order_mark_is_removed_from_text_but_not_from_bytes() {
        let out = Output {
            stdout: "\u{feff}\u{feff}{}".into(),
            stderr: vec![b'a', 0xff],
            ..Output::default()
        };
        assert_eq!(out.stdout_text(), "\u{feff}{}");
        assert_eq!(out.stdout.len(), 8);
        assert_eq!(out.stderr_text(), "a\u{fffd}");
    }
}
