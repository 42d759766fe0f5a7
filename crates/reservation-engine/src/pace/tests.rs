use chrono::{TimeDelta, TimeZone};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap() + TimeDelta::seconds(second)
}

fn pacer(per_minute: u32) -> Arc<Pacer> {
    Arc::new(Pacer::new(NonZeroU32::new(per_minute)))
}

fn place(pacer: &Arc<Pacer>, deadline: i64) -> Place {
    pacer.place(at(deadline)).unwrap()
}

/// Lets `count` wakes queue at once, and gives when each was admitted.
async fn admissions(pacer: &Arc<Pacer>, count: usize) -> Vec<Instant> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let pacer = Arc::clone(pacer);
            tokio::spawn(async move {
                if let Some(place) = pacer.place(at(0)) {
                    place.turn(|_| {}).await.used();
                }
                Instant::now()
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.unwrap());
    }
    times.sort_unstable();
    times
}

fn most_in_a_minute(times: &[Instant]) -> usize {
    let within = |from: &Instant| {
        times
            .iter()
            .filter(|at| **at >= *from && **at < *from + MINUTE)
            .count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_nobody_waits() {
    let times = admissions(&Arc::new(Pacer::new(None)), 500).await;
    assert_eq!(times.first(), times.last());
}

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_admissions_than_the_rate_and_hardly_fewer() {
    for rate in [1, 7, 59, 60, 61, 119, 150, 200, 600, 1_000] {
        let count = rate as usize * 3 + 5;
        let times = admissions(&pacer(rate), count).await;
        assert_eq!(times.len(), count);
        let most = most_in_a_minute(&times);
        assert!(most <= rate as usize, "{rate}: {most}");
        let took = *times.last().unwrap() - *times.first().unwrap();
        assert!(took <= MINUTE * 7 / 2 + MINUTE * 5 / rate, "{rate}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_one_seconds_worth() {
    let times = admissions(&pacer(600), 100).await;
    let at_once = times.iter().filter(|at| **at == times[0]).count();
    assert_eq!(at_once, 10);
}

#[tokio::test(start_paused = true)]
async fn schedulers_share_the_rate() {
    let (one, two) = (pacer(30), pacer(30));
    one.set_peers(2);
    two.set_peers(2);
    let (first, second) = tokio::join!(admissions(&one, 40), admissions(&two, 40));
    let mut all = [first, second].concat();
    all.sort_unstable();
    assert!(most_in_a_minute(&all) <= 30);
    let rare = Rate::share(NonZeroU32::new(2).unwrap(), 5);
    assert_eq!((rare.burst, rare.window), (1, Duration::from_secs(150)));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_admitted_by_deadline() {
    let pacer = pacer(60);
    let order = Arc::new(Mutex::new(Vec::new()));
    place(&pacer, 0).turn(|_| {}).await.used();
    let mut rng = StdRng::seed_from_u64(11);
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let deadline = rng.random_range(0..1_000);
        let (pacer, order) = (Arc::clone(&pacer), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            place(&pacer, deadline).turn(|_| {}).await.used();
            order.lock().unwrap().push(deadline);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_makes_room_and_an_unused_turn_is_given_back() {
    let pacer = pacer(1);
    let unused = place(&pacer, 0).turn(|_| {}).await;
    let gives_up = timeout(Duration::from_secs(1), place(&pacer, -1).turn(|_| {})).await;
    assert!(gives_up.is_err());
    let started_at = Instant::now();
    drop(unused);
    place(&pacer, 5).turn(|_| panic!("waited")).await.used();
    assert_eq!(Instant::now(), started_at);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_number_of_schedulers_counts_at_once() {
    let pacer = pacer(2);
    pacer.set_peers(20);
    place(&pacer, 0).turn(|_| {}).await.used();
    let started_at = Instant::now();
    let waiting = place(&pacer, 1).turn(|_| {});
    let (ticket, ()) = tokio::join!(waiting, async {
        sleep(Duration::from_secs(40)).await;
        pacer.set_peers(1);
    });
    ticket.used();
    assert!(started_at.elapsed() < Duration::from_secs(41));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_taken_holds_back_whoever_needs_a_host_later_until_it_is_left() {
    let pacer = pacer(60);
    let (late, soon) = (place(&pacer, 9), place(&pacer, 5));
    assert!(
        late.try_turn().is_none(),
        "the one that is needed sooner has not come yet"
    );
    let waiting = tokio::spawn(late.turn(|_| {}));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(soon);
    let started_at = Instant::now();
    waiting.await.unwrap().used();
    assert_eq!(Instant::now(), started_at);
}
