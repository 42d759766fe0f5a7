//! The table `ops_notices`: what is to be told, to whom, and how far that got. All times are milliseconds of the
//! database's clock, read in the statement that uses them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{LabId, ReservationId};
use reservation_engine::HistoryRow;
use sea_orm::{ConnectionTrait, ExecResult, QueryResult, Value};
use store_support::{Database, DbErr, retried, transaction};
use tokio::sync::Notify;

use crate::delivery::Receipt;
use crate::error::{Fault, OutboxError};
use crate::gone::{GONE, GONE_MS};
use crate::notice::Notice;
use crate::settings::Webhook;

/// A notice that could not be delivered in this time is dead.
pub const UNDELIVERED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The widest error that is stored, in characters.
const MAX_ERROR: usize = 255;
/// The target of notices that nobody is sent.
const NOBODY: &str = "";

/// The outbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub(crate) db: Database,
    /// Which process tells.
    pub(crate) source: Arc<str>,
    /// One row is made for each.
    pub(crate) targets: Arc<[String]>,
    /// Something was put in by this process.
    pub(crate) changed: Arc<Notify>,
}

/// How far a delivery got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredState {
    /// It is tried until it is delivered or dead.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It is not tried any more.
    Dead,
    /// There was nobody to be told.
    Kept,
}

impl StoredState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Kept];

    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Kept => "kept",
        }
    }

    fn parse(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == word);
        // A word of a newer release: whatever it means, it is not ours to deliver.
        found.unwrap_or(Self::Kept)
    }
}

/// One delivery as it stands, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Grows with each delivery.
    pub id: i64,
    /// The notice's own id, the same for each receiver.
    pub notice_id: String,
    /// What happened.
    pub kind: String,
    /// On which host.
    pub host: Option<String>,
    /// For which reservation.
    pub reservation: Option<String>,
    /// The document that is sent.
    pub body: serde_json::Value,
    /// To whom, by [`Webhook`]'s own name for it; empty when there was nobody.
    pub target: String,
    /// How far it got.
    pub state: StoredState,
    /// How often it was tried.
    pub tries: u32,
    /// When it was put in, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// In what time it is tried next, while it is pending.
    pub next_try_in: Option<Duration>,
    /// The receiver's last status.
    pub last_status: Option<u16>,
    /// What stopped the last try.
    pub last_error: Option<String>,
}

/// How much is waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Deliveries to be made.
    pub pending: u64,
    /// Deliveries given up, as long as they are kept.
    pub dead: u64,
    /// How long the oldest pending one waits.
    pub oldest: Duration,
}

/// A delivery that is ours to try, until its lease ends.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) id: i64,
    pub(crate) fence: i64,
    pub(crate) target: String,
    pub(crate) notice_id: String,
    pub(crate) kind: String,
    pub(crate) host: Option<String>,
    pub(crate) reservation: Option<ReservationId>,
    pub(crate) lab: Option<LabId>,
    pub(crate) body: String,
    /// This one included.
    pub(crate) tries: u32,
    pub(crate) age: Duration,
}

impl Outbox {
    /// Works on a database that was migrated. `source` names the process in what is sent.
    #[must_use]
    pub fn new(db: Database, source: &str, webhooks: &[Webhook]) -> Self {
        let mut targets: Vec<String> = webhooks.iter().map(|hook| hook.target().to_owned()).collect();
        if targets.is_empty() {
            targets.push(NOBODY.to_owned());
        }
        Self {
            db,
            source: source.into(),
            targets: targets.into(),
            changed: Arc::new(Notify::new()),
        }
    }

    /// Puts a notice in, once for each receiver, by one statement. The same notice again changes nothing.
    ///
    /// # Errors
    /// [`OutboxError`]; whether it is in is unknown then, and it may be put in again.
    pub async fn put(&self, notice: &Notice) -> Result<(), OutboxError> {
        let put = retried(|| {
            insert(
                &self.db,
                self.db.connection(),
                notice,
                &self.source,
                &self.targets,
            )
        });
        let put = self.db.bounded(async { Ok(put.await) }).await;
        put.map_err(Fault::from)
            .and_then(|put| put)
            .map_err(OutboxError::during("keep a notice"))?;
        self.changed.notify_waiters();
        Ok(())
    }

