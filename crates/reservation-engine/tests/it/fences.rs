//! Claims: who may act, who has to stop, and who goes on.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::testing::MemoryStore;
use reservation_engine::{
    AttemptEnd, AttemptId, AttemptOutcome, NewOperation, Operation, OperationKind, ReservationStatus, State,
    Step, Store, StoreError, TimingSample, WaitCode,
};
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

use crate::support::{Lab, Numbered, Script, ShakyStore, at, counted, host, id};

const LEASE: Duration = Duration::from_secs(15);

fn end_of(operation: &Operation) -> AttemptEnd<'_> {
    AttemptEnd {
        operation,
        attempt: AttemptId(1),
        outcome: AttemptOutcome::Done,
        reason: None,
        history: &[],
        now: at(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_has_one_winner_until_it_ends_and_its_token_grows() {
    let store = MemoryStore::default();
    let first = store.claim_host(&host(1), "one", LEASE).await.unwrap().unwrap();
    assert_eq!(store.claim_host(&host(1), "one", LEASE).await.unwrap(), None);
    assert_eq!(store.claim_host(&host(1), "two", LEASE).await.unwrap(), None);
    assert_eq!(store.find_claim(&host(1)).await.unwrap().unwrap().left, LEASE);
    advance(LEASE).await;
    let second = store.claim_host(&host(1), "two", LEASE).await.unwrap().unwrap();
    assert!(second.token > first.token);
    assert!(!store.renew_claim(&first, LEASE).await.unwrap());
    store.give_back(&first).await.unwrap();
    assert!(
        store.find_claim(&host(1)).await.unwrap().is_some(),
        "a lost claim gives nothing back"
    );
}

#[tokio::test(start_paused = true)]
async fn every_write_under_an_older_token_is_refused() {
    let store = MemoryStore::default();
    let old = store.claim_host(&host(1), "one", LEASE).await.unwrap().unwrap();
    let new = || NewOperation {
        key: "start:a".to_owned(),
        kind: OperationKind::Start,
        reservation: id("a"),
        lab: None,
        host: host(1),
        state: State::first(Step::Wake),
        due_at: at(0),
    };
    let operation = store.open_operation(&old, new(), at(0)).await.unwrap();
    assert_eq!(
        store.open_operation(&old, new(), at(1)).await.unwrap(),
        operation,
        "the key is unique"
    );
    advance(LEASE).await;
    for newer in [false, true] {
        if newer {
            store.claim_host(&host(1), "two", LEASE).await.unwrap().unwrap();
        }
        let refused = [
            store.open_operation(&old, new(), at(0)).await.map(drop),
            store
                .begin_attempt(&old, &operation, Step::Wake, 1, at(0))
                .await
                .map(drop),
            store.save_operation(&old, &operation, &[], at(0)).await,
            store.finish_attempt(&old, end_of(&operation)).await,
            store
                .change_status(
                    &old,
                    &id("a"),
                    ReservationStatus::Confirmed,
                    ReservationStatus::Active,
                    at(0),
                )
                .await
                .map(drop),
            store
                .record_timing(
                    &old,
                    &[TimingSample::Prepare(LEASE)],
                    Duration::from_secs(120),
                    at(0),
                )
                .await,
        ];
        for result in refused {
            assert!(matches!(result, Err(StoreError::Fenced { .. })), "{result:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_does_not_know_it_lost_its_claim_is_refused_and_stops() {
    let lab = Lab::new();
    lab.hosts.allow_overlap();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    store.lie_about_renewals();
    let (zombie, second) = (lab.engine_on(store, "zombie"), lab.engine("second"));
    // The wake takes 20 s, longer than the lease that is never renewed.
    tokio::join!(lab.run(&zombie, at(-1)), async {
        lab.sleep_until(at(-2) + TimeDelta::seconds(2)).await;
        lab.run(&second, at(90)).await
    });
    let attempts = lab.store.attempts();
    assert_eq!(attempts[0].step, Step::Wake);
    assert_eq!(attempts[0].outcome, None, "the outcome of the zombie was refused");
    assert!(
        attempts[1..]
            .iter()
            .all(|attempt| attempt.token > attempts[0].token)
    );
    let effects = counted(lab.hosts.done_to(&host(1)));
    assert_eq!((effects["wake"], effects["prepare"]), (2, 1));
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_less_than_the_lease_disturbs_nothing() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    let engine = lab.engine_on(store.clone(), "only");
    // Away from shortly before the wake is over until shortly after.
    tokio::join!(lab.run(&engine, at(0)), async {
        lab.sleep_until(at(-2) + TimeDelta::seconds(16)).await;
        store.set_down(true);
        lab.sleep_until(at(-2) + TimeDelta::seconds(24)).await;
        store.set_down(false);
    });
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_cannot_renew_stops_before_its_lease_ends_and_another_copy_goes_on() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Prepare, &[Script::Hang]);
    let store = ShakyStore::new(lab.store.clone());
    let (cut_off, second) = (lab.engine_on(store.clone(), "cut-off"), lab.engine("second"));
    let cut_at = at(-2) + TimeDelta::seconds(30);
    lab.run(&cut_off, cut_at).await;
    assert_eq!(lab.hosts.at_once(), 1);
    store.set_down(true);
    lab.run(&cut_off, cut_at + TimeDelta::seconds(15)).await;
    assert_eq!(
        lab.hosts.at_once(),
        0,
        "the step was dropped before the lease was over"
    );
    lab.run(&second, cut_at + TimeDelta::seconds(20)).await;
    assert_eq!(lab.hosts.looks(), 1, "taken over within 20 s");
    lab.run(&second, at(0)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "wake", "prepare"]);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_step_end_and_hands_the_host_over() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let first = lab.engine("first");
    lab.run(&first, at(-2) + TimeDelta::seconds(5)).await;
    assert!(first.stop(Duration::from_secs(30)).await);
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake"]);
    assert_eq!(lab.store.find_claim(&host(1)).await.unwrap(), None);
    let report = first.pass(&Numbered, &CancellationToken::new()).await.unwrap();
    assert!(report.started.is_empty(), "a stopped engine starts nothing");
    lab.run(&lab.engine("second"), at(0)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_drops_what_does_not_end_within_the_grace() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
    let first = lab.engine("first");
    lab.run(&first, at(-2) + TimeDelta::seconds(5)).await;
    assert!(!first.stop(Duration::from_secs(3)).await);
    assert_eq!(lab.hosts.at_once(), 0);
    assert_eq!(first.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_somebody_else_has_claimed_is_a_wait_and_asked_for_again_soon() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let other = lab
        .store
        .claim_host(&host(1), "somebody-else", Duration::from_mins(20))
        .await
        .unwrap()
        .unwrap();
    let engine = lab.engine("only");
    let report = lab.run(&engine, at(-1)).await;
    let (_, wait) = &report.waits[0];
    assert_eq!(wait.code, WaitCode::HostBusy);
    assert!(wait.detail.contains("somebody-else"), "{wait}");
    assert!(wait.until.unwrap() <= at(-1) + TimeDelta::seconds(3));
    assert!(lab.hosts.effects().is_empty());
    lab.store.give_back(&other).await.unwrap();
    lab.run(&engine, at(0)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_never_answered_is_asked_again_in_time() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    store.hang_next_renewal();
    lab.run(&lab.engine_on(store, "only"), at(0)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    let attempts = lab.store.attempts();
    assert!(
        attempts.iter().all(|attempt| attempt.token.0 == 1),
        "{attempts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_is_written_once() {
    let quiet = Lab::new();
    quiet.reserve("a", 1, 0, 60);
    quiet.run(&quiet.engine("only"), at(90)).await;
    for call in [
        "open_operation",
        "begin_attempt",
        "finish_attempt",
        "save_operation",
    ] {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        // A lost answer from the host makes the flow look, and save what it saw without a try.
        if call == "save_operation" {
            lab.hosts.script(&host(1), Step::Prepare, &[Script::LostAfter]);
        }
        let store = ShakyStore::new(lab.store.clone());
        store.lose_answer_of(call);
        lab.run(&lab.engine_on(store.clone(), "only"), at(90)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{call}");
        assert_eq!(
            lab.hosts.done_to(&host(1)),
            quiet.hosts.done_to(&host(1)),
            "{call}"
        );
        assert_eq!(lab.store.attempts().len(), quiet.store.attempts().len(), "{call}");
        let more = usize::from(call == "save_operation");
        assert_eq!(lab.history("a").len(), quiet.history("a").len() + more, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_found_again_and_costs_no_lease() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    store.lose_answer_of("claim_host");
    lab.run(&lab.engine_on(store.clone(), "only"), at(0)).await;
    let first = lab.hosts.effects().remove(0);
    // The wake takes twenty seconds.
    let late = (first.at - at(-2)).num_milliseconds() - 20_000;
    assert!(late < 500, "{late} ms");
    assert_eq!(store.calls()["find_own_claim"], 1);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_give_a_host_that_somebody_else_has() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.sleep_until(at(-2)).await;
    let other = lab
        .store
        .claim_host(&host(1), "somebody", Duration::from_secs(30))
        .await;
    assert!(other.unwrap().is_some());
    let store = ShakyStore::new(lab.store.clone());
    store.lose_answer_of("claim_host");
    let engine = lab.engine_on(store.clone(), "only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(29)).await;
    assert_eq!(lab.hosts.most_at_once(), 0);
    assert_eq!(store.calls()["find_own_claim"], 1);
    lab.run(&engine, at(0)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}
