//! Which reservations may need something.
//!
//! Two questions, each answered from an index: which reservations have a status that asks for work (from
//! their table, but for those that the journal says are settled), and which have work that is open or a
//! release that is owed (from the journal, whatever their status became). Neither reads the history.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDateTime, Utc};
use lab_model::ReservationId;
use reservation_engine::{Operation, OperationKind, Reservation, ReservationStatus, WorkItem};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, Condition, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use store_support::{Database, DbErr};

use crate::columns::microseconds;
use crate::entity::{operation, reservation};
use crate::fault::Fault;
use crate::operations::{self, FINAL, OPEN};
use crate::reservations;

/// How many values one `IN (...)` lists.
const CHUNK: usize = 400;

/// The kinds of operation that the scheduler opens; callers' are not its business.
const SCHEDULED: [&str; 2] = ["start", "end"];

pub(crate) async fn read(
    db: &Database,
    now: DateTime<Utc>,
    horizon: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<WorkItem>, Fault> {
    let connection = db.connection();
    db.bounded(async { Ok(collect(connection, now, horizon, limit).await) })
        .await?
}

async fn collect(
    db: &DatabaseConnection,
    now: DateTime<Utc>,
    horizon: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<WorkItem>, Fault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = by_status(db, horizon, limit).await?;
    let known: BTreeSet<String> = found
        .iter()
        .filter_map(|row| row.transaction_hash.clone())
        .collect();
    let journal = by_journal(db, limit).await?;
    for ids in journal
        .difference(&known)
        .cloned()
        .collect::<Vec<_>>()
        .chunks(CHUNK)
    {
        let by_id = reservation::Entity::find().filter(reservation::Column::TransactionHash.is_in(ids));
        found.extend(by_id.all(db).await?);
    }
    forgive_owed(db, &journal, &found, now).await?;
    let items = with_operations(db, found).await?;
    Ok(earliest_first(items, limit))
}

/// `CONFIRMED` ones that start before the horizon and are not settled, and `ACTIVE` ones.
async fn by_status(
    db: &DatabaseConnection,
    horizon: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<reservation::Model>, DbErr> {
    let limit = limit as u64;
    let confirmed = confirmed(microseconds(horizon)).limit(limit).all(db).await?;
    let active = active(false).limit(limit).all(db).await?;
    // Those whose release was given up are for a person; they must not crowd out the others, so they come
    // last.
    let given_up = self::active(true).limit(limit).all(db).await?;
    Ok(confirmed.into_iter().chain(active).chain(given_up).collect())
}

pub(crate) fn confirmed(horizon: NaiveDateTime) -> sea_orm::Select<reservation::Entity> {
    let start_settled = Condition::all()
        .add(operation::Column::Kind.eq(OperationKind::Start.as_str()))
        .add(operation::Column::OwesRelease.eq(false));
    let end = operation::Column::Kind.eq(OperationKind::End.as_str());
    reservation::Entity::find()
        .filter(reservation::Column::Status.eq(ReservationStatus::Confirmed.as_str()))
        .filter(reservation::Column::StartTime.lt(horizon))
        .filter(Expr::exists(finished(Condition::any().add(start_settled).add(end))).not())
        .order_by_asc(reservation::Column::StartTime)
}

pub(crate) fn active(given_up: bool) -> sea_orm::Select<reservation::Entity> {
    let end = Condition::all().add(operation::Column::Kind.eq(OperationKind::End.as_str()));
    let ended = Expr::exists(finished(end));
    reservation::Entity::find()
        .filter(reservation::Column::Status.eq(ReservationStatus::Active.as_str()))
        .filter(if given_up { ended } else { ended.not() })
        .order_by_asc(reservation::Column::StartTime)
}

/// Operations of the row's reservation that are final and meet `which`.
fn finished(which: Condition) -> SelectStatement {
    let same = Expr::col((operation::Entity, operation::Column::ReservationId))
        .equals((reservation::Entity, reservation::Column::TransactionHash));
    Query::select()
        .expr(Expr::value(1))
        .from(operation::Entity)
        .and_where(same)
        .and_where(operation::Column::State.is_in(FINAL))
        .cond_where(which)
        .take()
}

/// Reservations with an operation that is not final, or with a host that was prepared and not released since.
async fn by_journal(db: &DatabaseConnection, limit: usize) -> Result<BTreeSet<String>, DbErr> {
    let mut found = BTreeSet::new();
    for query in [open_ids(), owed_ids()] {
        found.extend(query.limit(limit as u64).into_tuple::<String>().all(db).await?);
    }
    Ok(found)
}

pub(crate) fn open_ids() -> sea_orm::Select<operation::Entity> {
    use operation::Column;
    ids_by_due()
        .filter(Column::State.is_in(OPEN))
        .filter(Column::Kind.is_in(SCHEDULED))
}

pub(crate) fn owed_ids() -> sea_orm::Select<operation::Entity> {
    ids_by_due().filter(operation::Column::OwesRelease.eq(true))
}

fn ids_by_due() -> sea_orm::Select<operation::Entity> {
    use operation::Column;
    operation::Entity::find()
        .select_only()
        .column(Column::ReservationId)
        .order_by_asc(Column::DueAt)
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
            .exec(db)
            .await?;
    }
    Ok(())
}

pub(crate) async fn find(db: &Database, id: &ReservationId) -> Result<Option<WorkItem>, Fault> {
    let connection = db.connection();
    let call = async {
        let Some(row) = reservations::find(connection, id.as_str()).await? else {
            return Ok(None);
        };
        let Some(reservation) = reservations::to_domain(&row) else {
            return Ok(None);
        };
        let rows = scheduled_of(connection, std::slice::from_ref(&reservation.id)).await?;
        Ok(Some((reservation, rows)))
    };
    let Some((reservation, rows)) = db.bounded(call).await? else {
        return Ok(None);
    };
    let operations = rows
        .iter()
        .map(operations::to_domain)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(item(reservation, operations)))
}

