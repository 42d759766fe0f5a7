use super::super::rest::AFTER_REFUSAL;
use super::*;

const WHOLE: Duration = Duration::from_secs(40);
const SHORT: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

const SETTINGS: BreakerSettings = BreakerSettings {
    failures: 3,
    longest: 16,
    deadline: WHOLE,
};

fn fails(breaker: &mut Breaker, seen: Seen, times: u32) {
    for _ in 0..times {
        assert_eq!(breaker.take(seen, false, &SETTINGS, 1.0), Verdict::Failure);
    }
}

#[test]
fn a_host_that_is_unreachable_three_times_is_only_knocked_at_until_it_answers() {
    let mut breaker = Breaker::default();
    fails(&mut breaker, Seen::Unreachable, 2);
    assert_eq!(breaker.look(false, &SETTINGS), Look::Poll(WHOLE));
    fails(&mut breaker, Seen::Unreachable, 1);
    for _ in 0..100 {
        assert_eq!(breaker.look(false, &SETTINGS), Look::Knock(WHOLE));
        assert_eq!(breaker.standing(&SETTINGS), Standing::Unreachable);
        // Noticed within one interval.
        assert_eq!(breaker.wait(MINUTE), (MINUTE, Some(MINUTE)));
        fails(&mut breaker, Seen::Unreachable, 1);
    }
    assert_eq!(breaker.take(Seen::Heard, false, &SETTINGS, 0.5), Verdict::Fine);
    assert_eq!(breaker.look(false, &SETTINGS), Look::Poll(WHOLE));
    assert_eq!(breaker.standing(&SETTINGS), Standing::Closed);
}

#[test]
fn a_host_that_hangs_gets_the_whole_deadline_ever_more_seldom_and_a_short_one_each_interval() {
    let mut breaker = Breaker::default();
    fails(&mut breaker, Seen::Mute, 3);
    let mut gaps = Vec::new();
    let mut since = 0_u32;
    for _ in 0..200 {
        match breaker.look(false, &SETTINGS) {
            Look::Poll(WHOLE) => gaps.push(std::mem::take(&mut since)),
            look => {
                assert_eq!(look, Look::Poll(SHORT));
                since += 1;
            }
        }
        assert_eq!(breaker.wait(MINUTE).1, Some(MINUTE));
        fails(&mut breaker, Seen::Mute, 1);
    }
    assert_eq!(&gaps[..4], [2, 4, 8, 15]);
    assert!(gaps[3..].iter().all(|gap| *gap == 15), "{gaps:?}");
}

#[test]
fn hosts_that_begin_to_hang_together_drift_apart() {
    let gaps: std::collections::BTreeSet<u32> = (0..=10)
        .map(|tenths| {
            let mut breaker = Breaker::default();
            for _ in 0..9 {
                let _ = breaker.take(Seen::Mute, false, &SETTINGS, f64::from(tenths) / 10.0);
            }
            breaker.left
        })
        .collect();
    assert!(gaps.len() > 2, "{gaps:?}");
}

#[test]
fn an_answer_that_is_no_report_keeps_it_closed() {
    let mut breaker = Breaker::default();
    for code in [
        "file_missing",
        "heartbeat_unreadable",
        "tls",
        "access_denied",
        "kerberos",
    ] {
        fails(&mut breaker, Seen::Unreachable, 2);
        assert_eq!(
            breaker.take(Seen::of_failure(code), false, &SETTINGS, 0.0),
            Verdict::Failure
        );
        assert_eq!(breaker.look(false, &SETTINGS), Look::Poll(WHOLE), "{code}");
        assert_eq!(breaker.wait(MINUTE), (MINUTE, None));
    }
}

#[test]
fn a_refused_password_rests_for_a_quarter_of_an_hour_also_where_nobody_needs_the_host() {
    for may_be_off in [false, true] {
        let mut breaker = Breaker::default();
        let seen = Seen::of_failure("unauthorized");
        assert_eq!(breaker.take(seen, may_be_off, &SETTINGS, 0.0), Verdict::Failure);
        assert_eq!(breaker.wait(MINUTE), (AFTER_REFUSAL, None));
        assert_eq!(breaker.wait(2 * AFTER_REFUSAL), (2 * AFTER_REFUSAL, None));
        assert_eq!(breaker.standing(&SETTINGS), Standing::Refused);
    }
}

#[test]
fn a_host_that_nobody_needs_and_that_is_off_makes_no_failure() {
    for going_down in [Seen::Unreachable, Seen::Mute] {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.take(Seen::Heard, true, &SETTINGS, 0.0), Verdict::Fine);
        assert_eq!(breaker.take(going_down, true, &SETTINGS, 0.0), Verdict::Off);
        for _ in 0..20 {
            assert_eq!(breaker.look(true, &SETTINGS), Look::Knock(WHOLE));
            assert_eq!(
                breaker.take(Seen::Unreachable, true, &SETTINGS, 0.0),
                Verdict::Off
            );
            assert_eq!(breaker.standing(&SETTINGS), Standing::Off);
            assert_eq!(breaker.wait(MINUTE).1, Some(MINUTE));
        }
        // Somebody needs it again: it is polled, and its silence counts from now on.
        assert_eq!(breaker.look(false, &SETTINGS), Look::Poll(WHOLE));
        fails(&mut breaker, Seen::Unreachable, 3);
        assert_eq!(breaker.standing(&SETTINGS), Standing::Unreachable);
    }
}

#[test]
fn a_host_that_takes_connections_and_hangs_is_not_off_although_nobody_needs_it() {
    let mut breaker = Breaker::default();
    assert_eq!(breaker.take(Seen::Mute, true, &SETTINGS, 0.0), Verdict::Off);
    for _ in 0..3 {
        assert_eq!(breaker.take(Seen::Mute, true, &SETTINGS, 0.0), Verdict::Failure);
    }
    assert_eq!(breaker.standing(&SETTINGS), Standing::Hanging);
}

#[test]
fn what_the_database_remembers_of_a_host_goes_on_after_a_restart() {
    let open = Breaker::recalled(7, "connect");
    assert_eq!(open.look(false, &SETTINGS), Look::Knock(WHOLE));
    assert_eq!(
        Breaker::recalled(2, "connect").look(false, &SETTINGS),
        Look::Poll(WHOLE)
    );
    assert_eq!(
        Breaker::recalled(1, "unauthorized").standing(&SETTINGS),
        Standing::Refused
    );
    assert_eq!(
        Breaker::recalled(9, "file_missing").standing(&SETTINGS),
        Standing::Closed
    );
    assert_eq!(Breaker::recalled(0, "").look(false, &SETTINGS), Look::Poll(WHOLE));
}
