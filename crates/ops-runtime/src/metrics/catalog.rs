//! The table of all metrics: `docs/metrics.md` is made from it, and a running service exports what it names.

use super::metric::{Kind, Label, Metric};

/// Seconds before the start of a reservation at which its host was ready; below zero it was late.
const MARGINS: &[f64] = &[
    -1800.0, -600.0, -300.0, -120.0, -60.0, -30.0, -10.0, 0.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];
/// From a poll in the steady state to a wake that takes its whole time.
const STEPS: &[f64] = &[
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0,
];
/// How late something began.
const LATENESS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
];
/// An answer over HTTP.
const ANSWERS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0,
];

const KIND: Label = Label::of("kind", &["start", "end"]);
const ANY_KIND: Label = Label::of("kind", &["start", "end", "manual_start", "manual_end"]);
const STEP: Label = Label::of(
    "step",
    &["wake", "prepare", "activate", "release", "power", "complete"],
);
const CODE: Label = Label::bounded("code", "the stable codes of reasons, `docs/explain.md`");
const DUTY: Label = Label::of("duty", &["polls", "reservations"]);

const fn counter(name: &'static str, labels: &'static [Label], meaning: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: "-",
        labels,
        meaning,
    }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [Label],
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit,
        labels,
        meaning,
    }
}

const fn seconds(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [Label],
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(bounds),
        unit: "seconds",
        labels,
        meaning,
    }
}

