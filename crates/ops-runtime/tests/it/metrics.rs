//! The page of metrics, the alert rules and the dashboard name what the program counts.

use std::collections::BTreeSet;
use std::path::Path;

use ops_runtime::metrics::{CATALOG, metrics_guide};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every word of `text` that begins like a metric of ours, without what a histogram adds to its name.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("labops_"));
    ours.map(|word| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| word.strip_suffix(end))
            .unwrap_or(word)
    })
    .map(str::to_owned)
    .collect()
}

fn known() -> BTreeSet<String> {
    CATALOG.iter().map(|metric| metric.name.to_owned()).collect()
}

#[test]
fn the_guide_lists_every_metric_as_the_program_counts_it() {
    assert!(
        file("docs/metrics.md") == metrics_guide(),
        "write it anew: cargo run -p ops-runtime --example metrics-table > docs/metrics.md"
    );
}

#[test]
fn the_alert_rules_and_their_tests_name_metrics_that_exist() {
    let rules = named(&file("deploy/prometheus/alerts.yml"));
    assert!(rules.len() >= 15, "{rules:?}");
    assert_eq!(
        rules.difference(&known()).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    let tested = named(&file("deploy/prometheus/tests/alerts_test.yml"));
    assert_eq!(
        tested.difference(&known()).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn every_alert_rule_has_a_test() {
    let tests = file("deploy/prometheus/tests/alerts_test.yml");
    let rules = file("deploy/prometheus/alerts.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<&str> = alerts.filter(|alert| !tests.contains(alert)).collect();
    assert_eq!(untested, Vec::<&str>::new());
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let text = file("deploy/grafana/lab-ops.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
    assert_eq!(named(&text), known());
}
