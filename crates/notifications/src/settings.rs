//! Where notices go, and what must be true of such an address.

use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use crate::alerts::AlertRules;
use crate::signature::hex;

/// An address that gets notices. Its path may be a secret of its own, so it is never shown in full.
#[derive(Clone)]
pub struct Webhook {
    url: SecretString,
    target: String,
    shown: String,
    /// A token in a header of the older notification service.
    pub(crate) token: Option<AccessToken>,
    /// People whom the older notification service is to tell.
    pub(crate) recipients: Vec<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Webhook").field(&self.shown).finish()
    }
}

/// A token that a receiver wants to see in a header.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The header's name.
    pub header: String,
    /// Its value.
    pub token: SecretString,
}

/// Why an address gets no notices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It is no URL.
    #[error("is no URL such as https://hooks.example.org/lab-ops")]
    NoUrl,
    /// Only HTTP is spoken.
    #[error("must begin with https://")]
    Scheme,
    /// Over plain HTTP anybody on the network reads and changes what is sent.
    #[error("must be https://; plain http goes to this machine only, or to hosts of NOTIFICATION_HTTP_HOSTS")]
    PlainHttp,
    /// It names no host, or a user.
    #[error("must name a host, and neither user nor password")]
    Authority,
}

impl Webhook {
    /// Checks an address. Plain HTTP is taken for loopback and for the hosts of `http_hosts` only.
    ///
    /// # Errors
    /// [`WebhookError`], which does not repeat the address.
    pub fn parse(text: &str, http_hosts: &[String]) -> Result<Self, WebhookError> {
        let url = Url::parse(text.trim()).map_err(|_| WebhookError::NoUrl)?;
        let host = url.host().ok_or(WebhookError::Authority)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookError::Authority);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_here(&host) || is_listed(&host, http_hosts) => {}
            "http" => return Err(WebhookError::PlainHttp),
            _ => return Err(WebhookError::Scheme),
        }
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self {
            shown: format!("{}://{host}{port}/...", url.scheme()),
            target: hex(&Sha256::digest(url.as_str().as_bytes()))[..32].to_owned(),
            url: url.to_string().into(),
            token: None,
            recipients: Vec::new(),
        })
    }

    /// Also sends what the older notification service wants to see.
    #[must_use]
    pub fn as_older_service(mut self, token: Option<AccessToken>, recipients: Vec<String>) -> Self {
        self.token = token;
        self.recipients = recipients;
        self
    }

    /// The address without its path, for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether a delivery in the outbox is for it.
    #[must_use]
    pub fn is_target(&self, target: &str) -> bool {
        self.target == target
    }

    /// By which its deliveries are known in the outbox.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn url(&self) -> &str {
        self.url.expose_secret()
    }
}

fn is_here(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn is_listed(host: &Host<&str>, listed: &[String]) -> bool {
    listed.iter().any(|known| match (host, known.parse::<IpAddr>()) {
        (Host::Domain(name), Err(_)) => name.eq_ignore_ascii_case(known),
        (Host::Ipv4(address), Ok(IpAddr::V4(known))) => *address == known,
        (Host::Ipv6(address), Ok(IpAddr::V6(known))) => *address == known,
        _ => false,
    })
}

/// What is told, and to whom.
#[derive(Debug, Clone, Default)]
pub struct NotificationSettings {
    /// Who is told; without any, notices are kept for whoever asks the API.
    pub webhooks: Vec<Webhook>,
    /// With what notices are signed.
    pub secret: Option<SecretString>,
    /// When a host counts as failing repeatedly.
    pub rules: AlertRules,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_and_for_hosts_that_are_named() {
        let listed = ["billing".to_owned(), "10.0.0.5".to_owned()];
        for good in [
            "https://hooks.example.org/x",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/x",
            "http://localhost/x",
            "http://BILLING:8080/send",
            "http://10.0.0.5/send",
        ] {
            assert!(Webhook::parse(good, &listed).is_ok(), "{good}");
        }
        let refused = [
            ("http://hooks.example.org/x", WebhookError::PlainHttp),
            ("http://localhost.example.org/x", WebhookError::PlainHttp),
            ("http://10.0.0.50/x", WebhookError::PlainHttp),
            ("ftp://hooks.example.org/x", WebhookError::Scheme),
            ("https://user:pass@hooks.example.org/", WebhookError::Authority),
            ("hooks.example.org", WebhookError::NoUrl),
            ("", WebhookError::NoUrl),
        ];
        for (bad, why) in refused {
            assert_eq!(Webhook::parse(bad, &listed).unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn a_secret_path_is_shown_nowhere() {
        let hook = Webhook::parse(
            "https://hooks.example.org:8443/services/T00/B00/XXXX?key=YYYY",
            &[],
        )
        .unwrap();
        let shown = format!("{hook:?} {} {}", hook.shown(), hook.target());
        assert!(!shown.contains("XXXX") && !shown.contains("YYYY"), "{shown}");
        assert_eq!(hook.shown(), "https://hooks.example.org:8443/...");
        assert_eq!(hook.target().len(), 32);
    }
}
