//! Operations of the scheduler whose reservation somebody has deleted.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reservation_engine::Operation;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select, Statement, Value,
};
use store_support::Database;

use crate::columns::microseconds;
use crate::entity::operation::{Column, Entity};
use crate::fault::Fault;
use crate::stored::{OPEN, OUR_VERSION, Told};
use crate::work::{CHUNK, SCHEDULED};

/// Gives open operations that were last written before `before` and whose reservation is gone, among the oldest open
/// ones. Two statements and no join: the older table may be in another collation, which costs a join its index.
pub(crate) async fn read(
    db: &Database,
    told: &Told,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Operation>, Fault> {
    let rows = db.bounded(open(before).all(db.connection())).await?;
    let old: Vec<Operation> = rows.iter().filter_map(|row| told.ours(row)).collect();
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db.bounded(db.connection().query_all_raw(known(db, &old))).await?;
    let known: Result<BTreeSet<String>, _> = rows.iter().map(|row| row.try_get_by_index(0)).collect();
    let known = known?;
    let gone = old.into_iter().filter(|operation| {
        !known
            .iter()
            .any(|id| id.eq_ignore_ascii_case(operation.reservation.as_str()))
    });
    Ok(gone.take(limit as usize).collect())
}

pub(crate) fn open(before: DateTime<Utc>) -> Select<Entity> {
    Entity::find()
        .filter(Column::State.is_in(OPEN))
        .filter(Column::Kind.is_in(SCHEDULED))
        .filter(Column::JournalVersion.lte(OUR_VERSION))
        .filter(Column::UpdatedAt.lt(microseconds(before)))
        .order_by_asc(Column::Id)
        .limit(CHUNK as u64)
}

/// Those of their reservations that there are.
pub(crate) fn known(db: &Database, of: &[Operation]) -> Statement {
    let sql = format!(
        "SELECT transaction_hash FROM lab_reservations WHERE transaction_hash IN ({})",
        vec!["?"; of.len()].join(", ")
    );
    db.statement(
        &sql,
        of.iter()
            .map(|operation| Value::from(operation.reservation.as_str())),
    )
}
