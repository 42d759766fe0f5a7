//! Secrets: the text of a variable, or of the file that its sibling `NAME_FILE` names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use lab_model::SecretRef;
use secrecy::{ExposeSecret as _, SecretString};

/// Longer than any password, key ring or database address.
pub const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Why a file gives no secret. Never holds anything of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It is missing, may not be read, or is no regular file.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// Its bytes are no text.
    #[error("is not UTF-8 text")]
    NotText,
    /// Nothing is in it.
    #[error("is empty")]
    Empty,
    /// It holds more than [`MAX_SECRET_FILE`] bytes.
    #[error("is larger than 64 KiB")]
    TooLarge,
}

/// Reads a secret from a file; one line break at its end is cut, as editors and `echo` add it.
///
/// # Errors
/// [`SecretFileError`], which says nothing of the content.
pub fn read_secret_file(file: &Path) -> Result<SecretString, SecretFileError> {
    let unreadable = SecretFileError::Unreadable;
    // A pipe would be waited for.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("is no regular file")));
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened
        .take(MAX_SECRET_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SECRET_FILE {
        return Err(SecretFileError::TooLarge);
    }
    let mut text = String::from_utf8(bytes).map_err(|_| SecretFileError::NotText)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(SecretFileError::Empty);
    }
    Ok(SecretString::from(text))
}

/// Looks up what an entry of `hosts.json` refers to: the variable `NAME`, else the file that `NAME_FILE` names, or a
/// file itself.
///
/// # Errors
/// What is wrong, with the name of variable or file and without any value.
#[expect(
    clippy::disallowed_methods,
    reason = "secrets of the catalog are named by variables, resolved only here"
)]
pub fn resolve_secret(reference: SecretRef<'_>) -> Result<String, String> {
    resolve(reference, &|name| std::env::var(name).ok())
}

pub(super) fn resolve(
    reference: SecretRef<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let from_file = |file: &str| {
        let read = read_secret_file(Path::new(file));
        let text = read.map(|secret| secret.expose_secret().to_owned());
        text.map_err(|error| format!("the file {file} {}", crate::Chain(&error)))
    };
    let name = match reference {
        SecretRef::File(file) => return from_file(file),
        SecretRef::Variable(name) => name,
    };
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    match (set(name), set(&format!("{name}_FILE"))) {
        (Some(_), Some(_)) => Err(format!(
            "the variables {name} and {name}_FILE are both set; choose one"
        )),
        (Some(value), None) => Ok(value),
        (None, Some(file)) => from_file(file.trim()).map_err(|problem| format!("{name}_FILE: {problem}")),
        (None, None) => Err(format!("the variable {name} is not set or empty")),
    }
}
