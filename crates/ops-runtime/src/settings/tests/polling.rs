//! Polling, and what is stored of it.

use heartbeat_store::Keep;

use super::*;

#[test]
fn nothing_set_stores_changes_and_a_row_every_five_minutes_and_has_room_for_ten_thousand_hosts() {
    let settings = read(&[]).unwrap().settings;
    let keep_alive = Duration::from_secs(300);
    assert_eq!(settings.heartbeats.keep, Keep::Changes { keep_alive });
    assert_eq!(settings.heartbeats.look_back, Duration::ZERO);
    assert!(settings.heartbeats.retention_enabled);
    let poll = settings.poll;
    assert_eq!(
        (poll.max_in_flight, poll.slow_share, poll.breaker_failures),
        (800, 50, 3)
    );
}

#[test]
fn every_poll_is_a_row_again_when_that_is_asked_for() {
    let settings = read(&[("OPS_HEARTBEAT_STORE", "EVERY"), ("OPS_RETENTION", "off")])
        .unwrap()
        .settings;
    assert_eq!(settings.heartbeats.keep, Keep::Every);
    assert!(!settings.heartbeats.retention_enabled);
}

#[test]
fn figures_out_of_bounds_are_all_named() {
    let error = read(&[
        ("OPS_POLL_SLOW_SHARE", "100"),
        ("OPS_POLL_BREAKER_FAILURES", "0"),
        ("OPS_POLL_BREAKER_LONGEST", "x"),
        ("OPS_POLL_MAX_WATCHES", "5001"),
        ("OPS_HEARTBEAT_STORE", "some"),
        ("OPS_HEARTBEAT_KEEP_ALIVE", "0"),
        ("OPS_EVENTS_LOOK_BACK", "-1"),
        ("OPS_HEARTBEAT_KEEP_DAYS", "30"),
        ("OPS_HEARTBEAT_HOURLY_DAYS", "20"),
        ("OPS_EVENTS_KEEP_DAYS", "0"),
    ])
    .unwrap_err();
    for name in [
        "OPS_POLL_SLOW_SHARE",
        "OPS_POLL_BREAKER_FAILURES",
        "OPS_POLL_BREAKER_LONGEST",
        "OPS_POLL_MAX_WATCHES",
        "OPS_HEARTBEAT_STORE",
        "OPS_HEARTBEAT_KEEP_ALIVE",
        "OPS_EVENTS_LOOK_BACK",
        "OPS_HEARTBEAT_HOURLY_DAYS: must be at least OPS_HEARTBEAT_KEEP_DAYS",
        "OPS_EVENTS_KEEP_DAYS",
    ] {
        assert!(
            error.0.iter().any(|problem| problem.starts_with(name)),
            "{name}: {error}"
        );
    }
    assert_eq!(error.0.len(), 9, "{error}");
}

#[test]
fn keeping_reports_for_long_keeps_one_an_hour_as_long_at_least() {
    let settings = read(&[("OPS_HEARTBEAT_KEEP_DAYS", "200")]).unwrap().settings;
    let days = settings.heartbeats.retention;
    assert_eq!((days.full_days, days.hourly_days), (200, 200));
}
