//! The rows of `ops_calls`, from the first to the last word about each.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait as _, FromQueryResult as _, QueryResult, Value};
use store_support::{DbErr, DbFault, classify, retried};

use crate::answer::bounded;
use crate::call::{CallEnd, CallId, CallKind, CallRecord, CallState, NewCall, Opened, StoredAnswer};
use crate::columns::{cut, microseconds};
use crate::entity::call::Model;
use crate::error::JournalError;
use crate::journal::CallJournal;

/// How long a key stands for its call.
const KEY_LASTS: TimeDelta = TimeDelta::hours(24);
/// A key may pass from one call to the next while we look; this often we look again.
const MAX_LOOKS: u32 = 5;
/// By what a call is found.
pub(crate) const BY_ID: &str = "id = ?";
pub(crate) const BY_KEY: &str = "caller = ? AND idempotency_key = ?";
/// How many calls one statement names.
const CHUNK: usize = 200;

impl CallJournal {
    /// Writes a call down, unless its caller asked for it before under the same key within 24 hours. Of any number of
    /// callers with one key exactly one gets [`Opened::New`].
    ///
    /// # Errors
    /// [`JournalError`]; the row may be there all the same when the database became unavailable. It then counts as
    /// interrupted once `lease` is over, and as never begun unless [`NewCall::begun`] was set.
    pub async fn open(&self, call: &NewCall, lease: Duration) -> Result<Opened, JournalError> {
        self.try_open(call, lease)
            .await
            .map_err(JournalError::during("write a call down"))
    }

    async fn try_open(&self, call: &NewCall, lease: Duration) -> Result<Opened, DbErr> {
        let mut looks = 0;
        loop {
            looks += 1;
            let taken = match self.insert(call, None, lease).await {
                Ok(()) => return Ok(Opened::New),
                Err(error) if classify(&error) == DbFault::Unique && looks < MAX_LOOKS => error,
                Err(error) => return Err(error),
            };
            // An insert whose answer was lost and that was run again meets itself.
            if self.read(call.id).await?.is_some() {
                return Ok(Opened::New);
            }
            let Some(key) = &call.key else { return Err(taken) };
            let Some(known) = self.read_by_key(&call.caller, key.as_str()).await? else {
                continue;
            };
            if call.at - known.created_at >= KEY_LASTS && !known.state.is_open() {
                self.free_key(known.id).await?;
                continue;
            }
            return Ok(if self.digest(&known.id.to_string(), call) == known.digest {
                Opened::Known(Box::new(known))
            } else {
                Opened::Mismatch(known.id)
            });
        }
    }

    /// Says that the effect begins now; `false` when the call is no longer `worker`'s to begin.
    ///
    /// # Errors
    /// [`JournalError`]: the effect must not begin then.
    pub async fn begin(
        &self,
        id: CallId,
        worker: &str,
        lease: Duration,
        at: DateTime<Utc>,
    ) -> Result<bool, JournalError> {
        let sql = format!(
            "UPDATE ops_calls SET state = 'running', started_at = ?, lease_until = {} + ? \
             WHERE id = ? AND worker = ? AND state = 'queued'",
            self.now_ms()
        );
        let values = vec![
            microseconds(at).into(),
            millis(lease),
            text(id),
            cut(worker, 190).into(),
        ];
        let begun = self.execute(&sql, values).await;
        Ok(begun.map_err(JournalError::during("begin a call"))? == 1)
    }

