//! The settings of both services: read once, checked as a whole, printed without secrets.

mod access;
mod database;
mod known;
mod polling;
mod reservations;
mod secret;
mod source;
mod telemetry;
#[cfg(test)]
mod tests;
mod transports;
mod variables;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use credential_store::KeyRing;
use ipnet::{IpNet, Ipv4Net};
use lab_model::is_false_word;
use secrecy::SecretString;
use station_control::HeartbeatPolicy;

pub use access::{AccessSettings, LimitSettings};
pub use known::{is_known, nearest, settings_guide};
pub use polling::{HeartbeatSettings, PollSettings};
pub use secret::{MAX_SECRET_FILE, SecretFileError, read_secret_file, resolve_secret};
use source::Source;
pub use telemetry::{MetricsSettings, TraceSettings, check_metrics};
pub use transports::{AllowedTransports, transport_refusal};
pub use variables::{VARIABLES, Variable};

/// How long a station that says "not ready" is waited for before it is taken with a warning: it writes a heartbeat
/// each minute, and the first after a boot may come before all its parts are up.
const NOT_READY_PATIENCE: Duration = Duration::from_secs(75);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What both services are told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The HTTP service.
    pub api: ApiSettings,
    /// Heartbeat polling.
    pub poll: PollSettings,
    /// What is stored of heartbeats.
    pub heartbeats: HeartbeatSettings,
    /// The running of reservations.
    pub reservations: ReservationSettings,
    /// Remote commands.
    pub winrm: WinrmSettings,
    /// The listener for metrics.
    pub metrics: MetricsSettings,
    /// Where traces go.
    pub traces: TraceSettings,
    /// Who is told what needs a person.
    pub notifications: notifications::NotificationSettings,
    /// The host catalog's file; a missing one means no hosts.
    pub catalog_file: PathBuf,
    /// The database URL; `None` means the embedded SQLite file in `data_dir`.
    pub database_url: Option<SecretString>,
    /// The keys of stored credentials; without them none can be written or read.
    pub secrets_key: Option<KeyRing>,
    /// Folder of the embedded database.
    pub data_dir: PathBuf,
    /// Whether somebody chose that folder; else it is one below the working folder.
    pub data_dir_is_given: bool,
    /// Most database connections of this process.
    pub database_connections: u32,
    /// Under which name hosts are claimed.
    pub worker_name: String,
    /// A `tracing` filter.
    pub log_filter: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// How long running steps get to end when the service stops.
    pub shutdown_grace: Duration,
}

/// The HTTP service.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Listening address.
    pub bind: IpAddr,
    /// Listening port; 0 lets the system choose.
    pub port: u16,
    /// The token callers send; without one only loopback may be listened on.
    pub secret: Option<SecretString>,
    /// Who else may call, and how much callers may take.
    pub access: AccessSettings,
    /// Command words that `POST /api/winrm` accepts; `None` means the contract's own list.
    pub allowed_commands: Option<String>,
    /// How long a call waits for a busy host.
    pub host_wait: Duration,
    /// Largest page of the timeline.
    pub timeline_max: u32,
    /// Page of the timeline when none is asked for.
    pub timeline_default: u32,
    /// Newest rows that the timeline's phases are taken from.
    pub timeline_lookback: u32,
    /// How often a host is polled whose heartbeats somebody watches and nobody else polls.
    pub stream_interval: Duration,
    /// After how many days a call and its answer are forgotten.
    pub call_retention_days: u32,
    /// After how many days an entry of the audit trail is forgotten.
    pub audit_retention_days: u32,
}

/// The running of reservations.
#[derive(Debug, Clone)]
pub struct ReservationSettings {
    /// Whether reservations are run at all.
    pub enabled: bool,
    /// Longest time between two looks at the reservations.
    pub scan_interval: Duration,
    /// What the engine is told.
    pub engine: reservation_engine::Settings,
}

/// Remote commands.
#[derive(Debug, Clone)]
pub struct WinrmSettings {
    /// How long one answer may take.
    pub read_timeout: Duration,
    /// After which time a host answers that a command still runs.
    pub operation_timeout: Duration,
    /// Whether Basic may be used over plain HTTP.
    pub allow_insecure_basic: bool,
    /// Networks that host addresses must lie in; `None` means private and loopback networks.
    pub management_networks: Option<Vec<IpNet>>,
    /// The ways of logging on that hosts may have; `None` means all.
    pub allowed_transports: Option<AllowedTransports>,
    /// Whether hosts without TLS are refused.
    pub require_tls: bool,
    /// What a heartbeat means that says "not ready".
    pub ready: HeartbeatPolicy,
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);