async fn scheduled_of(
    db: &DatabaseConnection,
    ids: &[ReservationId],
) -> Result<Vec<operation::Model>, DbErr> {
    use operation::Column;
    operation::Entity::find()
        .filter(Column::ReservationId.is_in(ids.iter().map(ReservationId::as_str)))
        .filter(Column::Kind.is_in(SCHEDULED))
        .order_by_asc(Column::Id)
        .all(db)
        .await
}

/// A reservation with an operation that cannot be read is left out, loudly: the others go on.
async fn with_operations(
    db: &DatabaseConnection,
    rows: Vec<reservation::Model>,
) -> Result<Vec<WorkItem>, Fault> {
    let found: Vec<Reservation> = rows.iter().filter_map(reservations::to_domain).collect();
    let ids: Vec<ReservationId> = found.iter().map(|reservation| reservation.id.clone()).collect();
    let mut operations: HashMap<String, Vec<operation::Model>> = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        for row in scheduled_of(db, ids).await? {
            operations
                .entry(row.reservation_id.clone())
                .or_default()
                .push(row);
        }
    }
    let mut items = Vec::with_capacity(found.len());
    for reservation in found {
        let rows = operations.remove(reservation.id.as_str()).unwrap_or_default();
        match rows
            .iter()
            .map(operations::to_domain)
            .collect::<Result<Vec<_>, _>>()
        {
            Ok(operations) => items.push(item(reservation, operations)),
            Err(fault) => {
                tracing::error!(reservation.id = %reservation.id, ?fault, "an operation is unreadable, nothing is done");
            }
        }
    }
    Ok(items)
}

/// Of several operations of one kind the newest counts.
fn item(reservation: Reservation, operations: Vec<Operation>) -> WorkItem {
    let mut item = WorkItem {
        reservation,
        start: None,
        end: None,
    };
    for operation in operations {
        match operation.kind {
            OperationKind::Start => item.start = Some(operation),
            OperationKind::End => item.end = Some(operation),
            OperationKind::ManualStart | OperationKind::ManualEnd => {}
        }
    }
    item
}

/// By start; but those for which nothing more will be tried come after all others.
fn earliest_first(mut items: Vec<WorkItem>, limit: usize) -> Vec<WorkItem> {
    items.sort_by_key(|item| {
        let over = item.end.as_ref().is_some_and(|end| end.state.is_final());
        (over, item.reservation.starts_at)
    });
    items.truncate(limit);
    items
}
