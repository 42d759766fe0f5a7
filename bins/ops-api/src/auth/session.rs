//! Session cookies: derived from the secret, so that the proxy and every copy of the service make and know the same
//! ones without sharing a store; never the secret itself.
//!
//! `v1.<role>.<expiry>.<mac>`, where the expiry is in seconds since 1970 and the mac is the base64url, without padding,
//! of HMAC-SHA256 over the text before the last dot. Its key is HMAC-SHA256 of `lab-ops cookie v1` under the secret.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::Sha256;

use super::Role;

/// The shortest session that may be asked for.
pub(crate) const SHORTEST_SESSION_SECS: u32 = 60;
/// The longest: a working day.
pub(crate) const LONGEST_SESSION_SECS: u32 = 43_200;

const PURPOSE: &[u8] = b"lab-ops cookie v1";
/// No cookie of ours is longer: `v1.operator.` with twenty digits and a mac of 43 characters.
const LONGEST: usize = 128;

/// The key under which sessions are made and known.
#[derive(Debug)]
pub(crate) struct SessionKey(SecretBox<[u8; 32]>);

/// A session that is genuine and not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// What it may do.
    pub(crate) role: Role,
    /// When it ends, in seconds since 1970.
    pub(crate) until: i64,
}

impl SessionKey {
    /// The key that belongs to a secret.
    pub(crate) fn derive(secret: &SecretString) -> Self {
        let key = mac(secret.expose_secret().as_bytes(), PURPOSE);
        Self(SecretBox::new(Box::new(key.finalize().into_bytes().into())))
    }

    /// A cookie's value.
    pub(crate) fn mint(&self, role: Role, until: i64) -> String {
        let text = format!("v1.{}.{until}", role.as_str());
        let code = mac(self.0.expose_secret(), text.as_bytes())
            .finalize()
            .into_bytes();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(code))
    }

    /// The session of a cookie's value; `None` when it is altered, over, or none of ours.
    pub(crate) fn read(&self, value: &[u8], now: i64) -> Option<Session> {
        let value = std::str::from_utf8(value)
            .ok()
            .filter(|value| value.len() <= LONGEST)?;
        let (text, code) = value.rsplit_once('.')?;
        let code = BASE64_URL_SAFE_NO_PAD.decode(code).ok()?;
        // Compared in constant time; nothing of the text is believed before.
        mac(self.0.expose_secret(), text.as_bytes())
            .verify_slice(&code)
            .ok()?;
        let (role, until) = text.strip_prefix("v1.")?.split_once('.')?;
        let session = Session {
            role: Role::find(role)?,
            until: until.parse().ok()?,
        };
        (now < session.until).then_some(session)
    }
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length; the empty one below is never reached.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same vector stands in the tests of the proxy, which makes such cookies in Lua.
    #[test]
    fn a_cookie_is_byte_for_byte_what_the_proxy_makes() {
        let key = SessionKey::derive(&"correct horse battery staple".into());
        let cookie = key.mint(Role::Operator, 1_893_456_000);
        assert_eq!(
            cookie,
            "v1.operator.1893456000.sM3fprHdvytGHJNTyfCN1H65X-dPa4eLJCFTyT4ODDw"
        );
        let session = Session {
            role: Role::Operator,
            until: 1_893_456_000,
        };
        assert_eq!(key.read(cookie.as_bytes(), 1_893_455_999), Some(session));
        assert_eq!(
            key.read(cookie.as_bytes(), 1_893_456_000),
            None,
            "over to the second"
        );
    }

    #[test]
    fn an_altered_cookie_is_none() {
        let key = SessionKey::derive(&"one".into());
        let cookie = key.mint(Role::Viewer, 1000);
        assert!(key.read(cookie.as_bytes(), 0).is_some());
        let (text, code) = cookie.rsplit_once('.').unwrap();
        for altered in [
            format!("v1.admin.1000.{code}"),
            format!("v1.viewer.9999.{code}"),
            format!("v2.viewer.1000.{code}"),
            format!("{text}."),
            format!("{text}.{}", &code[1..]),
            format!("{text}.{code}="),
            format!("{cookie}.{code}"),
            text.to_owned(),
            code.to_owned(),
            String::new(),
            "x".repeat(200),
        ] {
            assert_eq!(key.read(altered.as_bytes(), 0), None, "{altered}");
        }
        for at in 0..cookie.len() {
            let mut altered = cookie.clone().into_bytes();
            altered[at] ^= 1;
            assert_eq!(key.read(&altered, 0), None, "bit at {at}");
        }
        let other = SessionKey::derive(&"two".into());
        assert_eq!(other.read(cookie.as_bytes(), 0), None);
    }

    #[test]
    fn a_genuine_mac_over_something_else_is_no_session() {
        let key = SessionKey::derive(&"one".into());
        for text in [
            "v1.root.1000",
            "v1.admin.soon",
            "v1.admin",
            "v1.admin.1.2",
            "v0.admin.1000",
            "",
        ] {
            let code = mac(key.0.expose_secret(), text.as_bytes())
                .finalize()
                .into_bytes();
            let cookie = format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(code));
            assert_eq!(key.read(cookie.as_bytes(), 0), None, "{text}");
        }
    }
}
