//! What a scheduler costs that has nothing to do: the loop of reservations and its place in the registry.

use std::time::Duration;

use anyhow::Result;
use chrono::TimeDelta;
use lab_model::{Clock as _, SystemClock};
use reservation_engine::{Engine, Reservation, Settings};
use reservation_store::ReservationStore;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker_registry::{Capabilities, Duty, Member, Progress, Registration, SHARDS};

use crate::drive::drive;
use crate::place::{Place, book, fresh, reservation};
use crate::station::{Hosts, Log, TokioClock, until};

/// So soon is the first reservation of each host: in view of each pass, but not due.
const FIRST: TimeDelta = TimeDelta::minutes(40);
/// The first pass and the registration are over by then.
const WARM_UP: Duration = Duration::from_secs(5);
const HOUR: f64 = 3600.0;

/// Statements and CPU seconds in an hour, from what was counted while it was watched.
pub(crate) async fn hour(
    place: Place,
    hosts: usize,
    reservations: usize,
    watch: Duration,
) -> Result<Option<String>> {
    fresh(place, move |db| async move {
        let clock = TokioClock::shared(SystemClock.now());
        book(&db, &future(hosts, reservations, clock.now())?).await?;
        let station = Hosts {
            by: "only",
            clock: clock.clone(),
            boot: Duration::ZERO,
            prepare: Duration::ZERO,
            log: Log::default(),
        };
        let who = Registration::new("scheduler", "only", Capabilities::new([Duty::Reservations]), "1");
        let (member, shards) = Member::new(who, worker_registry::Settings::default(), Progress::default());
        let (drain, leave, stop) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let membership = tokio::spawn(member.run(db.clone(), Box::new(|| 0), drain, leave.clone()));
        let all = usize::from(SHARDS);
        until("all shards", || shards.shards(Duty::Reservations).len() == all).await?;
        let store = ReservationStore::new(db.clone());
        let engine = Engine::new(store, station, clock.clone(), Settings::default(), "only", None);
        let driver = tokio::spawn(drive(engine.clone(), clock, Some(shards), stop.clone()));
        sleep(WARM_UP).await;

        let (asked, used, began) = (db.traffic(), cpu_secs(), Instant::now());
        sleep(watch).await;
        let (asked, used) = (db.traffic().since(asked), cpu_secs() - used);
        let hours = began.elapsed().as_secs_f64() / HOUR;

        stop.cancel();
        driver.await?;
        engine.stop(Duration::from_secs(5)).await;
        leave.cancel();
        membership.await?;
        let (statements, transactions) = (asked.statements as f64 / hours, asked.transactions as f64 / hours);
        Ok(format!(
            "{statements:.0} ({transactions:.0}); {:.1}",
            used / hours
        ))
    })
    .await
}

/// The same number for each host, a day apart.
fn future(hosts: usize, reservations: usize, now: chrono::DateTime<chrono::Utc>) -> Result<Vec<Reservation>> {
    let one = |index: usize| {
        let day = TimeDelta::days(i64::try_from(index / hosts)?);
        reservation(index % hosts + 1, now + FIRST + day)
    };
    (0..reservations).map(one).collect()
}

/// User and system time of all threads of this process.
pub(crate) fn cpu_secs() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
