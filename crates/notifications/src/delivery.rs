//! One try to tell one receiver, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;

use crate::outbox::{Taken, UNDELIVERED_AFTER};
use crate::settings::Webhook;
use crate::signature::Signature;

/// A receiver that has not answered by then is tried again.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after the first failed try; later ones double.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What a receiver's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// 2xx: it has the notice.
    Delivered {
        /// Its status.
        status: u16,
    },
    /// 410: it wants no more notices, and gets none for seven days.
    Gone {
        /// Its status.
        status: u16,
    },
    /// Anything else, or no answer: it is tried again.
    Later {
        /// Its status, if it answered.
        status: Option<u16>,
        /// After which time it wants to be asked again.
        wait: Option<Duration>,
        /// What an operator is told.
        error: String,
    },
}

impl Receipt {
    /// The receiver's status, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Delivered { status } | Self::Gone { status } => Some(*status),
            Self::Later { status, .. } => *status,
        }
    }

    fn of(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        let code = status.as_u16();
        if status.is_success() {
            return Self::Delivered { status: code };
        }
        if status == StatusCode::GONE {
            return Self::Gone { status: code };
        }
        let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        Self::Later {
            status: Some(code),
            wait: waits.then(|| retry_after(headers, now)).flatten(),
            error: format!("the receiver answered {code}"),
        }
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let at = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
            (at - now).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(UNDELIVERED_AFTER))
}

/// After which time a delivery is tried again; `None` when that would be too late. `jitter` is from 0 to 1.
pub(crate) fn next_wait(taken: &Taken, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
    let doublings = taken.tries.saturating_sub(1).min(16);
    let full = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    // Drawn from the upper half, so that receivers are not met by all of them at once.
    let own = full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    let wait = asked.map_or(own, |asked| asked.max(own));
    (taken.age + wait < UNDELIVERED_AFTER).then_some(wait)
}

/// Makes a client for what is told to others: certificates of the system, no redirects, no proxy, an answer within
/// [`DELIVERY_TIMEOUT`].
///
/// # Errors
/// When there can be no TLS at all, in words.
pub fn http_client() -> Result<Client, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(good, "certificates of the system");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(DELIVERY_TIMEOUT / 2)
        .timeout(DELIVERY_TIMEOUT)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("lab-ops/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.without_url().to_string())
}

/// Tells one receiver, once.
pub(crate) async fn deliver(
    client: &Client,
    webhook: &Webhook,
    signature: Option<&Signature>,
    taken: &Taken,
    now: DateTime<Utc>,
) -> Receipt {
    let body = with_recipients(&taken.body, &webhook.recipients);
    let mut request = client
        .post(webhook.url())
        .header(CONTENT_TYPE, "application/json")
        .header("X-LabOps-Notice", &taken.notice_id)
        .header("X-LabOps-Try", taken.tries);
    if let Some(signature) = signature {
        let header = signature.header(now.timestamp(), body.as_bytes());
        request = request.header("X-LabOps-Signature", header);
    }
    if let Some(access) = &webhook.token {
        request = request.header(&access.header, access.token.expose_secret());
    }
    match request.body(body).send().await {
        Ok(answer) => Receipt::of(answer.status(), answer.headers(), now),
        Err(error) => {
            let error = error.without_url();
            tracing::debug!(%error, webhook = webhook.shown(), "not delivered");
            Receipt::Later {
                status: None,
                wait: None,
                error: in_words(&error).to_owned(),
            }
        }
    }
}

fn in_words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer within 10 s"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_builder() {
        "the request cannot be made"
    } else {
        "the connection broke"
    }
}

fn with_recipients(body: &str, recipients: &[String]) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(mut document)) if !recipients.is_empty() => {
            document.insert("recipients".to_owned(), recipients.into());
            serde_json::Value::Object(document).to_string()
        }
        _ => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(tries: u32, age: Duration) -> Taken {
        Taken {
            id: 1,
            fence: 1,
            target: String::new(),
            notice_id: String::new(),
            kind: String::new(),
            host: None,
            reservation: None,
            lab: None,
            body: String::new(),
            tries,
            age,
        }
    }

    #[test]
    fn waits_grow_and_end_before_a_day_is_over() {
        let mut age = Duration::ZERO;
        let mut waits = Vec::new();
        for tries in 1..1_000 {
            let Some(wait) = next_wait(&taken(tries, age), None, 1.0) else {
                break;
            };
            age += wait;
            waits.push(wait.as_secs());
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert!(waits.iter().all(|wait| *wait <= 3600));
        assert!((20..60).contains(&waits.len()), "{}", waits.len());
        assert!(age < UNDELIVERED_AFTER && age > UNDELIVERED_AFTER - Duration::from_secs(3700));
        let half = next_wait(&taken(3, Duration::ZERO), None, 0.0);
        assert_eq!(half, Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it() {
        let now: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().unwrap();
        let asked = |status: u16, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            match Receipt::of(StatusCode::from_u16(status).unwrap(), &headers, now) {
                Receipt::Later { wait, .. } => wait,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(asked(429, "120"), Some(Duration::from_secs(120)));
        assert_eq!(
            asked(503, "Sun, 01 Mar 2026 09:05:00 GMT"),
            Some(Duration::from_secs(300))
        );
        assert_eq!(asked(503, "Sun, 01 Mar 2026 08:05:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked(503, "99999999999"), Some(UNDELIVERED_AFTER));
        assert_eq!(asked(500, "120"), None);
        assert_eq!(asked(429, "soon"), None);
        let own = next_wait(&taken(1, Duration::ZERO), Some(Duration::from_secs(120)), 1.0);
        assert_eq!(own, Some(Duration::from_secs(120)));
        assert_eq!(
            next_wait(&taken(1, Duration::ZERO), Some(UNDELIVERED_AFTER), 1.0),
            None
        );
    }

    #[test]
    fn recipients_are_named_to_the_older_service_only() {
        assert_eq!(with_recipients(r#"{"a":1}"#, &[]), r#"{"a":1}"#);
        let named = with_recipients(r#"{"a":1}"#, &["ops@example.org".to_owned()]);
        assert_eq!(named, r#"{"a":1,"recipients":["ops@example.org"]}"#);
    }
}
