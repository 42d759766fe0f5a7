//! Callers' operations that nobody is at work on any more.

use std::collections::HashMap;

use reservation_engine::{Operation, OperationKind};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select, Value,
};
use store_support::{Database, DbErr};

use crate::claims::lease_name;
use crate::entity::operation::{Column, Entity};
use crate::fault::Fault;
use crate::stored::{OPEN, Told};
use crate::work::CHUNK;

/// What callers may open.
const CALLERS: [OperationKind; 2] = [OperationKind::ManualStart, OperationKind::ManualEnd];

/// Gives open operations of callers whose claim is over: a newer token was granted, or the lease ran out. Among
/// the oldest open ones only; there are never as many under way at once.
pub(crate) async fn read(db: &Database, told: &Told, limit: u32) -> Result<Vec<Operation>, Fault> {
    let rows = db.bounded(open().all(db.connection())).await?;
    let open: Vec<(Operation, i64)> = rows
        .iter()
        .filter_map(|row| told.ours(row).map(|operation| (operation, row.token)))
        .collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let live = live(db, open.iter().map(|(operation, _)| lease_name(&operation.host))).await?;
    let is_over =
        |(operation, token): &(Operation, i64)| live.get(&lease_name(&operation.host)) != Some(token);
    let over = open.into_iter().filter(is_over).map(|(operation, _)| operation);
    Ok(over.take(limit as usize).collect())
}

pub(crate) fn open() -> Select<Entity> {
    Entity::find()
        .filter(Column::State.is_in(OPEN))
        .filter(Column::Kind.is_in(CALLERS.map(OperationKind::as_str)))
        .order_by_asc(Column::Id)
        .limit(CHUNK as u64)
}

/// The tokens of those leases that last.
async fn live(db: &Database, names: impl Iterator<Item = String>) -> Result<HashMap<String, i64>, DbErr> {
    let names: Vec<Value> = names.map(Value::from).collect();
    let sql = format!(
        "SELECT name, fence FROM ops_leases WHERE name IN ({}) AND holder IS NOT NULL AND lease_until > {}",
        vec!["?"; names.len()].join(", "),
        db.backend().now_ms()
    );
    let read = db.statement(&sql, names);
    let rows = db.bounded(db.connection().query_all_raw(read)).await?;
    rows.iter()
        .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)))
        .collect()
}
