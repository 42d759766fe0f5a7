//! The tokens that are known, and where a request may carry one.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use lab_model::{SharedClock, SystemClock};
use ops_runtime::settings::ApiSettings;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use super::session::SessionKey;
use super::{Caller, Proof, Role, file};

const TOKEN: HeaderName = HeaderName::from_static("x-ops-token");
/// The cookie of the same meaning.
pub(crate) const COOKIE: &str = "ops_token";

/// How long a stream may outlast the token or the session that it was opened with.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// One token, as its digest: digests have one length, so comparing them does not even show how long a token is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) digest: [u8; 32],
    /// When it ends, in seconds since 1970.
    pub(crate) until: Option<i64>,
}

/// A short secret could be found by its digest, so that is not shown either.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Known");
        shown.field("name", &self.name).field("role", &self.role);
        shown.finish_non_exhaustive()
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// None was sent.
    Absent,
    /// None that is known.
    Token,
    /// The proxy in front sent another token than the one agreed on.
    Internal,
}

/// Checks tokens in a time that does not depend on how much of them is right, nor on which of them it is. Clones share
/// the list.
#[derive(Debug, Clone)]
pub(crate) struct TokenCheck(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    secret: Option<Known>,
    sessions: Option<SessionKey>,
    internal: Option<(HeaderName, Known)>,
    file: Option<PathBuf>,
    listed: RwLock<Arc<[Known]>>,
    clock: SharedClock,
}

impl TokenCheck {
    /// The tokens of the settings. Without any, every caller passes; the service then listens on loopback only.
    ///
    /// # Errors
    /// Every problem of the tokens file.
    pub(crate) fn new(settings: &ApiSettings) -> Result<Self, Vec<String>> {
        Self::with_clock(settings, Arc::new(SystemClock))
    }

    fn with_clock(settings: &ApiSettings, clock: SharedClock) -> Result<Self, Vec<String>> {
        let access = &settings.access;
        let admin = |name: &str, secret: &SecretString| Known {
            name: name.into(),
            role: Role::Admin,
            digest: Sha256::digest(secret.expose_secret()).into(),
            until: None,
        };
        let listed = match &access.tokens_file {
            Some(path) => file::read(path)?,
            None => Vec::new(),
        };
        let internal = access.internal_token.as_ref();
        Ok(Self(Arc::new(Inner {
            secret: settings.secret.as_ref().map(|secret| admin("secret", secret)),
            sessions: settings.secret.as_ref().map(SessionKey::derive),
            internal: internal.map(|token| (access.internal_header.clone(), admin("internal", token))),
            file: access.tokens_file.clone(),
            listed: RwLock::new(listed.into()),
            clock,
        })))
    }

    /// Reads the tokens file again. A bad one changes nothing, and is told.
    pub(crate) fn reload(&self) -> Result<usize, Vec<String>> {
        let Some(path) = &self.0.file else {
            return Ok(0);
        };
        let listed = file::read(path)?;
        let count = listed.len();
        *self.0.listed.write().unwrap_or_else(PoisonError::into_inner) = listed.into();
        Ok(count)
    }

    /// The same, with the outcome in the log.
    pub(crate) fn reload_and_tell(&self) {
        match self.reload() {
            Ok(0) if self.0.file.is_none() => {}
            Ok(tokens) => tracing::info!(tokens, "read the tokens file again"),
            Err(problems) => {
                for problem in problems {
                    tracing::error!("the tokens stay as they are: {problem}");
                }
            }
        }
    }

    /// Whether callers have to show anything at all.
    pub(crate) fn asks(&self) -> bool {
        let inner = &*self.0;
        inner.secret.is_some() || inner.internal.is_some() || inner.file.is_some()
    }

    /// The key of session cookies; `None` without a secret to derive it from.
    pub(crate) fn sessions(&self) -> Option<&SessionKey> {
        self.0.sessions.as_ref()
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.0.clock.now().timestamp()
    }

