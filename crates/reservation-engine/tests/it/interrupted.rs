//! Callers' operations whose process died: settled by looking, and never repeated.

use std::time::Duration;

use reservation_engine::{ManualOrder, OperationKind, State, Step, StepAction, Store, StoreError, WakeOrder};

use crate::support::{Lab, Moment, Script, ShakyStore, at, host, id};

fn order(kind: OperationKind, steps: Vec<StepAction>) -> ManualOrder {
    ManualOrder {
        reservation: id("a"),
        lab: None,
        host: host(1),
        kind,
        steps,
        wait_for_host: Duration::from_secs(2),
        key: None,
    }
}

fn steps_of(kind: OperationKind) -> Vec<StepAction> {
    let args = Vec::new;
    match kind {
        OperationKind::ManualEnd => vec![
            StepAction::Release { args: args() },
            StepAction::Power {
                mode: "shutdown".to_owned(),
                args: args(),
            },
        ],
        _ => vec![
            StepAction::Wake(WakeOrder::default()),
            StepAction::Prepare { args: args() },
        ],
    }
}

/// Gives what a process left behind that died at this moment, after another copy looked at it.
async fn dies(kind: OperationKind, step: Step, moment: Moment) -> (Lab, usize) {
    let lab = Lab::new();
    let store = ShakyStore::dying_at(lab.store.clone(), step, moment);
    let died = store.died.clone();
    let first = lab.engine_on(store, "first");
    tokio::select! {
        _ = first.run_manual(order(kind, steps_of(kind))) => panic!("{step:?} {moment:?}: never reached"),
        () = died.cancelled() => {}
    }
    first.stop(Duration::ZERO).await;
    let sent = lab.hosts.effects().len();
    lab.run(&lab.engine("second"), at(0)).await;
    (lab, sent)
}

#[tokio::test(start_paused = true)]
async fn wherever_it_died_it_is_settled_once_and_nothing_is_sent_again() {
    for (kind, step) in [
        (OperationKind::ManualStart, Step::Wake),
        (OperationKind::ManualStart, Step::Prepare),
        (OperationKind::ManualEnd, Step::Release),
        (OperationKind::ManualEnd, Step::Power),
    ] {
        for moment in Moment::ALL {
            let told = format!("{step:?} {moment:?}");
            let (lab, sent) = dies(kind, step, moment).await;
            assert_eq!(lab.hosts.effects().len(), sent, "{told}: sent again");
            let last = matches!(step, Step::Prepare | Step::Power);
            let took_effect = matches!(moment, Moment::BeforeOutcome | Moment::AfterOutcome);
            let expected = if last && took_effect {
                "done"
            } else {
                "needs_attention interrupted"
            };
            assert_eq!(lab.ending("a", kind), expected, "{told}");
            let rows = lab.history("a");
            let about = rows.iter().filter(|row| row.starts_with(step.as_str())).count();
            let after = usize::from(moment == Moment::AfterOutcome && !last);
            assert!(about <= 1, "{told}: {rows:?}");
            assert!(rows.len() <= 2 + after, "{told}: {rows:?}");
            assert_eq!(lab.store.find_claim(&host(1)).await.unwrap(), None, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_what_the_host_showed() {
    let (lab, _) = dies(OperationKind::ManualEnd, Step::Release, Moment::BeforeOutcome).await;
    let operation = lab.operation("a", OperationKind::ManualEnd).unwrap();
    let State::NeedsAttention { reason, step, .. } = operation.state else {
        panic!("{:?}", operation.state)
    };
    assert_eq!(step, Some(Step::Release));
    assert!(reason.detail.contains("release took effect"), "{reason}");
    let row = lab.store.history().pop().unwrap();
    assert_eq!((row.action.as_str(), row.status), ("release", "failed"));
    assert_eq!(row.message, Some(reason.detail));
}

#[tokio::test(start_paused = true)]
async fn several_copies_settle_it_once() {
    let lab = Lab::new();
    let store = ShakyStore::dying_at(lab.store.clone(), Step::Power, Moment::BeforeOutcome);
    let died = store.died.clone();
    let first = lab.engine_on(store, "first");
    let kind = OperationKind::ManualEnd;
    tokio::select! {
        _ = first.run_manual(order(kind, steps_of(kind))) => panic!("never reached"),
        () = died.cancelled() => {}
    }
    first.stop(Duration::ZERO).await;
    let (one, two, three) = (lab.engine("one"), lab.engine("two"), lab.engine("three"));
    tokio::join!(lab.run(&one, at(0)), lab.run(&two, at(0)), lab.run(&three, at(0)));
    assert_eq!(lab.history("a"), ["release completed", "power completed"]);
    assert_eq!(lab.hosts.looks(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_still_at_work_is_left_alone() {
    let lab = Lab::new();
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
    let (api, scheduler) = (lab.engine("api"), lab.engine("scheduler"));
    let kind = OperationKind::ManualStart;
    let (report, _) = tokio::join!(
        api.run_manual(order(kind, steps_of(kind))),
        lab.run(&scheduler, at(0))
    );
    assert!(
        !report.unwrap().success,
        "cut off at its deadline by the process that began it"
    );
    assert_eq!(lab.ending("a", kind), "needs_attention overdue");
    assert_eq!(lab.hosts.looks(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_repeated_is_not_sent_when_the_store_says_that_the_host_is_lost() {
    let lab = Lab::new();
    let store = ShakyStore::new(lab.store.clone());
    store.lose_claims();
    let power = steps_of(OperationKind::ManualEnd).split_off(1);
    let refused = lab
        .engine_on(store, "api")
        .run_manual(order(OperationKind::ManualEnd, power))
        .await;
    let fenced = matches!(
        refused,
        Err(reservation_engine::ManualError::Store(StoreError::Fenced { .. }))
    );
    assert!(fenced, "{refused:?}");
    assert!(lab.hosts.effects().is_empty());
}
