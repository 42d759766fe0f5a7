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
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
    }
}

/// All of them, in the order in which the operator's guide lists them.
pub const VARIABLES: &[Variable] = &[
    variable(
        "OPS_BIND",
        "0.0.0.0",
        "address the API listens on; off loopback it needs OPS_SECRET",
    ),
    variable("OPS_PORT", "8081", "port the API listens on"),
    variable(
        "OPS_SECRET",
        "",
        "token that callers of the API send; empty means none",
    ),
    variable(
        "OPS_CONFIG",
        "hosts.json",
        "the host catalog, in the working directory or else beside the program",
    ),
    variable("OPS_DATA_DIR", "ops-data", "folder of the embedded database"),
    variable(
        "MYSQL_DSN",
        "",
        "database URL, also in SQLAlchemy spelling; empty means the embedded SQLite file",
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
        "networks that host addresses must lie in",
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
        "OPS_POLL_ENABLED",
        "false",
        "the word true turns heartbeat polling on",
    ),
    variable("OPS_POLL_INTERVAL", "60", "seconds between two polls of one host"),
    variable(
        "OPS_POLL_MAX_IN_FLIGHT",
        "200",
        "most hosts polled at the same moment",
    ),
    variable(
        "OPS_POLL_DEADLINE",
        "40",
        "seconds after which one poll of one host is given up",
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
        "OPS_SETTINGS",
        "",
        "a TOML file with these settings; the environment overrides it",
    ),
];

/// The known variable most like `name`, if any is near enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let scored = VARIABLES.iter().map(|known| {
        (
            strsim::normalized_damerau_levenshtein(name, known.name),
            known.name,
        )
    });
    scored
        .filter(|(score, _)| *score > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The page `docs/settings.md`.
#[must_use]
pub fn settings_guide() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Every setting is an environment variable, or a key of the TOML file that `--settings` or `OPS_SETTINGS` names, \
         in lower case\n(`ops_port = 8081`). The environment overrides the file. Both services read the same settings; \
         `--check-config` prints every\nproblem. An unknown `OPS_` variable is warned of with the nearest known one, an \
         unknown key of the file stops the start.\nSecrets of `hosts.json` are named there as `env:NAME`.\n\n\
         | variable | default | meaning |\n|---|---|---|\n",
    );
    for Variable {
        name,
        default,
        meaning,
    } in VARIABLES
    {
        let default = if default.is_empty() {
            "-".to_owned()
        } else {
            format!("`{default}`")
        };
        page.push_str(&format!("| `{name}` | {default} | {meaning} |\n"));
    }
    page
}
