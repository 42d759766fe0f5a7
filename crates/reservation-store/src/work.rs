//! Which reservations may need something.
//!
//! Two questions, each answered from an index: which reservations have a status that asks for work (see `due`), and
//! which have work that is open or a release that is owed (from the journal, whatever their status became). Neither
//! reads the history.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use lab_model::ReservationId;
use reservation_engine::{Operation, Reservation, ReservationStatus, State, WorkItem};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, EntityTrait as _, FromQueryResult as _,
    QueryFilter as _, QueryOrder as _, Statement, Value,
};
use store_support::{Database, DbErr, retried};

use crate::columns::microseconds;
use crate::due::{self, Slices};
use crate::entity::{operation, reservation};
use crate::fault::Fault;
use crate::reservations;
use crate::stored::{FINAL, OUR_VERSION, Told};

/// How many values one `IN (...)` lists.
pub(crate) const CHUNK: usize = 400;

/// The kinds of operation that the scheduler opens; callers' are not its business.
pub(crate) const SCHEDULED: [&str; 2] = ["start", "end"];

/// Reads work; keeps what one pass tells the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    slices: Slices,
    pub(crate) told: Told,
}

impl Reader {
    pub(crate) async fn read(
        &self,
        db: &Database,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, Fault> {
        let call = retried(|| self.collect(db, now, horizon, limit));
        Ok(db.bounded(call).await?)
    }

    async fn collect(
        &self,
        db: &Database,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, DbErr> {
        let connection = db.connection();
        let (at, until) = (microseconds(now), microseconds(horizon));
        let mut found = due::by_status(connection, db, &self.slices, at, until, limit.into()).await?;
        let known: BTreeSet<String> = found
            .iter()
            .filter_map(|row| row.transaction_hash.clone())
            .collect();
        let journal = by_journal(db, limit).await?;
        let others: Vec<&String> = journal.difference(&known).collect();
        for ids in others.chunks(CHUNK) {
            let by_id = reservation::Column::TransactionHash.is_in(ids.iter().copied());
            found.extend(reservation::Entity::find().filter(by_id).all(connection).await?);
        }
        forgive_owed(connection, &journal, &found, now).await?;
        let items = self.with_operations(connection, found).await?;
        Ok(earliest_first(items, limit as usize))
    }

    async fn with_operations(
        &self,
        db: &DatabaseConnection,
        rows: Vec<reservation::Model>,
    ) -> Result<Vec<WorkItem>, DbErr> {
        let found: Vec<Reservation> = rows.iter().filter_map(reservations::to_domain).collect();
        let mut operations = Vec::new();
        for part in found.chunks(CHUNK) {
            operations.extend(scheduled_of(db, part).await?);
        }
        Ok(self.items(found, operations))
    }

    /// Reads reservations with their operations in one statement for each 400 of them.
    pub(crate) async fn find(&self, db: &Database, ids: &[ReservationId]) -> Result<Vec<WorkItem>, Fault> {
        let connection = db.connection();
        let mut items = Vec::with_capacity(ids.len());
        for ids in ids.chunks(CHUNK) {
            let call = retried(|| {
                let read = joined(db, ids);
                async { connection.query_all_raw(read).await }
            });
            let rows = db.bounded(call).await?;
            let mut found: Vec<Reservation> = Vec::new();
            let mut operations = Vec::new();
            for row in rows {
                let reservation = reservation::Model::from_query_result(&row, "r_")?;
                operations.extend(operation::Model::from_query_result_optional(&row, "o_")?);
                let reservation = reservations::to_domain(&reservation);
                found.extend(reservation.filter(|new| found.iter().all(|known| known.id != new.id)));
            }
            items.extend(self.items(found, operations));
        }
        Ok(items)
    }

    /// A reservation with an operation that cannot be understood is left out: nothing may be done for it. One of a newer
    /// release is given as what it is, for it has its host.
    fn items(&self, found: Vec<Reservation>, rows: Vec<operation::Model>) -> Vec<WorkItem> {
        let mut operations: HashMap<String, Vec<operation::Model>> = HashMap::new();
        for row in rows {
            operations
                .entry(row.reservation_id.clone())
                .or_default()
                .push(row);
        }
        let with_its_own = |reservation: Reservation| {
            let mut rows = operations.remove(reservation.id.as_str()).unwrap_or_default();
            rows.sort_by_key(|row| row.id);
            let readable: Option<Vec<_>> = rows.iter().map(|row| self.told.readable(row)).collect();
            readable.map(|operations| WorkItem::new(reservation, operations))
        };
        found.into_iter().filter_map(with_its_own).collect()
    }
}

/// Reservations with an operation that is not final, or with a host that was prepared and not released since.
async fn by_journal(db: &Database, limit: u32) -> Result<BTreeSet<String>, DbErr> {
    let rows = db.connection().query_all_raw(open_or_owed(db, limit)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

pub(crate) fn open_or_owed(db: &Database, limit: u32) -> Statement {
    let part = |name: &str, which: &str| {
        format!(
            "SELECT * FROM (SELECT reservation_id FROM ops_operations WHERE {which} ORDER BY due_at \
             LIMIT {limit}) {name}"
        )
    };
    let open = "state IN ('pending', 'running', 'checking', 'waiting') AND kind IN ('start', 'end')";
    let sql = format!(
        "{} UNION ALL {}",
        part("open_ones", open),
        part("owed", "owes_release = 1")
    );
    db.statement(&sql, [])
}

/// Somebody else completed or removed a reservation whose host we had prepared: it owes nothing to us any
/// more. Without this such rows would pile up in front of those that matter.
async fn forgive_owed(
    db: &DatabaseConnection,
    journal: &BTreeSet<String>,
    found: &[reservation::Model],
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    use operation::Column;
    let still: BTreeSet<&str> = found
        .iter()
        .filter(|row| {
            row.status.as_deref().and_then(ReservationStatus::parse) != Some(ReservationStatus::Completed)
        })
        .filter_map(|row| row.transaction_hash.as_deref())
        .collect();
    let gone: Vec<&String> = journal.iter().filter(|id| !still.contains(id.as_str())).collect();
    for ids in gone.chunks(CHUNK) {
        operation::Entity::update_many()
            .col_expr(Column::OwesRelease, Expr::value(false))
            .col_expr(Column::UpdatedAt, Expr::value(microseconds(now)))
            .filter(Column::ReservationId.is_in(ids.iter().copied()))
            .filter(Column::OwesRelease.eq(true))
            .filter(Column::State.is_in(FINAL))
            .filter(Column::JournalVersion.lte(OUR_VERSION))
            .exec(db)
            .await?;
    }
    Ok(())
}

async fn scheduled_of(db: &DatabaseConnection, of: &[Reservation]) -> Result<Vec<operation::Model>, DbErr> {
    use operation::Column;
    operation::Entity::find()
        .filter(Column::ReservationId.is_in(of.iter().map(|reservation| reservation.id.as_str())))
        .filter(Column::Kind.is_in(SCHEDULED))
        .order_by_asc(Column::Id)
        .all(db)
        .await
}

/// A row for each operation, and one for a reservation without any.
pub(crate) fn joined(db: &Database, ids: &[ReservationId]) -> Statement {
    let columns = |table: &str, prefix: &str, names: &[&str]| {
        let named = names
            .iter()
            .map(|name| format!("{table}.{name} AS {prefix}{name}"));
        named.collect::<Vec<_>>().join(", ")
    };
    let sql = format!(
        "SELECT {}, {} FROM lab_reservations r LEFT JOIN ops_operations o \
         ON o.reservation_id = r.transaction_hash AND o.kind IN ('start', 'end') WHERE r.transaction_hash IN ({})",
        columns("r", "r_", &RESERVATION),
        columns("o", "o_", &OPERATION),
        vec!["?"; ids.len()].join(", ")
    );
    db.statement(&sql, ids.iter().map(|id| Value::from(id.as_str())))
}

const RESERVATION: [&str; 9] = [
    "id",
    "transaction_hash",
    "wallet_address",
    "lab_id",
    "start_time",
    "end_time",
    "status",
    "created_at",
    "updated_at",
];
const OPERATION: [&str; 16] = [
    "id",
    "op_key",
    "kind",
    "reservation_id",
    "lab_id",
    "host",
    "state",
    "state_json",
    "step",
    "token",
    "prepare_began_at",
    "owes_release",
    "due_at",
    "created_at",
    "updated_at",
    "journal_version",
];

/// By start; but those for which nothing more will be tried, and those to which a newer release sees, come after all
/// others.
fn earliest_first(mut items: Vec<WorkItem>, limit: usize) -> Vec<WorkItem> {
    items.sort_by_key(|item| {
        let again = item.reservation.status == ReservationStatus::Confirmed;
        let foreign = |operation: &Option<Operation>| {
            matches!(
                operation.as_ref().map(|row| &row.state),
                Some(State::Foreign { .. })
            )
        };
        let over = !again && item.end.as_ref().is_some_and(|end| end.state.is_final());
        let over = over || foreign(&item.start) || foreign(&item.end);
        (over, item.reservation.starts_at)
    });
    items.truncate(limit);
    items
}