    /// Deliveries below `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`OutboxError`] when they cannot be read.
    pub async fn page(
        &self,
        before: Option<i64>,
        state: Option<StoredState>,
        limit: u32,
    ) -> Result<Vec<Stored>, OutboxError> {
        let now = self.db.backend().now_ms();
        let chosen = if state.is_some() { "AND state = ?" } else { "" };
        let sql = format!(
            "SELECT id, notice_id, kind, host, reservation_id, body, target, state, tries, created_at, \
             next_try_at - {now} AS due_in, last_status, last_error FROM ops_notices \
             WHERE id < ? {chosen} ORDER BY id DESC LIMIT ?"
        );
        let mut values: Vec<Value> = vec![before.unwrap_or(i64::MAX).into()];
        values.extend(state.map(|state| Value::from(state.as_str())));
        values.push(i64::from(limit).into());
        let read = self.query(&sql, values).await;
        let read = read.and_then(|rows| Ok(rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?));
        read.map_err(OutboxError::during("read the notices"))
    }

    /// How much is waiting.
    ///
    /// # Errors
    /// [`OutboxError`] when it cannot be read.
    pub async fn depth(&self) -> Result<Depth, OutboxError> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "SELECT state, COUNT(*), {now} - MIN(created_at) FROM ops_notices \
             WHERE state IN ('pending', 'dead') GROUP BY state"
        );
        let read = self.query(&sql, Vec::new()).await;
        let read = read.and_then(|rows| {
            let mut depth = Depth::default();
            for row in rows {
                let (state, count): (String, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                let count = u64::try_from(count).unwrap_or(0);
                if state == StoredState::Pending.as_str() {
                    depth.pending = count;
                    depth.oldest = duration(row.try_get_by_index(2)?);
                } else {
                    depth.dead = count;
                }
            }
            Ok(depth)
        });
        read.map_err(OutboxError::during("count the notices"))
    }

    /// Forgets what is old, or too much: settled deliveries older than `retention`, and all beyond the newest
    /// `max_rows`. What nobody could be told in 24 hours is dead. Gives how many rows were forgotten.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn prune(&self, retention: Duration, max_rows: u32) -> Result<u64, OutboxError> {
        let pruned = self.prune_all(retention, max_rows).await;
        pruned.map_err(OutboxError::during("forget old notices"))
    }

    async fn prune_all(&self, retention: Duration, max_rows: u32) -> Result<u64, Fault> {
        let now = self.db.backend().now_ms();
        let expire = format!(
            "UPDATE ops_notices SET state = 'dead', settled_at = {now}, lease_until = 0, \
             last_error = COALESCE(last_error, 'not delivered within 24 hours') \
             WHERE state = 'pending' AND created_at <= {now} - ? AND lease_until <= {now}"
        );
        self.execute(&expire, vec![millis(UNDELIVERED_AFTER)]).await?;
        let old = format!("DELETE FROM ops_notices WHERE state <> 'pending' AND created_at <= {now} - ?");
        let old = self.execute(&old, vec![millis(retention)]).await?.rows_affected();
        // A host that is silent for as long is told of once more.
        let silences = format!("DELETE FROM ops_silences WHERE told_at <= {now} - ?");
        self.execute(&silences, vec![millis(retention)]).await?;
        let gone = format!("DELETE FROM ops_gone_receivers WHERE gone_at <= {now} - {GONE_MS}");
        self.execute(&gone, Vec::new()).await?;
        let surplus = "SELECT id FROM ops_notices ORDER BY id DESC LIMIT 1 OFFSET ?";
        let Some(row) = self.query(surplus, vec![i64::from(max_rows).into()]).await?.pop() else {
            return Ok(old);
        };
        let newest: i64 = row.try_get_by_index(0)?;
        let surplus = self
            .execute("DELETE FROM ops_notices WHERE id <= ?", vec![newest.into()])
            .await?;
        Ok(old + surplus.rows_affected())
    }

    /// Takes up to `limit` deliveries to `target` that are due, each by one conditional update.
    pub(crate) async fn take(
        &self,
        target: &str,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<Taken>, OutboxError> {
        self.take_due(target, limit, lease)
            .await
            .map_err(OutboxError::during("take notices"))
    }

    async fn take_due(&self, target: &str, limit: usize, lease: Duration) -> Result<Vec<Taken>, Fault> {
        let now = self.db.backend().now_ms();
        let due = format!(
            "SELECT id, fence, notice_id, kind, host, reservation_id, lab_id, body, tries, {now} - created_at \
             FROM ops_notices WHERE state = 'pending' AND next_try_at <= {now} AND target = ? \
             AND lease_until <= {now} ORDER BY next_try_at, id LIMIT ?"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let take = format!(
            "UPDATE ops_notices SET fence = fence + 1, tries = tries + 1, lease_until = {now} + ? \
             WHERE id = ? AND fence = ? AND state = 'pending' AND lease_until <= {now}"
        );
        let mut won = Vec::new();
        for row in self.query(&due, vec![target.into(), limit.into()]).await? {
            let taken = taken(&row, target)?;
            let values = vec![millis(lease), taken.id.into(), (taken.fence - 1).into()];
            if self.execute(&take, values).await?.rows_affected() == 1 {
                won.push(taken);
            }
        }
        Ok(won)
    }

    /// Until the next delivery to `target` is due; `None` when nothing waits.
    pub(crate) async fn next_due(&self, target: &str) -> Result<Option<Duration>, OutboxError> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "SELECT MIN(CASE WHEN lease_until > next_try_at THEN lease_until ELSE next_try_at END) - {now} \
             FROM ops_notices WHERE state = 'pending' AND target = ?"
        );
        let read = self.query(&sql, vec![target.into()]).await;
        let read = read.and_then(|rows| {
            let due_in = rows.first().map(|row| row.try_get_by_index::<Option<i64>>(0));
            Ok(due_in.transpose()?.flatten().map(duration))
        });
        read.map_err(OutboxError::during("see when notices are due"))
    }

    /// Records how a try ended, under the token with which it was taken; with `wait` it is tried again, without it is
    /// over. Says whether it still was ours.
    pub(crate) async fn settle(
        &self,
        taken: &Taken,
        receipt: &Receipt,
        wait: Option<Duration>,
        row: Option<HistoryRow>,
    ) -> Result<bool, OutboxError> {
        let now = self.db.backend().now_ms();
        let (state, error) = match (receipt, wait) {
            (Receipt::Delivered { .. }, _) => (StoredState::Delivered, None),
            (Receipt::Gone { .. }, _) => (StoredState::Dead, Some(GONE.to_owned())),
            (Receipt::Later { error, .. }, None) => (StoredState::Dead, Some(error.clone())),
            (Receipt::Later { error, .. }, Some(_)) => (StoredState::Pending, Some(error.clone())),
        };
        let settled = if state == StoredState::Pending {
            "NULL"
        } else {
            now
        };
        let sql = format!(
            "UPDATE ops_notices SET state = ?, last_status = ?, last_error = ?, lease_until = 0, \
             next_try_at = {now} + ?, settled_at = {settled} WHERE id = ? AND fence = ? AND state = 'pending'"
        );
        let error = error.map(|error| error.chars().take(MAX_ERROR).collect::<String>());
        let values: [Value; 6] = [
            state.as_str().into(),
            receipt.status().map(i32::from).into(),
            error.into(),
            millis(wait.unwrap_or_default()),
            taken.id.into(),
            taken.fence.into(),
        ];
        let is_gone = matches!(receipt, Receipt::Gone { .. });
        let (sql, values, row) = (&sql, &values, &row);
        let settled = transaction(&self.db, |tx| {
            Box::pin(async move {
                let done = tx.execute_raw(self.db.statement(sql, values.clone())).await?;
                let ours = done.rows_affected() == 1;
                if let Some(row) = row.as_ref().filter(|_| ours) {
                    reservation_store::add_history(&**tx, std::slice::from_ref(row)).await?;
                }
                if is_gone {
                    self.bury(tx, &taken.target).await?;
                }
                Ok::<_, Fault>(ours)
            })
        });
        settled.await.map_err(OutboxError::during("record a delivery"))
    }

    pub(crate) async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, Fault> {
        let read = self.db.connection().query_all_raw(self.db.statement(sql, values));
        Ok(self.db.bounded(read).await?)
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<ExecResult, Fault> {
        let execute = retried(|| {
            let statement = self.db.statement(sql, values.clone());
            async { self.db.connection().execute_raw(statement).await }
        });
        Ok(self.db.bounded(execute).await?)
    }
}