/// Settings, and what an operator should know about them although they are valid.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Unknown variables and the like.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads the process's environment, and the TOML file `file` or the one that `OPS_SETTINGS` names.
    ///
    /// # Errors
    /// [`SettingsError`] lists every problem.
    pub fn from_environment(file: Option<&Path>) -> Result<Loaded, SettingsError> {
        Gathered::from_environment(file).into_result()
    }

    /// Reads settings from given variables instead of the process's own.
    ///
    /// # Errors
    /// [`SettingsError`] lists every problem.
    pub fn read(variables: &BTreeMap<String, String>, file: Option<&Path>) -> Result<Loaded, SettingsError> {
        Gathered::read(variables, file).into_result()
    }
}

/// Settings as far as they could be read, each wrong one with its default, and all that is wrong with them: enough
/// to look for problems elsewhere too before anything is said.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
    pub(crate) problems: Vec<String>,
}

impl Gathered {
    /// Reads as [`Settings::from_environment`] does.
    pub(crate) fn from_environment(file: Option<&Path>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::read(&variables, file)
    }

    fn read(variables: &BTreeMap<String, String>, file: Option<&Path>) -> Self {
        let named = variables
            .get("OPS_SETTINGS")
            .filter(|name| !name.trim().is_empty())
            .map(PathBuf::from);
        let mut source = Source::new(variables, file.or(named.as_deref()));
        let settings = read_all(&mut source);
        Self {
            settings,
            warnings: source.warnings,
            problems: source.problems,
        }
    }

    fn into_result(self) -> Result<Loaded, SettingsError> {
        if self.problems.is_empty() {
            Ok(Loaded {
                settings: self.settings,
                warnings: self.warnings,
            })
        } else {
            Err(SettingsError(self.problems))
        }
    }
}

fn read_all(source: &mut Source) -> Settings {
    Settings {
        api: api(source),
        poll: polling::poll(source),
        heartbeats: polling::heartbeats(source),
        reservations: reservations::read(source),
        winrm: winrm(source),
        metrics: telemetry::metrics(source),
        traces: telemetry::traces(source),
        notifications: telemetry::notifications(source),
        catalog_file: catalog_file(source),
        database_url: database::read(source),
        secrets_key: secrets_key(source),
        data_dir: source
            .non_empty("OPS_DATA_DIR")
            .unwrap_or_else(|| "ops-data".into())
            .into(),
        data_dir_is_given: source.non_empty("OPS_DATA_DIR").is_some(),
        database_connections: small(source.number("OPS_DB_MAX_CONNECTIONS", 1..=1000, 10)),
        worker_name: worker_name(source),
        log_filter: log_filter(source),
        log_format: source.choice(
            "OPS_LOG_FORMAT",
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            LogFormat::Text,
        ),
        shutdown_grace: seconds(source, "OPS_SHUTDOWN_GRACE", 0..=3600, 25),
    }
}

fn seconds(source: &mut Source, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> Duration {
    Duration::from_secs(source.number(name, range, default))
}

/// A number that its range already keeps small.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn secrets_key(source: &mut Source) -> Option<KeyRing> {
    let text = source.token("OPS_SECRETS_KEY")?;
    match KeyRing::parse(&text) {
        Ok(ring) => Some(ring),
        Err(error) => {
            source.problem("OPS_SECRETS_KEY", error);
            None
        }
    }
}

fn api(source: &mut Source) -> ApiSettings {
    let bind = source.non_empty("OPS_BIND").unwrap_or_else(|| "0.0.0.0".into());
    let bind = if bind.eq_ignore_ascii_case("localhost") {
        "127.0.0.1".into()
    } else {
        bind
    };
    let bind = bind.parse().unwrap_or_else(|_| {
        source.problem("OPS_BIND", format!("{bind:?} is no IP address"));
        IpAddr::from([127, 0, 0, 1])
    });
    let secret = source.token("OPS_SECRET");
    access::warn_if_short(source, "OPS_SECRET", secret.as_ref());
    let max = small(source.number("OPS_TIMELINE_MAX_OPS", 1..=10_000, 500));
    ApiSettings {
        bind,
        port: u16::try_from(source.number("OPS_PORT", 0..=65_535, 8081)).unwrap_or(8081),
        secret,
        access: access::read(source),
        allowed_commands: source.non_empty("OPS_ALLOWED_COMMANDS"),
        host_wait: seconds(source, "OPS_HOST_WAIT", 0..=600, 10),
        timeline_max: max,
        timeline_default: small(source.number("OPS_TIMELINE_DEFAULT_LIMIT", 0..=u64::MAX, 100)).clamp(1, max),
        timeline_lookback: small(source.number("OPS_TIMELINE_PHASE_LOOKBACK", 0..=100_000, 500)).max(max),
        stream_interval: seconds(source, "OPS_HEARTBEAT_SSE_INTERVAL_SECONDS", 1..=3600, 10),
        call_retention_days: small(source.number("OPS_CALL_RETENTION_DAYS", 1..=3650, 30)),
        audit_retention_days: small(source.number("OPS_AUDIT_RETENTION_DAYS", 1..=36_500, 365)),
    }
}

