use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::states::PollFailure;

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> DateTime<Utc> {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn ago(secs: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(secs)
}

/// A host that reported so many seconds ago, and is polled each minute.
fn reported(secs: i64) -> HostState {
    HostState {
        host: "ws".to_owned(),
        last_attempt_at: Some(ago(secs.min(30))),
        last_success_at: Some(ago(secs)),
        failures_in_row: 0,
        last_failure: None,
        ready: Some(true),
        local_mode: None,
        local_session: None,
        reported_at: Some(ago(secs)),
        clock_offset: Some(TimeDelta::seconds(-20)),
        last_forced_logoff_at: None,
        last_heartbeat_id: Some(1),
        ..HostState::default()
    }
}

fn failing(secs: i64, count: u32, code: &str) -> HostState {
    HostState {
        failures_in_row: count,
        last_failure: Some(PollFailure {
            code: code.to_owned(),
            text: "no answer\nat all".to_owned(),
        }),
        ..reported(secs)
    }
}

fn verdict(state: &HostState, need: Need) -> (Verdict, String) {
    let liveness = judge(Some(state), MINUTE, now(), need);
    (liveness.verdict, liveness.reason)
}

#[test]
fn the_age_of_the_last_report_decides_by_intervals() {
    let by_age = |secs| verdict(&reported(secs), Need::On).0;
    assert_eq!(by_age(0), Verdict::Fresh);
    assert_eq!(
        by_age(-5),
        Verdict::Fresh,
        "another worker's clock is a little ahead"
    );
    assert_eq!(by_age(135), Verdict::Fresh);
    assert_eq!(by_age(136), Verdict::Stale);
    assert_eq!(by_age(315), Verdict::Stale);
    assert_eq!(by_age(316), Verdict::Silent);
    let liveness = judge(Some(&reported(75)), MINUTE, now(), Need::On);
    assert_eq!(liveness.age, Some(Duration::from_secs(75)));
    assert_eq!(liveness.reason, "it reported 75 s ago");
}

#[test]
fn a_host_without_a_report_was_never_seen() {
    let nothing = judge(None, MINUTE, now(), Need::Nobody(None));
    assert_eq!((nothing.verdict, nothing.age), (Verdict::NeverSeen, None));
    let mut state = failing(0, 4, "connect");
    state.last_success_at = None;
    let (verdict, reason) = verdict(&state, Need::On);
    assert_eq!(verdict, Verdict::NeverSeen);
    assert_eq!(reason, "it never reported; 4 polls in a row failed: no answer");
}

#[test]
fn a_host_that_nobody_needs_may_be_off() {
    let state = failing(7 * 3600, 400, UNREACHABLE[0]);
    assert_eq!(verdict(&state, Need::On).0, Verdict::Silent);
    let (off, reason) = verdict(&state, Need::Nobody(Some(ago(-3600))));
    assert_eq!(off, Verdict::ExpectedOff);
    assert_eq!(
        reason,
        "nobody needs it before 2026-03-01T10:00:00Z; it reported 7 h ago"
    );
    assert_eq!(verdict(&state, Need::Nobody(None)).0, Verdict::ExpectedOff);
}

#[test]
fn a_host_that_answers_with_a_refusal_is_not_off() {
    let state = failing(7 * 3600, 400, "unauthorized");
    let (silent, reason) = verdict(&state, Need::Nobody(None));
    assert_eq!(silent, Verdict::Silent);
    assert!(reason.contains("no answer") && !reason.contains('\n'), "{reason}");
}

#[test]
fn a_host_that_we_took_down_is_expected_off_until_it_reports_again() {
    let state = failing(600, 9, UNREACHABLE[0]);
    assert_eq!(verdict(&state, Need::TakenDown(ago(590))).0, Verdict::ExpectedOff);
    assert_eq!(
        verdict(&state, Need::TakenDown(ago(700))).0,
        Verdict::ExpectedOff,
        "heard of while going down"
    );
    assert_eq!(
        verdict(&state, Need::TakenDown(ago(3600))).0,
        Verdict::Silent,
        "it was on in between"
    );
    assert_eq!(
        verdict(&reported(10), Need::TakenDown(ago(60))).0,
        Verdict::Fresh,
        "still up"
    );
}

#[test]
fn a_host_that_nobody_polls_is_not_blamed() {
    let mut state = reported(7200);
    state.last_attempt_at = Some(ago(7200));
    let (silent, reason) = verdict(&state, Need::Nobody(None));
    assert_eq!(silent, Verdict::Silent);
    assert!(reason.contains("is a scheduler running?"), "{reason}");
}

#[test]
fn a_host_that_refused_the_password_and_is_left_alone_says_so() {
    let mut state = failing(7200, 1, "unauthorized");
    state.last_attempt_at = Some(ago(14 * 60));
    let (silent, reason) = verdict(&state, Need::On);
    assert_eq!(silent, Verdict::Silent);
    assert!(reason.ends_with("the last poll failed: no answer"), "{reason}");
    state.last_attempt_at = Some(ago(20 * 60));
    let reason = verdict(&state, Need::On).1;
    assert!(reason.contains("is a scheduler running?"), "{reason}");
}

#[test]
fn a_report_that_was_old_when_it_was_read_is_stale() {
    let mut state = reported(5);
    state.clock_offset = Some(TimeDelta::seconds(-181));
    let (stale, reason) = verdict(&state, Need::On);
    assert_eq!(stale, Verdict::Stale);
    assert!(reason.contains("3 min old"), "{reason}");
    state.clock_offset = Some(TimeDelta::seconds(7200));
    assert_eq!(
        verdict(&state, Need::On).0,
        Verdict::Fresh,
        "a clock ahead says nothing of age"
    );
}

#[test]
fn one_failed_poll_leaves_a_host_fresh_and_is_told() {
    let (fresh, reason) = verdict(&failing(70, 1, "unauthorized"), Need::On);
    assert_eq!(fresh, Verdict::Fresh);
    assert!(reason.ends_with("the last poll failed: no answer"), "{reason}");
}

#[test]
fn words_are_read_as_they_are_written() {
    for verdict in Verdict::ALL {
        assert_eq!(Verdict::parse(verdict.as_str()), Some(verdict));
    }
    assert_eq!(Verdict::parse("offline"), None);
}
