//! Everything a client must be told before its first packet.

mod endpoint;
mod error;
mod limits;

use std::path::PathBuf;

use crate::account::Account;
use crate::kerberos::KerberosSettings;
use crate::tls::ClientCertificate;

pub use self::endpoint::{AllowedNetworks, Endpoint, Scheme};
pub use self::error::SettingsError;
pub use self::limits::{Limits, Timeouts};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn one_address_outside_of_the_allowed_networks_is_found_wherever_it_stands() {
        let only = AllowedNetworks::Only(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let inside = ["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()];
        let outside = "10.0.0.1:1".parse().unwrap();
        assert_eq!(only.find_outside(&inside), None);
        assert_eq!(AllowedNetworks::Any.find_outside(&[outside]), None);
        for addresses in [
            [outside, inside[0], inside[1]],
            [inside[0], outside, inside[1]],
            [inside[0], inside[1], outside],
        ] {
            assert_eq!(only.find_outside(&addresses), Some(outside));
        }
    }

    #[test]
    fn debug_output_holds_no_password() {
        assert!(!format!("{:?}", settings()).contains("pw"));
    }
}