    /// Takes over a call of which nothing was begun because whoever wrote it down is gone; `false` when there is
    /// nothing to take over. The call is queued again, and the taker's own.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn reopen(&self, id: CallId, worker: &str, lease: Duration) -> Result<bool, JournalError> {
        let now = self.now_ms();
        let sql = format!(
            "UPDATE ops_calls SET lease_until = {now} + ?, worker = ?, ended_at = NULL, answer_status = NULL, \
             answer_body = NULL, state = 'queued' WHERE id = ? AND started_at IS NULL \
             AND (state = 'interrupted' OR (state = 'queued' AND lease_until <= {now}))"
        );
        let values = vec![millis(lease), cut(worker, 190).into(), text(id)];
        let taken = self.execute(&sql, values).await;
        Ok(taken.map_err(JournalError::during("take a call over"))? == 1)
    }

    /// Writes down how a call ended, also when it was thought to be interrupted meanwhile; `false` when there is no
    /// such call of `worker`, or it had ended already.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn finish(
        &self,
        id: CallId,
        worker: &str,
        end: &CallEnd,
        at: DateTime<Utc>,
    ) -> Result<bool, JournalError> {
        let key = if end.frees_key { "NULL" } else { "idempotency_key" };
        let sql = format!(
            "UPDATE ops_calls SET state = ?, answer_status = ?, answer_body = ?, ended_at = ?, \
             idempotency_key = {key} WHERE id = ? AND worker = ? AND answer_status IS NULL \
             AND state IN ('queued', 'running', 'interrupted')"
        );
        let values = vec![
            end.state.as_str().into(),
            i32::from(end.answer.status).into(),
            bounded(&end.answer.body).into(),
            microseconds(at).into(),
            text(id),
            cut(worker, 190).into(),
        ];
        let done = self.execute(&sql, values).await;
        Ok(done.map_err(JournalError::during("end a call"))? == 1)
    }

    /// Writes down a call that is over and may never have been written down before.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn record(&self, call: &NewCall, end: &CallEnd, at: DateTime<Utc>) -> Result<(), JournalError> {
        match self.insert(call, Some((end, at)), Duration::ZERO).await {
            Err(error) if classify(&error) == DbFault::Unique => {
                self.finish(call.id, &call.worker, end, at).await.map(|_| ())
            }
            outcome => outcome.map_err(JournalError::during("write a call down")),
        }
    }

    /// Says that `worker` lives, which runs these calls. Those that were marked as interrupted meanwhile, because it
    /// could not say so in time, are running again, unless they have ended or are somebody else's by now.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn renew(&self, ids: &[CallId], worker: &str, lease: Duration) -> Result<(), JournalError> {
        for ids in ids.chunks(CHUNK) {
            let of_worker: Vec<Value> = std::iter::once(cut(worker, 190).into())
                .chain(ids.iter().map(|id| text(*id)))
                .collect();
            let lease_until = format!("lease_until = {} + ?", self.now_ms());
            let ours = format!("worker = ? AND id IN ({})", marks(ids));
            // Whoever ends a call writes an answer; a mark by others has none.
            for change in [
                format!("UPDATE ops_calls SET {lease_until} WHERE {ours} AND state IN ('queued', 'running')"),
                format!(
                    "UPDATE ops_calls SET {lease_until}, state = 'running', ended_at = NULL WHERE {ours} \
                     AND state = 'interrupted' AND started_at IS NOT NULL AND answer_status IS NULL"
                ),
            ] {
                let values = std::iter::once(millis(lease)).chain(of_worker.iter().cloned());
                let renewed = self.execute(&change, values.collect()).await;
                renewed.map_err(JournalError::during("renew the leases of calls"))?;
            }
        }
        Ok(())
    }

    /// Marks calls of our own that are cut off as interrupted.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn interrupt(&self, ids: &[CallId], at: DateTime<Utc>) -> Result<(), JournalError> {
        for ids in ids.chunks(CHUNK) {
            let sql = format!(
                "UPDATE ops_calls SET state = 'interrupted', ended_at = ? WHERE id IN ({}) \
                 AND state IN ('queued', 'running')",
                marks(ids)
            );
            let values = [microseconds(at).into()]
                .into_iter()
                .chain(ids.iter().map(|id| text(*id)));
            let marked = self.execute(&sql, values.collect()).await;
            marked.map_err(JournalError::during("mark calls as interrupted"))?;
        }
        Ok(())
    }

    /// Marks calls that were left behind as interrupted, and says how many.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn interrupt_lost(&self, at: DateTime<Utc>) -> Result<u64, JournalError> {
        self.execute(&self.interrupt_lost_sql(), vec![microseconds(at).into()])
            .await
            .map_err(JournalError::during("mark calls as interrupted"))
    }

    /// One call. When it was left behind it is marked as interrupted first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn find(&self, id: CallId, at: DateTime<Utc>) -> Result<Option<CallRecord>, JournalError> {
        self.try_find(id, at)
            .await
            .map_err(JournalError::during("read a call"))
    }

    async fn try_find(&self, id: CallId, at: DateTime<Utc>) -> Result<Option<CallRecord>, DbErr> {
        let found = self.read(id).await?;
        if !found.as_ref().is_some_and(|call| call.left_behind) {
            return Ok(found);
        }
        let sql = format!(
            "{} AND state IN ('queued', 'running') AND id = ?",
            self.interrupt_sql()
        );
        self.execute(&sql, vec![microseconds(at).into(), text(id)])
            .await?;
        self.read(id).await
    }

    pub(crate) fn interrupt_lost_sql(&self) -> String {
        format!("{} AND state IN ('queued', 'running')", self.interrupt_sql())
    }

    fn interrupt_sql(&self) -> String {
        format!(
            "UPDATE ops_calls SET state = 'interrupted', ended_at = ? WHERE lease_until <= {}",
            self.now_ms()
        )
    }

    async fn free_key(&self, id: CallId) -> Result<(), DbErr> {
        let sql = "UPDATE ops_calls SET idempotency_key = NULL WHERE id = ? \
                   AND state NOT IN ('queued', 'running')";
        self.execute(sql, vec![text(id)]).await.map(|_| ())
    }

    async fn insert(
        &self,
        call: &NewCall,
        end: Option<(&CallEnd, DateTime<Utc>)>,
        lease: Duration,
    ) -> Result<(), DbErr> {
        let (names, mut values): (Vec<_>, Vec<_>) =
            columns(call, self.digest(&call.id.to_string(), call), end)
                .into_iter()
                .unzip();
        let places = vec!["?"; names.len()].join(", ");
        let sql = format!(
            "INSERT INTO ops_calls ({}, lease_until) VALUES ({places}, {} + ?)",
            names.join(", "),
            self.now_ms()
        );
        values.push(millis(lease));
        self.execute(&sql, values).await.map(|_| ())
    }

    async fn read(&self, id: CallId) -> Result<Option<CallRecord>, DbErr> {
        self.read_where(BY_ID, vec![text(id)]).await
    }

    async fn read_by_key(&self, caller: &str, key: &str) -> Result<Option<CallRecord>, DbErr> {
        let values = vec![cut(caller, 128).into(), key.into()];
        self.read_where(BY_KEY, values).await
    }

    async fn read_where(&self, condition: &str, values: Vec<Value>) -> Result<Option<CallRecord>, DbErr> {
        let sql = self.read_sql(condition);
        let read = self
            .db
            .connection()
            .query_one_raw(self.db.statement(&sql, values));
        self.db.bounded(read).await?.as_ref().map(record).transpose()
    }

    pub(crate) fn read_sql(&self, condition: &str) -> String {
        format!(
            "SELECT ops_calls.*, lease_until - {} AS left_ms FROM ops_calls WHERE {condition}",
            self.now_ms()
        )
    }

    fn now_ms(&self) -> &'static str {
        self.db.backend().now_ms()
    }

    pub(crate) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let db = &self.db;
        let call = retried(|| async {
            let done = db
                .connection()
                .execute_raw(db.statement(sql, values.clone()))
                .await?;
            Ok(done.rows_affected())
        });
        db.bounded(call).await
    }
}

