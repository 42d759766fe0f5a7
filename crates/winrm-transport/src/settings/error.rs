//! Settings that cannot work.

use std::path::PathBuf;
use std::time::Duration;

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
