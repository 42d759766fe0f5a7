//! A program of its own that runs the reservation engine: its store, its hosts; no HTTP, no SQL, no WinRM.
//! Time is tokio's, paused, so that an afternoon passes in a moment. The ports: `docs/embedding.md`.
mod store;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Clock, HostName, LabId, ReservationId};
use reservation_engine::*;
use store::OwnStore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error>;

/// Begins at noon and goes on as tokio's time does.
#[derive(Debug)]
struct Noon(Instant);

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(12) + self.0.elapsed()
    }
}

/// Lab 7 is on host `bench-7`.
struct Benches;

impl HostMap for Benches {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        HostName::parse(&format!("bench-{lab}")).ok()
    }
}

/// Where a driver would switch real hosts: these boot in 40 s and do anything else in 2 s.
struct OwnHosts;

impl Station for OwnHosts {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let takes = Duration::from_secs(if order.action.step() == Step::Wake { 40 } else { 2 });
        sleep(takes).await;
        StepReport {
            outcome: StepOutcome::Done,
            message: format!("{} did it", order.host),
            response_code: Some(0),
            details: serde_json::Value::Null,
            duration: takes,
            observed: None,
        }
    }
    async fn observe(&self, _: &HostName, _: Duration) -> Observation {
        Observation { reachable: true, ready: Some(true), ..Observation::default() }
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Failure> {
    let store = afternoon(&[("robot", "7", 10), ("lathe", "8", 10), ("robot-2", "7", 40)]).await?;
    for row in &store.rows().history {
        let (at, host, reservation) = (row.at.format("%T"), &row.host, row.reservation.as_str());
        writeln!(io::stdout(), "{at}  {host}  {reservation:8} {:16} {}", row.action, row.status)?;
    }
    Ok(())
}

/// Runs half an hour for each of these: id, lab, minutes after noon.
async fn afternoon(bookings: &[(&str, &str, i64)]) -> Result<OwnStore, Failure> {
    let (store, clock) = (OwnStore::default(), Arc::new(Noon(Instant::now())));
    for (id, lab, minutes) in bookings {
        let starts_at = clock.now() + TimeDelta::minutes(*minutes);
        let ends_at = starts_at + TimeDelta::minutes(30);
        let (id, lab, status) = (ReservationId::parse(id)?, LabId::new(lab), ReservationStatus::Confirmed);
        let reservation = Reservation { id, lab, status, starts_at, ends_at };
        store.rows().items.push(WorkItem { reservation, start: None, end: None });
    }
    let settings = Settings::default();
    let engine = Engine::new(store.clone(), OwnHosts, clock.clone(), settings, "embedded", Some(1));
    let over = clock.now() + TimeDelta::hours(2);
    while clock.now() < over {
        let report = engine.pass(&Benches, &CancellationToken::new()).await?;
        let wait = (report.next_at.unwrap_or(over).min(over) - clock.now()).to_std().unwrap_or_default();
        tokio::select! {
            () = engine.changed() => {}
            () = sleep(wait) => {}
        }
    }
    engine.stop(Duration::from_secs(25)).await;
    Ok(store)
}
