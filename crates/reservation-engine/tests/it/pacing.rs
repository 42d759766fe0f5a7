//! Sites whose power or network cannot take a whole class at once.

use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reservation_engine::{OperationKind, ReservationStatus, Store, WaitCode};
use tokio_util::sync::CancellationToken;

use crate::support::{Lab, Numbered, ShakyStore, at, host, id};

fn paced(per_minute: u32) -> Lab {
    let mut lab = Lab::new();
    lab.settings.wake_rate_per_minute = NonZeroU32::new(per_minute);
    lab
}

/// The hosts in the order in which they were woken, and when.
fn wakes(lab: &Lab) -> Vec<(String, DateTime<Utc>)> {
    let effects = lab.hosts.effects().into_iter();
    effects
        .filter(|effect| effect.what == "wake")
        .map(|effect| (effect.host.to_string(), effect.at - TimeDelta::seconds(20)))
        .collect()
}

fn most_in_a_minute(wakes: &[(String, DateTime<Utc>)]) -> usize {
    let within = |from: DateTime<Utc>| {
        let window = wakes
            .iter()
            .filter(|(_, at)| *at >= from && *at < from + TimeDelta::minutes(1));
        window.count()
    };
    wakes.iter().map(|(_, at)| within(*at)).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_class_is_woken_at_the_configured_rate_and_whoever_starts_first_comes_first() {
    let lab = paced(30);
    // All are due when the engine comes; the higher its number, the sooner a host is needed.
    for number in 1..=60 {
        lab.reserve(&format!("r{number}"), number, 60 - i64::from(number), 120);
    }
    lab.sleep_until(at(60)).await;
    lab.run(&lab.engine("only"), at(65)).await;
    let wakes = wakes(&lab);
    assert_eq!(wakes.len(), 60);
    assert!(most_in_a_minute(&wakes) <= 30);
    let order: Vec<_> = wakes.iter().map(|(host, _)| host.clone()).collect();
    let expected: Vec<_> = (1..=60).rev().map(|number| host(number).to_string()).collect();
    assert_eq!(order, expected);
    let took = wakes.last().unwrap().1 - wakes[0].1;
    assert!(took <= TimeDelta::seconds(119), "{took}");
    for number in 1..=60 {
        assert_eq!(lab.status(&format!("r{number}")), ReservationStatus::Active);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_starts_first_comes_first_though_its_claim_is_granted_last() {
    let lab = paced(1);
    for number in 1..=4 {
        lab.reserve(&format!("r{number}"), number, i64::from(number), 120);
    }
    lab.sleep_until(at(1)).await;
    let store = ShakyStore::new(lab.store.clone());
    store.slow_down_claims_of(host(1), Duration::from_millis(200));
    lab.run(&lab.engine_on(store, "only"), at(10)).await;
    let order: Vec<_> = wakes(&lab).into_iter().map(|(host, _)| host).collect();
    let expected: Vec<_> = (1..=4).map(|number| host(number).to_string()).collect();
    assert_eq!(order, expected);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_somebody_else_has_does_not_hold_up_the_queue() {
    let lab = paced(60);
    lab.reserve("held", 1, 0, 120);
    lab.reserve("free", 2, 1, 120);
    let lease = Duration::from_mins(30);
    let held = lab.store.claim_host(&host(1), "caller", lease).await.unwrap();
    lab.run(&lab.engine("only"), at(2)).await;
    assert!(held.is_some());
    assert_eq!(lab.status("free"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn schedulers_that_know_of_each_other_share_the_rate() {
    let lab = paced(12);
    for number in 1..=24 {
        lab.reserve(&format!("r{number}"), number, 0, 60);
    }
    let (one, two) = (lab.engine("one"), lab.engine("two"));
    one.set_live_peers(2);
    two.set_live_peers(2);
    tokio::join!(lab.run(&one, at(5)), lab.run(&two, at(5)));
    let wakes = wakes(&lab);
    assert_eq!(wakes.len(), 24);
    assert!(most_in_a_minute(&wakes) <= 12);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_was_cancelled_or_is_over_when_its_turn_comes_wakes_nothing() {
    let lab = paced(1);
    lab.reserve("first", 1, 0, 60);
    lab.reserve("cancelled", 2, 0, 60);
    lab.reserve("short", 3, 0, 1);
    lab.reserve("last", 4, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(30)).await;
    lab.cancel("cancelled");
    lab.run(&engine, at(10)).await;
    let woken: Vec<_> = wakes(&lab).into_iter().map(|(host, _)| host).collect();
    assert!(!woken.contains(&host(2).to_string()), "{woken:?}");
    assert_eq!(lab.status("first"), ReservationStatus::Active);
    assert_eq!(lab.status("last"), ReservationStatus::Active);
    assert!(most_in_a_minute(&wakes(&lab)) <= 1);
    assert_eq!(lab.ending("cancelled", OperationKind::Start), "none");
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_waits_its_turn_says_so_and_leaves_its_host_to_others() {
    let lab = paced(1);
    lab.reserve("first", 1, 0, 60);
    lab.reserve("second", 2, 1, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-1) + TimeDelta::seconds(-1)).await;
    // The turn of the second one has not come when it is due.
    lab.reserve("third", 3, 1, 60);
    lab.run(&engine, at(-1) + TimeDelta::seconds(20)).await;
    let report = engine.pass(&Numbered, &CancellationToken::new()).await.unwrap();
    let waiting = report
        .waits
        .iter()
        .find(|(reservation, _)| *reservation == id("third"));
    let (_, wait) = waiting.unwrap();
    assert_eq!(wait.code, WaitCode::Paced, "{wait}");
    assert!(report.started.is_empty());
    assert_eq!(lab.store.find_claim(&host(3)).await.unwrap(), None);
    lab.run(&engine, at(3)).await;
    assert_eq!(lab.status("third"), ReservationStatus::Active);
    let wakes = wakes(&lab);
    assert_eq!((wakes.len(), most_in_a_minute(&wakes)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_wakes_whose_turn_has_not_come() {
    let lab = paced(1);
    for number in 1..=10 {
        lab.reserve(&format!("r{number}"), number, 0, 60);
    }
    let engine = lab.engine("only");
    lab.run(&engine, at(-1)).await;
    assert!(engine.stop(std::time::Duration::from_secs(30)).await);
    assert!(wakes(&lab).len() <= 3);
}
