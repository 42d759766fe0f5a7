//! What the API lists: the newest of the history, and reservations.

use chrono::{DateTime, Utc};
use lab_model::{LabId, ReservationId};
use reservation_engine::{ReservationStatus, StoreError};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select, Statement,
};
use store_support::{Backend, Database, DbErr};

use crate::entity::{history, reservation};
use crate::fault::Fault;
use crate::queries::{OperationRow, ReservationRow};
use crate::store::ReservationStore;

/// Which rows of the history are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// On this host only, by the name in the rows.
    pub host: Option<String>,
    /// For this reservation only.
    pub reservation: Option<ReservationId>,
}

/// Which reservations are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservationFilter {
    /// For one of these labs only; an empty list finds nothing.
    pub labs: Option<Vec<LabId>>,
    /// In one of these states only.
    pub statuses: Vec<ReservationStatus>,
    /// That end after this instant.
    pub from: Option<DateTime<Utc>>,
    /// That start before this instant.
    pub to: Option<DateTime<Utc>>,
}

/// Some reservations, the newest row first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationsPage {
    /// The reservations.
    pub rows: Vec<ReservationRow>,
    /// Where the next page goes on; `None` when this was the last.
    pub next: Option<i64>,
}

impl ReservationStore {
    /// Gives a page of the history of all reservations, by time and then by id, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recent_operations(
        &self,
        filter: &HistoryFilter,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<OperationRow>, StoreError> {
        // SQLite counts offsets in 63 bits; nobody has as many rows.
        let offset = Ord::min(offset, i64::MAX.unsigned_abs());
        let read = history::Entity::find().from_raw_sql(recent(&self.db, filter, limit, offset));
        let rows = self.db.bounded(read.all(self.db.connection())).await;
        let mut rows = rows.map_err(|error| Fault::during("read the newest history")(error.into()))?;
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
        Ok(rows.into_iter().map(OperationRow::from).collect())
    }

    /// Counts rows of the history whose id is above `above`, up to `upto` where that is given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_operations(
        &self,
        filter: &HistoryFilter,
        above: i64,
        upto: Option<i64>,
    ) -> Result<u64, StoreError> {
        let call = async {
            let counting = counting(&self.db, filter, above, upto);
            let row = self.db.connection().query_one_raw(counting).await?;
            let rows: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
            Ok(u64::try_from(rows).unwrap_or(0))
        };
        let counted = self.db.bounded(call).await;
        counted.map_err(|error| Fault::during("count the history")(error.into()))
    }

    /// The greatest id of the history; 0 without any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_operation(&self) -> Result<i64, StoreError> {
        let call = async {
            let row = self.db.connection().query_one_raw(newest_id(&self.db)).await?;
            let top: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
            Ok(top.unwrap_or(0))
        };
        let newest = self.db.bounded(call).await;
        newest.map_err(|error| Fault::during("find the newest of the history")(error.into()))
    }

    /// Gives reservations whose row id is below `after`, greatest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reservations_page(
        &self,
        filter: &ReservationFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<ReservationsPage, StoreError> {
        if filter.labs.as_ref().is_some_and(Vec::is_empty) {
            return Ok(ReservationsPage {
                rows: Vec::new(),
                next: None,
            });
        }
        let reading = async {
            let spellings = match &filter.labs {
                Some(labs) => Some(self.spellings(labs).await?),
                None => None,
            };
            // One more than asked for says whether anything follows.
            let listed = listed(filter, spellings, after, limit.saturating_add(1));
            listed.all(self.db.connection()).await
        };
        let rows = self.db.bounded(reading).await;
        let rows = rows.map_err(|error| Fault::during("list reservations")(error.into()))?;
        let more = rows.len() > limit as usize;
        let shown = &rows[..rows.len().min(limit as usize)];
        Ok(ReservationsPage {
            next: shown.last().map(|row| row.id).filter(|_| more),
            rows: shown.iter().cloned().map(ReservationRow::from).collect(),
        })
    }

    /// The spellings of labs in the table: they are compared without blanks around them, whatever the case, and no
    /// index does that.
    async fn spellings(&self, labs: &[LabId]) -> Result<Vec<String>, DbErr> {
        let read = self.db.connection().query_all_raw(stored_labs(&self.db));
        let mut spellings = Vec::new();
        for row in read.await? {
            let stored: Option<String> = row.try_get_by_index(0)?;
            spellings.extend(stored.filter(|stored| labs.contains(&LabId::new(stored))));
        }
        Ok(spellings)
    }
}

