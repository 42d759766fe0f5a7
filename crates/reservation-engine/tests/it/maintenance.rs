//! Hosts at which an engineer works: nothing is begun there, and everything goes on when he leaves.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{
    IdlePower, Maintenance, ManualOrder, OperationKind, PassReport, PowerMode, ReservationStatus, Step,
    StepAction, WaitCode, WakeOrder,
};

use crate::support::{Lab, Rooms, Script, ShakyStore, at, host, id};

fn maintenance(until: Option<i64>) -> Maintenance {
    Maintenance {
        reason: "new disk".to_owned(),
        owner: "ana".to_owned(),
        since: at(-60),
        until: until.map(at),
    }
}

impl Lab {
    fn take(&self, number: u32, until: Option<i64>) {
        self.store
            .set_maintenance(&host(number), Some(maintenance(until)));
    }

    fn give(&self, number: u32) {
        self.store.set_maintenance(&host(number), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_the_engineer_and_is_done_when_he_leaves() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 2, 0, 60);
    lab.take(1, None);
    let engine = lab.engine("only");
    let report = lab.run(&engine, at(20)).await;
    assert!(lab.hosts.done_to(&host(1)).is_empty());
    assert_eq!(lab.status("b"), ReservationStatus::Active, "the others go on");
    let (_, wait) = report.waits.iter().find(|(of, _)| *of == id("a")).unwrap();
    assert_eq!((wait.code, wait.until), (WaitCode::Maintenance, None));
    assert_eq!(
        wait.detail,
        "ana has the host in maintenance since 2026-03-01T08:00:00Z: new disk"
    );
    let told = engine
        .explain_reservation(&id("a"), &*lab.map)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(told.wait.unwrap().code, WaitCode::Maintenance);
    assert_eq!(told.maintenance, Some(maintenance(None)));
    let told = engine.explain_host(&host(1), &*lab.map).await.unwrap().unwrap();
    assert_eq!(told.maintenance, Some(maintenance(None)));
    assert!(
        told.summary.starts_with("ana has the host in maintenance since "),
        "{}",
        told.summary
    );
    lab.give(1);
    lab.run(&engine, at(22)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_that_ends_by_itself_needs_nobody() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.take(1, Some(10));
    lab.run(&lab.engine("only"), at(12)).await;
    let first = lab.hosts.effects().into_iter().next().unwrap();
    // The wake takes twenty seconds.
    assert_eq!(
        (first.what.as_str(), first.at),
        ("wake", at(10) + TimeDelta::seconds(20))
    );
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn one_that_outlasts_the_reservation_is_missed_for_that_reason() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 30);
    lab.take(1, None);
    lab.run(&lab.engine("only"), at(40)).await;
    assert!(lab.hosts.effects().is_empty());
    assert_eq!(lab.ending("a", OperationKind::Start), "needs_attention missed");
    let rows = lab.store.history();
    let payload = rows[0].payload.as_ref().unwrap().to_string();
    assert!(payload.contains("; ana has the host in maintenance"), "{payload}");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_let_to_its_steps_end_and_then_stops() {
    for (second, done) in [(-115, vec!["wake"]), (-98, vec!["wake", "prepare"])] {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        lab.run(&engine, at(0) + TimeDelta::seconds(second)).await;
        lab.take(1, None);
        lab.run(&engine, at(10)).await;
        assert_eq!(lab.hosts.done_to(&host(1)), done, "{second}");
        assert_eq!(lab.status("a"), ReservationStatus::Confirmed);
        lab.give(1);
        lab.run(&engine, at(12)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Active, "{second}");
        let prepares = lab
            .hosts
            .done_to(&host(1))
            .iter()
            .filter(|what| *what == "prepare")
            .count();
        assert_eq!(prepares, 1, "{second}");
        lab.run(&engine, at(70)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_host_is_released_at_the_end_although_nobody_got_it() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(0) + TimeDelta::seconds(-98)).await;
    lab.take(1, None);
    lab.run(&engine, at(70)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare", "release"]);
    assert_eq!(
        lab.ending("a", OperationKind::Start),
        "needs_attention ended_while_starting"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_is_there_is_released_without_a_reboot_and_nothing_is_powered_off() {
    let mut lab = Lab::new();
    lab.settings.idle_power = Some(IdlePower::new(PowerMode::Shutdown));
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(30)).await;
    lab.take(1, None);
    lab.run(&engine, at(120)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare", "release"]);
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    lab.give(1);
    lab.run(&engine, at(122)).await;
    let last = lab.hosts.done_to(&host(1)).pop();
    assert_eq!(last.as_deref(), Some("power:shutdown --no-force"));
}

#[tokio::test(start_paused = true)]
async fn with_pooling_another_host_serves_the_lab() {
    let mut lab = Lab::new();
    lab.settings.host_pooling = true;
    lab.map = Arc::new(Rooms::new(&[(7, &[1, 2, 3])]));
    lab.take(1, None);
    lab.reserve("a", 7, 0, 60);
    let engine = lab.engine("only");
    // The host is taken while it is being woken, and would have failed anyway.
    lab.hosts
        .script(&host(2), Step::Wake, &[Script::Fail("wake_no_answer")]);
    lab.run(&engine, at(-2) + TimeDelta::seconds(5)).await;
    lab.take(2, None);
    lab.run(&engine, at(0)).await;
    assert!(lab.hosts.done_to(&host(1)).is_empty());
    assert!(lab.hosts.done_to(&host(2)).is_empty());
    assert_eq!(lab.hosts.done_to(&host(3)), ["wake", "prepare"]);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_that_is_over_in_time_sends_nobody_elsewhere() {
    let mut lab = Lab::new();
    lab.settings.host_pooling = true;
    lab.map = Arc::new(Rooms::new(&[(7, &[1, 2])]));
    lab.take(1, Some(-3));
    lab.reserve("a", 7, 0, 60);
    lab.run(&lab.engine("only"), at(0)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_callers_order_goes_on_and_is_told() {
    let lab = Lab::new();
    lab.take(1, None);
    let engine = lab.engine("api");
    let order = |number| ManualOrder {
        reservation: id("by-hand"),
        lab: None,
        host: host(number),
        kind: OperationKind::ManualStart,
        steps: vec![StepAction::Wake(WakeOrder::default())],
        wait_for_host: Duration::ZERO,
        key: None,
    };
    let report = engine.run_manual(order(1)).await.unwrap();
    assert!(report.success);
    assert_eq!(report.maintenance, Some(maintenance(None)));
    assert_eq!(engine.run_manual(order(2)).await.unwrap().maintenance, None);
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_the_rest_within_seconds_and_the_list_is_read_once_in_a_while() {
    let lab = Lab::new();
    let store = ShakyStore::new(lab.store.clone());
    let engine = lab.engine_on(store.clone(), "only");
    engine.pass(&*lab.map, &Default::default()).await.unwrap();
    let rest = async || {
        let began = lab.clock_seconds();
        engine.rest(&PassReport::default(), Duration::from_mins(10)).await;
        lab.clock_seconds() - began
    };
    assert_eq!(rest().await, 600);
    assert!(store.calls()["maintenance"] <= 301, "{:?}", store.calls());
    lab.take(1, None);
    assert!(rest().await <= 2);
    engine.pass(&*lab.map, &Default::default()).await.unwrap();
    assert_eq!(rest().await, 600);
    store.set_down(true);
    lab.give(1);
    assert_eq!(rest().await, 600, "a store that does not answer says nothing");
    store.set_down(false);
    assert!(rest().await <= 2);
}
