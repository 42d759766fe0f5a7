//! `reservation_operations`: the history, as the older worker wrote it.

use reservation_engine::HistoryRow;
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, EntityTrait as _};
use store_support::DbErr;

use crate::columns::{cut, whole_seconds};
use crate::entity::history;

/// A `TEXT` column ends at 65,535 bytes, and a character has at most four.
const MAX_MESSAGE: usize = 16_000;

/// Adds rows in the order given. Their ids need not be dense, but grow.
///
/// # Errors
/// The database's.
pub async fn add(tx: &impl ConnectionTrait, rows: &[HistoryRow]) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    history::Entity::insert_many(rows.iter().map(active))
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Over-long texts are cut: the step was done, and its row must not be lost for a long name.
fn active(row: &HistoryRow) -> history::ActiveModel {
    history::ActiveModel {
        reservation_id: Set(row.reservation.as_str().to_owned()),
        lab_id: Set(row.lab.as_ref().map(|lab| cut(lab.as_str(), 128))),
        host: Set(cut(&row.host, 128)),
        action: Set(cut(&row.action, 32)),
        status: Set(cut(row.status, 32)),
        success: Set(row.success),
        response_code: Set(row.response_code),
        duration_ms: Set(row.duration_ms),
        payload: Set(row.payload.clone()),
        message: Set(row.message.as_deref().map(|message| cut(message, MAX_MESSAGE))),
        created_at: Set(whole_seconds(row.at)),
        ..Default::default()
    }
}