/// The ids of a page come from one of the indexes that end in (time, id) alone, so that what is passed over is never
/// read; left to itself the optimizer would rather sort the whole table. In no order.
pub(crate) fn recent(db: &Database, filter: &HistoryFilter, limit: u32, offset: u64) -> Statement {
    let (conditions, mut values) = conditions(filter);
    values.push(limit.into());
    values.push(i64::try_from(offset).unwrap_or(i64::MAX).into());
    let sql = format!(
        "SELECT h.* FROM (SELECT id FROM reservation_operations WHERE {conditions} \
         ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?) a JOIN reservation_operations h ON h.id = a.id"
    );
    db.statement(&sql, values)
}

fn conditions(filter: &HistoryFilter) -> (String, Vec<sea_orm::Value>) {
    let mut sql = "1 = 1".to_owned();
    let mut values = Vec::new();
    if let Some(reservation) = &filter.reservation {
        sql.push_str(" AND reservation_id = ?");
        values.push(reservation.as_str().into());
    }
    if let Some(host) = &filter.host {
        sql.push_str(" AND host = ?");
        values.push(host.as_str().into());
    }
    (sql, values)
}

pub(crate) fn counting(db: &Database, filter: &HistoryFilter, above: i64, upto: Option<i64>) -> Statement {
    let (mut conditions, mut values) = conditions(filter);
    conditions.push_str(" AND id > ?");
    values.push(above.into());
    if let Some(upto) = upto {
        conditions.push_str(" AND id <= ?");
        values.push(upto.into());
    }
    let sql = format!("SELECT COUNT(*) FROM reservation_operations WHERE {conditions}");
    db.statement(&sql, values)
}

/// The greatest id of the history.
pub(crate) fn newest_id(db: &Database) -> Statement {
    db.statement("SELECT MAX(id) FROM reservation_operations", [])
}

/// Each lab of the table once, by stepping over its index instead of reading it.
pub(crate) fn stored_labs(db: &Database) -> Statement {
    let sql = match db.backend() {
        Backend::MySql => "SELECT DISTINCT lab_id FROM lab_reservations",
        Backend::Sqlite => {
            "WITH RECURSIVE labs (lab) AS (SELECT MIN(lab_id) FROM lab_reservations UNION ALL \
             SELECT (SELECT MIN(lab_id) FROM lab_reservations WHERE lab_id > lab) FROM labs WHERE lab IS NOT NULL) \
             SELECT lab FROM labs WHERE lab IS NOT NULL"
        }
    };
    db.statement(sql, [])
}

pub(crate) fn listed(
    filter: &ReservationFilter,
    labs: Option<Vec<String>>,
    after: Option<i64>,
    limit: u32,
) -> Select<reservation::Entity> {
    use reservation::Column;
    let mut select = reservation::Entity::find();
    if let Some(labs) = labs {
        select = select.filter(Column::LabId.is_in(labs));
    }
    if !filter.statuses.is_empty() {
        let words = filter.statuses.iter().map(|status| status.as_str());
        select = select.filter(Column::Status.is_in(words));
    }
    if let Some(from) = filter.from {
        select = select.filter(Column::EndTime.gt(crate::columns::whole_seconds(from)));
    }
    if let Some(to) = filter.to {
        select = select.filter(Column::StartTime.lt(crate::columns::whole_seconds(to)));
    }
    if let Some(after) = after {
        select = select.filter(Column::Id.lt(after));
    }
    select.order_by_desc(Column::Id).limit(u64::from(limit))
}
