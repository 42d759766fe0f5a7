//! Everything a client must be told before its first packet.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::account::Account;
use crate::kerberos::KerberosSettings;
use crate::tls::ClientCertificate;

/// What one [`Client`](crate::Client) talks to, as whom, and within which limits.
///
/// [`Settings::new`] gives sensible defaults; the fields are public so that a caller changes what it needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the WS-Management service listens.
    pub endpoint: Endpoint,
    /// The account that commands run as.
    pub account: Account,
    /// How the account proves itself. Default: [`AuthMethod::Negotiate`].
    pub auth: AuthMethod,
    /// Where tickets come from. Only used with [`AuthMethod::Kerberos`].
    pub kerberos: KerberosSettings,
    /// Which certificates are believed. Only used with [`Scheme::Https`]. Default: [`Trust::SystemRoots`].
    pub trust: Trust,
    /// The name to verify (and to send as SNI) when `endpoint.host` is an address or an alias.
    pub server_name: Option<String>,
    /// Permits the password to travel in clear text with Basic over plain HTTP. Default: false.
    pub allow_insecure_basic: bool,
    /// The networks that may be dialled, checked against every address the name resolves to.
    pub allowed_networks: AllowedNetworks,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// How much a peer may make us keep.
    pub limits: Limits,
    /// The certificate that proves who we are, for [`AuthMethod::Certificate`] only.
    pub client_certificate: Option<ClientCertificate>,
    /// What our shells are called on the host, by which [`Client::sweep`](crate::Client::sweep) knows them again: choose
    /// one per installation. Default: `winrm-transport`.
    pub shell_name: String,
    /// The value of the `User-Agent` header.
    pub user_agent: String,
}

impl Settings {
    /// Settings with the defaults named at each field.
    pub fn new(endpoint: Endpoint, account: Account) -> Self {
        Self {
            endpoint,
            account,
            auth: AuthMethod::Negotiate,
            kerberos: KerberosSettings::default(),
            trust: Trust::SystemRoots,
            server_name: None,
            allow_insecure_basic: false,
            allowed_networks: AllowedNetworks::Any,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            client_certificate: None,
            shell_name: "winrm-transport".to_owned(),
            user_agent: concat!("winrm-transport/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Settings for a client certificate instead of user name and password: the host maps the certificate to one of
    /// its local accounts. Only over HTTPS.
    pub fn with_certificate(endpoint: Endpoint, certificate: ClientCertificate) -> Self {
        Self {
            auth: AuthMethod::Certificate,
            client_certificate: Some(certificate),
            ..Self::new(endpoint, Account::mapped())
        }
    }

    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// The first problem found, naming the value.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let host = &self.endpoint.host;
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#' | '\\');
        if host.is_empty() || host.len() > 255 || host.contains(bad) {
            return Err(SettingsError::Host { host: host.clone() });
        }
        if self.endpoint.port == 0 {
            return Err(SettingsError::Port);
        }
        let certificate = self.auth == AuthMethod::Certificate;
        if certificate && (self.client_certificate.is_none() || self.endpoint.scheme == Scheme::Http) {
            return Err(SettingsError::CertificateUnusable {
                missing: self.client_certificate.is_none(),
            });
        }
        if self.shell_name.is_empty()
            || self.shell_name.len() > 128
            || self.shell_name.contains(char::is_control)
        {
            return Err(SettingsError::ShellName {
                name: self.shell_name.chars().take(128).collect(),
            });
        }
        if self.user_agent.bytes().any(|b| !(0x20..0x7f).contains(&b)) {
            return Err(SettingsError::UserAgent);
        }
        if self.auth == AuthMethod::Kerberos {
            self.kerberos.login(&self.account)?;
        }
        self.timeouts.validate()?;
        self.limits.validate()
    }
}

/// Scheme, host and port of one WS-Management listener; the path is always `/wsman`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The TCP port: 5985 and 5986 by custom.
    pub port: u16,
}

impl Endpoint {
    /// A plain HTTP endpoint. Bodies are sealed by NTLM, never sent in clear (except with Basic, if allowed).
    pub fn http(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Http,
            host: host.into(),
            port,
        }
    }

    /// An HTTPS endpoint.
    pub fn https(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Https,
            host: host.into(),
            port,
        }
    }

    /// The value of the `Host` header: IPv6 addresses in brackets, always with the port.
    pub(crate) fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}/wsman", self.authority())
    }
}

/// Plain HTTP or HTTP over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP: NTLM seals every body.
    Http,
    /// HTTP over TLS 1.2 or 1.3: NTLM is bound to the server's certificate.
    Https,
}

/// How the account proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// User name and password in every request. Only over TLS, unless explicitly allowed otherwise.
    Basic,
    /// A TLS client certificate that the host maps to a local account; see [`Settings::with_certificate`].
    Certificate,
    /// NTLMv2 under the scheme `Negotiate`, or `NTLM` where only that is offered.
    Ntlm,
    /// NTLMv2 inside SPNEGO under the scheme `Negotiate`.
    Negotiate,
    /// Kerberos with the account's password, never anything weaker: see [`KerberosSettings`]. Needs the feature
    /// `kerberos`; without it the settings are refused.
    Kerberos,
}

