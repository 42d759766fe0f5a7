//! Statements of a transaction, one after the other: while the database works on one, the next is made.

use std::mem::take;

use sea_orm::ConnectionTrait as _;
use store_support::{DbErr, Tx};

use super::rows::Ready;

/// The statements of one transaction on their way. The last one that was handed over is sent with the next call.
pub(super) struct Line<'t, 'env> {
    tx: &'t Tx<'env>,
    next: Option<(Ready, bool)>,
    sent: Vec<(usize, u64)>,
}

impl<'t, 'env> Line<'t, 'env> {
    pub(super) fn new(tx: &'t Tx<'env>) -> Self {
        Self {
            tx,
            next: None,
            sent: Vec::new(),
        }
    }

    /// Hands over statements.
    pub(super) async fn send(&mut self, statements: impl Iterator<Item = Ready>) -> Result<(), DbErr> {
        self.hand_over(statements, false).await
    }

    /// The same for statements of whose rows [`Line::end`] is to tell.
    pub(super) async fn send_rows(&mut self, statements: impl Iterator<Item = Ready>) -> Result<(), DbErr> {
        self.hand_over(statements, true).await
    }

    async fn hand_over(
        &mut self,
        mut statements: impl Iterator<Item = Ready>,
        is_told: bool,
    ) -> Result<(), DbErr> {
        let mut ready = self.meanwhile(|| statements.next()).await?;
        while let Some(next) = ready {
            self.next = Some((next, is_told));
            // The last one is kept until there is something to do meanwhile.
            if statements.size_hint().1 == Some(0) {
                break;
            }
            ready = self.meanwhile(|| statements.next()).await?;
        }
        Ok(())
    }

    /// Sends what was handed over last, and does some work while the database is busy with it.
    pub(super) async fn meanwhile<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, DbErr> {
        let Some((ready, is_told)) = self.next.take() else {
            return Ok(work());
        };
        let sending = self.tx.execute_raw(ready.statement);
        // In this order: the statement is on its way when the work begins.
        let (done, worked) = tokio::join!(biased; sending, async { work() });
        let done = done?;
        if is_told {
            self.sent.push((ready.rows, done.last_insert_id()));
        }
        Ok(worked)
    }

    /// Waits for the last one; gives for each statement of [`Line::send_rows`] how many rows it had and the driver's
    /// "last id".
    pub(super) async fn end(&mut self) -> Result<Vec<(usize, u64)>, DbErr> {
        self.meanwhile(|| ()).await?;
        Ok(take(&mut self.sent))
    }
}
