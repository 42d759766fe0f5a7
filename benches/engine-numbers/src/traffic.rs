//! What a reservation asks of its database, from before its start to its completion.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{ManualClock, SharedClock};
use reservation_engine::{Engine, Settings, Step};
use reservation_store::ReservationStore;
use sea_orm::ConnectionTrait as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::drive::drive;
use crate::place::{Place, book, fresh, reservation};
use crate::station::{Hosts, Log, until};

/// The hour of all reservations; the clock stands still but where it is moved.
const STARTS_AT: &str = "2026-03-02T09:00:00Z";
/// So long nothing happens after which all is taken to be done.
const QUIET: Duration = Duration::from_millis(300);

/// Statements and transactions, each divided by the number of reservations; passes are included.
pub(crate) async fn of_reservations(place: Place, starts: usize) -> Result<Option<String>> {
    fresh(place, move |db| async move {
        let starts_at: DateTime<Utc> = STARTS_AT.parse()?;
        let all: Result<Vec<_>> = (1..=starts)
            .map(|number| reservation(number, starts_at))
            .collect();
        book(&db, &all?).await?;
        let manual = ManualClock::at(starts_at - TimeDelta::minutes(1));
        let clock: SharedClock = Arc::new(manual.clone());
        let log = Log::default();
        let hosts = Hosts {
            by: "only",
            clock: clock.clone(),
            boot: Duration::ZERO,
            prepare: Duration::ZERO,
            log: log.clone(),
        };
        let store = ReservationStore::new(db.clone());
        let engine = Engine::new(store, hosts, clock.clone(), Settings::default(), "only", None);
        let before = db.traffic();
        for (step, minutes) in [(Step::Prepare, 0), (Step::Release, 70)] {
            manual.advance(TimeDelta::minutes(minutes));
            let stop = CancellationToken::new();
            let driver = tokio::spawn(drive(engine.clone(), clock.clone(), None, stop.clone()));
            until("the steps of all reservations", || log.done(step) >= starts).await?;
            until("the end of all flows", || engine.running() == 0).await?;
            sleep(QUIET).await;
            stop.cancel();
            driver.await?;
        }
        let cost = db.traffic().since(before);
        engine.stop(Duration::from_secs(5)).await;
        let left = "SELECT COUNT(*) FROM lab_reservations WHERE status <> 'COMPLETED'";
        let left = db.connection().query_one_raw(db.statement(left, [])).await?;
        let left: Option<i64> = left.map(|row| row.try_get_by_index(0)).transpose()?;
        ensure!(left == Some(0), "{left:?} reservations were not completed");
        let each = |count: u64| count as f64 / starts as f64;
        Ok(format!(
            "{:.1} ({:.1})",
            each(cost.statements),
            each(cost.transactions)
        ))
    })
    .await
}
