//! Every variable the services read, in one table: what is checked, what is suggested, and what the guide prints.

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name in the environment; in a TOML file the same in lower case.
    pub name: &'static str,
    /// What counts when it is absent, as an operator would write it.
    pub default: &'static str,
    /// One sentence with the unit.
    pub meaning: &'static str,
    /// Whether `<name>_FILE` may name a file that holds it instead, and the value is never shown.
    pub secret: bool,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
        secret: false,
    }
}

const fn secret(name: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default: "",
        meaning,
        secret: true,
    }
}

/// All of them, in the order in which the operator's guide lists them.
pub const VARIABLES: &[Variable] = &[
    variable(
        "OPS_BIND",
        "0.0.0.0",
        "address the API listens on; off loopback it needs OPS_SECRET or another token",
    ),
    variable("OPS_PORT", "8081", "port the API listens on"),
    secret(
        "OPS_SECRET",
        "token that callers of the API send; empty means none",
    ),
    secret(
        "OPS_INTERNAL_AUTH_TOKEN",
        "token by which a proxy in front vouches for its callers, with the role admin",
    ),
    variable(
        "OPS_INTERNAL_AUTH_HEADER",
        "X-Ops-Internal-Token",
        "header in which the proxy sends it",
    ),
    variable(
        "OPS_TOKENS_FILE",
        "",
        "JSON list of further tokens: name, role, sha256, expiresAt; lines are made by ops-api token new",
    ),
    variable(
        "OPS_TRUSTED_PROXIES",
        "127.0.0.0/8,::1/128",
        "networks of proxies whose X-Forwarded-For, X-Real-IP and X-Forwarded-Host are believed",
    ),
    variable(
        "OPS_ALLOWED_HOSTS",
        "",
        "names beside localhost by which the API may be called while it asks for no token, comma separated",
    ),
    variable(
        "OPS_HTTP_HEADER_TIMEOUT",
        "10",
        "seconds in which a caller has to send the whole header of a call",
    ),
    variable(
        "OPS_HTTP_BODY_TIMEOUT",
        "10",
        "seconds in which a caller has to send the whole body of a call",
    ),
    variable(
        "OPS_HTTP_IDLE_TIMEOUT",
        "75",
        "seconds after which a connection without calls is closed; longer than the proxy in front keeps it",
    ),
    variable(
        "OPS_HTTP_STALL_TIMEOUT",
        "30",
        "seconds after which a connection is closed whose caller does not read the answer",
    ),
    variable(
        "OPS_HTTP_ANSWER_TIMEOUT",
        "5",
        "seconds in which a question (GET) is answered; one for which the database takes longer gets 503",
    ),
    variable(
        "OPS_HTTP_MAX_CONNECTIONS",
        "4096",
        "most open connections; further callers wait until one is closed",
    ),
    variable(
        "OPS_HTTP_MAX_BODY_BYTES",
        "65536",
        "bytes of the longest body of a call",
    ),
    variable(
        "OPS_MAX_OPERATIONS",
        "256",
        "most state-changing calls at the same time; further ones are answered 429",
    ),
    variable(
        "OPS_RATE_PER_MINUTE",
        "60000",
        "most calls a minute by one token; 0 means no limit",
    ),
    variable("OPS_MAX_STREAMS", "2500", "most event streams at the same time"),
    variable(
        "OPS_MAX_STREAMS_PER_TOKEN",
        "250",
        "most event streams of one token or session at the same time",
    ),
    variable(
        "OPS_CONFIG",
        "hosts.json",
        "the host catalog, in the working directory or else beside the program",
    ),
    variable("OPS_DATA_DIR", "ops-data", "folder of the embedded database"),
    secret(
        "MYSQL_DSN",
        "database URL, also in SQLAlchemy spelling; empty means the variables below, or else the embedded SQLite file",
    ),
    variable(
        "MYSQL_HOSTNAME",
        "",
        "database server, with the four variables below instead of MYSQL_DSN",
    ),
    variable("MYSQL_PORT", "3306", "its port"),
    variable("OPS_MYSQL_DATABASE", "", "name of the database"),
    variable("OPS_BACKEND_MYSQL_USER", "", "user of the database"),
    secret(
        "OPS_BACKEND_MYSQL_PASSWORD",
        "password of that user, exactly as it is, nothing escaped",
    ),
    secret(
        "OPS_SECRETS_KEY",
        "key of the stored WinRM credentials: 32 bytes in Base64, or a ring of lines id:base64 of which the first writes",
    ),
    variable(
        "OPS_DB_MAX_CONNECTIONS",
        "10",
        "most database connections of one process",
    ),
    variable(
        "OPS_WORKER_NAME",
        "host name and process id",
        "name under which this process registers and claims hosts; unique for each kind of service",
    ),
    variable(
        "OPS_LOG_LEVEL",
        "INFO",
        "DEBUG, INFO, WARNING, ERROR, or a filter such as ops_api=debug,info",
    ),
    variable("OPS_LOG_FORMAT", "text", "text or json"),
    variable(
        "OPS_SHUTDOWN_GRACE",
        "25",
        "seconds that running steps get to end when the service stops",
    ),
    variable(
        "OPS_WINRM_READ_TIMEOUT",
        "30",
        "seconds to wait for one answer of a host",
    ),
    variable(
        "OPS_WINRM_OPERATION_TIMEOUT",
        "20",
        "seconds after which a host answers that a command still runs",
    ),
    variable(
        "OPS_WINRM_ALLOW_INSECURE_BASIC",
        "false",
        "true allows Basic over plain HTTP, in clear text",
    ),
    variable(
        "WINRM_MANAGEMENT_CIDRS",
        "private and loopback networks",
        "networks that every address of a host must lie in, looked at whenever it is dialled",
    ),
    variable(
        "WINRM_ALLOWED_TRANSPORTS",
        "all",
        "words of winrm_transport that hosts may have, comma separated",
    ),
    variable(
        "OPS_WINRM_REQUIRE_TLS",
        "false",
        "true refuses hosts whose WinRM is not TLS",
    ),
    variable(
        "OPS_ALLOWED_COMMANDS",
        "the station's commands",
        "command words that POST /api/winrm accepts",
    ),
    variable(
        "OPS_HOST_WAIT",
        "10",
        "seconds a call to the API waits for a host that is busy",
    ),
    variable("OPS_TIMELINE_MAX_OPS", "500", "largest page of the timeline"),
    variable(
        "OPS_TIMELINE_DEFAULT_LIMIT",
        "100",
        "page of the timeline when none is asked for",
    ),
    variable(
        "OPS_TIMELINE_PHASE_LOOKBACK",
        "500",
        "newest rows the timeline's phases are taken from",
    ),
    variable(
        "OPS_CALL_RETENTION_DAYS",
        "30",
        "days after which calls and their answers are forgotten",
    ),
    variable(
        "OPS_AUDIT_RETENTION_DAYS",
        "365",
        "days after which entries of the audit trail are forgotten",
    ),
    variable(
        "OPS_POLL_ENABLED",
        "false",
        "the word true turns heartbeat polling on",
    ),
    variable("OPS_POLL_INTERVAL", "60", "seconds between two polls of one host"),
    variable(
        "OPS_POLL_MAX_IN_FLIGHT",
        "800",
        "most hosts polled at the same moment",
    ),
    variable(
        "OPS_POLL_SLOW_SHARE",
        "50",
        "percent of those that may be polls of more than a second; beyond it the longest one is given up",
    ),
    variable(
        "OPS_POLL_DEADLINE",
        "40",
        "seconds after which one poll of one host is given up",
    ),
    variable(
        "OPS_POLL_BREAKER_FAILURES",
        "3",
        "polls in a row without an answer after which a host is only probed until it answers",
    ),
    variable(
        "OPS_POLL_BREAKER_LONGEST",
        "16",
        "intervals after which at the latest a probe of a host that hangs gets the whole deadline",
    ),
    variable(
        "OPS_POLL_MAX_WATCHES",
        "200",
        "most hosts with watch in hosts.json that one process watches; the others are polled",
    ),
    variable(
        "OPS_HEARTBEAT_STORE",
        "changes",
        "changes, or every: which heartbeats become rows of lab_host_heartbeat",
    ),
    variable(
        "OPS_HEARTBEAT_KEEP_ALIVE",
        "300",
        "seconds after which a heartbeat becomes a row although nothing changed",
    ),
    variable(
        "OPS_EVENTS_LOOK_BACK",
        "0",
        "seconds that events may be old which are stored of a host never seen before; 0 means only those to come",
    ),
    variable(
        "OPS_RETENTION",
        "on",
        "false, 0, no or off keeps old heartbeats, events and figures for ever",
    ),
    variable(
        "OPS_HEARTBEAT_KEEP_DAYS",
        "14",
        "days for which all rows of lab_host_heartbeat are kept",
    ),
    variable(
        "OPS_HEARTBEAT_HOURLY_DAYS",
        "90",
        "days for which one of them is kept for each host and hour",
    ),
    variable(
        "OPS_EVENTS_KEEP_DAYS",
        "365",
        "days for which events of session guards are kept",
    ),
    variable(
        "OPS_CHANGES_KEEP_DAYS",
        "365",
        "days for which changes of readiness, local mode, sessions and power are kept",
    ),
    variable(
        "OPS_HOURS_KEEP_DAYS",
        "730",
        "days for which the figures of each host and hour are kept",
    ),
    variable(
        "OPS_RESERVATION_AUTOMATION",
        "true",
        "false, 0, no or off switches the running of reservations off",
    ),
    variable(
        "OPS_RESERVATION_SCAN_INTERVAL",
        "30",
        "longest time in seconds between two looks at the reservations",
    ),
    variable(
        "OPS_RESERVATION_START_LEAD",
        "120",
        "seconds before its start at which a reservation's host is woken",
    ),
    variable(
        "OPS_RESERVATION_START_LEAD_MAX",
        "900",
        "most seconds to which a host's own boot and prepare times raise the lead",
    ),
    variable(
        "OPS_RESERVATION_START_LEAD_MARGIN",
        "30",
        "seconds added to a host's own boot and prepare times",
    ),
    variable(
        "OPS_RESERVATION_END_DELAY",
        "60",
        "seconds after its end at which a reservation's host is released",
    ),
    variable(
        "OPS_RESERVATION_LOOKBACK",
        "21600",
        "seconds after its end in which a failing release is tried again",
    ),
    variable(
        "OPS_RESERVATION_RETRY_COOLDOWN",
        "60",
        "seconds before the first new try; later waits double",
    ),
    variable(
        "OPS_RESERVATION_RETRY_MAX",
        "900",
        "longest wait in seconds between two tries",
    ),
    variable(
        "OPS_RESERVATION_MAX_BATCH",
        "200",
        "most reservations one look takes on",
    ),
    variable(
        "OPS_RESERVATION_GUARD_GRACE",
        "90",
        "seconds the station gives a logged-on user before logging off",
    ),
    variable(
        "OPS_RESERVATION_REBOOT_MARGIN",
        "120",
        "seconds beyond the lead that must be free for a reboot",
    ),
    variable(
        "OPS_WAKE_TIMEOUT",
        "180",
        "seconds until a host that was woken has to be ready",
    ),
    variable(
        "OPS_WAKE_RATE_PER_MINUTE",
        "0",
        "most hosts woken in a minute, over all schedulers; 0 means no limit",
    ),
    variable(
        "OPS_HOST_POOLING",
        "false",
        "true lets a reservation go to the next free host of its lab",
    ),
    variable(
        "OPS_IDLE_POWER_ACTION",
        "none",
        "none, shutdown or hibernate: what happens to a host that nobody needs",
    ),
    variable(
        "OPS_IDLE_POWER_AFTER",
        "900",
        "seconds after a host's last reservation at which that happens",
    ),
    variable(
        "OPS_IDLE_POWER_FORCE",
        "false",
        "the word true repeats the order without regard to programs that held it up",
    ),
    variable(
        "OPS_LOCAL_MODE_POLICY",
        "block",
        "block, warn or ignore: what a station in local mode means",
    ),
    variable(
        "OPS_READY_POLICY",
        "require",
        "require or warn: what a heartbeat means that says not ready",
    ),
    variable(
        "OPS_HEARTBEAT_SSE_INTERVAL_SECONDS",
        "10",
        "seconds between two polls of a host whose heartbeat stream somebody watches, unless a scheduler polls it",
    ),
    variable(
        "OPS_METRICS_BIND",
        "127.0.0.1",
        "address the scheduler shows /metrics and /health on; off loopback it needs a token",
    ),
    variable(
        "OPS_METRICS_PORT",
        "",
        "port for that; empty means that the scheduler does not listen at all",
    ),
    secret(
        "OPS_METRICS_TOKEN",
        "token that this listener wants to see; empty means that of OPS_SECRET",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "base address of an OTLP collector over HTTP, such as http://127.0.0.1:4318; empty means no traces",
    ),
    variable(
        "OTEL_SERVICE_NAME",
        "the program's name",
        "name of this service in traces",
    ),
    secret(
        "NOTIFICATION_WEBHOOK_URL",
        "https address that is told what needs a person",
    ),
    secret(
        "NOTIFICATION_WEBHOOK_URLS",
        "further ones, separated by commas; at most eight in all",
    ),
    secret(
        "NOTIFICATION_WEBHOOK_SECRET",
        "key of the signature in X-LabOps-Signature; empty means unsigned",
    ),
    variable(
        "NOTIFICATION_HTTP_HOSTS",
        "",
        "hosts beside this machine to which notices may go over plain http",
    ),
    secret(
        "NOTIFICATION_SERVICE_URL",
        "the older worker's notification service, one more receiver",
    ),
    variable(
        "NOTIFICATION_SERVICE_ENABLED",
        "true",
        "false, 0, no or off leaves that service out",
    ),
    secret(
        "NOTIFICATION_SERVICE_ACCESS_TOKEN",
        "token that this service wants to see in a header",
    ),
    variable(
        "NOTIFICATION_SERVICE_ACCESS_TOKEN_HEADER",
        "X-Access-Token",
        "name of that header",
    ),
    variable(
        "NOTIFICATION_SERVICE_RECIPIENTS",
        "",
        "people whom this service is to tell, separated by commas; sent as `recipients`",
    ),
    variable(
        "OPS_ALERT_FAILURE_THRESHOLD",
        "3",
        "failed steps of a host within the window that raise an alert",
    ),
    variable("OPS_ALERT_WINDOW_SECONDS", "300", "the window, in seconds"),
    variable(
        "OPS_ALERT_COOLDOWN_SECONDS",
        "900",
        "seconds after an alert in which the same host raises none",
    ),
    variable(
        "OPS_SETTINGS",
        "",
        "a TOML file with these settings; the environment overrides it",
    ),
];
