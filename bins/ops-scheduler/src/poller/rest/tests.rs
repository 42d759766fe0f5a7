use heartbeat_store::PollFailure;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
}

fn refused_at(secs: i64, text: &str) -> HostState {
    HostState {
        last_attempt_at: Some(at(secs)),
        failures_in_row: 1,
        last_failure: Some(PollFailure {
            code: REFUSED.to_owned(),
            text: text.to_owned(),
        }),
        ..HostState::default()
    }
}

fn heard_at(secs: i64) -> HostState {
    HostState {
        last_attempt_at: Some(at(secs)),
        last_success_at: Some(at(secs)),
        ..HostState::default()
    }
}

/// Starts a process every `every` seconds for an hour, each of which lives until the next; gives how often the one
/// password is offered, and refused.
fn tries_in_an_hour(every: i64, interval: Duration) -> u32 {
    let mut row = refused_at(0, "no");
    let mut tries = 0;
    for start in (0..3600).step_by(usize::try_from(every).unwrap()) {
        let mut refusals = Refusals::default();
        let mut now = Instant::now();
        let wait = refusals.recall(&row, interval, now, at(start)).unwrap();
        let mut due = start + i64::try_from(wait.as_secs_f64().ceil() as u64).unwrap();
        now += wait;
        while due < start + every {
            tries += 1;
            let text = if refusals.refused(now, at(due)) {
                once_more("no")
            } else {
                "no".to_owned()
            };
            row = refused_at(due, &text);
            due += i64::try_from(whole(interval).as_secs()).unwrap();
        }
    }
    tries
}

#[test]
fn after_a_start_a_host_that_refused_is_tried_within_one_interval() {
    for interval in [1, 5, 60, 300, 3600].map(Duration::from_secs) {
        for refused in [0, 1, 59, 600, 899] {
            let mut refusals = Refusals::default();
            let state = refused_at(-refused, "no");
            let wait = refusals.recall(&state, interval, Instant::now(), at(0));
            assert!(
                wait.is_some_and(|wait| wait <= interval),
                "{wait:?} of {interval:?}"
            );
        }
    }
}

#[test]
fn a_refusal_after_a_start_says_so_and_the_next_start_waits_for_the_whole_rest() {
    let now = Instant::now();
    let mut first = Refusals::default();
    assert_eq!(
        first.recall(&refused_at(0, "no"), MINUTE, now, at(10)),
        Some(Duration::from_secs(30))
    );
    assert!(first.refused(now, at(40)));
    assert!(
        !first.refused(now, at(940)),
        "the next one is after the whole rest"
    );
    let mut second = Refusals::default();
    let state = refused_at(40, &once_more("no"));
    assert_eq!(
        second.recall(&state, MINUTE, now, at(50)),
        Some(AFTER_REFUSAL - Duration::from_secs(10))
    );
    assert!(!second.refused(now, at(940)));
}

#[test]
fn however_often_it_is_started_one_password_is_offered_at_most_nine_times_in_an_hour() {
    for interval in [MINUTE, Duration::from_secs(5), Duration::from_secs(1)] {
        for every in [1, 5, 7, 29, 31, 61, 100, 450, 901] {
            let tries = tries_in_an_hour(every, interval);
            assert!(tries <= 9, "{tries} tries, a start every {every} s, {interval:?}");
        }
    }
    assert_eq!(
        tries_in_an_hour(5, MINUTE),
        0,
        "it does not live long enough for one"
    );
}

#[test]
fn a_refusal_in_the_future_was_now() {
    let mut refusals = Refusals::default();
    let state = refused_at(7200, &once_more("no"));
    assert_eq!(
        refusals.recall(&state, MINUTE, Instant::now(), at(0)),
        Some(AFTER_REFUSAL)
    );
}

#[test]
fn what_else_is_recorded_is_no_rest() {
    let mut refusals = Refusals::default();
    let mut state = refused_at(0, "no");
    state.last_failure.as_mut().unwrap().code = "connect".to_owned();
    assert_eq!(refusals.recall(&state, MINUTE, Instant::now(), at(1)), None);
    assert_eq!(refusals.recall(&heard_at(0), MINUTE, Instant::now(), at(1)), None);
    assert!(!refusals.is_resting());
}

#[test]
fn somebody_elses_success_after_the_refusal_ends_the_rest_once() {
    let now = Instant::now();
    let mut refusals = Refusals::default();
    assert!(!refusals.ends_by_others(&heard_at(5), now), "nobody rests");
    assert!(!refusals.refused(now, at(0)));
    assert!(!refusals.ends_by_others(&heard_at(0), now), "it was before");
    assert!(!refusals.ends_by_others(&refused_at(5, "no"), now));
    assert!(refusals.ends_by_others(&heard_at(5), now));
    assert!(refusals.refused(now, at(6)), "the row says that it was once more");
    assert!(
        !refusals.ends_by_others(&heard_at(9), now + MINUTE),
        "it was with another account"
    );
    assert!(refusals.ends_by_others(&heard_at(9), now + AFTER_REFUSAL));
    refusals.let_in();
    assert!(!refusals.is_resting());
}

#[test]
fn each_change_of_the_stored_credential_ends_the_rest_once() {
    let (now, secs) = (Instant::now(), Duration::from_secs);
    let mut refusals = Refusals::default();
    assert!(!refusals.refused(now, at(0)));
    let older = Changed {
        at: at(-3600),
        age: secs(3660),
    };
    assert_eq!(refusals.ends_by_change(older, now + secs(60)), None);
    let newer = Changed {
        at: at(50),
        age: secs(10),
    };
    assert_eq!(refusals.ends_by_change(newer, now + secs(60)), Some(secs(0)));
    assert!(
        !refusals.refused(now + secs(61), at(61)),
        "another password is no second try of the same"
    );
    // A database whose clock was put back says that it was just now, for hours.
    let put_back = Changed {
        at: at(50),
        age: secs(0),
    };
    assert_eq!(refusals.ends_by_change(put_back, now + secs(120)), None);
    // The one that was refused may have been the older one, kept for a moment.
    let another = Changed {
        at: at(60),
        age: secs(4),
    };
    assert_eq!(refusals.ends_by_change(another, now + secs(63)), Some(secs(2)));
}
