//! `lab_host_events`: what the station's guard did, one row per event and not one per poll.

use chrono::{DateTime, Utc};
use labstation_commands::Event;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use store_support::{DbErr, transaction};

use crate::columns::whole_seconds;
use crate::entity::event;
use crate::hosts::{self, HostRecord};
use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// The only kind of event there is.
const KIND: &str = "session-guard";
/// Among how many rows a repeated event is looked for.
const LOOK_BACK: u64 = 50;

impl HeartbeatStore {
    /// Stores an event of the station's guard, unless it is stored already; says whether it was new.
    ///
    /// Its stamp is the event's own, else `fallback` (the heartbeat's stamp). An event without a stamp counts
    /// as stored when one of the newest 50 has the same content.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn record_event(
        &self,
        host: &HostRecord,
        event: &Event,
        fallback: DateTime<Utc>,
        observed_at: DateTime<Utc>,
    ) -> Result<bool, HeartbeatStoreError> {
        let now = whole_seconds(observed_at).unwrap_or_default();
        let own = event.at.and_then(whole_seconds);
        let stamp = own.or_else(|| whole_seconds(fallback)).unwrap_or(now);
        transaction(&self.db, |tx| {
            Box::pin(async move {
                let host_id = hosts::upsert(&**tx, host, None, now).await?;
                if is_known(&**tx, host_id, own, event).await? {
                    return Ok(false);
                }
                let row = event::ActiveModel {
                    host_id: Set(host_id),
                    kind: Set(KIND.to_owned()),
                    timestamp_utc: Set(stamp),
                    payload: Set(Some(event.raw.clone())),
                    created_at: Set(now),
                    ..Default::default()
                };
                event::Entity::insert(row).exec(&**tx).await?;
                Ok::<_, DbErr>(true)
            })
        })
        .await
        .map_err(HeartbeatStoreError::from("record an event"))
    }
}

/// Contents are compared here and not in SQL: how a JSON column compares differs between databases.
async fn is_known(
    tx: &impl ConnectionTrait,
    host_id: i64,
    own_stamp: Option<chrono::NaiveDateTime>,
    event: &Event,
) -> Result<bool, DbErr> {
    let mut find = event::Entity::find()
        .filter(event::Column::HostId.eq(host_id))
        .filter(event::Column::Kind.eq(KIND))
        .order_by_desc(event::Column::TimestampUtc)
        .limit(LOOK_BACK);
    if let Some(stamp) = own_stamp {
        find = find.filter(event::Column::TimestampUtc.eq(stamp));
    }
    let rows = find.all(tx).await?;
    Ok(rows.iter().any(|row| row.payload.as_ref() == Some(&event.raw)))
}
