//! Hosts that are taken down.

use std::time::Duration;

use host_sim::{At, Fault, PowerState};
use reservation_engine::{Station, StepAction, StepOutcome};

use crate::bench::{Bench, LIMIT, awake};

fn shutdown() -> StepAction {
    StepAction::Power {
        mode: "shutdown".into(),
        args: Vec::new(),
    }
}

#[tokio::test]
async fn a_shutdown_is_done_when_the_host_is_seen_to_be_down() {
    let bench = Bench::start(awake()).await;
    let report = bench.perform(shutdown()).await;
    assert_eq!(report.outcome, StepOutcome::Done, "{report:?}");
    assert_eq!(report.details["wentDown"], true);
    assert_eq!(bench.sim().power(), PowerState::Off);
    assert_eq!(bench.commands().len(), 1);
    let seen = bench.control.observe(bench.name(), LIMIT).await;
    assert!(!seen.reachable && seen.off, "{seen:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_shutdown_that_takes_its_answer_along_is_done_all_the_same() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::CommandHangs {
        command: "power".into(),
    });
    let sim = bench.sim().clone();
    let down = tokio::spawn(async move {
        // The order arrives, nobody answers, and the machine goes.
        while sim.counts().commands == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        sim.power_off();
    });
    let report = bench.perform(shutdown()).await;
    down.await.unwrap();
    assert_eq!(report.outcome, StepOutcome::Done, "{report:?}");
    assert_eq!(
        (report.response_code, &report.details["wentDown"]),
        (None, &serde_json::json!(true))
    );
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_hangs_is_not_taken_for_one_that_is_off() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::Hang(At::Get));
    let seen = bench.control.observe(bench.name(), Duration::from_secs(4)).await;
    assert!(!seen.reachable && !seen.off, "{seen:?}");
    bench.end().await;
}

#[tokio::test]
async fn an_order_that_is_acknowledged_and_not_carried_out_is_not_done() {
    let bench = Bench::start(awake()).await;
    bench.sim().set_fault(Fault::IgnoresPowerOrders);
    let report = bench.perform_within(shutdown(), Duration::from_secs(8)).await;
    let StepOutcome::Unknown(reason) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert_eq!(
        (reason.code.as_str(), report.response_code),
        ("still_up", Some(0))
    );
    let seen = bench.control.observe(bench.name(), LIMIT).await;
    assert!(seen.reachable && seen.power_action_at.is_some(), "{seen:?}");
    bench.end().await;
}