/// Which server certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The certificate authorities of the operating system.
    SystemRoots,
    /// Only the certificates of this PEM file: authorities, or the server's own self-signed certificate.
    CaFile(PathBuf),
    /// Only the certificate whose DER has this SHA-256. Its name and dates are not checked then.
    PinnedSha256([u8; 32]),
}

/// The networks a client may dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNetworks {
    /// No restriction.
    Any,
    /// Only these. One resolved address outside of them is enough to refuse the whole name.
    Only(Vec<IpNet>),
}

impl AllowedNetworks {
    /// Says whether `address` may be dialled. An IPv4 address in IPv6 clothes is judged as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Only(nets) => nets.iter().any(|net| net.contains(&address.to_canonical())),
        }
    }
}

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
    fn validate(&self) -> Result<(), SettingsError> {
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

const MAX_XML_DEPTH: usize = 256;

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
    fn validate(&self) -> Result<(), SettingsError> {
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

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The host is empty, too long, or no name at all.
    #[error("host {host:?} is neither a name nor an address")]
    Host {
        /// As given.
        host: String,
    },
    /// Port 0.
    #[error("port 0 cannot be dialled")]
    Port,
    /// The name to verify is no DNS name or address.
    #[error("server name {name:?} cannot be verified: neither a DNS name nor an address")]
    ServerName {
        /// As given or taken from the host.
        name: String,
    },
    /// The account text cannot be read.
    #[error("account {account:?} is not DOMAIN\\user, .\\user, user@realm or user")]
    Account {
        /// As given, without the password.
        account: String,
    },
    /// Kerberos was asked of a build without the feature `kerberos`.
    #[error("kerberos is not part of this build (feature kerberos)")]
    KerberosMissing,
    /// No realm is given and the account has none, or it is no name.
    #[error("kerberos realm {realm:?} is not a realm: give it, or the account as REALM\\user or user@realm")]
    KerberosRealm {
        /// As given or taken from the account.
        realm: String,
    },
    /// A KDC that cannot be dialled, or one too many.
    #[error("kdc {kdc:?} is not host, host:port or [ipv6]:port, or one of more than 8")]
    Kdc {
        /// As given.
        kdc: String,
    },
    /// Client certificate authentication without a certificate, or over plain HTTP.
    #[error(
        "client certificate authentication needs {}",
        if *missing { "a certificate" } else { "https" }
    )]
    CertificateUnusable {
        /// There is no certificate; otherwise the scheme is wrong.
        missing: bool,
    },
    /// The client certificate or its key cannot be used.
    #[error("client certificate cannot be used: {what}")]
    ClientCertificate {
        /// What is wrong with it; never its content.
        what: &'static str,
    },
    /// The name for shells is empty, longer than 128 bytes, or has control characters.
    #[error("shell name {name:?} cannot be used")]
    ShellName {
        /// As given, shortened.
        name: String,
    },
    /// The user agent holds characters that a header cannot carry.
    #[error("user agent has characters other than printable ASCII")]
    UserAgent,
    /// A timeout is outside its range.
    #[error("timeout {name} of {value:?} is outside its range")]
    Timeout {
        /// The field.
        name: &'static str,
        /// As given.
        value: Duration,
    },
    /// A limit is below what the protocol needs.
    #[error("limit {name} of {value} is below {least}")]
    Limit {
        /// The field.
        name: &'static str,
        /// As given.
        value: usize,
        /// The least allowed.
        least: usize,
    },
    /// A limit is above what is safe.
    #[error("limit {name} of {value} is above {most}")]
    LimitTooHigh {
        /// The field.
        name: &'static str,
        /// As given.
        value: usize,
        /// The most allowed.
        most: usize,
    },
    /// The CA file cannot be read.
    #[error("CA file {} cannot be read", path.display())]
    CaFile {
        /// As given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The CA file holds no usable certificate.
    #[error("CA file {} holds no usable certificate", path.display())]
    NoCertificate {
        /// As given.
        path: PathBuf,
    },
    /// The operating system offers no certificate authorities.
    #[error("the operating system offers no certificate authorities")]
    NoSystemRoots,
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn settings() -> Settings {
        let account = Account::parse("user", SecretString::from("pw")).unwrap();
        Settings::new(Endpoint::http("::1", 5985), account)
    }

    #[test]
    fn an_ipv6_endpoint_is_written_in_brackets() {
        assert_eq!(settings().endpoint.to_string(), "http://[::1]:5985/wsman");
    }

    #[test]
    fn settings_name_the_value_they_refuse() {
        let mut bad = settings();
        bad.endpoint.host = "a b".into();
        assert!(bad.validate().unwrap_err().to_string().contains("a b"));
        let mut bad = settings();
        bad.timeouts.operation = Duration::from_secs(61);
        assert!(bad.validate().unwrap_err().to_string().contains("operation"));
        let mut bad = settings();
        bad.limits.envelope_bytes = 8_191;
        assert!(bad.validate().unwrap_err().to_string().contains("8191"));
        let mut bad = settings();
        bad.limits.xml_depth = 100_000;
        assert!(bad.validate().unwrap_err().to_string().contains("100000"));
    }

    #[test]
    fn a_mapped_address_is_judged_as_ipv4() {
        let only = AllowedNetworks::Only(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(only.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!only.contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn debug_output_holds_no_password() {
        assert!(!format!("{:?}", settings()).contains("pw"));
    }
}
