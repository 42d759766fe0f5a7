use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

fn at(minute: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap() + chrono::TimeDelta::minutes(minute)
}

fn reason() -> Reason {
    Reason::new("broken", "it broke")
}

fn running(step: Step, attempt: u32) -> State {
    State::Running {
        step,
        attempt,
        since: at(0),
        last: None,
    }
}

fn waiting(step: Step, failed: u32, unknown_since: Option<DateTime<Utc>>) -> State {
    State::Waiting {
        step,
        failed,
        until: at(5),
        reason: reason(),
        unknown_since,
        failed_at: Some(at(1)),
    }
}

#[test]
fn each_legal_move_leads_where_the_table_says() {
    let checking = |attempt| State::Checking {
        step: Step::Prepare,
        attempt,
        since: at(0),
    };
    let begin = |step| Event::Begin { step, at: at(0) };
    let gave_up = |tries| State::NeedsAttention {
        step: Some(Step::Prepare),
        at: at(1),
        reason: reason(),
        tries,
    };
    let begun_after = |failed: Step, state: State| {
        let State::Running {
            step, attempt, since, ..
        } = state
        else {
            unreachable!("{state:?}")
        };
        State::Running {
            step,
            attempt,
            since,
            last: Some(FailedTry {
                step: failed,
                reason: reason(),
                at: at(1),
            }),
        }
    };
    let table = [
        (
            State::first(Step::Wake),
            begin(Step::Wake),
            running(Step::Wake, 1),
        ),
        (
            State::Pending {
                step: Step::Prepare,
                failed: 2,
            },
            begin(Step::Wake),
            running(Step::Wake, 3),
        ),
        (
            waiting(Step::Prepare, 2, None),
            begin(Step::Wake),
            begun_after(Step::Prepare, running(Step::Wake, 3)),
        ),
        (
            waiting(Step::Release, 1, Some(at(0))),
            begin(Step::Complete),
            begun_after(Step::Release, running(Step::Complete, 2)),
        ),
        (running(Step::Wake, 1), begin(Step::Wake), running(Step::Wake, 2)),
        (
            running(Step::Wake, 3),
            Event::Succeeded {
                next: Some(Step::Prepare),
                note: None,
                at: at(1),
            },
            State::Pending {
                step: Step::Prepare,
                failed: 2,
            },
        ),
        (
            running(Step::Activate, 1),
            Event::Succeeded {
                next: None,
                note: None,
                at: at(1),
            },
            State::Done {
                at: at(1),
                note: None,
            },
        ),
        (
            running(Step::Prepare, 2),
            Event::Failed {
                reason: reason(),
                retry_at: Some(at(5)),
                at: at(1),
            },
            waiting(Step::Prepare, 2, None),
        ),
        (
            running(Step::Prepare, 2),
            Event::Failed {
                reason: reason(),
                retry_at: None,
                at: at(1),
            },
            gave_up(2),
        ),
        (running(Step::Prepare, 2), Event::EffectUnknown, checking(2)),
        (
            checking(2),
            Event::FoundDone {
                next: Some(Step::Activate),
                at: at(1),
            },
            State::Pending {
                step: Step::Activate,
                failed: 1,
            },
        ),
        (
            checking(2),
            Event::FoundNotDone {
                reason: reason(),
                retry_at: Some(at(5)),
                at: at(1),
            },
            waiting(Step::Prepare, 2, None),
        ),
        (
            checking(2),
            Event::StillUnknown {
                reason: reason(),
                retry_at: Some(at(5)),
                at: at(1),
            },
            waiting(Step::Prepare, 2, Some(at(0))),
        ),
        (
            checking(2),
            Event::StillUnknown {
                reason: reason(),
                retry_at: None,
                at: at(1),
            },
            gave_up(2),
        ),
        (
            waiting(Step::Prepare, 2, Some(at(0))),
            Event::LookAgain,
            checking(2),
        ),
        (
            State::Pending {
                step: Step::Prepare,
                failed: 2,
            },
            Event::Postponed {
                reason: reason(),
                until: at(5),
            },
            State::Waiting {
                step: Step::Prepare,
                failed: 3,
                until: at(5),
                reason: reason(),
                unknown_since: None,
                failed_at: None,
            },
        ),
        (
            waiting(Step::Wake, 2, None),
            Event::HandedOver {
                step: Step::Wake,
                failed: 2,
            },
            State::Pending {
                step: Step::Wake,
                failed: 2,
            },
        ),
        (
            checking(2),
            Event::Settled {
                note: reason(),
                at: at(1),
            },
            State::Done {
                at: at(1),
                note: Some(reason()),
            },
        ),
        (
            waiting(Step::Prepare, 1, None),
            Event::GaveUp {
                reason: reason(),
                at: at(1),
            },
            gave_up(1),
        ),
    ];
    for (from, event, to) in table {
        let told = format!("{from:?} + {event:?}");
        assert_eq!(from.apply(event), Ok(to), "{told}");
    }
}