fn winrm(source: &mut Source) -> WinrmSettings {
    let read_timeout = seconds(source, "OPS_WINRM_READ_TIMEOUT", 2..=3600, 30);
    let operation_timeout = seconds(source, "OPS_WINRM_OPERATION_TIMEOUT", 1..=60, 20);
    if read_timeout <= operation_timeout {
        // The client would hang up just before the host's own answer, and lose the connection with it.
        let message = "must be longer than OPS_WINRM_OPERATION_TIMEOUT";
        source.problem("OPS_WINRM_READ_TIMEOUT", message);
    }
    let networks = source
        .non_empty("WINRM_MANAGEMENT_CIDRS")
        .map(|text| networks(source, &text));
    let insecure = source.non_empty("OPS_WINRM_ALLOW_INSECURE_BASIC");
    WinrmSettings {
        read_timeout,
        operation_timeout,
        allow_insecure_basic: insecure.is_some_and(|word| word.eq_ignore_ascii_case("true")),
        management_networks: networks,
        allowed_transports: transports::allowed(source),
        require_tls: source
            .non_empty("OPS_WINRM_REQUIRE_TLS")
            .is_some_and(|word| !is_false_word(&word)),
        ready: source.choice(
            "OPS_READY_POLICY",
            &[
                ("require", HeartbeatPolicy::Require),
                ("warn", HeartbeatPolicy::WarnAfter(NOT_READY_PATIENCE)),
            ],
            HeartbeatPolicy::Require,
        ),
    }
}

fn networks(source: &mut Source, text: &str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part
            .parse::<IpNet>()
            .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
        {
            Ok(network) => networks.push(plain(network)),
            Err(_) => source.problem(
                "WINRM_MANAGEMENT_CIDRS",
                format!("{part:?} is no network such as 10.0.0.0/8"),
            ),
        }
    }
    networks
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: addresses are compared as what they are, and so must networks be.
fn plain(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let bits = v6.prefix_len().checked_sub(96);
    let mapped = v6.addr().to_ipv4_mapped().zip(bits);
    let plain = mapped.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    plain.map_or(network, IpNet::V4)
}

fn catalog_file(source: &mut Source) -> PathBuf {
    if let Some(file) = source.non_empty("OPS_CONFIG") {
        return file.into();
    }
    let here = PathBuf::from("hosts.json");
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("hosts.json")));
    match beside {
        Some(beside) if !here.exists() && beside.exists() => beside,
        _ => here,
    }
}

fn worker_name(source: &mut Source) -> String {
    let name = source.non_empty("OPS_WORKER_NAME").unwrap_or_else(|| {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}:{}", machine.trim(), std::process::id())
    });
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        source.problem(
            "OPS_WORKER_NAME",
            "must be at most 100 characters without control characters",
        );
    }
    name
}

fn log_filter(source: &mut Source) -> String {
    let text = source.non_empty("OPS_LOG_LEVEL").unwrap_or_else(|| "INFO".into());
    // Python's words for levels, which existing installations have in their environment.
    let level = match text.to_ascii_uppercase().as_str() {
        "WARNING" | "WARN" => "warn",
        "CRITICAL" | "FATAL" | "ERROR" => "error",
        "NOTSET" | "TRACE" => "trace",
        "DEBUG" => "debug",
        "INFO" => "info",
        _ => "",
    };
    // At a plain level the libraries below speak up only when something is wrong with them.
    let filter = match level {
        "" => text.clone(),
        "trace" => "trace".to_owned(),
        level => format!("{level},sea_orm_migration=warn,sqlx=warn,hyper=info,rustls=info"),
    };
    if tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
        source.problem("OPS_LOG_LEVEL", format!("{text:?} is no level or filter"));
    }
    filter
}
