//! What follows the `?`: encryption and sockets in the spellings of several drivers; the rest is dropped by
//! name.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use super::UrlError;

/// The keys that have a meaning, out of the query of an address.
#[derive(Default)]
pub(super) struct Query {
    pub(super) socket: Option<PathBuf>,
    pub(super) tls: Tls,
    pub(super) warnings: Vec<String>,
}

/// How the connection to a MySQL server is encrypted. By default when the server offers it.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    mode: Option<Mode>,
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Disabled,
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

impl Tls {
    pub(crate) fn apply(&self, mut options: MySqlConnectOptions) -> MySqlConnectOptions {
        // An authority that is named is meant to be checked.
        let mode = self
            .mode
            .or(self.ca.is_some().then_some(Mode::VerifyCa))
            .unwrap_or(Mode::Preferred);
        options = options.ssl_mode(match mode {
            Mode::Disabled => MySqlSslMode::Disabled,
            Mode::Preferred => MySqlSslMode::Preferred,
            Mode::Required => MySqlSslMode::Required,
            Mode::VerifyCa => MySqlSslMode::VerifyCa,
            Mode::VerifyIdentity => MySqlSslMode::VerifyIdentity,
        });
        if let Some(ca) = &self.ca {
            options = options.ssl_ca(ca);
        }
        if let Some(certificate) = &self.certificate {
            options = options.ssl_client_cert(certificate);
        }
        if let Some(key) = &self.key {
            options = options.ssl_client_key(key);
        }
        options
    }
}

/// The keys of a query, decoded.
pub(super) fn keys(query: &str) -> impl Iterator<Item = String> + '_ {
    pairs(query).map(|(key, _)| key)
}

/// The line that says that a key was dropped. Its value is not repeated: it may be a secret.
pub(super) fn unused(key: &str) -> String {
    let key: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
    format!("the key {key} in the query of the database address is not used")
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (plain(key), plain(value))
    })
}

/// Reads the query of a MySQL address.
pub(super) fn read(query: &str) -> Result<Query, UrlError> {
    let mut found = Query::default();
    let mut verify_identity = false;
    for (key, value) in pairs(query) {
        match key.to_ascii_lowercase().replace('-', "_").as_str() {
            "charset" if value.to_ascii_lowercase().starts_with("utf8") => {}
            "charset" => found
                .warnings
                .push("the charset of the database address is not used: it is utf8mb4".to_owned()),
            "unix_socket" | "socket" => found.socket = Some(PathBuf::from(value)),
            "ssl_mode" | "sslmode" => found.tls.mode = Some(mode(&value)?),
            "ssl_disabled" if is_true(&value) => found.tls.mode = Some(Mode::Disabled),
            "ssl_verify_identity" | "ssl_check_hostname" => verify_identity |= is_true(&value),
            "ssl_ca" | "sslca" => found.tls.ca = Some(value),
            "ssl_cert" => found.tls.certificate = Some(value),
            "ssl_key" => found.tls.key = Some(value),
            // Implied by `ssl_ca`.
            "ssl_verify_cert" | "ssl_disabled" => {}
            _ => found.warnings.push(unused(&key)),
        }
    }
    if verify_identity && found.tls.mode.is_none() {
        found.tls.mode = Some(Mode::VerifyIdentity);
    }
    Ok(found)
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

fn mode(value: &str) -> Result<Mode, UrlError> {
    Ok(match value.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" => Mode::Disabled,
        "preferred" => Mode::Preferred,
        "required" => Mode::Required,
        "verify_ca" => Mode::VerifyCa,
        "verify_identity" => Mode::VerifyIdentity,
        _ => {
            return Err(UrlError::BadPart {
                part: "ssl_mode",
                problem: "is not one of disabled, preferred, required, verify_ca, verify_identity",
            });
        }
    })
}