    /// Who calls.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unknown> {
        if let Some((name, known)) = &self.0.internal
            && headers.contains_key(name)
        {
            let sent = only(headers, name).ok_or(Unknown::Internal)?;
            let right = known.digest.ct_eq(&digest(sent.as_bytes()));
            return if bool::from(right) {
                Ok(caller(known, Proof::Header))
            } else {
                Err(Unknown::Internal)
            };
        }
        if !self.asks() {
            return Ok(Caller {
                name: "anybody".into(),
                role: Role::Admin,
                proof: Proof::Nothing,
                session_until: None,
                listed: None,
            });
        }
        if headers.contains_key(TOKEN) {
            let sent = only(headers, &TOKEN).ok_or(Unknown::Token)?;
            return self.find(sent.as_bytes(), Proof::Header);
        }
        if let Some(sent) = bearer(headers) {
            return self.find(sent?, Proof::Header);
        }
        let sent = cookie(headers, COOKIE).ok_or(Unknown::Absent)?;
        if let Some(session) = self.session(sent) {
            return Ok(session);
        }
        self.find(sent, Proof::Cookie)
    }

    /// Whether what a caller showed is good still: not over, and not taken from the list.
    pub(crate) fn still_knows(&self, caller: &Caller) -> bool {
        if caller.session_until.is_some_and(|until| self.now() >= until) {
            return false;
        }
        let Some(digest) = caller.listed else { return true };
        let listed = self.0.listed.read().unwrap_or_else(PoisonError::into_inner);
        let known = listed.iter().find(|known| known.digest == digest);
        known.is_some_and(|known| known.role >= caller.role)
    }

    /// Waits until what a caller showed is no longer good, for what goes on after it was let in.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn until_unknown(self, caller: Caller) {
        while self.still_knows(&caller) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn session(&self, sent: &[u8]) -> Option<Caller> {
        let session = self.0.sessions.as_ref()?.read(sent, self.now())?;
        // A name of its own, so that its calls can be told from those of other sessions; not a part of its proof.
        let [a, b, c, d, ..] = digest(sent);
        Some(Caller {
            name: format!("session-{a:02x}{b:02x}{c:02x}{d:02x}").into(),
            role: session.role,
            proof: Proof::Cookie,
            session_until: Some(session.until),
            listed: None,
        })
    }

    /// Looks at all tokens, also when the first was already the right one.
    fn find(&self, sent: &[u8], proof: Proof) -> Result<Caller, Unknown> {
        let listed = Arc::clone(&self.0.listed.read().unwrap_or_else(PoisonError::into_inner));
        let sent = digest(sent);
        let mut found = u32::MAX;
        for (at, known) in (0_u32..).zip(self.0.secret.iter().chain(listed.iter())) {
            found.conditional_assign(&at, known.digest.ct_eq(&sent));
        }
        let at = usize::try_from(found).unwrap_or(usize::MAX);
        let known = self.0.secret.iter().chain(listed.iter()).nth(at);
        let known = known.filter(|known| known.until.is_none_or(|until| self.now() < until));
        let known = known.ok_or(Unknown::Token)?;
        let is_secret = at == 0 && self.0.secret.is_some();
        Ok(Caller {
            listed: (!is_secret).then_some(known.digest),
            ..caller(known, proof)
        })
    }
}

fn caller(known: &Known, proof: Proof) -> Caller {
    Caller {
        name: Arc::clone(&known.name),
        role: known.role,
        proof,
        session_until: known.until,
        listed: None,
    }
}

fn digest(sent: &[u8]) -> [u8; 32] {
    Sha256::digest(sent).into()
}

