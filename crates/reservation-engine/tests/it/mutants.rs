//! The planted faults do what they say. That tests of whole days find them is for those tests to show.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::testing::MemoryStore;
use reservation_engine::{AttemptOutcome, Mutant, NewOperation, OperationKind, State, Step, Store};
use tokio::time::advance;

use crate::support::{Lab, Script, ShakyStore, at, host, id};

fn lab_with(mutant: Mutant) -> Lab {
    let mut lab = Lab::new();
    lab.settings.mutant = Some(mutant);
    lab
}

#[tokio::test(start_paused = true)]
async fn without_the_token_check_a_lost_claim_still_writes() {
    let store = MemoryStore::with_mutant(Mutant::SkipTokenCheck);
    let lease = Duration::from_secs(15);
    let old = store.claim_host(&host(1), "one", lease).await.unwrap().unwrap();
    advance(lease).await;
    store.claim_host(&host(1), "two", lease).await.unwrap().unwrap();
    let new = NewOperation {
        key: "start:a".to_owned(),
        kind: OperationKind::Start,
        reservation: id("a"),
        lab: None,
        host: host(1),
        state: State::first(Step::Wake),
        due_at: at(0),
    };
    assert!(store.open_operation(&old, new, at(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_before_the_effect_hides_that_the_step_failed() {
    let lab = lab_with(Mutant::OutcomeBeforeEffect);
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Prepare, &[Script::Fail("broken")]);
    lab.run(&lab.engine("only"), at(-1)).await;
    let attempts = lab.store.attempts();
    let prepare = attempts.iter().find(|attempt| attempt.step == Step::Prepare);
    assert_eq!(prepare.unwrap().outcome, Some(AttemptOutcome::Done), "it failed");
}

#[tokio::test(start_paused = true)]
async fn a_lease_by_the_wall_clock_outlives_the_one_in_the_store() {
    let lab = lab_with(Mutant::WallClockLease);
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
    let store = ShakyStore::new(lab.store.clone());
    let engine = lab.engine_on(store.clone(), "only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(10)).await;
    store.set_down(true);
    lab.wall.step(TimeDelta::minutes(-5));
    lab.run(&engine, at(-2) + TimeDelta::seconds(40)).await;
    assert_eq!(lab.hosts.at_once(), 1, "it still acts");
    assert_eq!(lab.store.find_claim(&host(1)).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn without_the_end_check_a_host_is_woken_for_nobody() {
    let lab = lab_with(Mutant::ForgetEndCheck);
    lab.reserve("a", 1, -9, -5);
    lab.sleep_until(at(0)).await;
    lab.run(&lab.engine("only"), at(5)).await;
    assert!(lab.hosts.done_to(&host(1)).contains(&"wake".to_owned()));
}
