use super::*;
use crate::settings::{IdlePower, PowerMode};

fn in_maintenance(until: Option<i64>) -> HostFacts {
    let mut facts = HostFacts::with_lead(Settings::default().lead);
    facts.maintenance = Some(Maintenance {
        reason: "new disk".to_owned(),
        owner: "ana".to_owned(),
        since: at(-30),
        until: until.map(at),
    });
    facts
}

fn with_spare(mut facts: HostFacts) -> HostFacts {
    let host = HostName::parse("ws-2").unwrap();
    let id = ReservationId::parse("a").unwrap();
    facts.spares.insert(id, Spare { host, of: 2 });
    facts
}

fn settings() -> Settings {
    Settings {
        idle_power: Some(IdlePower::new(PowerMode::Shutdown)),
        ..Settings::default()
    }
}

fn acts_in(facts: &HostFacts, minutes: i64, items: &[WorkItem]) -> String {
    shown_act(plan_host(at(minutes), &settings(), facts, items))
}

/// What waits for the end of a maintenance, and until when.
fn waits_for_it(facts: &HostFacts, minutes: i64, items: &[WorkItem]) -> Vec<Option<DateTime<Utc>>> {
    let plan = plan_host(at(minutes), &settings(), facts, items);
    assert_eq!(plan.act, None);
    let waits = plan.waits.into_iter().map(|(_, wait)| wait);
    waits
        .filter(|wait| wait.code == WaitCode::Maintenance)
        .map(|wait| wait.until)
        .collect()
}

#[test]
fn nothing_is_started_on_a_host_in_maintenance_whatever_came_before() {
    let facts = in_maintenance(None);
    let fresh = confirmed("a", 0, 60);
    let begun = [
        fresh.clone(),
        fresh.clone().started(State::first(Step::Wake)),
        fresh.clone().started(running(Step::Wake, -1)),
        fresh.clone().started(State::first(Step::Prepare)),
        fresh.clone().started(waiting(Step::Wake, 5)),
        fresh.clone().started(waiting(Step::Wake, -1)),
        fresh
            .clone()
            .started(State::first(Step::Activate))
            .prepared_at(-1),
        fresh.clone().started(running(Step::Activate, -1)).prepared_at(-1),
    ];
    for item in begun {
        assert_eq!(
            waits_for_it(&facts, 0, std::slice::from_ref(&item)),
            [None],
            "{item:?}"
        );
    }
    // Before it is due it waits for that.
    assert!(waits_for_it(&facts, -3, &[fresh]).is_empty());
}

#[test]
fn what_nobody_knows_is_still_found_out_by_looking() {
    let facts = in_maintenance(None);
    let fresh = confirmed("a", 0, 60);
    for state in [
        running(Step::Prepare, -1),
        State::Checking {
            step: Step::Prepare,
            attempt: 1,
            since: at(-1),
        },
    ] {
        let item = fresh.clone().started(state).prepared_at(-1);
        assert_eq!(acts_in(&facts, 0, &[item]), "a start check");
    }
}

#[test]
fn a_start_goes_on_by_itself_when_the_maintenance_ends() {
    let items = [confirmed("a", 0, 60)];
    let facts = in_maintenance(Some(20));
    assert_eq!(waits_for_it(&facts, 19, &items), [Some(at(20))]);
    assert_eq!(acts_in(&facts, 20, &items), "a start wake");
}

#[test]
fn what_ends_in_a_maintenance_was_missed_and_says_so() {
    let facts = in_maintenance(None);
    let fresh = confirmed("a", 0, 60);
    let begun = fresh.clone().started(waiting(Step::Wake, 5));
    for (item, expected) in [(fresh, "missed"), (begun, "ended_while_starting")] {
        let Some(Decision {
            act: Act::Missed(reason) | Act::GiveUp(reason),
            ..
        }) = plan_host(at(60), &settings(), &facts, &[item]).act
        else {
            panic!("not closed");
        };
        assert_eq!(reason.code, expected);
        let said = reason
            .detail
            .ends_with("ana has the host in maintenance since 2026-03-01T08:30:00Z: new disk");
        assert!(said, "{}", reason.detail);
    }
}

#[test]
fn whoever_is_there_is_released_at_his_end_without_a_reboot() {
    let items = [active("a", 0, 60)];
    let plain = Settings::default();
    let facts = in_maintenance(None);
    let act = |facts: &HostFacts| shown_act(plan_host(at(61), &plain, facts, &items));
    assert_eq!(act(&HostFacts::with_lead(plain.lead)), "a end release --reboot");
    assert_eq!(act(&facts), "a end release");
    assert_eq!(
        act(&in_maintenance(Some(30))),
        "a end release --reboot",
        "it is over"
    );
    let mut called_off = confirmed("a", 0, 60)
        .started(State::first(Step::Activate))
        .prepared_at(-1);
    called_off.reservation.status = ReservationStatus::Cancelled;
    called_off.start.as_mut().unwrap().state = done(0);
    assert_eq!(acts_in(&facts, 1, &[called_off]), "a end release");
}

#[test]
fn an_idle_host_is_not_taken_down_while_somebody_works_at_it() {
    let mut idle = item("a", ReservationStatus::Completed, 0, 60)
        .started(done(-1))
        .prepared_at(-2)
        .ended(State::first(Step::Power));
    idle.end.as_mut().unwrap().due_at = at(75);
    let items = [idle];
    assert_eq!(
        waits_for_it(&in_maintenance(Some(90)), 80, &items),
        [Some(at(90))]
    );
    assert_eq!(
        acts_in(&in_maintenance(Some(90)), 90, &items),
        "a end power --no-force"
    );
}

#[test]
fn with_another_host_it_goes_on_there_unless_the_student_is_at_this_one() {
    let facts = with_spare(in_maintenance(None));
    let pending = confirmed("a", 0, 60).started(State::first(Step::Wake));
    assert_eq!(
        acts_in(&facts, 0, std::slice::from_ref(&pending)),
        "a start hand over to ws-2 (maintenance)"
    );
    assert_eq!(waits_for_it(&facts, 0, &[pending.prepared_at(-1)]), [None]);
    let under_way = confirmed("a", 0, 60).started(running(Step::Wake, -1));
    assert_eq!(waits_for_it(&facts, 0, &[under_way]), [None]);
}
