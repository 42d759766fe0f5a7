//! `lab_reservations`: another service's table. We read it, and move `status` by compare-and-set.

use chrono::{DateTime, Utc};
use lab_model::{LabId, ReservationId};
use reservation_engine::{Reservation, ReservationStatus};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};
use store_support::{Database, DbErr, retried};

use crate::columns::whole_seconds;
use crate::entity::reservation::{Column, Entity, Model};

pub(crate) async fn find(connection: &impl ConnectionTrait, id: &str) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::TransactionHash.eq(id))
        .one(connection)
        .await
}

pub(crate) async fn change_status(
    db: &Database,
    id: &ReservationId,
    from: ReservationStatus,
    to: ReservationStatus,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let changed = retried(|| {
        let update = Entity::update_many()
            .col_expr(Column::Status, Expr::value(to.as_str()))
            .col_expr(Column::UpdatedAt, Expr::value(whole_seconds(now)))
            // Older servers let the first TIMESTAMP of a table follow every update, unless it is assigned.
            .col_expr(Column::StartTime, Expr::col(Column::StartTime))
            .col_expr(Column::EndTime, Expr::col(Column::EndTime))
            .filter(Column::TransactionHash.eq(id.as_str()))
            .filter(Column::Status.eq(from.as_str()));
        db.bounded(async move { update.exec(db.connection()).await })
    })
    .await?;
    Ok(changed.rows_affected == 1)
}

/// `None`, and a line in the log, for a row that means nothing to us: no id, an id of blanks, a status of a
/// later time. One such row must not stop the others.
pub(crate) fn to_domain(row: &Model) -> Option<Reservation> {
    let id = row
        .transaction_hash
        .as_deref()
        .and_then(|hash| ReservationId::parse(hash).ok());
    let status = row.status.as_deref().and_then(ReservationStatus::parse);
    match (id, status) {
        (Some(id), Some(status)) => Some(Reservation {
            id,
            lab: LabId::new(row.lab_id.as_deref().unwrap_or_default()),
            status,
            starts_at: row.start_time,
            ends_at: row.end_time,
        }),
        _ => {
            tracing::warn!(
                row = row.id,
                "a row of lab_reservations has no usable id or status and is passed over"
            );
            None
        }
    }
}
