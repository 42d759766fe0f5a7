//! `lab_host_events`: what the station's guard did, one row per event and not one per poll; and how far each host's
//! event file was read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use labstation_commands::{Event, EventCursor};

use crate::batch;
use crate::hosts::HostRecord;
use crate::prepared::Prepared;
use crate::report::EventsKept;
use crate::settle;
use crate::store::{HeartbeatStore, HeartbeatStoreError};

impl HeartbeatStore {
    /// Stores an event of the station's guard, unless it is stored already; says whether it was new.
    ///
    /// Its stamp is the event's own, else `fallback` (the heartbeat's stamp). An event without a stamp counts
    /// as stored when one of the newest 50 has the same content. Events that are read from where the last ones ended
    /// need no such search: give them to a [`Recorder`](crate::Recorder) with their cursor.
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
        let prepared = Prepared::of_event(host, event, fallback, observed_at);
        let recorded = settle::one(self, &prepared, "record an event").await?;
        Ok(matches!(recorded.events, EventsKept::Stored { new: 1.., .. }))
    }

    /// Gives how far the event file of each of these hosts was read; hosts of which none was are left out.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn event_cursors(
        &self,
        hosts: &[HostName],
    ) -> Result<HashMap<HostName, EventCursor>, HeartbeatStoreError> {
        let keys: Vec<&str> = hosts.iter().map(HostName::key).collect();
        let read = self.db.bounded(batch::cursors(self.db.connection(), self, &keys));
        let found = read
            .await
            .map_err(HeartbeatStoreError::from("read event cursors"))?;
        let of = |host: &HostName| Some((host.clone(), found.get(host.key())?.cursor));
        Ok(hosts.iter().filter_map(of).collect())
    }
}
