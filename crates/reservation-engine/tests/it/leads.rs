//! A host that boots slowly is woken earlier, once that is known of it.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{ReservationStatus, Step, Store, TimingSample};

use crate::support::{Lab, Script, at, host, id};

/// When the wakes of the host were sent, in seconds before the start of the reservation in that hour.
fn sent_before_start(lab: &Lab, took: i64) -> Vec<i64> {
    let effects = lab.hosts.effects();
    let wakes = effects.iter().filter(|effect| effect.what == "wake");
    wakes
        .enumerate()
        .map(|(hour, effect)| {
            let start = at(120 * i64::try_from(hour).unwrap());
            (start - effect.at).num_seconds() + took
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn after_three_slow_boots_the_fourth_student_finds_the_host_ready() {
    let lab = Lab::new();
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::ColdBoot(160); 4]);
    for hour in 0..4 {
        lab.reserve(&format!("r{hour}"), 1, hour * 120, hour * 120 + 60);
    }
    let engine = lab.engine("only");
    lab.run(&engine, at(3 * 120)).await;
    assert_eq!(
        lab.status("r3"),
        ReservationStatus::Active,
        "ready when it starts"
    );
    let sent = sent_before_start(&lab, 160);
    assert_eq!(sent, [120, 120, 120, 160 + 3 + 30]);
    let lead = engine.leads(&[host(1), host(2)]).await.unwrap();
    assert_eq!(lead[&host(1)].effective, Duration::from_secs(193));
    assert_eq!((lead[&host(1)].cold_wakes, lead[&host(1)].prepares), (4, 4));
    assert_eq!(lead[&host(2)].effective, Duration::from_secs(120));
    let stored = lab.store.host_timings(&[host(1)]).await.unwrap();
    assert_eq!(stored[&host(1)].lead, Some(Duration::from_secs(193)));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_up_says_nothing_of_how_long_it_boots() {
    let lab = Lab::new();
    for hour in 0..4 {
        lab.reserve(&format!("r{hour}"), 1, hour * 120, hour * 120 + 60);
    }
    lab.run(&lab.engine("only"), at(8 * 60)).await;
    let stored = lab.store.host_timings(&[host(1)]).await.unwrap();
    assert_eq!(
        stored[&host(1)].cold_wakes.len(),
        1,
        "only the first wake booted it"
    );
    assert_eq!(stored[&host(1)].prepares, [Duration::from_secs(3); 4]);
}

#[tokio::test(start_paused = true)]
async fn another_copy_learns_from_what_was_stored() {
    let lab = Lab::new();
    let claim = lab
        .store
        .claim_host(&host(1), "before", Duration::from_secs(15))
        .await
        .unwrap()
        .unwrap();
    let slow = [TimingSample::ColdWake(Duration::from_secs(400)); 3];
    lab.store
        .record_timing(&claim, &slow, Duration::from_secs(430), at(-10))
        .await
        .unwrap();
    lab.store.give_back(&claim).await.unwrap();
    lab.reserve("a", 1, 0, 60);
    lab.run(&lab.engine("only"), at(1)).await;
    assert_eq!(sent_before_start(&lab, 20), [430]);
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_outlasted_its_first_try_counts_from_the_first_one() {
    let lab = Lab::new();
    // Cut off at 185 s; the second try finds it up, booted meanwhile.
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(150)).await;
    lab.hosts.boot(&host(1));
    lab.run(&engine, at(20)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    let stored = lab.store.host_timings(&[host(1)]).await.unwrap();
    let took = stored[&host(1)].cold_wakes[0].as_secs();
    assert!((185 + 48 + 20..=185 + 72 + 21).contains(&took), "{took}");
    assert_eq!(lab.store.find_reservation(&id("a")).unwrap().starts_at, at(0));
}
