//! What callers ask for.

use std::time::Duration;

use reservation_engine::{
    ManualError, ManualOrder, OperationKind, ReservationStatus, State, Step, StepAction, Store, StoreError,
    WakeOrder,
};
use tokio::time::sleep;

use crate::support::{Lab, Moment, Script, ShakyStore, at, host, id};

fn order(steps: Vec<StepAction>) -> ManualOrder {
    ManualOrder {
        reservation: id("a"),
        lab: None,
        host: host(1),
        kind: OperationKind::ManualStart,
        steps,
        wait_for_host: Duration::from_secs(2),
        key: None,
    }
}

fn start_steps() -> Vec<StepAction> {
    vec![
        StepAction::Wake(WakeOrder::default()),
        StepAction::Prepare {
            args: vec!["--guard-grace=90".to_owned()],
        },
    ]
}

fn shutdown() -> StepAction {
    StepAction::Power {
        mode: "shutdown".to_owned(),
        args: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_runs_its_steps_and_never_touches_the_status() {
    let lab = Lab::new();
    lab.reserve("a", 1, 600, 660);
    let report = lab.engine("api").run_manual(order(start_steps())).await.unwrap();
    assert!(report.success);
    let actions: Vec<_> = report.steps.iter().map(|step| step.action.as_str()).collect();
    assert_eq!(actions, ["wake", "prepare"]);
    assert_eq!(lab.history("a"), ["wake completed", "prepare completed"]);
    assert_eq!(lab.status("a"), ReservationStatus::Confirmed);
    let operation = lab.operation("a", OperationKind::ManualStart).unwrap();
    assert!(
        matches!(operation.state, State::Done { note: None, .. }),
        "{:?}",
        operation.state
    );
    assert_eq!(lab.store.find_claim(&host(1)).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_order_without_steps_succeeds_without_a_trace() {
    let lab = Lab::new();
    let report = lab.engine("api").run_manual(order(Vec::new())).await.unwrap();
    assert!(report.success && report.steps.is_empty());
    assert!(lab.store.operations().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_order_stops_at_its_first_failure_and_is_not_retried() {
    let lab = Lab::new();
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer")]);
    let report = lab.engine("api").run_manual(order(start_steps())).await.unwrap();
    assert!(!report.success);
    assert_eq!(report.steps.len(), 1);
    assert_eq!(lab.history("a"), ["wake failed"]);
    assert_eq!(
        lab.ending("a", OperationKind::ManualStart),
        "needs_attention wake_no_answer"
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_runs_to_its_end_when_the_caller_hangs_up() {
    let lab = Lab::new();
    let engine = lab.engine("api");
    tokio::select! {
        _ = engine.run_manual(order(start_steps())) => panic!("ended too early"),
        () = sleep(Duration::from_secs(1)) => {}
    }
    assert!(engine.stop(Duration::from_secs(60)).await);
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
    assert_eq!(lab.ending("a", OperationKind::ManualStart), "done");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_busy_is_refused_with_its_holder_and_the_time_left() {
    let lab = Lab::new();
    lab.store
        .claim_host(&host(1), "scheduler-1", Duration::from_secs(15))
        .await
        .unwrap()
        .unwrap();
    let refused = lab.engine("api").run_manual(order(start_steps())).await;
    let Err(ManualError::HostBusy { holder, left, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(holder, "scheduler-1");
    assert_eq!(left, Duration::from_secs(13));
    assert!(lab.hosts.effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_order_waits_for_a_host_that_gets_free_in_time() {
    let lab = Lab::new();
    lab.store
        .claim_host(&host(1), "scheduler-1", Duration::from_secs(1))
        .await
        .unwrap()
        .unwrap();
    assert!(
        lab.engine("api")
            .run_manual(order(start_steps()))
            .await
            .unwrap()
            .success
    );
}

#[tokio::test(start_paused = true)]
async fn a_power_step_whose_answer_was_lost_counts_when_the_host_shows_it_and_is_never_repeated() {
    for (script, success) in [
        (Script::LostAfter, true),
        (Script::LostAndGone(600), true),
        (Script::LostBefore, false),
    ] {
        let lab = Lab::new();
        let steps = vec![StepAction::Wake(WakeOrder::default()), shutdown()];
        lab.hosts.script(&host(1), Step::Power, &[script]);
        let report = lab.engine("api").run_manual(order(steps)).await.unwrap();
        assert_eq!(report.success, success, "{script:?}");
        let expected: &[&str] = if success {
            &["wake", "power:shutdown"]
        } else {
            &["wake"]
        };
        assert_eq!(lab.hosts.done_to(&host(1)), expected, "{script:?}");
        assert_eq!(lab.hosts.looks(), 1, "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_process_died_is_never_repeated_by_another() {
    for moment in Moment::ALL {
        let lab = Lab::new();
        lab.reserve("a", 1, 600, 660);
        let store = ShakyStore::dying_at(lab.store.clone(), Step::Power, moment);
        let died = store.died.clone();
        let first = lab.engine_on(store, "first");
        tokio::select! {
            _ = first.run_manual(order(vec![shutdown()])) => panic!("{moment:?}: never reached"),
            () = died.cancelled() => {}
        }
        first.stop(Duration::ZERO).await;
        lab.run(&lab.engine("second"), at(60)).await;
        let sent = lab.hosts.done_to(&host(1)).len();
        let expected = usize::from(matches!(moment, Moment::BeforeOutcome | Moment::AfterOutcome));
        assert_eq!(sent, expected, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_scheduler_waits_while_a_caller_has_the_host() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let (api, scheduler) = (lab.engine("api"), lab.engine("scheduler"));
    let ws = host(1);
    lab.sleep_until(at(-3)).await;
    let hours = api.with_host_claim(&ws, Duration::ZERO, sleep(Duration::from_mins(2)));
    let (held, _) = tokio::join!(hours, async {
        lab.run(&scheduler, at(-2) + chrono::TimeDelta::seconds(50)).await;
        assert!(lab.hosts.effects().is_empty());
    });
    held.unwrap();
    lab.run(&scheduler, at(0)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn work_under_a_claim_ends_when_the_claim_is_lost() {
    let lab = Lab::new();
    let store = ShakyStore::new(lab.store.clone());
    let api = lab.engine_on(store.clone(), "api");
    let (ws, begun) = (host(1), lab.clock_seconds());
    let (lost, ()) = tokio::join!(
        api.with_host_claim(&ws, Duration::ZERO, sleep(Duration::from_hours(1))),
        async {
            sleep(Duration::from_secs(60)).await;
            store.set_down(true);
        }
    );
    assert!(
        matches!(lost, Err(ManualError::Store(StoreError::Fenced { .. }))),
        "{lost:?}"
    );
    let took = lab.clock_seconds() - begun;
    assert!((60..=75).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_given_back_when_the_work_is_dropped() {
    let lab = Lab::new();
    let (ws, api) = (host(1), lab.engine("api"));
    tokio::select! {
        _ = api.with_host_claim(&ws, Duration::ZERO, std::future::pending::<()>()) => panic!("ended"),
        () = sleep(Duration::from_secs(1)) => {}
    }
    tokio::task::yield_now().await;
    assert_eq!(lab.store.find_claim(&host(1)).await.unwrap(), None);
}
