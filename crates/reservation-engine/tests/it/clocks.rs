//! Clocks that are set while reservations run, and clocks that differ. Leases do not go by them.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{ReservationStatus, Step, Store};

use crate::support::{Lab, Script, ShakyStore, at, counted, host};

const DAY: TimeDelta = TimeDelta::days(1);
const FIVE: TimeDelta = TimeDelta::minutes(5);

/// When the clock is set, in seconds after nine: before anything is due, in the wake, in the prepare, right after it,
/// while the student works, in the release.
const MOMENTS: [i64; 6] = [-400, -110, -98, -60, 1_800, 3_661];

/// Runs a reservation on a machine whose clock is set at a moment.
async fn stepped(second: i64, by: TimeDelta) -> Lab {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(0) + TimeDelta::seconds(second)).await;
    lab.wall.step(by);
    lab.run(&engine, at(180) + by.abs()).await;
    lab
}

fn effects(lab: &Lab) -> (usize, usize, usize) {
    let done = lab.hosts.done_to(&host(1));
    let words = done.iter().map(|what| what.split(' ').next().unwrap());
    let counts = counted(words);
    let of = |word: &str| counts.get(word).copied().unwrap_or(0);
    (of("wake"), of("prepare"), of("release"))
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_nothing_happen_twice_and_loses_nothing() {
    for by in [-FIVE, -DAY] {
        for second in MOMENTS {
            let lab = stepped(second, by).await;
            let told = format!("{by} at {second}");
            let (wakes, prepares, releases) = effects(&lab);
            assert_eq!((prepares, releases), (1, 1), "{told}: {:?}", lab.hosts.effects());
            assert!(wakes <= 2, "{told}");
            assert_eq!(lab.status("a"), ReservationStatus::Completed, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_prepares_nobody_who_is_over_and_leaves_nothing_prepared() {
    for by in [FIVE, DAY] {
        for second in MOMENTS {
            let lab = stepped(second, by).await;
            let told = format!("{by} at {second}");
            let (wakes, prepares, releases) = effects(&lab);
            assert!(prepares <= 1 && wakes <= 2, "{told}: {:?}", lab.hosts.effects());
            assert_eq!(prepares, releases, "{told}: {:?}", lab.hosts.effects());
            if by == FIVE || second >= -60 {
                assert_eq!(lab.status("a"), ReservationStatus::Completed, "{told}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_machines_whose_clocks_are_minutes_apart_do_each_thing_once() {
    for by in [FIVE, -FIVE] {
        let lab = Lab::new();
        for number in 1..=5 {
            lab.reserve(&format!("r{number}"), number, 0, 60);
        }
        let wrong = lab.clock.another();
        wrong.step(by);
        let right = lab.engine("right");
        let other = lab.engine_by(&wrong, ShakyStore::new(lab.store.clone()), "wrong");
        tokio::join!(lab.run(&right, at(120)), lab.run_by(&wrong, &other, at(120)));
        for number in 1..=5 {
            let done = lab.hosts.done_to(&host(number));
            assert_eq!(done, ["wake", "prepare", "release --reboot"], "{by}");
            assert_eq!(lab.status(&format!("r{number}")), ReservationStatus::Completed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_does_not_go_by_the_wall_clock() {
    for by in [-FIVE, FIVE, DAY, -DAY] {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
        let store = ShakyStore::new(lab.store.clone());
        let engine = lab.engine_on(store.clone(), "only");
        let cut_at = at(-2) + TimeDelta::seconds(10);
        lab.run(&engine, cut_at).await;
        assert_eq!(lab.hosts.at_once(), 1, "waking");
        store.set_down(true);
        lab.wall.step(by);
        // It was last renewed between 0 and 5 s ago, and nobody acts in the last 3 s of its 15.
        lab.run(&engine, cut_at + TimeDelta::seconds(6)).await;
        assert_eq!(lab.hosts.at_once(), 1, "{by}: the lease lasts");
        lab.run(&engine, cut_at + TimeDelta::seconds(13)).await;
        assert_eq!(
            lab.hosts.at_once(),
            0,
            "{by}: it is dropped before the lease ends"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_make_the_moment_long_for_which_a_busy_host_is_left_alone() {
    let lab = Lab::new();
    lab.reserve("a", 1, 20, 120);
    lab.wall.step(TimeDelta::minutes(20));
    let long = Duration::from_hours(1);
    let other = lab
        .store
        .claim_host(&host(1), "somebody-else", long)
        .await
        .unwrap()
        .unwrap();
    let engine = lab.engine("only");
    // By its wrong clock the reservation began ten minutes ago, and the host is busy.
    lab.run(&engine, at(10)).await;
    lab.wall.step(-TimeDelta::minutes(20));
    lab.store.give_back(&other).await.unwrap();
    lab.run(&engine, at(20)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}
