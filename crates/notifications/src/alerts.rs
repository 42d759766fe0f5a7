//! Which host fails again and again: counted in the outbox, decided by one conditional write, so that any number of
//! processes raises one alert per host and cooldown.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use sea_orm::{ConnectionTrait as _, Value};
use store_support::{Tx, transaction};

use crate::error::{Fault, OutboxError};
use crate::notice::{Notice, NoticeKind};
use crate::outbox::{Outbox, insert, millis};
use crate::rows;
use crate::silence::host_back;

/// When a host counts as failing repeatedly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertRules {
    /// So many failed steps.
    pub threshold: u32,
    /// Within this time.
    pub window: Duration,
    /// After an alert, the host raises none for this long.
    pub cooldown: Duration,
}

impl Default for AlertRules {
    /// 3 failures within 5 minutes, once in 15 minutes.
    fn default() -> Self {
        Self {
            threshold: 3,
            window: Duration::from_secs(300),
            cooldown: Duration::from_secs(900),
        }
    }
}

/// A step that failed, as far as an alert says for whom.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) host: HostName,
    pub(crate) reservation: Option<ReservationId>,
    pub(crate) lab: Option<LabId>,
    pub(crate) at: DateTime<Utc>,
}

impl Outbox {
    /// Raises an alert for the host if it has failed often enough and none was raised in the cooldown; says how many
    /// failures there were if it did. All times are the database's.
    pub(crate) async fn alert(
        &self,
        failure: &Failure,
        rules: &AlertRules,
    ) -> Result<Option<u64>, OutboxError> {
        let raised = transaction(&self.db, |tx| Box::pin(self.alert_in(tx, failure, rules)));
        let raised = raised.await.map_err(OutboxError::during("raise an alert"))?;
        if raised.is_some() {
            self.changed.notify_waiters();
        }
        Ok(raised)
    }

    async fn alert_in(
        &self,
        tx: &Tx<'_>,
        failure: &Failure,
        rules: &AlertRules,
    ) -> Result<Option<u64>, Fault> {
        let (now, key) = (self.db.backend().now_ms(), failure.host.key());
        let count = format!(
            "SELECT COUNT(DISTINCT notice_id) FROM ops_notices WHERE host = ? AND kind = ? AND created_at > {now} - ?"
        );
        let values = [
            key.into(),
            NoticeKind::StepFailed.as_str().into(),
            millis(rules.window),
        ];
        let counted = tx.query_one_raw(self.db.statement(&count, values)).await?;
        let failures: i64 = counted
            .map(|row| row.try_get_by_index(0))
            .transpose()?
            .unwrap_or(0);
        let failures = u64::try_from(failures).unwrap_or(0);
        if failures < u64::from(rules.threshold) || !self.win_alert(tx, key, rules).await? {
            return Ok(None);
        }
        let sentence = format!(
            "host {} failed {failures} times within {} s",
            failure.host,
            rules.window.as_secs()
        );
        let mut notice = Notice::new(NoticeKind::RepeatedFailures, failure.at, sentence)
            .on(&failure.host)
            .with("failures", failures)
            .with("windowSeconds", rules.window.as_secs())
            .with("cooldownSeconds", rules.cooldown.as_secs());
        notice.reservation = failure.reservation.clone();
        notice.lab = failure.lab.clone();
        insert(&self.db, &**tx, &notice, &self.source, &self.targets).await?;
        if let Some(row) = rows::of_alert(&notice) {
            reservation_store::add_history(&**tx, &[row]).await?;
        }
        Ok(Some(failures))
    }

    /// Of all who see the same failures, one changes the row.
    async fn win_alert(&self, tx: &Tx<'_>, host: &str, rules: &AlertRules) -> Result<bool, Fault> {
        let now = self.db.backend().now_ms();
        let row = format!(
            "{} INTO ops_alerts (host, alerted_at, is_open) VALUES (?, 0, ?)",
            self.db.backend().insert_if_absent()
        );
        tx.execute_raw(self.db.statement(&row, [host.into(), false.into()]))
            .await?;
        let win = format!(
            "UPDATE ops_alerts SET alerted_at = {now}, is_open = ? WHERE host = ? AND alerted_at <= {now} - ?"
        );
        let values: [Value; 3] = [true.into(), host.into(), millis(rules.cooldown)];
        let changed = tx.execute_raw(self.db.statement(&win, values)).await?;
        Ok(changed.rows_affected() == 1)
    }

    /// A host answers: tells so if an alert of it is open or its silence was told, and closes both. Says whether it did.
    ///
    /// # Errors
    /// [`OutboxError`]; nothing was changed then.
    pub async fn host_answers(&self, host: &HostName, at: DateTime<Utc>) -> Result<bool, OutboxError> {
        let back = transaction(&self.db, |tx| {
            Box::pin(async move {
                let close = "UPDATE ops_alerts SET is_open = ? WHERE host = ? AND is_open = ?";
                let values: [Value; 3] = [false.into(), host.key().into(), true.into()];
                let closed = tx.execute_raw(self.db.statement(close, values)).await?;
                let end = "DELETE FROM ops_silences WHERE host = ?";
                let ended = tx
                    .execute_raw(self.db.statement(end, [host.key().into()]))
                    .await?;
                if closed.rows_affected() + ended.rows_affected() == 0 {
                    return Ok(false);
                }
                let notice = host_back(host, at);
                insert(&self.db, &**tx, &notice, &self.source, &self.targets).await?;
                Ok::<_, Fault>(true)
            })
        });
        let back = back.await.map_err(OutboxError::during("close an alert"))?;
        if back {
            self.changed.notify_waiters();
        }
        Ok(back)
    }
}
