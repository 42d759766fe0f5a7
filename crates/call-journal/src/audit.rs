//! The audit trail: who changed what, when, from where, and with which outcome.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};
use serde_json::{Value, json};
use store_support::retried;

use crate::columns::{cut, microseconds};
use crate::entity::audit::{ActiveModel, Column, Entity, Model};
use crate::error::JournalError;
use crate::journal::CallJournal;

/// A `TEXT` column ends at 65,535 bytes; a detail is some names and numbers.
const MAX_DETAIL: usize = 8 * 1024;

/// Row id of an entry; newer entries have greater ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId(pub i64);

/// A change that is about to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// When it was asked for.
    pub at: DateTime<Utc>,
    /// By which request.
    pub request_id: String,
    /// The name of the caller's token.
    pub caller: String,
    /// The role of that token.
    pub role: String,
    /// The address it came from.
    pub from: String,
    /// Method and route, as `POST /api/wol`.
    pub action: String,
    /// The host or reservation it is about.
    pub subject: Option<String>,
    /// What else tells one change from another; never a secret, never a station's output.
    pub detail: Option<Value>,
}

/// A change as the trail has it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Row id.
    pub id: AuditId,
    /// What was asked for.
    pub entry: AuditEntry,
    /// The answer's HTTP status; `None` while it is under way, or when the process did not live to say.
    pub status: Option<u16>,
    /// The answer's stable word, for a refusal or a failure.
    pub code: Option<String>,
    /// When it was answered.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this caller only.
    pub caller: Option<String>,
    /// About this host or reservation only.
    pub subject: Option<String>,
}

/// Some entries, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The entries.
    pub rows: Vec<AuditRecord>,
    /// Where the next page goes on; `None` when this was the last.
    pub next: Option<AuditId>,
}

impl CallJournal {
    /// Writes down what is about to be done. Over-long texts are cut.
    ///
    /// # Errors
    /// [`JournalError`]; the entry may still have been written when the database became unavailable.
    pub async fn audit_begin(&self, entry: AuditEntry) -> Result<AuditId, JournalError> {
        let row = active(&entry);
        let insert = retried(|| async { Entity::insert(row.clone()).exec(self.db.connection()).await });
        let done = self.db.bounded(insert).await;
        let done = done.map_err(JournalError::during("write an audit entry"))?;
        Ok(AuditId(done.last_insert_id))
    }

    /// Adds the outcome. `code` is the stable word of a refusal or failure.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn audit_end(
        &self,
        id: AuditId,
        status: u16,
        code: Option<&str>,
        at: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        let update = retried(|| async {
            Entity::update_many()
                .col_expr(Column::Status, Expr::value(i32::from(status)))
                .col_expr(Column::Code, Expr::value(code.map(|code| cut(code, 64))))
                .col_expr(Column::EndedAt, Expr::value(microseconds(at)))
                .filter(Column::Id.eq(id.0))
                .exec(self.db.connection())
                .await
        });
        let done = self.db.bounded(update).await;
        done.map(|_| ())
            .map_err(JournalError::during("end an audit entry"))
    }

    /// Gives entries newest first: those with an id below `after`, at most `limit`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        after: Option<AuditId>,
        limit: u32,
    ) -> Result<AuditPage, JournalError> {
        // One more than asked for says whether anything follows.
        let wanted = page(filter, after, limit.saturating_add(1)).all(self.db.connection());
        let rows = self.db.bounded(wanted).await;
        let rows = rows.map_err(JournalError::during("read the audit trail"))?;
        let more = rows.len() > limit as usize;
        let rows: Vec<_> = rows
            .into_iter()
            .take(limit as usize)
            .map(AuditRecord::from)
            .collect();
        let next = rows.last().map(|row| row.id).filter(|_| more);
        Ok(AuditPage { rows, next })
    }
}

pub(crate) fn page(filter: &AuditFilter, after: Option<AuditId>, limit: u32) -> Select<Entity> {
    let mut select = Entity::find();
    if let Some(caller) = &filter.caller {
        select = select.filter(Column::Caller.eq(caller.as_str()));
    }
    if let Some(subject) = &filter.subject {
        select = select.filter(Column::Subject.eq(subject.as_str()));
    }
    if let Some(after) = after {
        select = select.filter(Column::Id.lt(after.0));
    }
    select.order_by_desc(Column::Id).limit(u64::from(limit))
}

fn active(entry: &AuditEntry) -> ActiveModel {
    let detail = entry.detail.as_ref().map(Value::to_string);
    ActiveModel {
        at: Set(microseconds(entry.at)),
        request_id: Set(cut(&entry.request_id, 128)),
        caller: Set(cut(&entry.caller, 128)),
        role: Set(cut(&entry.role, 16)),
        from_address: Set(cut(&entry.from, 64)),
        action: Set(cut(&entry.action, 190)),
        subject: Set(entry.subject.as_deref().map(|subject| cut(subject, 128))),
        detail: Set(detail.map(|text| {
            if text.len() <= MAX_DETAIL {
                text
            } else {
                json!({"cut": true, "bytes": text.len()}).to_string()
            }
        })),
        ..Default::default()
    }
}

impl From<Model> for AuditRecord {
    fn from(row: Model) -> Self {
        Self {
            id: AuditId(row.id),
            entry: AuditEntry {
                at: row.at.and_utc(),
                request_id: row.request_id,
                caller: row.caller,
                role: row.role,
                from: row.from_address,
                action: row.action,
                subject: row.subject,
                detail: row.detail.and_then(|text| serde_json::from_str(&text).ok()),
            },
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            code: row.code,
            ended_at: row.ended_at.map(|at| at.and_utc()),
        }
    }
}
