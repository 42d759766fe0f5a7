//! Who may call the HTTP service, and how much callers may take.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderName;
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};

use super::source::Source;
use super::{seconds, small};

/// Shorter secrets are warned of.
const SHORT: usize = 16;

/// Who may call, beside those who know the secret.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// What a proxy in front sends to vouch for its callers.
    pub internal_token: Option<SecretString>,
    /// The header it sends it in.
    pub internal_header: HeaderName,
    /// A list of further tokens, as digests, each with its role.
    pub tokens_file: Option<PathBuf>,
    /// Peers whose word is taken for whom they call on behalf of.
    pub trusted_proxies: Vec<IpNet>,
    /// Names by which the service may be called while it asks for no token, beside those of loopback.
    pub allowed_hosts: Vec<String>,
    /// How much callers may take.
    pub limits: LimitSettings,
}

/// How much callers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// The connections.
    pub http: crate::http::HttpLimits,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Bytes of the longest body.
    pub body_max: usize,
    /// How long the answer to a question may take.
    pub read_timeout: Duration,
    /// Most state-changing operations at the same time.
    pub operations: usize,
    /// Most calls a minute by one token; 0 means any number.
    pub calls_per_minute: u32,
    /// Most event streams at the same time.
    pub streams: usize,
    /// Most event streams of one token at the same time.
    pub streams_per_token: usize,
}

/// Names in the order in which the settings guide lists them.
pub(super) fn read(source: &mut Source) -> AccessSettings {
    let header = source
        .non_empty("OPS_INTERNAL_AUTH_HEADER")
        .unwrap_or_else(|| "X-Ops-Internal-Token".to_owned());
    let internal_token = source.token("OPS_INTERNAL_AUTH_TOKEN");
    warn_if_short(source, "OPS_INTERNAL_AUTH_TOKEN", internal_token.as_ref());
    AccessSettings {
        internal_token,
        internal_header: internal_header(source, &header),
        tokens_file: source.non_empty("OPS_TOKENS_FILE").map(PathBuf::from),
        trusted_proxies: trusted_proxies(source),
        allowed_hosts: allowed_hosts(source),
        limits: limits(source),
    }
}

/// Warns of a secret that could be guessed.
pub(super) fn warn_if_short(source: &mut Source, name: &str, secret: Option<&SecretString>) {
    if secret.is_some_and(|secret| secret.expose_secret().chars().count() < SHORT) {
        source.warnings.push(format!(
            "{name}: is shorter than {SHORT} characters and could be guessed; make one with: openssl rand -base64 32"
        ));
    }
}

fn internal_header(source: &mut Source, name: &str) -> HeaderName {
    const TAKEN: [&str; 5] = ["x-ops-token", "authorization", "cookie", "host", "origin"];
    let parsed = name.parse::<HeaderName>().ok();
    parsed
        .filter(|header| !TAKEN.contains(&header.as_str()))
        .unwrap_or_else(|| {
            let message = format!("{name:?} is no name of a header, or of one that means something else");
            source.problem("OPS_INTERNAL_AUTH_HEADER", message);
            HeaderName::from_static("x-ops-internal-token")
        })
}

fn trusted_proxies(source: &mut Source) -> Vec<IpNet> {
    let text = source
        .non_empty("OPS_TRUSTED_PROXIES")
        .unwrap_or_else(|| "127.0.0.0/8,::1/128".to_owned());
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut networks = Vec::new();
    for part in parts {
        let network = part.parse::<IpNet>();
        match network.or_else(|_| part.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network),
            Err(_) => source.problem(
                "OPS_TRUSTED_PROXIES",
                format!("{part:?} is no network such as 172.16.0.0/12"),
            ),
        }
    }
    networks
}

fn allowed_hosts(source: &mut Source) -> Vec<String> {
    let text = source.non_empty("OPS_ALLOWED_HOSTS").unwrap_or_default();
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let (good, bad): (Vec<&str>, Vec<&str>) = names.partition(|name| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        name.len() <= 255 && name.bytes().all(plain)
    });
    for name in bad {
        source.problem("OPS_ALLOWED_HOSTS", format!("{name:?} is no name of a host"));
    }
    good.into_iter().map(str::to_ascii_lowercase).collect()
}

fn limits(source: &mut Source) -> LimitSettings {
    LimitSettings {
        http: crate::http::HttpLimits {
            header: seconds(source, "OPS_HTTP_HEADER_TIMEOUT", 1..=60, 10),
            idle: seconds(source, "OPS_HTTP_IDLE_TIMEOUT", 1..=3600, 75),
            stalled: seconds(source, "OPS_HTTP_STALL_TIMEOUT", 1..=600, 30),
            connections: count(source, "OPS_HTTP_MAX_CONNECTIONS", 1..=60_000, 4096),
        },
        body_timeout: seconds(source, "OPS_HTTP_BODY_TIMEOUT", 1..=300, 10),
        body_max: count(source, "OPS_HTTP_MAX_BODY_BYTES", 1024..=1_048_576, 65_536),
        read_timeout: seconds(source, "OPS_HTTP_ANSWER_TIMEOUT", 1..=30, 5),
        operations: count(source, "OPS_MAX_OPERATIONS", 1..=10_000, 256),
        calls_per_minute: small(source.number("OPS_RATE_PER_MINUTE", 0..=10_000_000, 60_000)),
        streams: count(source, "OPS_MAX_STREAMS", 1..=50_000, 2500),
        streams_per_token: count(source, "OPS_MAX_STREAMS_PER_TOKEN", 1..=50_000, 250),
    }
}

fn count(source: &mut Source, name: &str, range: std::ops::RangeInclusive<u64>, default: usize) -> usize {
    let number = source.number(name, range, u64::try_from(default).unwrap_or(u64::MAX));
    usize::try_from(number).unwrap_or(default)
}
