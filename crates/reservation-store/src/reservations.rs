//! `lab_reservations`: another service's table. We read it, and move `status` by compare-and-set.

use chrono::{DateTime, Utc};
use lab_model::{LabId, ReservationId};
use reservation_engine::{Claim, Reservation, ReservationStatus};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};
use store_support::{Database, DbErr, retried};

use crate::claims::must_hold;
use crate::columns::whole_seconds;
use crate::entity::reservation::{Column, Entity, Model};
use crate::fault::Fault;
use crate::fenced::{Change, write_alone};

pub(crate) async fn find(connection: &impl ConnectionTrait, id: &str) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::TransactionHash.eq(id))
        .one(connection)
        .await
}

/// Moves a status under the claim on the reservation's host.
pub(crate) async fn change_status(
    db: &Database,
    claim: &Claim,
    id: &ReservationId,
    from: ReservationStatus,
    to: ReservationStatus,
    now: DateTime<Utc>,
) -> Result<bool, Fault> {
    let change = &Change {
        table: "lab_reservations",
        sets: vec![
            ("status", to.as_str().into()),
            ("updated_at", whole_seconds(now).into()),
        ],
        // Older servers let the first TIMESTAMP of a table follow every update, unless it is assigned.
        kept: &["start_time", "end_time"],
        conditions: vec![
            ("@transaction_hash = ?", vec![id.as_str().into()]),
            ("@status = ?", vec![from.as_str().into()]),
        ],
    };
    if db.bounded(retried(|| write_alone(db, claim, change))).await? {
        return Ok(true);
    }
    let call = retried(|| must_hold(db.connection(), db, claim));
    db.bounded(async { Ok(call.await) }).await??;
    Ok(false)
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