/// The value of a header that stands there once; twice is how one is smuggled past a proxy.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The token after `Bearer`; `None` when the header is absent or speaks of something else.
fn bearer(headers: &HeaderMap) -> Option<Result<&[u8], Unknown>> {
    let first = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = first.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    let once = only(headers, &header::AUTHORIZATION).is_some();
    Some(if once {
        Ok(token.trim_ascii())
    } else {
        Err(Unknown::Token)
    })
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"').as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ops_runtime::Settings;

    use super::*;

    fn check(variables: &[(&str, &str)]) -> TokenCheck {
        let variables: BTreeMap<_, _> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let settings = Settings::read(&variables, None).unwrap().settings;
        let clock = lab_model::ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap());
        TokenCheck::with_clock(&settings.api, Arc::new(clock)).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_passes_in_a_header_or_a_cookie_and_the_header_wins() {
        let check = check(&[("OPS_SECRET", "s3cret")]);
        let passes = |pairs: &[(&'static str, &str)]| check.caller(&headers(pairs)).is_ok();
        for right in [
            &[("x-ops-token", "s3cret")][..],
            &[("cookie", "a=b; ops_token=s3cret; c=d")],
            &[("authorization", "Bearer s3cret")],
            &[("authorization", "bearer  s3cret ")],
            &[("authorization", "Basic eDp5"), ("cookie", "ops_token=s3cret")],
            &[("x-ops-token", "s3cret"), ("authorization", "Bearer wrong")],
        ] {
            assert!(passes(right), "{right:?}");
        }
        for wrong in [
            &[][..],
            &[("x-ops-token", "wrong"), ("cookie", "ops_token=s3cret")],
            &[("x-ops-token", ""), ("cookie", "ops_token=s3cret")],
            &[("x-ops-token", "s3cret"), ("x-ops-token", "s3cret")],
            &[("x-ops-token", "wrong"), ("authorization", "Bearer s3cret")],
            &[("authorization", "Bearer wrong"), ("cookie", "ops_token=s3cret")],
            &[
                ("authorization", "Bearer s3cret"),
                ("authorization", "Bearer s3cret"),
            ],
            &[("authorization", "s3cret")],
            &[("cookie", "ops_token=s3cre")],
            &[("cookie", "my_ops_token=s3cret")],
        ] {
            assert!(!passes(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_session_passes_by_cookie_only_and_until_its_end() {
        let check = check(&[("OPS_SECRET", "s3cret")]);
        let cookie = check.sessions().unwrap().mint(Role::Viewer, check.now() + 1);
        let sent = format!("ops_token={cookie}");
        let caller = check.caller(&headers(&[("cookie", &sent)])).unwrap();
        assert_eq!((caller.role, caller.proof), (Role::Viewer, Proof::Cookie));
        assert!(caller.name.starts_with("session-"));
        assert!(check.caller(&headers(&[("x-ops-token", &cookie)])).is_err());
        assert!(check.still_knows(&caller));
        let over = Caller {
            session_until: Some(check.now()),
            ..caller
        };
        assert!(!check.still_knows(&over));
        let over = check.sessions().unwrap().mint(Role::Viewer, check.now());
        let sent = format!("ops_token={over}");
        assert!(check.caller(&headers(&[("cookie", &sent)])).is_err());
    }

    #[test]
    fn the_proxys_word_counts_only_with_the_right_token() {
        let check = check(&[
            ("OPS_INTERNAL_AUTH_TOKEN", "agreed"),
            ("OPS_INTERNAL_AUTH_HEADER", "X-Inner"),
            ("OPS_SECRET", "s3cret"),
        ]);
        let caller = check.caller(&headers(&[("x-inner", "agreed")])).unwrap();
        assert_eq!((&*caller.name, caller.role), ("internal", Role::Admin));
        let both = [("x-inner", "wrong"), ("x-ops-token", "s3cret")];
        assert_eq!(check.caller(&headers(&both)).unwrap_err(), Unknown::Internal);
        let other = [("x-ops-internal-token", "agreed")];
        assert_eq!(check.caller(&headers(&other)).unwrap_err(), Unknown::Absent);
        assert!(check.caller(&headers(&[("x-ops-token", "s3cret")])).is_ok());
    }

    #[test]
    fn listed_tokens_have_their_role_and_their_end_and_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let line = |name: &str, role: &str, token: &str, until: &str| {
            let digest = Sha256::digest(token)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>();
            format!(r#"{{"name": "{name}", "role": "{role}", "sha256": "{digest}"{until}}}"#)
        };
        let lines = [
            line("screen", "viewer", "one", ""),
            line(
                "web",
                "operator",
                "two",
                r#", "expiresAt": "2026-03-01T09:00:01Z""#,
            ),
            line(
                "old",
                "admin",
                "three",
                r#", "expiresAt": "2026-03-01T09:00:00Z""#,
            ),
        ];
        std::fs::write(&path, format!("[{}]", lines.join(","))).unwrap();
        let check = check(&[("OPS_TOKENS_FILE", path.to_str().unwrap())]);
        let role = |token: &str| {
            let caller = check.caller(&headers(&[("x-ops-token", token)])).ok()?;
            Some((caller.name.to_string(), caller.role))
        };
        assert_eq!(role("one"), Some(("screen".to_owned(), Role::Viewer)));
        assert_eq!(role("two"), Some(("web".to_owned(), Role::Operator)));
        assert_eq!(role("three"), None, "over");
        let ends = |token: &str| {
            check
                .caller(&headers(&[("x-ops-token", token)]))
                .unwrap()
                .session_until
        };
        assert_eq!(
            ends("two"),
            Some(check.now() + 1),
            "no session may outlive its token"
        );
        assert_eq!(ends("one"), None);
        assert!(check.sessions().is_none() && check.asks());

        std::fs::write(&path, "[{}]").unwrap();
        let watching = check.caller(&headers(&[("x-ops-token", "one")])).unwrap();
        assert!(check.reload().is_err());
        assert!(role("one").is_some(), "a bad file changes nothing");
        assert!(check.still_knows(&watching));
        std::fs::write(&path, "[]").unwrap();
        assert_eq!(check.reload(), Ok(0));
        assert_eq!(role("one"), None);
        assert!(!check.still_knows(&watching));
        assert!(check.asks(), "an empty list lets nobody in");
    }

    #[test]
    fn without_any_token_everyone_passes() {
        let caller = check(&[]).caller(&headers(&[])).unwrap();
        assert_eq!((caller.role, caller.proof), (Role::Admin, Proof::Nothing));
    }
}