#[test]
fn what_must_not_simply_be_repeated_is_never_begun_again_while_unknown() {
    for step in [Step::Prepare, Step::Release, Step::Power] {
        for from in [
            running(step, 1),
            State::Checking {
                step,
                attempt: 1,
                since: at(0),
            },
            waiting(step, 1, Some(at(0))),
        ] {
            let name = from.name();
            let refused = from.apply(Event::Begin { step, at: at(1) });
            assert_eq!(
                refused,
                Err(IllegalTransition {
                    from: name,
                    event: "begin"
                })
            );
        }
    }
}

#[test]
fn rows_of_an_earlier_release_are_still_read() {
    let pending: State = serde_json::from_str(r#"{"state":"pending","step":"wake"}"#).unwrap();
    assert_eq!(pending, State::first(Step::Wake));
    let text = r#"{"state":"waiting","step":"prepare","failed":2,"until":"2026-03-01T09:05:00Z",
                   "reason":{"code":"broken","detail":"it broke"}}"#;
    let read: State = serde_json::from_str(text).unwrap();
    let without = matches!(
        &read,
        State::Waiting {
            failed: 2,
            failed_at: None,
            ..
        }
    );
    assert!(without, "{read:?}");
}

fn any_step() -> impl Strategy<Value = Step> {
    prop::sample::select(Step::ALL.to_vec())
}

fn any_event() -> impl Strategy<Value = Event> {
    let retry = prop::option::of(0..60i64).prop_map(|minute| minute.map(at));
    prop_oneof![
        any_step().prop_map(|step| Event::Begin { step, at: at(0) }),
        prop::option::of(any_step()).prop_map(|next| Event::Succeeded {
            next,
            note: None,
            at: at(0)
        }),
        retry.clone().prop_map(|retry_at| Event::Failed {
            reason: reason(),
            retry_at,
            at: at(0)
        }),
        Just(Event::EffectUnknown),
        prop::option::of(any_step()).prop_map(|next| Event::FoundDone { next, at: at(0) }),
        retry.clone().prop_map(|retry_at| Event::FoundNotDone {
            reason: reason(),
            retry_at,
            at: at(0)
        }),
        retry.prop_map(|retry_at| Event::StillUnknown {
            reason: reason(),
            retry_at,
            at: at(0)
        }),
        Just(Event::LookAgain),
        Just(Event::Postponed {
            reason: reason(),
            until: at(0)
        }),
        (any_step(), 0..4_u32).prop_map(|(step, failed)| Event::HandedOver { step, failed }),
        Just(Event::Settled {
            note: reason(),
            at: at(0)
        }),
        Just(Event::GaveUp {
            reason: reason(),
            at: at(0)
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_final_states_stay_and_tries_only_grow(
        first in any_step(),
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut state = State::first(first);
        let mut begun = 0;
        for event in events {
            let began = matches!(event, Event::Begin { .. });
            // Whoever hands over says how many tries count there; what was moved away counts as one.
            let counts = match &event {
                Event::HandedOver { failed, .. } => *failed,
                Event::Postponed { .. } => state.attempt() + 1,
                _ => 0,
            };
            match state.clone().apply(event) {
                Ok(next) => {
                    prop_assert!(!state.is_final(), "{state:?} moved to {next:?}");
                    if began {
                        prop_assert!(next.attempt() > state.attempt());
                        begun += 1;
                    }
                    begun = begun.max(counts);
                    prop_assert!(next.attempt() <= begun);
                    state = next;
                }
                Err(refused) => prop_assert_eq!(refused.from, state.name()),
            }
            let stored = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<State>(&stored).unwrap(), &state);
        }
    }
}
