//! A program of its own that runs the reservation engine: its store, its hosts; no HTTP, no SQL, no WinRM.
//! Time is tokio's, paused, so that an afternoon passes in a moment. The ports: `docs/embedding.md`.
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Clock, HostName, LabId, ReservationId as Id};
use reservation_engine::{ReservationStatus as Status, testing::TokioClock, *};
use tokio_util::sync::CancellationToken;

type Res<T> = Result<T, StoreError>;
type Now = DateTime<Utc>;

/// Where a driver would switch real hosts: these boot in 40 s and do anything else in 2 s.
struct OwnHosts;

impl Station for OwnHosts {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let takes = Duration::from_secs(if order.action.step() == Step::Wake { 40 } else { 2 });
        tokio::time::sleep(takes).await;
        StepReport::new(StepOutcome::Done, format!("{} did it", order.host), takes)
    }
    async fn observe(&self, _: &HostName, _: Duration) -> Observation {
        Observation::answering()
    }
}

impl HostMap for OwnHosts {
    /// Lab 7 is on host `bench-7`.
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        HostName::parse(&format!("bench-{lab}")).ok()
    }
}

/// It keeps neither the tries of steps nor how long hosts take: see the defaults of [`Store`].
#[derive(Default)]
struct OwnStore(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    reservations: HashMap<Id, Reservation>,
    operations: HashMap<String, Operation>, // by the keys they were opened under
    history: Vec<HistoryRow>,
    claims: Claims,
}

impl Rows {
    fn items(&self) -> impl Iterator<Item = WorkItem> {
        self.reservations.values().map(|reservation| {
            let its = |operation: &&Operation| operation.reservation == reservation.id;
            WorkItem::new(reservation.clone(), self.operations.values().filter(its).cloned())
        })
    }
}

impl OwnStore {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Every write comes through here: only the newest holder may, and only while its lease lasts.
    fn under(&self, claim: &Claim) -> Res<MutexGuard<'_, Rows>> {
        let rows = self.rows();
        rows.claims.check(claim).map(|()| rows)
    }
}

impl Store for OwnStore {
    async fn work(&self, _: Now, horizon: Now, limit: u32) -> Res<Vec<WorkItem>> {
        Ok(WorkItem::pick(self.rows().items(), horizon, limit))
    }
    async fn find_work(&self, ids: &[Id]) -> Res<Vec<WorkItem>> {
        let asked = |item: &WorkItem| ids.contains(&item.reservation.id);
        Ok(self.rows().items().filter(asked).collect())
    }
    async fn change_status(&self, claim: &Claim, id: &Id, from: Status, to: Status, _: Now) -> Res<bool> {
        let mut rows = self.under(claim)?;
        let found = rows.reservations.get_mut(id).filter(|known| known.status == from);
        Ok(found.map(|known| known.status = to).is_some())
    }
    async fn claim_host(&self, host: &HostName, holder: &str, lease: Duration) -> Res<Option<Claim>> {
        Ok(self.rows().claims.take(host, holder, lease))
    }
    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Res<bool> {
        Ok(self.rows().claims.renew(claim, lease))
    }
    async fn open_operation(&self, claim: &Claim, new: NewOperation, now: Now) -> Res<Operation> {
        let mut rows = self.under(claim)?;
        let id = OperationId(rows.operations.len() as i64 + 1);
        let place = rows.operations.entry(new.key.clone());
        Ok(place.or_insert_with(|| new.open(id, now)).clone())
    }
    async fn save_operation(&self, claim: &Claim, new: &Operation, rows: &[HistoryRow], _: Now) -> Res<()> {
        let mut stored = self.under(claim)?;
        let known = stored.operations.values_mut().find(|known| known.id == new.id);
        if known.is_some_and(|known| std::mem::replace(known, new.clone()) != *new) {
            stored.history.extend_from_slice(rows);
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = afternoon(&[("robot", "7", 10), ("lathe", "8", 10), ("robot-2", "7", 40)]).await?;
    for row in rows.history {
        let (at, host, id) = (row.at.format("%T"), row.host, row.reservation.as_str());
        let what = format!("{at}  {host}  {id:8} {:16} {}", row.action, row.status);
        writeln!(io::stdout(), "{what}")?;
    }
    Ok(())
}

/// Runs half an hour for each of these: id, lab, minutes after noon.
async fn afternoon(bookings: &[(&str, &str, i64)]) -> Result<Rows, Box<dyn std::error::Error>> {
    let noon = DateTime::UNIX_EPOCH + TimeDelta::hours(12);
    let (store, clock) = (OwnStore::default(), Arc::new(TokioClock::at(noon)));
    for (id, lab, minutes) in bookings {
        let reservation = Reservation {
            id: Id::parse(id)?,
            lab: LabId::new(lab),
            status: Status::Confirmed,
            starts_at: noon + TimeDelta::minutes(*minutes),
            ends_at: noon + TimeDelta::minutes(minutes + 30),
        };
        store
            .rows()
            .reservations
            .insert(reservation.id.clone(), reservation);
    }
    let engine = Engine::new(
        store,
        OwnHosts,
        clock.clone(),
        Settings::default(),
        "embedded",
        Some(1),
    );
    while clock.now() < noon + TimeDelta::hours(2) {
        let report = engine.pass(&OwnHosts, &CancellationToken::new()).await?;
        engine.rest(&report, Duration::from_secs(30)).await;
    }
    engine.stop(Duration::from_secs(25)).await;
    Ok(std::mem::take(&mut *engine.store().rows()))
}
