//! What Kerberos needs to be told besides account and endpoint.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::account::Account;
use crate::settings::SettingsError;

/// The port of a KDC when none is given.
const KDC_PORT: u16 = 88;
/// More than any realm needs, and what bounds the time spent on trying them.
const MAX_KDCS: usize = 8;

/// Where tickets come from. Only used with [`AuthMethod::Kerberos`](crate::AuthMethod::Kerberos).
///
/// The service is `HTTP/<host>`: a name, since an address has no Kerberos service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerberosSettings {
    /// The account's realm. Default: the domain of the account, or what follows its last `@`, in upper case.
    pub realm: Option<String>,
    /// The KDCs of that realm as `host`, `host:port` or `[ipv6]:port`, asked in this order until one answers, at most
    /// 8. Empty, the default: the first `kdc` of the realm in `krb5.conf`.
    ///
    /// They are the operator's choice, so [`Settings::allowed_networks`](crate::Settings::allowed_networks) does not
    /// apply to them.
    pub kdcs: Vec<String>,
    /// The host's name in the service. Default: [`Settings::server_name`](crate::Settings::server_name), or else the
    /// host of the endpoint.
    pub service_host: Option<String>,
    /// How the token is carried to the host. Default: [`KerberosScheme::Negotiate`].
    pub scheme: KerberosScheme,
    /// How long one KDC may take for one answer, connecting included. Default 5 s. A login asks three times.
    pub timeout: Duration,
}

impl Default for KerberosSettings {
    fn default() -> Self {
        Self {
            realm: None,
            kdcs: Vec::new(),
            service_host: None,
            scheme: KerberosScheme::Negotiate,
            timeout: Duration::from_secs(5),
        }
    }
}

/// The HTTP authentication scheme that carries Kerberos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KerberosScheme {
    /// `Negotiate`, inside SPNEGO, with Kerberos as the only mechanism offered: never a fall back to NTLM.
    #[default]
    Negotiate,
    /// `Kerberos`, bare.
    Kerberos,
}

/// Who logs in where, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) realm: String,
    /// Empty when `krb5.conf` is to say it.
    pub(crate) kdcs: Vec<(String, u16)>,
}

impl KerberosSettings {
    /// Checks what can be checked without a network.
    pub(crate) fn login(&self, account: &Account) -> Result<Login, SettingsError> {
        if !cfg!(feature = "kerberos") {
            return Err(SettingsError::KerberosMissing);
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(600)).contains(&self.timeout) {
            return Err(SettingsError::Timeout {
                name: "kerberos.timeout",
                value: self.timeout,
            });
        }
        if self.kdcs.len() > MAX_KDCS {
            let kdc = self.kdcs[MAX_KDCS].clone();
            return Err(SettingsError::Kdc { kdc });
        }
        let kdcs = self.kdcs.iter().map(|kdc| {
            let refused = || SettingsError::Kdc { kdc: kdc.clone() };
            split(kdc).ok_or_else(refused)
        });
        let (user, realm) = self.principal(account)?;
        let kdcs = kdcs.collect::<Result<_, _>>()?;
        Ok(Login { user, realm, kdcs })
    }

    /// User and realm. A suffix that is the realm is not part of the user name: `user@realm` whole would be an
    /// enterprise name, which only Active Directory knows.
    fn principal(&self, account: &Account) -> Result<(String, String), SettingsError> {
        let (user, suffix) = match account.user().rsplit_once('@') {
            Some((user, suffix)) if account.domain().is_empty() => (user, suffix),
            _ => (account.user(), account.domain()),
        };
        let realm = self.realm.as_deref().unwrap_or(suffix).to_ascii_uppercase();
        let name = |text: &str| {
            text.bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        };
        if realm.is_empty() || realm.len() > 255 || !name(&realm) {
            return Err(SettingsError::KerberosRealm { realm });
        }
        let foreign =
            !suffix.is_empty() && !suffix.eq_ignore_ascii_case(&realm) && account.domain().is_empty();
        let user = if foreign { account.user() } else { user };
        // The messages carry names in ASCII; a slash would divide the name into two.
        if user.is_empty() || !user.bytes().all(|b| b.is_ascii_graphic() || b == b' ') || user.contains('/') {
            return Err(SettingsError::Account {
                account: account.user().to_owned(),
            });
        }
        Ok((user.to_owned(), realm))
    }
}

