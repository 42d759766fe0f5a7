//! What the operator's other tools are shown: metrics, traces, notices.

use std::net::IpAddr;

use notifications::{AccessToken, AlertRules, NotificationSettings, Webhook};
use secrecy::{ExposeSecret as _, SecretString};

use lab_model::is_false_word;

use super::source::Source;
use super::{seconds, small};

/// More receivers than this are a mailing list.
const MAX_WEBHOOKS: usize = 8;
const MAX_RECIPIENTS: usize = 50;

/// The listener of `ops-scheduler` for `/metrics` and `/health`.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// Listening address.
    pub bind: IpAddr,
    /// Listening port, 0 lets the system choose; without one there is no listener.
    pub port: Option<u16>,
    /// The token it wants to see instead of `OPS_SECRET`.
    pub token: Option<SecretString>,
}

/// Where traces go.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The base address of an OTLP collector over HTTP; without one there are no traces.
    pub endpoint: Option<String>,
    /// The name of this service in traces; without one, that of the program.
    pub service_name: Option<String>,
}

pub(super) fn metrics(source: &mut Source) -> MetricsSettings {
    let text = source
        .non_empty("OPS_METRICS_BIND")
        .unwrap_or_else(|| "127.0.0.1".into());
    let bind = if text.eq_ignore_ascii_case("localhost") {
        "127.0.0.1"
    } else {
        text.as_str()
    };
    let bind = bind.parse().unwrap_or_else(|_| {
        source.problem("OPS_METRICS_BIND", format!("{text:?} is no IP address"));
        IpAddr::from([127, 0, 0, 1])
    });
    let is_on = source.non_empty("OPS_METRICS_PORT").is_some();
    let port = is_on.then(|| u16::try_from(source.number("OPS_METRICS_PORT", 0..=65_535, 0)).unwrap_or(0));
    MetricsSettings {
        bind,
        port,
        token: source.token("OPS_METRICS_TOKEN"),
    }
}

pub(super) fn traces(source: &mut Source) -> TraceSettings {
    let endpoint = source.non_empty("OTEL_EXPORTER_OTLP_ENDPOINT");
    if let Some(endpoint) = &endpoint
        && !["http://", "https://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme))
    {
        source.problem(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "must begin with http:// or https://",
        );
    }
    if endpoint.is_some() && !cfg!(feature = "otlp") {
        source.problem(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "this program was built without traces (feature otlp)",
        );
    }
    TraceSettings {
        endpoint,
        service_name: source.non_empty("OTEL_SERVICE_NAME"),
    }
}

pub(super) fn notifications(source: &mut Source) -> NotificationSettings {
    let http_hosts = list(source.non_empty("NOTIFICATION_HTTP_HOSTS").as_deref());
    let mut webhooks = Vec::new();
    for name in ["NOTIFICATION_WEBHOOK_URL", "NOTIFICATION_WEBHOOK_URLS"] {
        let text = source.token(name);
        for url in list(text.as_ref().map(|text| text.expose_secret())) {
            webhooks.extend(webhook(source, name, &url, &http_hosts));
        }
    }
    webhooks.extend(older_service(source, &http_hosts));
    if webhooks.len() > MAX_WEBHOOKS {
        source.problem(
            "NOTIFICATION_WEBHOOK_URLS",
            format!("names more than {MAX_WEBHOOKS} receivers"),
        );
        webhooks.truncate(MAX_WEBHOOKS);
    }
    NotificationSettings {
        webhooks,
        secret: source.secret("NOTIFICATION_WEBHOOK_SECRET"),
        rules: AlertRules {
            threshold: small(source.number("OPS_ALERT_FAILURE_THRESHOLD", 1..=1000, 3)),
            window: seconds(source, "OPS_ALERT_WINDOW_SECONDS", 1..=86_400, 300),
            cooldown: seconds(source, "OPS_ALERT_COOLDOWN_SECONDS", 1..=604_800, 900),
        },
    }
}

/// The receiver of the older worker's installations: a token in a header, and people to be told.
fn older_service(source: &mut Source, http_hosts: &[String]) -> Option<Webhook> {
    let enabled = source.text("NOTIFICATION_SERVICE_ENABLED");
    let recipients = list(source.non_empty("NOTIFICATION_SERVICE_RECIPIENTS").as_deref());
    let token = source.token("NOTIFICATION_SERVICE_ACCESS_TOKEN");
    let header = source
        .non_empty("NOTIFICATION_SERVICE_ACCESS_TOKEN_HEADER")
        .unwrap_or_else(|| "X-Access-Token".to_owned());
    let url = source.token("NOTIFICATION_SERVICE_URL")?;
    if enabled.is_some_and(|word| is_false_word(&word)) {
        return None;
    }
    if recipients.len() > MAX_RECIPIENTS {
        let problem = format!("names more than {MAX_RECIPIENTS} people");
        source.problem("NOTIFICATION_SERVICE_RECIPIENTS", problem);
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !header.chars().all(is_token) {
        source.problem(
            "NOTIFICATION_SERVICE_ACCESS_TOKEN_HEADER",
            format!("{header:?} is no header's name"),
        );
        return None;
    }
    if let Some(token) = &token
        && !token
            .expose_secret()
            .chars()
            .all(|c| c.is_ascii_graphic() || c == ' ')
    {
        source.problem("NOTIFICATION_SERVICE_ACCESS_TOKEN", "cannot be sent in a header");
        return None;
    }
    let webhook = webhook(
        source,
        "NOTIFICATION_SERVICE_URL",
        url.expose_secret(),
        http_hosts,
    )?;
    Some(webhook.as_older_service(token.map(|token| AccessToken { header, token }), recipients))
}

fn webhook(source: &mut Source, name: &str, url: &str, http_hosts: &[String]) -> Option<Webhook> {
    match Webhook::parse(url, http_hosts) {
        Ok(webhook) => Some(webhook),
        Err(error) => {
            source.problem(name, error);
            None
        }
    }
}

fn list(text: Option<&str>) -> Vec<String> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Whether a listener for metrics may be opened as the settings have it.
///
/// # Errors
/// The problem, with its variable.
pub fn check_metrics(settings: &super::Settings) -> Result<(), String> {
    let metrics = &settings.metrics;
    let guarded = metrics.token.is_some() || settings.api.secret.is_some();
    if metrics.port.is_none() || metrics.bind.is_loopback() || guarded {
        return Ok(());
    }
    Err(format!(
        "OPS_METRICS_TOKEN: it or OPS_SECRET must be set to show metrics on {} (or set OPS_METRICS_BIND=127.0.0.1)",
        metrics.bind
    ))
}
