//! How long things may take, and how much of them is kept.

use std::time::Duration;

use super::SettingsError;

/// How long each stage may take. The deadline of a call bounds them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution and TCP connection together. Default 5 s: a sleeping host swallows the packets silently.
    pub connect: Duration,
    /// The TLS handshake. Default 10 s.
    pub tls: Duration,
    /// `OperationTimeout` asked of the host, in whole milliseconds, 1 to 60 s. Default 20 s.
    pub operation: Duration,
    /// How much longer than `operation` a whole answer may take to arrive. Default 10 s, at least 1 s.
    pub answer_grace: Duration,
    /// A shell of our name that nobody used for this long is an orphan. Default 5 minutes; keep it well above the
    /// pauses between two commands of any program with the same name and account.
    pub orphan: Duration,
    /// A connection unused for longer than this is replaced before it is used again. Default 90 s, because
    /// HTTP.sys closes idle connections at about 120 s and a request lost to that race has an unknown effect.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(10),
            operation: Duration::from_secs(20),
            answer_grace: Duration::from_secs(10),
            orphan: Duration::from_secs(5 * 60),
            idle: Duration::from_secs(90),
        }
    }
}

impl Timeouts {
    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let check = |name, value: Duration, from_ms: u64, to_secs: u64| {
            let range = Duration::from_millis(from_ms)..=Duration::from_secs(to_secs);
            if range.contains(&value) {
                Ok(())
            } else {
                Err(SettingsError::Timeout { name, value })
            }
        };
        check("connect", self.connect, 1, 600)?;
        check("tls", self.tls, 1, 600)?;
        check("operation", self.operation, 1_000, 60)?;
        check("answer_grace", self.answer_grace, 1_000, 600)?;
        check("orphan", self.orphan, 0, 86_400)?;
        check("idle", self.idle, 0, 86_400)
    }

    /// How long one HTTP answer may take: always longer than the host's own timeout.
    pub(crate) fn answer(&self) -> Duration {
        self.operation + self.answer_grace
    }
}

/// The tree of a document is walked by recursion.
const MAX_XML_DEPTH: usize = 256;

/// How much a peer may make us keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one HTTP body. Default 2 MiB, at least 64 KiB.
    pub answer_bytes: usize,
    /// `MaxEnvelopeSize` asked of the host, in bytes. Default 512,000, at least 8,192.
    pub envelope_bytes: u32,
    /// Bytes kept of each of standard output and standard error; more is drained and dropped. Default 8 MiB.
    pub output_bytes: usize,
    /// Nesting of XML elements. Default 64, at most 256: the tree is walked by recursion.
    pub xml_depth: usize,
    /// Elements in one XML document. Default 65,536.
    pub xml_elements: usize,
    /// Attributes of one XML element. Default 64.
    pub xml_attributes: usize,
    /// Commands after which a shell is replaced: hosts were seen to refuse after enough sequential commands.
    /// Default 500.
    pub commands_per_shell: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer_bytes: 2 * 1024 * 1024,
            envelope_bytes: 512_000,
            output_bytes: 8 * 1024 * 1024,
            xml_depth: 64,
            xml_elements: 65_536,
            xml_attributes: 64,
            commands_per_shell: 500,
        }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let check = |name, value: usize, least: usize| {
            if value >= least {
                Ok(())
            } else {
                Err(SettingsError::Limit { name, value, least })
            }
        };
        check("answer_bytes", self.answer_bytes, 64 * 1024)?;
        check("envelope_bytes", self.envelope_bytes as usize, 8_192)?;
        check("xml_depth", self.xml_depth, 16)?;
        if self.xml_depth > MAX_XML_DEPTH {
            return Err(SettingsError::LimitTooHigh {
                name: "xml_depth",
                value: self.xml_depth,
                most: MAX_XML_DEPTH,
            });
        }
        check("xml_elements", self.xml_elements, 64)?;
        check("xml_attributes", self.xml_attributes, 8)?;
        check("commands_per_shell", self.commands_per_shell as usize, 1)
    }
}
