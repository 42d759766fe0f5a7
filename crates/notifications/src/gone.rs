//! Receivers that answered 410: stored, so that none of the processes asks them again, nor after a restart.

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use store_support::Tx;

use crate::error::{Fault, OutboxError};
use crate::outbox::{Outbox, duration};

/// A receiver that said that it is gone gets no notices for so long: seven days, in milliseconds.
pub(crate) const GONE_MS: i64 = 7 * 24 * 3_600_000;
/// What is stored with a delivery that such a receiver does not get.
pub(crate) const GONE: &str = "the receiver is gone";

impl Outbox {
    /// Remembers that a receiver is gone, and gives up what waits for it.
    pub(crate) async fn bury(&self, tx: &Tx<'_>, target: &str) -> Result<(), Fault> {
        let now = self.db.backend().now_ms();
        let row = format!(
            "{} INTO ops_gone_receivers (target, gone_at) VALUES (?, {now})",
            self.db.backend().insert_if_absent()
        );
        tx.execute_raw(self.db.statement(&row, [target.into()])).await?;
        let gone = format!("UPDATE ops_gone_receivers SET gone_at = {now} WHERE target = ?");
        tx.execute_raw(self.db.statement(&gone, [target.into()])).await?;
        let give_up = format!(
            "UPDATE ops_notices SET state = 'dead', settled_at = {now}, lease_until = 0, last_error = ? \
             WHERE target = ? AND state = 'pending'"
        );
        tx.execute_raw(self.db.statement(&give_up, [GONE.into(), target.into()]))
            .await?;
        Ok(())
    }

    /// For how long a receiver that said that it is gone gets no notices yet; `None` when it gets them.
    pub(crate) async fn gone_for(&self, target: &str) -> Result<Option<Duration>, OutboxError> {
        let now = self.db.backend().now_ms();
        let sql = format!("SELECT gone_at + {GONE_MS} - {now} FROM ops_gone_receivers WHERE target = ?");
        let read = self.query(&sql, vec![target.into()]).await;
        let read = read.and_then(|rows| {
            let left = rows.first().map(|row| row.try_get_by_index::<i64>(0));
            Ok(left.transpose()?.filter(|left| *left > 0).map(duration))
        });
        read.map_err(OutboxError::during("see which receivers are gone"))
    }
}
