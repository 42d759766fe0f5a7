//! `GET /metrics` of the program, beside the table it is made from.

use std::collections::{BTreeMap, BTreeSet};

use ops_runtime::metrics::{CATALOG, Kind, Metric};
use serde_json::json;

use crate::API;
use crate::harness::{Lab, awake, until};
use crate::http::{Answer, call};

const TOKEN: (&str, &str) = ("authorization", "Bearer s3cret");

/// One exported series: its labels and its value.
type Series = (BTreeMap<String, String>, f64);

/// Reads the text format, as far as we write it. Kinds by name, series by name.
fn read(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, Vec<Series>>) {
    let (mut kinds, mut series) = (BTreeMap::new(), BTreeMap::<String, Vec<Series>>::new());
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# HELP"))
    {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(
                kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} twice"
            );
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let labels = labels
            .trim_end_matches('}')
            .split("\",")
            .filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        series
            .entry(name.to_owned())
            .or_default()
            .push((labels.collect(), value.parse().unwrap()));
    }
    (kinds, series)
}

fn get(series: &BTreeMap<String, Vec<Series>>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |found: &BTreeMap<String, String>| {
        labels
            .iter()
            .all(|(name, value)| found.get(*name).map(String::as_str) == Some(*value))
    };
    let found = series.get(name)?.iter().find(|(found, _)| fits(found));
    found.map(|(_, value)| *value)
}

async fn scrape(address: std::net::SocketAddr) -> Answer {
    call(address, "GET", "/metrics", &[TOKEN], "").await
}

/// Whether a metric is there from the beginning: all values of its labels are known.
fn is_always_there(metric: &Metric) -> bool {
    metric.labels.iter().all(|label| !label.values.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_program_exports_is_what_the_table_says_and_nothing_else() {
    let lab = Lab::start(vec![awake(1)]).await.with("OPS_SECRET", "s3cret");
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    until("the database is there", || async {
        (call(address, "GET", "/health", &[], "").await.status == 200).then_some(())
    })
    .await;
    let start = json!({"reservationId": "0xa1", "host": "lab-ws-01", "labId": "1"}).to_string();
    let started = call(
        address,
        "POST",
        "/api/reservations/start",
        &[TOKEN, ("content-type", "application/json")],
        start,
    )
    .await;
    assert_eq!(started.expect(200)["success"], true);
    assert_eq!(call(address, "GET", "/api/hosts", &[], "").await.status, 401);
    assert_eq!(call(address, "GET", "/ops/nowhere", &[], "").await.status, 404);
    let answer = scrape(address).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let (kinds, series) = read(&answer.text);

    for (name, kind) in &kinds {
        let entry = CATALOG.iter().find(|metric| metric.name == name);
        let entry = entry.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(kind, entry.kind.as_str(), "{name}");
        let suffix = if matches!(entry.kind, Kind::Histogram(_)) {
            "_count"
        } else {
            ""
        };
        let wanted: BTreeSet<&str> = entry.labels.iter().map(|label| label.name).collect();
        for (labels, _) in &series[&format!("{name}{suffix}")] {
            let found: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
            assert_eq!(found, wanted, "{name}");
            for label in entry.labels.iter().filter(|label| !label.values.is_empty()) {
                assert!(
                    label.values.contains(&labels[label.name].as_str()),
                    "{name} {labels:?}"
                );
            }
        }
    }
    for metric in CATALOG.iter().filter(|metric| is_always_there(metric)) {
        assert!(kinds.contains_key(metric.name), "{} is not exported", metric.name);
    }

    let wake = [("step", "wake"), ("outcome", "done")];
    assert_eq!(
        get(&series, "labops_step_duration_seconds_count", &wake),
        Some(1.0)
    );
    assert_eq!(get(&series, "labops_claims_taken_total", &[]), Some(1.0));
    assert_eq!(get(&series, "labops_db_up", &[]), Some(1.0));
    assert!(get(&series, "labops_winrm_commands_total", &[]).unwrap() >= 1.0);
    assert!(get(&series, "labops_db_statements_total", &[]).unwrap() > 5.0);
    assert_eq!(
        get(&series, "labops_hosts", &[("liveness", "never-seen")]),
        Some(1.0)
    );
    let by_route = |route: &str, status: &str| {
        get(
            &series,
            "labops_http_requests_total",
            &[("route", route), ("status", status)],
        )
    };
    assert_eq!(by_route("/api/reservations/start", "2xx"), Some(1.0));
    assert_eq!(by_route("/api/hosts", "4xx"), Some(1.0));
    assert_eq!(
        by_route("unknown", "4xx"),
        Some(1.0),
        "paths that no route has are one"
    );
    assert_eq!(
        get(
            &series,
            "labops_http_rejected_total",
            &[("reason", "unauthenticated")]
        ),
        Some(1.0)
    );
    assert_eq!(
        get(&series, "labops_http_requests_in_flight", &[]),
        Some(1.0),
        "this one"
    );
    assert!(!answer.text.contains("0xa1"), "no reservation is a label");
    assert_eq!(
        get(&series, "labops_build_info", &[("service", "ops-api")]),
        Some(1.0)
    );
    assert_eq!(api.terminate().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_for_viewers_and_notifications_for_admins() {
    let lab = Lab::start(vec![]).await.with("OPS_SECRET", "s3cret");
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    for path in ["/metrics", "/ops/metrics", "/api/notifications"] {
        assert_eq!(call(address, "GET", path, &[], "").await.status, 401, "{path}");
    }
    until("the database is there", || async {
        (call(address, "GET", "/api/notifications", &[TOKEN], "")
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    let page = call(
        address,
        "GET",
        "/api/notifications?limit=5&state=dead",
        &[TOKEN],
        "",
    )
    .await;
    assert_eq!(page.expect(200)["notifications"], json!([]));
    for wrong in ["limit=0", "limit=501", "limit=x", "after=x", "state=lost"] {
        let refused = call(
            address,
            "GET",
            &format!("/api/notifications?{wrong}"),
            &[TOKEN],
            "",
        )
        .await;
        assert_eq!(
            refused.expect(400)["field"],
            wrong.split_once('=').unwrap().0,
            "{wrong}"
        );
    }
    assert_eq!(api.terminate().await.0.code(), Some(0));
}
