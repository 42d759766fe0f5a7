//! User and password.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// The longest account name, in bytes: longer than Windows has.
const MAX_USER: usize = 512;
/// The longest password, in bytes: longer than Windows has.
const MAX_PASSWORD: usize = 1024;

/// A value that cannot be stored; names the part, never its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part} {problem}")]
pub struct InvalidCredential {
    /// `user` or `password`.
    pub part: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// An account and its password. Neither is shown by `Debug`.
#[derive(Clone)]
pub struct Credential {
    user: String,
    password: SecretString,
}

impl Credential {
    /// Checks both parts. The password is kept exactly as it is.
    ///
    /// # Errors
    /// [`InvalidCredential`] for an empty or overlong part, or one with a control character.
    pub fn new(user: &str, password: SecretString) -> Result<Self, InvalidCredential> {
        let user = user.trim();
        check("user", user, MAX_USER)?;
        check("password", password.expose_secret(), MAX_PASSWORD)?;
        Ok(Self {
            user: user.to_owned(),
            password,
        })
    }

    /// `DOMAIN\user`, `user@realm` or `user`.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &SecretString {
        &self.password
    }
}

fn check(part: &'static str, text: &str, longest: usize) -> Result<(), InvalidCredential> {
    let problem = match text {
        "" => "must not be empty",
        _ if text.len() > longest => "is too long",
        _ if text.chars().any(char::is_control) => "contains a control character",
        _ => return Ok(()),
    };
    Err(InvalidCredential { part, problem })
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}
