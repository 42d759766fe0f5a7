//! Who a command runs as.

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use crate::settings::SettingsError;

/// A user name, its domain if any, and the password.
///
/// Cheap to clone; the password is wiped when the last clone goes, and `Debug` does not show it. Clones share the
/// Kerberos tickets that the account was given.
#[derive(Clone)]
pub struct Account {
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) password: Arc<SecretString>,
    #[cfg(feature = "kerberos")]
    pub(crate) tickets: crate::kerberos::Tickets,
}

impl Account {
    /// Reads `DOMAIN\user`, `HOST\user`, `.\user`, `user@realm` or `user`.
    ///
    /// Split at the first backslash. `user@realm` goes whole into the user name with an empty domain, as Windows
    /// wants it; `.\user` has an empty domain, which every local account accepts.
    ///
    /// # Errors
    /// [`SettingsError::Account`] when the user is empty, over 256 characters, or has control characters.
    pub fn parse(text: &str, password: SecretString) -> Result<Self, SettingsError> {
        let (domain, user) = match text.split_once('\\') {
            Some((".", user)) => ("", user),
            Some((domain, user)) => (domain, user),
            None => ("", text),
        };
        let refused = user.is_empty() || text.chars().count() > 256 || text.chars().any(char::is_control);
        if refused || user.contains('\\') {
            return Err(SettingsError::Account {
                account: text.chars().take(256).collect(),
            });
        }
        Ok(Self {
            user: user.to_owned(),
            domain: domain.to_owned(),
            password: Arc::new(password),
            #[cfg(feature = "kerberos")]
            tickets: crate::kerberos::Tickets::default(),
        })
    }

    /// Nobody in particular: the host knows from the certificate.
    pub(crate) fn mapped() -> Self {
        Self {
            user: String::new(),
            domain: String::new(),
            password: Arc::new(SecretString::from("")),
            #[cfg(feature = "kerberos")]
            tickets: crate::kerberos::Tickets::default(),
        }
    }

    /// The user name, without a domain before a backslash.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The domain before the backslash; empty when there is none.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The name as Basic wants it: with the domain where there is one.
    pub(crate) fn basic_name(&self) -> String {
        if self.domain.is_empty() {
            self.user.clone()
        } else {
            format!("{}\\{}", self.domain, self.user)
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_user_name_is_read() {
        let parts = |text: &str| {
            let account = Account::parse(text, SecretString::from("secret")).unwrap();
            (account.domain().to_owned(), account.user().to_owned())
        };
        let of = |domain: &str, user: &str| (domain.to_owned(), user.to_owned());
        assert_eq!(parts(r"LAB\student"), of("LAB", "student"));
        assert_eq!(parts(r".\student"), of("", "student"));
        assert_eq!(parts("student@lab.test"), of("", "student@lab.test"));
        assert_eq!(parts("student"), of("", "student"));
    }

    #[test]
    fn a_user_name_without_a_user_is_refused() {
        for text in ["", r"LAB\", r"A\B\C", "a\nb"] {
            assert!(Account::parse(text, SecretString::from("x")).is_err(), "{text:?}");
        }
    }
}