/// `host`, `host:port`, `[v6]:port`, `[v6]` or a bare IPv6 address.
fn split(kdc: &str) -> Option<(String, u16)> {
    if kdc.parse::<Ipv6Addr>().is_ok() {
        return Some((kdc.to_owned(), KDC_PORT));
    }
    let (host, rest) = match kdc.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => kdc.split_at(kdc.find(':').unwrap_or(kdc.len())),
    };
    let port = match rest {
        "" => KDC_PORT,
        rest => rest.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
    };
    let named = !host.is_empty()
        && host.len() <= 255
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
    named.then(|| (host.to_owned(), port))
}

#[cfg(feature = "kerberos")]
#[cfg(test)]
mod tests {
    use super::*;

    fn login(account: &str, realm: Option<&str>) -> Result<(String, String), SettingsError> {
        let settings = KerberosSettings {
            realm: realm.map(str::to_owned),
            ..KerberosSettings::default()
        };
        let login = settings.login(&Account::parse(account, "x".to_owned().into()).unwrap())?;
        Ok((login.user, login.realm))
    }

    #[test]
    fn the_realm_comes_from_the_settings_or_the_account() {
        let is = |user: &str, realm: &str| (user.to_owned(), realm.to_owned());
        assert_eq!(login(r"LAB.TEST\alice", None).unwrap(), is("alice", "LAB.TEST"));
        assert_eq!(login("alice@lab.test", None).unwrap(), is("alice", "LAB.TEST"));
        assert_eq!(
            login("alice@lab.test", Some("Lab.Test")).unwrap(),
            is("alice", "LAB.TEST")
        );
        assert_eq!(login("alice", Some("lab.test")).unwrap(), is("alice", "LAB.TEST"));
        // A NetBIOS domain beside the realm, and a suffix that is not the realm.
        assert_eq!(
            login(r"LAB\alice", Some("lab.test")).unwrap(),
            is("alice", "LAB.TEST")
        );
        assert_eq!(
            login("alice@mail.test", Some("lab.test")).unwrap(),
            is("alice@mail.test", "LAB.TEST")
        );
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        assert!(login("alice", None).unwrap_err().to_string().contains("realm"));
        assert!(login(r"LAB\a/b", None).unwrap_err().to_string().contains("a/b"));
        assert!(
            login("alice", Some("lab test"))
                .unwrap_err()
                .to_string()
                .contains("LAB TEST")
        );
        let account = Account::parse("a@b", "x".to_owned().into()).unwrap();
        for kdc in ["", ":88", "a:0", "a:b", "a b", "[::1", "http://a", "[x]:1"] {
            let settings = KerberosSettings {
                kdcs: vec![kdc.to_owned()],
                ..KerberosSettings::default()
            };
            assert!(settings.login(&account).is_err(), "{kdc:?}");
        }
    }

    #[test]
    fn every_form_of_a_kdc_is_read() {
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(split("kdc.lab.test"), is("kdc.lab.test", 88));
        assert_eq!(split("127.0.0.1:18088"), is("127.0.0.1", 18088));
        assert_eq!(split("::1"), is("::1", 88));
        assert_eq!(split("[::1]:750"), is("::1", 750));
    }
}

#[cfg(not(feature = "kerberos"))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_kerberos_is_refused_by_name() {
        let account = Account::parse("alice@lab.test", "x".to_owned().into()).unwrap();
        let refused = KerberosSettings::default().login(&account).unwrap_err();
        assert!(refused.to_string().contains("feature kerberos"), "{refused}");
    }
}
