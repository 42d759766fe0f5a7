//! A store of our own. What is not kept: how long hosts take, so that each gets the configured lead.
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId as Id};
use reservation_engine::{ReservationStatus as Status, *};
use tokio::time::Instant;

type Now = DateTime<Utc>;
type Res<T> = Result<T, StoreError>;

#[derive(Clone, Default)]
pub(crate) struct OwnStore(Arc<Mutex<Rows>>);

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) items: Vec<WorkItem>,
    pub(crate) history: Vec<HistoryRow>,
    attempts: Vec<(OperationId, Step, u32, FencingToken)>,
    ended: BTreeSet<i64>,
    claims: HashMap<HostName, (Claim, Instant)>,
}

impl Rows {
    /// The place of an operation; each reservation has one for its start and one for its end.
    fn operation(&mut self, of: &Id, kind: OperationKind) -> Option<&mut Option<Operation>> {
        let item = self.items.iter_mut().find(|item| item.reservation.id == *of)?;
        Some(if kind == OperationKind::Start { &mut item.start } else { &mut item.end })
    }
    fn save(&mut self, new: &Operation, history: &[HistoryRow]) {
        let Some(stored) = self.operation(&new.reservation, new.kind) else { return };
        if stored.replace(new.clone()).as_ref() != Some(new) {
            self.history.extend_from_slice(history);
        }
    }
}

impl OwnStore {
    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Every write comes through here: only the newest holder may, and only while its lease lasts.
    fn under(&self, claim: &Claim) -> Res<MutexGuard<'_, Rows>> {
        let rows = self.rows();
        let newest = rows.claims.get(&claim.host);
        let held = newest.is_some_and(|(held, until)| held == claim && Instant::now() < *until);
        if held { Ok(rows) } else { Err(StoreError::Fenced { host: claim.host.clone() }) }
    }
}

impl Store for OwnStore {
    async fn work(&self, _: Now, horizon: Now, limit: u32) -> Res<Vec<WorkItem>> {
        let is_over = |item: &WorkItem| item.end.as_ref().is_some_and(|end| end.state.is_final());
        let booked = |item: &WorkItem| item.reservation.status != Status::Pending;
        let mut items = self.rows().items.clone();
        items.retain(|item| item.reservation.starts_at < horizon && booked(item) && !is_over(item));
        items.sort_by_key(|item| item.reservation.starts_at);
        items.truncate(limit as usize);
        Ok(items)
    }
    async fn find_work(&self, ids: &[Id]) -> Res<Vec<WorkItem>> {
        let rows = self.rows();
        Ok(rows.items.iter().filter(|item| ids.contains(&item.reservation.id)).cloned().collect())
    }
    async fn change_status(&self, claim: &Claim, id: &Id, from: Status, to: Status, _: Now) -> Res<bool> {
        let mut rows = self.under(claim)?;
        let mut found = rows.items.iter_mut().map(|item| &mut item.reservation);
        let found = found.find(|known| known.id == *id && known.status == from);
        Ok(found.map(|known| known.status = to).is_some())
    }
    async fn claim_host(&self, host: &HostName, holder: &str, lease: Duration) -> Res<Option<Claim>> {
        let (mut rows, now) = (self.rows(), Instant::now());
        let former = rows.claims.get(host);
        if former.is_some_and(|(_, until)| now < *until) {
            return Ok(None);
        }
        let token = FencingToken(former.map_or(1, |(claim, _)| claim.token.0 + 1));
        let claim = Claim { host: host.clone(), holder: holder.to_owned(), token };
        rows.claims.insert(host.clone(), (claim.clone(), now + lease));
        Ok(Some(claim))
    }
    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Res<bool> {
        let Ok(mut rows) = self.under(claim) else { return Ok(false) };
        rows.claims.insert(claim.host.clone(), (claim.clone(), Instant::now() + lease));
        Ok(true)
    }
    async fn give_back(&self, claim: &Claim) -> Res<()> {
        self.renew_claim(claim, Duration::ZERO).await.map(drop)
    }
    async fn find_claim(&self, host: &HostName) -> Res<Option<ClaimInfo>> {
        let held = self.rows().claims.get(host).cloned();
        let left = held.map(|(claim, until)| (claim.holder, until.saturating_duration_since(Instant::now())));
        Ok(left.filter(|(_, left)| !left.is_zero()).map(|(holder, left)| ClaimInfo { holder, left }))
    }
    async fn open_operation(&self, claim: &Claim, new: NewOperation, now: Now) -> Res<Operation> {
        let mut rows = self.under(claim)?;
        let opened = rows.items.iter().flat_map(|item| [&item.start, &item.end]).flatten().count();
        let NewOperation { kind, reservation, lab, host, state, due_at, .. } = new;
        let (id, created_at) = (OperationId(opened as i64 + 1), now);
        let place = rows.operation(&reservation, kind);
        let prepare_began_at = None;
        let new = Operation { id, kind, reservation, lab, host, state, prepare_began_at, due_at, created_at };
        Ok(place.map_or(new.clone(), |place| place.get_or_insert(new).clone()))
    }
    async fn begin_attempt(
        &self,
        claim: &Claim,
        op: &Operation,
        step: Step,
        nth: u32,
        _: Now,
    ) -> Res<AttemptId> {
        let mut rows = self.under(claim)?;
        rows.save(op, &[]);
        let intent = (op.id, step, nth, claim.token);
        let known = rows.attempts.iter().position(|known| *known == intent);
        let index = known.unwrap_or(rows.attempts.len());
        if known.is_none() {
            rows.attempts.push(intent);
        }
        Ok(AttemptId(index as i64))
    }
    async fn finish_attempt(&self, claim: &Claim, end: AttemptEnd<'_>) -> Res<()> {
        let mut rows = self.under(claim)?;
        if rows.ended.insert(end.attempt.0) {
            rows.save(end.operation, end.history);
        }
        Ok(())
    }
    async fn save_operation(&self, claim: &Claim, op: &Operation, rows: &[HistoryRow], _: Now) -> Res<()> {
        self.under(claim).map(|mut stored| stored.save(op, rows))
    }
    async fn abandoned_manual(&self, _: u32) -> Res<Vec<Operation>> {
        Ok(Vec::new()) // Nobody calls for steps by hand in this program.
    }
    async fn host_timings(&self, _: &[HostName]) -> Res<HashMap<HostName, Timings>> {
        Ok(HashMap::new())
    }
    async fn record_timing(&self, _: &Claim, _: &[TimingSample], _: Duration, _: Now) -> Res<()> {
        Ok(())
    }
    async fn add_history(&self, row: &HistoryRow) -> Res<()> {
        self.rows().history.push(row.clone());
        Ok(())
    }
}
