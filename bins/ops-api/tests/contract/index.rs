//! `docs/contract.md` has a row for every line of the contract and for every weakness, and each row names its tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every row there has to be: section, then what it is about.
const ROWS: &[(&str, &[&str])] = &[
    (
        "1.1",
        &[
            "OPS_BIND, OPS_PORT",
            "OPS_CONFIG",
            "MYSQL_DSN",
            "OPS_LOG_LEVEL",
            "OPS_WINRM_READ_TIMEOUT",
            "OPS_WINRM_OPERATION_TIMEOUT",
            "OPS_ALLOWED_COMMANDS",
            "OPS_TIMELINE_MAX_OPS",
            "OPS_TIMELINE_DEFAULT_LIMIT",
            "OPS_TIMELINE_PHASE_LOOKBACK",
            "OPS_POLL_ENABLED",
            "OPS_POLL_INTERVAL",
            "OPS_RESERVATION_AUTOMATION",
            "OPS_RESERVATION_SCAN_INTERVAL",
            "OPS_RESERVATION_START_LEAD",
            "OPS_RESERVATION_END_DELAY",
            "OPS_RESERVATION_LOOKBACK",
            "OPS_RESERVATION_RETRY_COOLDOWN",
            "OPS_RESERVATION_MAX_BATCH",
            "OPS_SECRET",
            "a number that is none",
            "false words",
        ],
    ),
    (
        "1.2",
        &[
            "name, address",
            "winrm_user, winrm_pass",
            "winrm_transport",
            "winrm_port",
            "mac",
            "broadcast",
            "wol_port",
            "wake_attempts",
            "ping_target",
            "labstation_exe",
            "heartbeat_path",
            "events_path",
            "labs",
            "names",
            "unknown keys",
            "missing file",
        ],
    ),
    (
        "1.3",
        &[
            "bodies and answers",
            "GET /health",
            "POST /api/wol",
            "POST /api/winrm",
            "POST /api/heartbeat/poll",
            "POST /api/reservations/start",
            "POST /api/reservations/end",
            "GET /api/reservations/timeline",
        ],
    ),
    (
        "1.4",
        &[
            "wake without MAC",
            "wake",
            "command",
            "command, transport error",
            "wakeOptions",
            "a row that cannot be written",
        ],
    ),
    (
        "1.5",
        &[
            "lab_hosts",
            "timestamp_utc",
            "ready",
            "local_mode, local_session",
            "last_forced_logoff",
            "last_power_action",
            "raw_json",
            "lab_host_events",
        ],
    ),
    (
        "1.6",
        &[
            "limit, offset",
            "reservation",
            "host",
            "operations",
            "phases",
            "heartbeat",
            "pagination",
        ],
    ),
    ("1.7", &["every host, and a failure stops nobody"]),
    (
        "1.8",
        &[
            "start",
            "end",
            "as the API would",
            "scheduler rows",
            "no host for the lab",
            "status by compare-and-set",
            "other states",
            "retry",
        ],
    ),
    (
        "1.9",
        &[
            "networks",
            "token",
            "no secret",
            "foreign address",
            "cookie",
            "CORS",
            "timeouts",
        ],
    ),
    (
        "1.10",
        &[
            "lab_hosts",
            "lab_host_heartbeat",
            "lab_host_events",
            "reservation_operations",
            "lab_reservations",
            "whole seconds",
        ],
    ),
    (
        "2.1",
        &[
            "back to back",
            "after an outage",
            "two workers",
            "cancelled while active",
            "exit code 1",
            "ends while it starts",
            "retries for hours",
            "overlapping",
            "malformed powerAction",
        ],
    ),
    (
        "2.2",
        &[
            "serial polls",
            "serial starts",
            "a command that never ends",
            "requests per poll",
            "shells left open",
            "commands at once",
            "no limits",
            "cut at 30 s",
            "stored again and again",
            "events between polls",
            "torn line",
            "whole event file",
        ],
    ),
    (
        "2.3",
        &[
            "cookie for anybody",
            "arguments through cmd.exe",
            "blanks in arguments",
            "quotes in paths",
            "no authentication",
            "credentials in the timeline",
            "TLS ignored",
            "request chooses account",
            "ping target",
            "library text",
            "names in log lines",
        ],
    ),
    (
        "2.4",
        &[
            "prefix",
            "HTML 500",
            "500 for caller errors",
            "500 for a host",
            "unbounded numbers",
            "false as text",
            "HTML 404",
            "health that lies",
            "lost rows",
            "poll without storing",
            "ids of any type",
        ],
    ),
    (
        "2.5",
        &[
            "session zone",
            "stamp without zone",
            "station's clock",
            "empty map as list",
            "byte order mark",
            "code page",
            "long values",
            "labs and names",
            "host insert race",
            "no trace",
            "reload",
            "ping is not ready",
            "stop",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of all tests, and of all bodies that a macro turns into tests.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["bins", "crates", "migrations"] {
        files_below(&root().join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let bodies = ["each_backend!", "walk!", "proptest!"]
            .iter()
            .any(|word| text.contains(word));
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let Some((before, rest)) = line.split_once("fn ") else {
                continue;
            };
            if is_test || (bodies && before == "async ") {
                names.extend(rest.split('(').next().map(str::to_owned));
            }
            is_test = false;
        }
    }
    names
}

/// The rows of the index: section, row, tests.
fn index() -> Vec<(String, String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("docs/contract.md")).unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| 1.") || line.starts_with("| 2."));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches([' ', '|']).split(" | ").collect();
        let [section, row, named, ..] = cells.as_slice() else {
            panic!("no row: {line}")
        };
        let tests = named.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (section.trim().to_owned(), row.trim().to_owned(), tests)
    })
    .collect()
}

#[test]
fn every_line_of_the_contract_and_every_weakness_has_its_row() {
    let there: Vec<(String, String)> = index()
        .into_iter()
        .map(|(section, row, _)| (section, row))
        .collect();
    let wanted: Vec<(String, String)> = ROWS
        .iter()
        .flat_map(|(section, rows)| rows.iter().map(|row| ((*section).to_owned(), (*row).to_owned())))
        .collect();
    assert_eq!(there, wanted);
}

#[test]
fn every_row_names_tests_that_exist() {
    let known = tests();
    assert!(known.len() > 500, "{}", known.len());
    let mut missing = Vec::new();
    for (section, row, named) in index() {
        assert!(!named.is_empty(), "{section} {row} has no test");
        missing.extend(
            named
                .into_iter()
                .filter(|name| !known.contains(name))
                .map(|name| format!("{section} {row}: {name}")),
        );
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_line_walked_here_is_in_the_index() {
    let named: BTreeSet<String> = index().into_iter().flat_map(|(_, _, tests)| tests).collect();
    let begins = |name: &str| {
        let digit = name.chars().nth(1).is_some_and(|digit| digit.is_ascii_digit());
        digit && name.starts_with(['s', 'w']) && name.contains('_')
    };
    let forgotten: Vec<String> = tests()
        .into_iter()
        .filter(|name| begins(name) && !named.contains(name))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:#?}");
}
