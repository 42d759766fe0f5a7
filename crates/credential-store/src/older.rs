//! The older worker's file of credentials: JSON whose entries are Fernet tokens.
//!
//! It looks like `{"credentials": {"station-01": {"token": "gAAAA..."}}}`, and each token holds
//! `{"user": ..., "password": ...}`. Files without the outer object, with bare tokens as entries, and those that are
//! one single token of the whole are read too.

use fernet::{Fernet, MultiFernet};
use lab_model::CredentialRef;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::credential::{Credential, InvalidCredential};

/// Why the file as a whole cannot be read. Never holds anything of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OlderError {
    /// The key file holds no Fernet key.
    #[error(
        "the key file must hold one Fernet key a line, 32 bytes in URL-safe Base64; line {line} does not"
    )]
    Key {
        /// Counted from 1.
        line: usize,
    },
    /// Neither JSON nor a token of one of the keys.
    #[error("the file is neither JSON nor a token that one of the keys opens")]
    File,
    /// JSON, but not of that form.
    #[error("the file holds no object of credentials")]
    Form,
}

/// Why one entry was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OlderEntryError {
    /// Its name cannot be kept.
    #[error("the name {0}")]
    Name(#[from] lab_model::CredentialRefError),
    /// There is no token in it.
    #[error("holds no token")]
    NoToken,
    /// None of the keys opens it, or it was altered.
    #[error("cannot be opened by any of the keys")]
    Token,
    /// What the token holds is no user and password.
    #[error("holds no user and password")]
    Content,
    /// The user or the password cannot be stored.
    #[error("cannot be stored: {0}")]
    Invalid(#[from] InvalidCredential),
}

/// One entry: its name as it stands in the file, and what is in it.
#[derive(Debug)]
pub struct OlderEntry {
    /// As written; at most 80 characters of it.
    pub written: String,
    /// What was read.
    pub read: Result<(CredentialRef, Credential), OlderEntryError>,
}

/// Reads the text of a file of the older worker with the text of its key file, which may hold several keys.
///
/// # Errors
/// [`OlderError`] when nothing of it can be read. Trouble with single entries is told with them.
pub fn read_older_file(file: &str, keys: &SecretString) -> Result<Vec<OlderEntry>, OlderError> {
    let keys = read_keys(keys)?;
    let file = file.trim_start_matches('\u{feff}').trim();
    let value = match serde_json::from_str::<Value>(file) {
        Ok(Value::String(token)) => whole_token(&token, &keys)?,
        Ok(value) => value,
        Err(_) => whole_token(file, &keys)?,
    };
    let Value::Object(mut map) = value else {
        return Err(OlderError::Form);
    };
    let entries = match map.remove("credentials") {
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(OlderError::Form),
        None => map,
    };
    Ok(entries
        .iter()
        .map(|(name, value)| OlderEntry {
            written: name.chars().take(80).collect(),
            read: entry(name, value, &keys),
        })
        .collect())
}

fn read_keys(text: &SecretString) -> Result<MultiFernet, OlderError> {
    let mut keys = Vec::new();
    for (at, line) in text.expose_secret().lines().enumerate() {
        let content = line.trim();
        if content.is_empty() {
            continue;
        }
        keys.push(Fernet::new(content).ok_or(OlderError::Key { line: at + 1 })?);
    }
    if keys.is_empty() {
        return Err(OlderError::Key { line: 1 });
    }
    Ok(MultiFernet::new(keys))
}

fn whole_token(token: &str, keys: &MultiFernet) -> Result<Value, OlderError> {
    let plain = keys
        .decrypt(token)
        .map(Zeroizing::new)
        .map_err(|_| OlderError::File)?;
    serde_json::from_slice(&plain).map_err(|_| OlderError::Form)
}

fn entry(
    name: &str,
    value: &Value,
    keys: &MultiFernet,
) -> Result<(CredentialRef, Credential), OlderEntryError> {
    let reference = CredentialRef::parse(name)?;
    let token = match value {
        Value::String(token) => Some(token.as_str()),
        Value::Object(map) => ["token", "ciphertext", "value", "data"]
            .iter()
            .find_map(|key| map.get(*key).and_then(Value::as_str)),
        _ => None,
    };
    let content = match (token, value) {
        (Some(token), _) => {
            let plain = keys.decrypt(token.trim()).map(Zeroizing::new);
            let plain = plain.map_err(|_| OlderEntryError::Token)?;
            serde_json::from_slice(&plain).map_err(|_| OlderEntryError::Content)?
        }
        // The whole file was one token, so its entries need none.
        (None, Value::Object(map)) if text(map, &["password", "pass"]).is_some() => value.clone(),
        _ => return Err(OlderEntryError::NoToken),
    };
    let map = content.as_object().ok_or(OlderEntryError::Content)?;
    let user = text(map, &["user", "username", "winrm_user"]);
    let password = text(map, &["password", "pass", "winrm_pass"]);
    let (Some(user), Some(password)) = (user, password) else {
        return Err(OlderEntryError::Content);
    };
    Ok((reference, Credential::new(user, SecretString::from(password))?))
}

fn text<'a>(map: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| map.get(*key).and_then(Value::as_str))
}
