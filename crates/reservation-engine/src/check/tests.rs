use chrono::TimeZone;

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap() + TimeDelta::seconds(second)
}

fn seen() -> Observation {
    Observation {
        reachable: true,
        booted_at: Some(at(-3600)),
        reported_at: Some(at(20)),
        ..Observation::default()
    }
}

#[test]
fn a_prepare_took_effect_when_the_host_says_so_since_then() {
    let prepared = |second| Observation {
        prepared_at: Some(at(second)),
        ..seen()
    };
    assert_eq!(decide(Step::Prepare, at(0), &prepared(5)), Found::Done);
    assert_eq!(
        decide(Step::Prepare, at(0), &prepared(-2)),
        Found::Done,
        "stamps are whole seconds"
    );
    assert_eq!(decide(Step::Prepare, at(0), &prepared(-3)), Found::NotDone);
    assert_eq!(decide(Step::Prepare, at(0), &seen()), Found::NotDone);
    assert_eq!(
        decide(Step::Prepare, at(0), &Observation::default()),
        Found::Unclear
    );
}

#[test]
fn a_report_from_before_the_try_or_none_at_all_says_nothing() {
    for reported_at in [None, Some(at(-1)), Some(at(0))] {
        let old = Observation {
            reported_at,
            ..seen()
        };
        assert_eq!(decide(Step::Prepare, at(0), &old), Found::Unclear);
        assert_eq!(decide(Step::Release, at(0), &old), Found::Unclear);
    }
}

#[test]
fn a_prepare_that_was_undone_by_a_release_or_a_boot_does_not_count() {
    let released = Observation {
        prepared_at: Some(at(5)),
        released_at: Some(at(9)),
        ..seen()
    };
    assert_eq!(decide(Step::Prepare, at(0), &released), Found::NotDone);
    let booted = Observation {
        prepared_at: Some(at(5)),
        booted_at: Some(at(9)),
        ..seen()
    };
    assert_eq!(decide(Step::Prepare, at(0), &booted), Found::NotDone);
}

#[test]
fn a_release_took_effect_when_stamped_or_when_the_host_booted_since() {
    let released = Observation {
        released_at: Some(at(1)),
        ..seen()
    };
    assert_eq!(decide(Step::Release, at(0), &released), Found::Done);
    let booted = Observation {
        booted_at: Some(at(1)),
        ..seen()
    };
    assert_eq!(decide(Step::Release, at(0), &booted), Found::Done);
    assert_eq!(decide(Step::Release, at(0), &seen()), Found::NotDone);
    assert_eq!(
        decide(Step::Release, at(0), &Observation::default()),
        Found::Unclear
    );
}

#[test]
fn power_took_effect_when_the_host_is_off_or_says_so_and_not_because_it_is_silent() {
    let off = Observation {
        off: true,
        ..Observation::default()
    };
    assert_eq!(decide(Step::Power, at(0), &off), Found::Done);
    let booted = Observation {
        booted_at: Some(at(1)),
        ..seen()
    };
    assert_eq!(decide(Step::Power, at(0), &booted), Found::Done);
    assert_eq!(
        decide(Step::Power, at(0), &Observation::default()),
        Found::Unclear,
        "a host that hangs"
    );
    let old = Observation {
        reported_at: Some(at(-1)),
        ..seen()
    };
    assert_eq!(decide(Step::Power, at(0), &old), Found::Unclear);
    let ordered = Observation {
        power_action_at: Some(at(0)),
        ..seen()
    };
    assert_eq!(decide(Step::Power, at(0), &ordered), Found::Done);
    assert_eq!(decide(Step::Power, at(0), &seen()), Found::NotDone);
}

#[test]
fn steps_that_may_simply_be_repeated_are() {
    for step in Step::ALL
        .into_iter()
        .filter(|step| step.repetition() == crate::Repetition::Repeatable)
    {
        assert_eq!(decide(step, at(0), &seen()), Found::NotDone, "{step:?}");
    }
}