/// One statement, whatever the number of receivers.
pub(crate) async fn insert(
    db: &Database,
    connection: &impl ConnectionTrait,
    notice: &Notice,
    source: &str,
    targets: &[String],
) -> Result<(), Fault> {
    let now = db.backend().now_ms();
    // What a receiver is not to get is kept all the same, and says why.
    let gone =
        format!("EXISTS (SELECT 1 FROM ops_gone_receivers WHERE target = ? AND gone_at > {now} - {GONE_MS})");
    let row = format!(
        "(?, ?, ?, ?, ?, ?, ?, CASE WHEN {gone} THEN 'dead' ELSE ? END, CASE WHEN {gone} THEN '{GONE}' ELSE NULL END, \
         0, 0, 0, {now}, {now})"
    );
    let rows = vec![row; targets.len()];
    let sql = format!(
        "{} INTO ops_notices (notice_id, kind, host, reservation_id, lab_id, body, target, state, last_error, tries, \
         fence, lease_until, next_try_at, created_at) VALUES {}",
        db.backend().insert_if_absent(),
        rows.join(", ")
    );
    let body = notice.document(source).to_string();
    let mut values: Vec<Value> = Vec::new();
    for target in targets {
        let state = if target == NOBODY {
            StoredState::Kept
        } else {
            StoredState::Pending
        };
        values.extend([
            notice.id.to_string().into(),
            notice.kind.as_str().into(),
            notice.host.as_ref().map(|host| host.key().to_owned()).into(),
            notice
                .reservation
                .as_ref()
                .map(|id| id.as_str().to_owned())
                .into(),
            notice
                .lab
                .as_ref()
                .map(|lab| lab.as_str().chars().take(128).collect::<String>())
                .into(),
            body.as_str().into(),
            target.as_str().into(),
            target.as_str().into(),
            state.as_str().into(),
            target.as_str().into(),
        ]);
    }
    connection.execute_raw(db.statement(&sql, values)).await?;
    Ok(())
}

