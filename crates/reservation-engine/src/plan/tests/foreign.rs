use super::*;
use crate::state::JOURNAL_VERSION;

fn theirs(over: bool) -> State {
    State::Foreign {
        version: JOURNAL_VERSION + 1,
        over,
    }
}

fn code_of(minutes: i64, items: &[WorkItem], id: &str) -> WaitCode {
    only_wait(minutes, items, id).code
}

#[test]
fn nothing_is_done_for_what_a_newer_release_sees_to() {
    let confirmed = confirmed("a", 0, 60).started(theirs(false));
    let mut active = item("a", ReservationStatus::Active, 0, 60).started(theirs(true));
    active.start.as_mut().unwrap().prepare_began_at = Some(at(-1));
    let ending = active.clone().ended(theirs(false));
    let mut cancelled = confirmed.clone().prepared_at(-1);
    cancelled.reservation.status = ReservationStatus::Cancelled;
    for item in [confirmed, active, ending, cancelled] {
        for minutes in [-2, 0, 59, 60, 62, 24 * 60] {
            let items = [item.clone()];
            assert_eq!(acts(minutes, &items), "nothing", "{minutes} {item:?}");
            let wait = only_wait(minutes, &items, "a");
            assert_eq!((wait.code, wait.until), (WaitCode::NewerRelease, None));
            assert!(
                wait.detail.contains("journal version 3, this release knows 2"),
                "{}",
                wait.detail
            );
        }
    }
    let mut over = confirmed_over();
    assert_eq!(plan(62, std::slice::from_ref(&over)), HostPlan::default());
    over.end.as_mut().unwrap().state = theirs(false);
    assert_eq!(code_of(62, &[over], "a"), WaitCode::NewerRelease);
}

fn confirmed_over() -> WorkItem {
    item("a", ReservationStatus::Completed, 0, 60)
        .started(theirs(true))
        .prepared_at(-1)
        .ended(theirs(true))
}

#[test]
fn what_a_newer_release_has_open_keeps_its_host_until_its_release_is_given_up() {
    let next = confirmed("b", 60, 24 * 60);
    let window = 60 + 6 * 60;
    for state in [theirs(false), theirs(true)] {
        let mut first = item("a", ReservationStatus::Active, 0, 60).started(state);
        first.start.as_mut().unwrap().prepare_began_at = Some(at(-1));
        let items = [first, next.clone()];
        for minutes in [60, 61, window - 1] {
            assert_eq!(code_of(minutes, &items, "b"), WaitCode::HostOccupied, "{minutes}");
        }
        assert_eq!(acts(window, &items), "b start wake");
    }
    assert_eq!(acts(60, &[confirmed_over(), next]), "b start wake", "it has left");
}

#[test]
fn one_that_is_not_due_yet_keeps_nobody_out() {
    let items = [
        confirmed("a", 0, 30),
        confirmed("b", 60, 90).started(theirs(false)),
    ];
    assert_eq!(acts(0, &items), "a start wake");
}

#[test]
fn nothing_moves_what_is_not_ours() {
    for event in [
        crate::state::Event::Settled {
            note: Reason::new("x", "y"),
            at: at(0),
        },
        crate::state::Event::Begin {
            step: Step::Wake,
            at: at(0),
        },
    ] {
        assert!(theirs(false).apply(event).is_err());
    }
    assert!(
        serde_json::to_string(&theirs(false)).is_err(),
        "it is never stored"
    );
}