/// Declares each entry under a name of its own, and the table of them all.
macro_rules! table {
    ($($name:ident = $entry:expr;)*) => {
        $(#[doc = "An entry of the table."] pub const $name: Metric = $entry;)*
        /// All metrics, in the order of `docs/metrics.md`.
        pub const CATALOG: &[Metric] = &[$($name),*];
    };
}

table! {
    READY_MARGIN = seconds("labops_reservation_ready_margin_seconds", MARGINS, &[],
        "how long before its reservation's start a host was ready; negative is late");
    STARTED_ON_TIME = counter("labops_reservations_started_on_time_total", &[],
        "reservations whose host was ready by their start");
    STARTED_LATE = counter("labops_reservations_started_late_total", &[],
        "reservations whose host was ready after their start");
    MISSED = counter("labops_reservations_missed_total", &[CODE],
        "reservations whose host was never handed over, by reason");
    OPERATIONS_ENDED = counter("labops_operations_ended_total",
        &[ANY_KIND, Label::of("state", &["done", "needs_attention"])],
        "operations that came to an end");
    DISPATCH_LATENESS = seconds("labops_dispatch_lateness_seconds", LATENESS, &[KIND],
        "how long after it was due the first step of a scheduled operation went out");
    STEP_DURATION = seconds("labops_step_duration_seconds", STEPS,
        &[STEP, Label::of("outcome", &["done", "done_with_warnings", "failed", "unknown"])],
        "how long a try of a step took, from the stored intent to the outcome");
    STEP_FAILURES = counter("labops_step_failures_total",
        &[STEP, Label::bounded("rung", "the rungs of the wake ladder, or `none`"), CODE],
        "tries of steps that failed or whose effect is unknown, by the rung that broke and the reason");
    CLAIMS_TAKEN = counter("labops_claims_taken_total", &[], "claims on hosts that were taken");
    CLAIMS_LOST = counter("labops_claims_lost_total", &[], "claims that were lost in the middle of the work");
    CLAIM_TAKEOVERS = counter("labops_claim_takeovers_total", &[],
        "claims under which something was resumed that another flow had left in the middle");

    POLLS = counter("labops_polls_total",
        &[Label::bounded("outcome", "`ok`, `off` (nobody needs it) or the code of a station error")],
        "polls of heartbeats that ended");
    POLL_DURATION = seconds("labops_poll_duration_seconds", STEPS, &[Label::of("outcome", &["ok", "failed", "off"])],
        "how long a poll took");
    POLL_LATENESS = seconds("labops_poll_lateness_seconds", LATENESS, &[],
        "how long after it was due a poll began");
    POLLS_IN_FLIGHT = gauge("labops_polls_in_flight", "polls", &[Label::of("lane", &["prompt", "slow"])],
        "polls under way, by whether they have taken a second already");
    POLL_HOSTS = gauge("labops_poll_hosts", "hosts",
        &[Label::of("breaker", &["closed", "unreachable", "hanging", "refused", "off"])],
        "hosts that this process polls, by how it looks at them: all but closed are only probed");
    POLL_KNOCKS = counter("labops_poll_knocks_total", &[Label::of("outcome", &["open", "closed"])],
        "TCP connects by which hosts were looked at that are unreachable or off");
    WATCHES = gauge("labops_watches", "hosts", &[], "hosts that report by themselves instead of being polled");
    WATCHES_ENDED = counter("labops_watches_ended_total", &[], "watches that ended; the hosts were polled again");
    WATCH_REPORTS = counter("labops_watch_reports_total", &[], "heartbeats that came by a watch");
    HEARTBEATS_KEPT = counter("labops_heartbeats_kept_total",
        &[Label::of("as", &["row", "unchanged", "set_aside", "older"])],
        "heartbeats that this process stored: as a row, as the state of their host only, or without their document");
    EVENTS_STORED = counter("labops_events_stored_total", &[], "events of session guards that became rows");
    EVENT_RESYNCS = counter("labops_event_resyncs_total", &[],
        "event files that were shorter or others than before, and were read anew");
    EVENTS_STALE = counter("labops_events_stale_total", &[],
        "events that another process had stored meanwhile: nothing of them was stored again");
    RECORDER_WAITING = gauge("labops_recorder_waiting", "reports", &[Label::of("where", &["poller", "queue"])],
        "heartbeats read and not yet stored: with the poller, and in the writer's queue");
    REPORTS_DROPPED = counter("labops_recorder_dropped_total", &[],
        "heartbeats that were dropped because the database did not take them; their hosts were polled again");
    LIVENESS_CHANGES = counter("labops_liveness_changes_total",
        &[Label::of("to", &["fresh", "stale", "silent", "expected-off", "never-seen"])],
        "changed verdicts on hosts that this process polls");
    POLL_NEWEST = gauge("labops_poll_newest_success_age_seconds", "seconds", &[],
        "how long ago any host was last polled with success, by whomever; -1 when none ever was");
    HOSTS = gauge("labops_hosts", "hosts",
        &[Label::of("liveness", &["fresh", "stale", "silent", "expected-off", "never-seen"])],
        "hosts of the catalog by what their heartbeats say; the same in every process");
    HOST_SILENT = gauge("labops_host_silent", "0 or 1", &[Label::bounded("host", "hosts of the catalog that were silent since the process began, at most 1000")],
        "1 for a host that nothing was heard of for five polls; 0 once it is heard again");
    HOSTS_FAILING = gauge("labops_hosts_failing", "hosts", &[],
        "hosts whose last three polls or more failed");

    WINRM_CONNECTIONS = counter("labops_winrm_connections_total", &[], "TCP connections opened to hosts");
    WINRM_HANDSHAKES = counter("labops_winrm_handshakes_total", &[], "authentications completed");
    WINRM_REQUESTS = counter("labops_winrm_requests_total", &[], "HTTP requests sent to hosts");
    WINRM_SHELLS = counter("labops_winrm_shells_total", &[], "remote shells created");
    WINRM_COMMANDS = counter("labops_winrm_commands_total", &[], "commands that hosts accepted");
    WINRM_FAULTS = counter("labops_winrm_faults_total", &[Label::bounded("code", "the codes of station errors")],
        "calls to hosts that failed, such as `unauthorized`, `tls` or `connect`");

    WORKERS = gauge("labops_workers_alive", "workers", &[Label::of("role", &["api", "scheduler"])],
        "processes that are alive, as the registry has them");
    SHARDS_UNSERVED = gauge("labops_shards_unserved", "shards", &[DUTY],
        "shards of hosts that no scheduler sees to");

    DB_UP = gauge("labops_db_up", "0 or 1", &[], "whether the database answered when it was last asked");
    DB_PING = gauge("labops_db_ping_seconds", "seconds", &[], "how long that answer took");
    DB_POOL = gauge("labops_db_pool_connections", "connections", &[Label::of("state", &["in_use", "idle"])],
        "connections of this process's pool");
    DB_POOL_MAX = gauge("labops_db_pool_max_connections", "connections", &[], "most connections of the pool");
    DB_WAITING = gauge("labops_db_pool_waiting", "calls", &[],
        "calls under way beyond the connections in use: they wait for one");
    DB_STATEMENTS = counter("labops_db_statements_total", &[], "statements sent");
    DB_TRANSACTIONS = counter("labops_db_transactions_total", &[], "transactions begun");
    DB_ERRORS = counter("labops_db_errors_total",
        &[Label::of("fault", &["conflict", "unique", "unavailable", "refused"])],
        "calls to the database that failed for their caller; a conflict is counted after the last retry");

    HTTP_REQUESTS = counter("labops_http_requests_total",
        &[
            Label::bounded("route", "the templates of the routes, or `unknown`"),
            Label::bounded("method", "the methods of HTTP that the API knows, or `other`"),
            Label::of("status", &["1xx", "2xx", "3xx", "4xx", "5xx"]),
        ],
        "answers of the API by route template and class of status");
    HTTP_REQUEST_DURATION = seconds("labops_http_request_duration_seconds", ANSWERS,
        &[
            Label::bounded("route", "the templates of the routes, or `unknown`"),
            Label::bounded("method", "the methods of HTTP that the API knows, or `other`"),
        ],
        "time from a request's header to the header of its answer");
    HTTP_IN_FLIGHT = gauge("labops_http_requests_in_flight", "requests", &[], "requests without an answer yet");
    HTTP_STREAMS = gauge("labops_http_streams_open", "streams", &[], "event streams that are open");
    HTTP_REJECTED = counter("labops_http_rejected_total",
        &[Label::of("reason", &["unauthenticated", "role", "body", "limit", "header"])],
        "requests that were turned away at the door: 401, 403, 413, 429 and 431");

    NOTICES = counter("labops_notices_total",
        &[Label::of("kind", &[
            "reservation_needs_attention", "reservation_missed", "step_failed", "host_silent", "host_back", "claim_taken_over",
        ])],
        "notices that this process wrote for the operator");
    ALERTS = counter("labops_alerts_total", &[], "alerts for repeated failures that this process raised");
    NOTICES_DROPPED = counter("labops_notices_dropped_total", &[],
        "notices that were dropped because the database did not take them in time");
    OUTBOX_PENDING = gauge("labops_outbox_pending", "deliveries", &[], "deliveries to webhooks still to be made");
    OUTBOX_DEAD = gauge("labops_outbox_dead", "deliveries", &[], "deliveries that were given up and are still kept");
    OUTBOX_OLDEST = gauge("labops_outbox_oldest_seconds", "seconds", &[], "age of the oldest pending delivery");

    SPANS_DROPPED = counter("labops_trace_spans_dropped_total", &[],
        "spans that a slow or absent trace collector did not get");
    BUILD_INFO = gauge("labops_build_info", "1", &[
            Label::bounded("version", "the release"),
            Label::bounded("service", "`ops-api` or `ops-scheduler`"),
        ],
        "always 1");
    PROCESS_START = gauge("labops_process_start_time_seconds", "seconds", &[],
        "when this process began, in seconds since 1970");
}

/// The page `docs/metrics.md`.
#[must_use]
pub fn metrics_guide() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `ops-api` answers `GET /metrics` to viewers (`Authorization: Bearer <token>` works for Prometheus), `ops-scheduler` \
         on a small\nlistener of its own that `OPS_METRICS_PORT` switches on. Times are seconds. Counters begin at zero with \
         the process. Gauges about\nhosts, workers, shards and the outbox are read from the database and are the same in \
         every process: aggregate them with `max`, not\n`sum`. A histogram is exported as `_bucket`, `_sum` and \
         `_count`; the sum of the ready margin may fall, since being late counts\nnegative. Rules and a dashboard that use them \
         are in `deploy/prometheus/` and `deploy/grafana/`.\n\n\
         | metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for metric in CATALOG {
        let labels: Vec<String> = metric.labels.iter().map(shown).collect();
        let labels = if labels.is_empty() {
            "-".to_owned()
        } else {
            labels.join("; ")
        };
        let (name, kind, unit, meaning) = (metric.name, metric.kind.as_str(), metric.unit, metric.meaning);
        page.push_str(&format!(
            "| `{name}` | {kind} | {unit} | {labels} | {meaning} |\n"
        ));
    }
    page
}

fn shown(label: &Label) -> String {
    let values: Vec<String> = label.values.iter().map(|value| format!("`{value}`")).collect();
    let values = if values.is_empty() {
        label.bound.to_owned()
    } else {
        values.join(", ")
    };
    format!("`{}`: {values}", label.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_begin_with_labops_and_end_as_their_kind_asks() {
        let names: std::collections::BTreeSet<_> = CATALOG.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOG.len());
        for metric in CATALOG {
            let name = metric.name;
            assert!(name.starts_with("labops_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            if matches!(metric.kind, Kind::Histogram(_)) {
                assert!(name.ends_with("_seconds"), "{name}");
            }
            assert!(
                !metric
                    .labels
                    .iter()
                    .any(|label| label.name.contains("reservation")),
                "{name}"
            );
            for label in metric.labels {
                assert!(
                    label.values.is_empty() != label.bound.is_empty(),
                    "{name} {}",
                    label.name
                );
            }
        }
    }

    #[test]
    fn bounds_of_histograms_grow() {
        for metric in CATALOG {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
        assert!(
            MARGINS[0] < 0.0 && MARGINS.contains(&0.0),
            "late and on time are told apart"
        );
    }
}
