//! The scheduler's own small listener, for monitoring: `GET /metrics`, `GET /health`, `GET /health/live`. It is off
//! unless a port is set.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use ops_runtime::http::{HttpLimits, Server};
use ops_runtime::metrics::{CONTENT_TYPE as TEXT, Sampler};
use ops_runtime::settings::check_metrics;
use ops_runtime::{Health, Settings, SiteHandle};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A monitoring program or two, and a load balancer.
const MAX_CONNECTIONS: usize = 32;
/// For an answer that is being written when the service stops.
const GRACE: Duration = Duration::from_secs(1);
const JSON: &str = "application/json";

/// What only this service asks of the settings: off loopback its listener needs a token.
#[must_use]
pub fn check_settings(settings: &Settings) -> Vec<String> {
    check_metrics(settings).err().into_iter().collect()
}

/// Starts the listener if there is to be one, until `stop`; gives its address.
///
/// # Errors
/// When the settings would leave it open, or the address cannot be listened on.
pub async fn show_metrics(
    handle: &SiteHandle,
    stop: &CancellationToken,
) -> anyhow::Result<Option<SocketAddr>> {
    let settings = handle.settings();
    if let Some(problem) = check_settings(settings).pop() {
        anyhow::bail!(problem);
    }
    let Some(port) = settings.metrics.port else {
        return Ok(None);
    };
    let wanted = SocketAddr::new(settings.metrics.bind, port);
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("cannot listen on {wanted} for metrics"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening for metrics");
    let token = settings.metrics.token.as_ref().or(settings.api.secret.as_ref());
    let shown = Arc::new(Shown {
        digest: token.map(digest),
        sampler: Sampler::new(handle),
        health: Health::new(handle),
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let shown = Arc::clone(&shown);
        async move {
            Ok::<_, Infallible>(
                shown
                    .answer(request.method(), request.uri().path(), request.headers())
                    .await,
            )
        }
    });
    let server = Server {
        limits: HttpLimits {
            connections: MAX_CONNECTIONS,
            ..HttpLimits::default()
        },
        grace: GRACE,
        pulse: None,
    };
    tokio::spawn(server.serve(listener, service, stop.clone()));
    Ok(Some(address))
}

fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret().as_bytes()).into()
}

struct Shown {
    /// Of the token; comparing digests does not show how long it is.
    digest: Option<[u8; 32]>,
    sampler: Sampler,
    health: Health,
}

impl Shown {
    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if !matches!(path, "/metrics" | "/health" | "/health/live") {
            return refusal(StatusCode::NOT_FOUND, "not_found", "Not found");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            );
            refused
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let known = self.knows(headers);
        match path {
            "/health/live" => answer(StatusCode::OK, JSON, json!({"status": "alive"}).to_string()),
            "/health" => self.health(known).await,
            _ if known => answer(StatusCode::OK, TEXT, self.sampler.scrape().await),
            _ => {
                let mut refused = refusal(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized");
                let scheme = hyper::header::HeaderValue::from_static("Bearer");
                refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                refused
            }
        }
    }

    /// Whether the caller shows the token, in `X-Ops-Token` or, only without that header, as a bearer; without one,
    /// only this machine is listened to.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = self.digest else { return true };
        let sent = match headers.get("x-ops-token") {
            Some(token) => token.as_bytes(),
            None => bearer(headers).unwrap_or_default(),
        };
        let sent: [u8; 32] = Sha256::digest(sent).into();
        sent.ct_eq(&expected).into()
    }

    async fn health(&self, details: bool) -> Response<Full<Bytes>> {
        let report = self.health.look().await;
        let (status, word) = match report.is_ok() {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        };
        let mut body = json!({"status": word, "hosts_loaded": report.hosts_loaded, "db": report.database});
        if details {
            let uptime = u64::try_from(report.uptime.as_millis()).unwrap_or(u64::MAX);
            body["degraded"] = report.degraded().collect::<Vec<_>>().into();
            body["checks"] = json!(report.checks);
            body["version"] = Value::from(env!("CARGO_PKG_VERSION"));
            body["uptimeMs"] = uptime.into();
        }
        answer(status, JSON, body.to_string())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

fn refusal(status: StatusCode, code: &str, error: &str) -> Response<Full<Bytes>> {
    answer(status, JSON, json!({"error": error, "code": code}).to_string())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