fn stored(row: &QueryResult) -> Result<Stored, DbErr> {
    let state: String = row.try_get("", "state")?;
    let state = StoredState::parse(&state);
    let body: String = row.try_get("", "body")?;
    let created_at: i64 = row.try_get("", "created_at")?;
    let due_in: i64 = row.try_get("", "due_in")?;
    let last_status: Option<i32> = row.try_get("", "last_status")?;
    Ok(Stored {
        id: row.try_get("", "id")?,
        notice_id: row.try_get("", "notice_id")?,
        kind: row.try_get("", "kind")?,
        host: row.try_get("", "host")?,
        reservation: row.try_get("", "reservation_id")?,
        body: serde_json::from_str(&body).unwrap_or_default(),
        target: row.try_get("", "target")?,
        state,
        tries: tries(row.try_get("", "tries")?),
        created_at: DateTime::from_timestamp_millis(created_at).unwrap_or_default(),
        next_try_in: (state == StoredState::Pending).then(|| duration(due_in)),
        last_status: last_status.and_then(|status| u16::try_from(status).ok()),
        last_error: row.try_get("", "last_error")?,
    })
}

fn taken(row: &QueryResult, target: &str) -> Result<Taken, DbErr> {
    let fence: i64 = row.try_get_by_index(1)?;
    let reservation: Option<String> = row.try_get_by_index(5)?;
    let lab: Option<String> = row.try_get_by_index(6)?;
    Ok(Taken {
        id: row.try_get_by_index(0)?,
        fence: fence + 1,
        target: target.to_owned(),
        notice_id: row.try_get_by_index(2)?,
        kind: row.try_get_by_index(3)?,
        host: row.try_get_by_index(4)?,
        reservation: reservation.and_then(|id| ReservationId::parse(&id).ok()),
        lab: lab.map(|lab| LabId::new(&lab)),
        body: row.try_get_by_index(7)?,
        tries: tries(row.try_get_by_index(8)?).saturating_add(1),
        age: duration(row.try_get_by_index(9)?),
    })
}

fn tries(stored: i32) -> u32 {
    u32::try_from(stored).unwrap_or(0)
}

pub(crate) fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).into()
}

pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