fn columns(
    call: &NewCall,
    digest: String,
    end: Option<(&CallEnd, DateTime<Utc>)>,
) -> [(&'static str, Value); 16] {
    let short = |text: &Option<String>| -> Value { text.as_deref().map(|text| cut(text, 128)).into() };
    let at = microseconds(call.at);
    let state = match (end, call.begun) {
        (Some((end, _)), _) => end.state,
        (None, true) => CallState::Running,
        (None, false) => CallState::Queued,
    };
    let key = call
        .key
        .as_ref()
        .filter(|_| !end.is_some_and(|(end, _)| end.frees_key));
    [
        ("id", text(call.id)),
        ("kind", call.kind.as_str().into()),
        ("host", short(&call.host)),
        ("reservation_id", short(&call.reservation)),
        ("lab_id", short(&call.lab)),
        ("caller", cut(&call.caller, 128).into()),
        ("request_id", short(&call.request_id)),
        ("idempotency_key", key.map(|key| key.as_str().to_owned()).into()),
        ("digest", digest.into()),
        ("state", state.as_str().into()),
        (
            "answer_status",
            end.map(|(end, _)| i32::from(end.answer.status)).into(),
        ),
        (
            "answer_body",
            end.map(|(end, _)| bounded(&end.answer.body)).into(),
        ),
        ("worker", cut(&call.worker, 190).into()),
        ("created_at", at.into()),
        ("started_at", call.begun.then_some(at).into()),
        ("ended_at", end.map(|(_, at)| microseconds(at)).into()),
    ]
}

fn record(row: &QueryResult) -> Result<CallRecord, DbErr> {
    let left_ms: i64 = row.try_get("", "left_ms")?;
    let row = Model::from_query_result(row, "")?;
    let unreadable = |column: &str| DbErr::Type(format!("{column} of call {} is unreadable", row.id));
    let state = CallState::parse(&row.state).ok_or_else(|| unreadable("state"))?;
    let status = row.answer_status.and_then(|status| u16::try_from(status).ok());
    let body = row.answer_body.as_deref().map(serde_json::from_str).transpose();
    let body = body.map_err(|_| unreadable("answer_body"))?;
    Ok(CallRecord {
        id: CallId::parse(&row.id).ok_or_else(|| unreadable("id"))?,
        kind: CallKind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
        state,
        answer: status
            .zip(body)
            .map(|(status, body)| StoredAnswer { status, body }),
        left_behind: state.is_open() && left_ms <= 0,
        created_at: row.created_at.and_utc(),
        started_at: row.started_at.map(|at| at.and_utc()),
        ended_at: row.ended_at.map(|at| at.and_utc()),
        host: row.host,
        reservation: row.reservation_id,
        lab: row.lab_id,
        caller: row.caller,
        request_id: row.request_id,
        worker: row.worker,
        digest: row.digest,
    })
}

fn text(id: CallId) -> Value {
    id.to_string().into()
}

fn marks(ids: &[CallId]) -> String {
    vec!["?"; ids.len()].join(", ")
}

fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).into()
}
