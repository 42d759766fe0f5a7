//! What a view of all hosts shows of the reservations, the claims and the leads: one statement each, however many
//! hosts there are.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use lab_model::LabId;
use reservation_engine::{ClaimInfo, StoreError};
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use store_support::{Database, DbErr};

use crate::columns::whole_seconds;
use crate::fault::Fault;
use crate::store::ReservationStore;

/// How far back a reservation may have begun that is still shown as current, and how far ahead the next one is looked
/// for: both keep the statement on the few rows of the index that matter.
const REACH: TimeDelta = TimeDelta::days(7);

/// More rows than any fleet has.
const MAX_ROWS: u32 = 100_000;

/// A reservation that runs now or comes next in its lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetReservation {
    /// `transaction_hash`.
    pub reservation_id: String,
    /// Its lab.
    pub lab: LabId,
    /// `status`, as stored.
    pub status: String,
    /// `start_time`.
    pub start: DateTime<Utc>,
    /// `end_time`.
    pub end: DateTime<Utc>,
    /// The host, in lower case, that its start was last begun on, if one was.
    pub host: Option<String>,
}

impl ReservationStore {
    /// Gives for each lab the reservations that run at `now` (begun within seven days) and those that begin next
    /// (within seven days), at most `per_lab` of each kind, confirmed or active, earliest first. One statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fleet_reservations(
        &self,
        now: DateTime<Utc>,
        per_lab: u32,
    ) -> Result<Vec<FleetReservation>, StoreError> {
        let read = async {
            let statement = reservations(&self.db, whole_seconds(now), per_lab);
            let rows = self.db.connection().query_all_raw(statement).await?;
            rows.iter().map(reservation).collect()
        };
        let found: Result<Vec<_>, DbErr> = self.db.bounded(read).await;
        found.map_err(|error| Fault::during("read the reservations of all labs")(error.into()))
    }

    /// Gives who holds which host at this moment, by the host's name in lower case. One statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fleet_claims(&self) -> Result<HashMap<String, ClaimInfo>, StoreError> {
        let now = self.db.backend().now_ms();
        // `;` is the character after `:`.
        let sql = format!(
            "SELECT name, holder, lease_until - {now} FROM ops_leases WHERE name >= 'host:' AND name < 'host;' \
             AND holder IS NOT NULL AND lease_until > {now} LIMIT {MAX_ROWS}"
        );
        let found: Result<HashMap<_, _>, DbErr> = self.all(&sql, [], claim).await;
        found.map_err(|error| Fault::during("read all claims")(error.into()))
    }

    /// Gives the lead that was last worked out for each host, by its name in lower case. One statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fleet_leads(&self) -> Result<HashMap<String, Duration>, StoreError> {
        let sql = format!("SELECT host, lead_ms FROM ops_host_timings LIMIT {MAX_ROWS}");
        let found: Result<HashMap<_, _>, DbErr> = self.all(&sql, [], lead).await;
        found.map_err(|error| Fault::during("read all leads")(error.into()))
    }

    /// Gives when each host was last taken down by us, at or after `since`, by the host's name in lower case. One
    /// statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn taken_down(
        &self,
        since: DateTime<Utc>,
    ) -> Result<HashMap<String, DateTime<Utc>>, StoreError> {
        let read = async {
            let statement = powered_off(&self.db, whole_seconds(since));
            let rows = self.db.connection().query_all_raw(statement).await?;
            rows.iter().map(took_down).collect()
        };
        let found: Result<HashMap<_, _>, DbErr> = self.db.bounded(read).await;
        found.map_err(|error| Fault::during("read which hosts were taken down")(error.into()))
    }

    async fn all<T, C: FromIterator<T>, const N: usize>(
        &self,
        sql: &str,
        values: [Value; N],
        read: fn(&QueryResult) -> Result<T, DbErr>,
    ) -> Result<C, DbErr> {
        let statement = self.db.statement(sql, values);
        let rows = self
            .db
            .bounded(self.db.connection().query_all_raw(statement))
            .await?;
        rows.iter().map(read).collect()
    }
}

/// By the power steps of that time, which are few, and not by all that was done in it.
pub(crate) fn powered_off(db: &Database, since: NaiveDateTime) -> sea_orm::Statement {
    let sql = format!(
        "SELECT o.host, MAX(a.outcome_at) FROM ops_attempts a JOIN ops_operations o ON o.id = a.operation_id \
         WHERE a.step = 'power' AND a.outcome_at >= ? AND a.outcome = 'done' AND o.state = 'done' \
         GROUP BY o.host LIMIT {MAX_ROWS}"
    );
    db.statement(&sql, [Value::from(since)])
}

/// Both kinds are ranked within their lab; the host of a start is looked up for what is left only.
pub(crate) fn reservations(db: &Database, now: NaiveDateTime, per_lab: u32) -> sea_orm::Statement {
    let from = now.checked_sub_signed(REACH).unwrap_or(now);
    let to = now.checked_add_signed(REACH).unwrap_or(now);
    let sql = "SELECT t.transaction_hash, t.lab_id, t.status, t.start_time, t.end_time, \
               (SELECT o.host FROM ops_operations o WHERE o.reservation_id = t.transaction_hash AND o.kind = 'start' \
               ORDER BY o.id DESC LIMIT 1) AS host FROM \
               (SELECT r.id, r.transaction_hash, r.lab_id, r.status, r.start_time, r.end_time, \
               ROW_NUMBER() OVER (PARTITION BY r.lab_id, CASE WHEN r.start_time <= ? THEN 0 ELSE 1 END \
               ORDER BY r.start_time, r.id) AS place FROM lab_reservations r \
               WHERE r.status IN ('CONFIRMED', 'ACTIVE') AND r.start_time >= ? AND r.start_time < ? \
               AND r.end_time > ? AND r.transaction_hash IS NOT NULL AND r.lab_id IS NOT NULL) t \
               WHERE t.place <= ? ORDER BY t.start_time, t.id";
    let values = [now, from, to, now].map(Value::from);
    db.statement(sql, values.into_iter().chain([Value::from(i64::from(per_lab))]))
}

fn reservation(row: &QueryResult) -> Result<FleetReservation, DbErr> {
    let lab: String = row.try_get("", "lab_id")?;
    let host: Option<String> = row.try_get("", "host")?;
    Ok(FleetReservation {
        reservation_id: row.try_get("", "transaction_hash")?,
        lab: LabId::new(&lab),
        status: row.try_get("", "status")?,
        start: row.try_get("", "start_time")?,
        end: row.try_get("", "end_time")?,
        host: host.map(|host| host.to_lowercase()),
    })
}

fn claim(row: &QueryResult) -> Result<(String, ClaimInfo), DbErr> {
    let name: String = row.try_get_by_index(0)?;
    let left: i64 = row.try_get_by_index(2)?;
    let host = name.strip_prefix("host:").unwrap_or(&name).to_owned();
    let info = ClaimInfo {
        holder: row.try_get_by_index(1)?,
        left: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
    };
    Ok((host, info))
}

fn lead(row: &QueryResult) -> Result<(String, Duration), DbErr> {
    let lead: i64 = row.try_get_by_index(1)?;
    let lead = Duration::from_millis(u64::try_from(lead).unwrap_or(0));
    Ok((row.try_get_by_index(0)?, lead))
}

fn took_down(row: &QueryResult) -> Result<(String, DateTime<Utc>), DbErr> {
    let host: String = row.try_get_by_index(0)?;
    let at: NaiveDateTime = row.try_get_by_index(1)?;
    Ok((host.to_lowercase(), at.and_utc()))
}
