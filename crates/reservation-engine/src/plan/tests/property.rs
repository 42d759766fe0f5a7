use proptest::prelude::*;

use super::*;

fn any_state() -> impl Strategy<Value = Option<State>> {
    let step = prop::sample::select(Step::ALL.to_vec());
    let unknown = prop::option::of(-30..0i64);
    prop_oneof![
        Just(None),
        Just(Some(done(-1))),
        Just(Some(attention(-1))),
        step.clone().prop_map(|step| Some(State::first(step))),
        step.clone().prop_map(|step| Some(running(step, -1))),
        (step, -20..20i64, unknown).prop_map(|(step, until, since)| {
            let reason = Reason::new("broken", "it broke");
            let unknown_since = since.map(at);
            Some(State::Waiting {
                step,
                failed: 1,
                until: at(until),
                reason,
                unknown_since,
                failed_at: None,
            })
        }),
    ]
}

fn any_item() -> impl Strategy<Value = WorkItem> {
    use ReservationStatus::{Active, Cancelled, Completed, Confirmed, Pending};
    let status = prop::sample::select(vec![
        Pending, Confirmed, Confirmed, Active, Active, Completed, Cancelled,
    ]);
    let prepared = prop::option::of(-30..0i64);
    (status, -60..60i64, 1..60i64, any_state(), any_state(), prepared).prop_map(
        |(status, from, minutes, start, end, prepared)| {
            let mut item = item("x", status, from, from + minutes);
            item.start = start.map(|state| operation(&item, OperationKind::Start, state));
            item.end = end.map(|state| operation(&item, OperationKind::End, state));
            if let Some(start) = &mut item.start {
                start.prepare_began_at = prepared.map(at);
            }
            item
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn whatever_is_stored_the_plan_harms_nobody_and_comes_to_rest(
        mut items in prop::collection::vec(any_item(), 1..5),
    ) {
        for (number, item) in items.iter_mut().enumerate() {
            item.reservation.id = ReservationId::parse(&format!("r{number}")).unwrap();
        }
        let plan = plan(0, &items);
        let Some(decision) = plan.act else {
            prop_assert!(plan.next_at.is_none_or(|next| next > at(0)), "a pass that does nothing must not repeat");
            return Ok(());
        };
        let item = items.iter().find(|item| item.reservation.id == decision.reservation).unwrap();
        let others = || items.iter().filter(|other| other.reservation.id != item.reservation.id);
        let Act::Run { step, .. } = decision.act else { return Ok(()) };
        prop_assert!(step != Step::Power || matches!(state_of(item.start.as_ref()), Some(state) if state.step() == Some(step)));
        if matches!(step, Step::Wake | Step::Prepare) {
            prop_assert_eq!(item.reservation.status, ReservationStatus::Confirmed);
            prop_assert!(item.reservation.ends_at > at(0), "what is over is not started");
            let sitting = |other: &WorkItem| {
                has_status(other, ReservationStatus::Active) && other.reservation.ends_at > at(0) && !neighbours::is_released(other)
            };
            prop_assert!(!others().any(sitting), "somebody sits there");
        }
        if step == Step::Release {
            let later = |other: &WorkItem| match (prepare_began_at(item), prepare_began_at(other)) {
                (Some(ours), Some(theirs)) => theirs > ours,
                _ => other.reservation.starts_at > item.reservation.starts_at,
            };
            let got_host = |other: &WorkItem| has_status(other, ReservationStatus::Active) && !neighbours::is_released(other);
            prop_assert!(!others().any(|other| later(other) && got_host(other)), "a later one would be logged out");
        }
    }
}
