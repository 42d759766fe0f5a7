//! Which ids the new rows of `lab_host_heartbeat` got.

use std::collections::{HashMap, VecDeque};

use chrono::NaiveDateTime;
use sea_orm::ConnectionTrait as _;
use store_support::{Backend, DbErr, Tx};

use super::fold::Plan;
use crate::store::HeartbeatStore;

/// The ids of the rows that were just inserted, `sent` by statements.
pub(super) async fn of_new(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    plan: &Plan<'_>,
    sent: &[(usize, u64)],
) -> Result<Vec<i64>, DbErr> {
    let id = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    if store.db.backend() == Backend::Sqlite {
        // Nobody else writes meanwhile, and the driver gives the last id of each statement.
        let ids = sent.iter().flat_map(|(count, last)| {
            let count = i64::try_from(*count).unwrap_or(0);
            id(*last) - count + 1..=id(*last)
        });
        return Ok(ids.collect());
    }
    let Some(first) = sent.iter().map(|(_, first)| id(*first)).min() else {
        return Ok(Vec::new());
    };
    // The driver gives the first id of each statement. Those behind it follow with the server's step, and other sessions'
    // rows may lie between: so they are read, and told apart by what they say.
    let read = store.db.statement(&store.sql.new_heartbeats, [first.into()]);
    let mut found: HashMap<(i64, NaiveDateTime, NaiveDateTime), VecDeque<i64>> = HashMap::new();
    for row in tx.query_all_raw(read).await? {
        let key = (
            row.try_get_by_index(1)?,
            row.try_get_by_index(2)?,
            row.try_get_by_index(3)?,
        );
        found.entry(key).or_default().push_back(row.try_get_by_index(0)?);
    }
    let ids = plan.heartbeats.iter().map(|row| {
        let key = (
            plan.hosts[row.host].id.unwrap_or_default(),
            row.heard.stamp,
            row.created_at,
        );
        let id = found.get_mut(&key).and_then(VecDeque::pop_front);
        id.ok_or_else(|| DbErr::RecordNotFound("a heartbeat that was just inserted".to_owned()))
    });
    ids.collect()
}
