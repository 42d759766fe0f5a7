use super::*;

fn facts(presence: Presence, spare: Option<(&str, u32)>) -> HostFacts {
    let mut facts = HostFacts::with_lead(Settings::default().lead);
    facts.presence = presence;
    if let Some((host, of)) = spare {
        let host = HostName::parse(host).unwrap();
        let id = ReservationId::parse("a").unwrap();
        facts.spares.insert(id, Spare { host, of });
    }
    facts
}

fn acts_with(facts: &HostFacts, minutes: i64, items: &[WorkItem]) -> String {
    shown_act(plan_host(at(minutes), &Settings::default(), facts, items))
}

fn wait_with(facts: &HostFacts, minutes: i64, items: &[WorkItem]) -> Wait {
    let mut waits = plan_host(at(minutes), &Settings::default(), facts, items).waits;
    assert_eq!(waits.len(), 1, "{waits:?}");
    waits.remove(0).1
}

fn absent(code: &str, step: Step, until: i64) -> State {
    State::Waiting {
        step,
        failed: 1,
        until: at(until),
        reason: Reason::new(code, "there is no host"),
        unknown_since: None,
        failed_at: Some(at(0)),
    }
}

#[test]
fn a_failed_wake_goes_on_at_the_next_free_host_at_once() {
    let items = [confirmed("a", 0, 60).started(waiting(Step::Wake, 5))];
    let here = Presence::Here;
    assert_eq!(acts_with(&facts(here, None), -1, &items), "nothing");
    assert_eq!(
        acts_with(&facts(here, Some(("ws-2", 2))), -1, &items),
        "a start hand over to ws-2 (wake_failed)"
    );
}

#[test]
fn when_each_host_was_tried_once_the_waits_count_again() {
    let items = [confirmed("a", 0, 60).started(waiting(Step::Wake, 5))];
    let alone = facts(Presence::Here, Some(("ws-2", 1)));
    assert_eq!(acts_with(&alone, -1, &items), "nothing");
    assert_eq!(
        acts_with(&alone, 5, &items),
        "a start hand over to ws-2 (wake_failed)"
    );
}

#[test]
fn a_host_that_was_prepared_is_not_left_for_another_one() {
    let items = [confirmed("a", 0, 60)
        .started(waiting(Step::Wake, 5))
        .prepared_at(-1)];
    let spare = facts(Presence::Here, Some(("ws-2", 2)));
    assert_eq!(acts_with(&spare, 6, &items), "a start wake");
}

#[test]
fn whoever_finds_his_host_occupied_past_his_start_goes_to_another_one() {
    let items = [
        active("b", -60, 30),
        confirmed("a", 0, 60).started(State::first(Step::Wake)),
    ];
    let spare = facts(Presence::Here, Some(("ws-2", 2)));
    assert_eq!(acts_with(&spare, -1, &items), "nothing");
    assert_eq!(
        acts_with(&spare, 0, &items),
        "a start hand over to ws-2 (host_occupied)"
    );
}

#[test]
fn a_lab_without_a_host_is_recorded_when_it_is_due_and_then_waited_for() {
    let nowhere = facts(Presence::Nowhere, None);
    let items = [confirmed("a", 0, 60)];
    assert_eq!(acts_with(&nowhere, -3, &items), "nothing");
    assert_eq!(acts_with(&nowhere, -2, &items), "a start absent (no_host)");
    let said = [confirmed("a", 0, 60).started(absent("no_host", Step::Wake, 5))];
    assert_eq!(acts_with(&nowhere, 4, &said), "nothing");
    assert_eq!(wait_with(&nowhere, 4, &said).code, WaitCode::NoHost);
    assert_eq!(acts_with(&nowhere, 5, &said), "a start absent (no_host)");
}

#[test]
fn a_lab_that_gets_its_host_is_started_there() {
    let found = facts(Presence::Nowhere, Some(("ws-1", 1)));
    let said = [confirmed("a", 0, 60).started(absent("no_host", Step::Wake, 5))];
    assert_eq!(
        acts_with(&found, 1, &said),
        "a start hand over to ws-1 (host_found)"
    );
}

#[test]
fn reservations_without_a_host_do_not_stand_in_each_others_way() {
    let nowhere = facts(Presence::Nowhere, None);
    let items = [active("a", 0, 60), active("b", 30, 90)];
    assert_eq!(acts_with(&nowhere, 61, &items), "a end absent (no_host)");
    let items = [active("b", -30, 90), confirmed("a", 0, 60)];
    assert_eq!(acts_with(&nowhere, 0, &items), "a start absent (no_host)");
}

#[test]
fn a_release_on_a_host_that_was_removed_waits_for_it_to_come_back() {
    let removed = facts(Presence::Removed, None);
    assert_eq!(
        acts_with(&removed, 61, &[active("a", 0, 60)]),
        "a end absent (host_removed)"
    );
    let said = [active("a", 0, 60).ended(absent("host_removed", Step::Release, 70))];
    assert_eq!(acts_with(&removed, 65, &said), "nothing");
    assert_eq!(wait_with(&removed, 65, &said).code, WaitCode::HostRemoved);
    let back = facts(Presence::Here, None);
    assert_eq!(
        acts_with(&back, 65, &said),
        "a end release --reboot",
        "without waiting"
    );
    let retrying = [active("a", 0, 60).ended(waiting(Step::Release, 70))];
    assert_eq!(acts_with(&removed, 65, &retrying), "a end absent (host_removed)");
}

#[test]
fn a_release_that_was_done_is_completed_although_the_host_is_gone() {
    let removed = facts(Presence::Removed, None);
    let released = [active("a", 0, 60).ended(State::first(Step::Complete))];
    assert_eq!(acts_with(&removed, 61, &released), "a end complete");
}

#[test]
fn a_start_on_a_host_that_was_removed_goes_to_the_labs_other_host() {
    let items = [confirmed("a", 0, 60).started(running(Step::Wake, -1))];
    assert_eq!(
        acts_with(&facts(Presence::Removed, None), 0, &items),
        "a start absent (host_removed)"
    );
    let waiting = [confirmed("a", 0, 60).started(absent("host_removed", Step::Wake, 5))];
    let spare = facts(Presence::Removed, Some(("ws-2", 1)));
    assert_eq!(
        acts_with(&spare, 0, &waiting),
        "a start hand over to ws-2 (host_removed)"
    );
    let prepared = [confirmed("a", 0, 60)
        .started(State::first(Step::Activate))
        .prepared_at(-1)];
    assert_eq!(
        acts_with(&facts(Presence::Removed, None), 0, &prepared),
        "a start activate"
    );
}

#[test]
fn an_idle_host_that_was_removed_is_left_as_it_is() {
    let mut settings = Settings::default();
    settings.idle_power = Some(crate::settings::IdlePower::new(
        crate::settings::PowerMode::Shutdown,
    ));
    let items = [item("a", ReservationStatus::Completed, 0, 60).ended(State::first(Step::Power))];
    let plan = plan_host(at(80), &settings, &facts(Presence::Removed, None), &items);
    assert_eq!(shown_act(plan), "a end settle (host_removed)");
}

#[test]
fn a_reservation_that_ended_without_a_host_was_missed() {
    let mut item = confirmed("a", 0, 60).started(absent("no_host", Step::Wake, 70));
    item.start.as_mut().unwrap().host = stand_in().unwrap();
    let nowhere = facts(Presence::Nowhere, None);
    assert_eq!(acts_with(&nowhere, 60, &[item]), "a start give up (missed)");
}
