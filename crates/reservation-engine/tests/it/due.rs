//! Due instants are exact, however many come at once, and cost few calls to the store.

use std::time::Duration;

use reservation_engine::ReservationStatus;

use crate::support::{Lab, ShakyStore, at, host};

/// When each wake was sent, in seconds after nine; it takes 20 s.
fn sent(lab: &Lab) -> Vec<f64> {
    let effects = lab.hosts.effects();
    let wakes = effects.iter().filter(|effect| effect.what == "wake");
    wakes
        .map(|effect| (effect.at - at(0)).as_seconds_f64() - 20.0)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn five_hundred_starts_that_are_due_at_one_instant_are_sent_within_a_second() {
    let lab = Lab::new();
    for number in 1..=500 {
        lab.reserve(&format!("r{number}"), number, 0, 60);
    }
    // What waits for anything but its own calls to the store would take 500 times as long.
    let store = ShakyStore::new(lab.store.clone());
    store.set_latency(Duration::from_millis(5));
    lab.run(&lab.engine_on(store, "only"), at(0)).await;
    let sent = sent(&lab);
    assert_eq!(sent.len(), 500);
    let latest = sent.iter().copied().fold(f64::MIN, f64::max);
    assert!(sent.iter().all(|second| *second >= -120.0));
    assert!(latest <= -119.9, "{latest}");
    for number in 1..=500 {
        assert_eq!(lab.status(&format!("r{number}")), ReservationStatus::Active);
    }
}

#[tokio::test(start_paused = true)]
async fn what_became_due_in_an_outage_is_begun_in_the_order_of_the_starts() {
    let mut lab = Lab::new();
    lab.settings.max_batch = 3;
    for number in 1..=20 {
        lab.reserve(&format!("r{number}"), number, i64::from(20 - number), 60);
    }
    lab.sleep_until(at(20)).await;
    let engine = lab.engine("only");
    let report = engine
        .pass(
            &crate::support::Numbered,
            &tokio_util::sync::CancellationToken::new(),
        )
        .await
        .unwrap();
    let expected: Vec<_> = (1..=20).rev().map(host).collect();
    assert_eq!(report.started, expected);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_costs_few_calls_to_the_store() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    lab.run(&lab.engine_on(store.clone(), "only"), at(70)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    let mut calls = store.calls();
    // What a pass and a lease cost goes by the time, not by the reservation.
    for idle in [
        "work",
        "maintenance",
        "abandoned_manual",
        "orphaned",
        "host_timings",
        "renew_claim",
    ] {
        calls.remove(idle);
    }
    let all: usize = calls.values().sum();
    assert!(all <= 26, "{all} calls: {calls:?}");
    assert!(calls["find_work"] <= 8, "{calls:?}");
    assert_eq!(calls["record_timing"], 1, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_with_nothing_due_reads_once() {
    let lab = Lab::new();
    lab.reserve("a", 1, 20, 60);
    let store = ShakyStore::new(lab.store.clone());
    lab.run(&lab.engine_on(store.clone(), "only"), at(9)).await;
    let calls = store.calls();
    assert!(calls["work"] >= 38, "{calls:?}");
    let others: usize = calls
        .iter()
        .filter(|(call, _)| **call != "work")
        .map(|(_, times)| times)
        .sum();
    // The timings of the host when it came into view, and callers' operations.
    assert_eq!(calls["host_timings"], 1, "{calls:?}");
    assert_eq!(calls["orphaned"], 2, "{calls:?}");
    let idle = calls["abandoned_manual"] + calls["maintenance"] + calls["orphaned"];
    assert_eq!(others, 1 + idle, "{calls:?}");
    assert_eq!(calls["maintenance"], calls["work"], "{calls:?}");
    assert!(calls["abandoned_manual"] <= calls["work"], "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn labs_without_a_host_are_read_once_however_many_they_are() {
    let lab = Lab::new();
    for number in 1..=300 {
        lab.reserve(&format!("r{number}"), 900 + number, 0, 60);
    }
    let store = ShakyStore::new(lab.store.clone());
    lab.run(&lab.engine_on(store.clone(), "only"), at(-1)).await;
    let calls = store.calls();
    assert_eq!(lab.store.operations().len(), 300);
    assert_eq!(lab.store.history().len(), 300, "each is said to have no host");
    assert!(calls["find_work"] <= 2, "{calls:?}");
    assert!(calls["claim_host"] <= 2, "{calls:?}");
}
