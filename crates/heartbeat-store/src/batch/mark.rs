//! The mark of a batch: a number that each recorder moves on in the same transaction as its rows. Where the answer to a
//! commit was lost, the mark tells whether it took effect, so that nothing is stored twice.

use chrono::NaiveDateTime;
use sea_orm::ConnectionTrait as _;
use store_support::{DbErr, Tx};

use crate::store::HeartbeatStore;

#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Names the recorder; another one after every start.
    pub(crate) writer: String,
    /// The number of the batch that is written; the one before it is stored.
    pub(crate) batch: i64,
}

impl Mark {
    /// Moves the stored mark on to this batch; `false` when it stands there already. It is the first statement of the
    /// transaction: an earlier try that is still under way holds the row, so that this one waits for its outcome.
    pub(crate) async fn set(
        &self,
        tx: &Tx<'_>,
        store: &HeartbeatStore,
        now: NaiveDateTime,
    ) -> Result<bool, DbErr> {
        let (db, table) = (&store.db, &store.tables.writers);
        let (writer, batch) = (self.writer.as_str(), self.batch);
        if batch > 1 {
            let sql = format!("UPDATE {table} SET batch = ?, updated_at = ? WHERE writer = ? AND batch = ?");
            let values = [batch.into(), now.into(), writer.into(), (batch - 1).into()];
            if tx.execute_raw(db.statement(&sql, values)).await?.rows_affected() == 1 {
                return Ok(true);
            }
        }
        // The first batch, one that is stored, or a row that was cleared away.
        let verb = db.backend().insert_if_absent();
        let sql = format!("{verb} INTO {table} (writer, batch, updated_at) VALUES (?, ?, ?)");
        let values = [writer.into(), batch.into(), now.into()];
        if tx.execute_raw(db.statement(&sql, values)).await?.rows_affected() == 1 {
            return Ok(true);
        }
        // Elsewhere: the database was put back, or another server that lacks the last commits took over. Nothing of this
        // batch is there then.
        let sql = format!("UPDATE {table} SET batch = ?, updated_at = ? WHERE writer = ? AND batch <> ?");
        let values = [batch.into(), now.into(), writer.into(), batch.into()];
        Ok(tx.execute_raw(db.statement(&sql, values)).await?.rows_affected() == 1)
    }
}
