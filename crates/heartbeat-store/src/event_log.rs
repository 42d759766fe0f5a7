//! Events since an id, oldest first, as a follower reads them: each once and none left out.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, QueryResult, Statement, Value};
use serde_json::Value as Json;
use store_support::{Database, DbErr};

use crate::store::{HeartbeatStore, HeartbeatStoreError};
use crate::tables::Tables;

/// How many events a page has at most.
pub const MAX_EVENTS: u32 = 500;
/// For how long an event behind a gap in the ids is held back: a writer that took the missing id may still commit, at most
/// until its statement's deadline.
const SETTLED: TimeDelta = TimeDelta::seconds(30);

/// A stored event.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Row id; newer events have greater ones.
    pub id: i64,
    /// The host's name as `lab_hosts` has it.
    pub host: String,
    /// What kind of event; `session-guard` is the only one today.
    pub kind: String,
    /// When it happened, by the station's clock. Whole seconds.
    pub at: DateTime<Utc>,
    /// When it was stored, by our clock. Whole seconds.
    pub stored_at: DateTime<Utc>,
    /// What the station wrote.
    pub payload: Option<Json>,
}

/// Some events, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<StoredEvent>,
    /// The id to ask with the next time; the one that was asked with when there is nothing new.
    pub next: i64,
    /// Whether there is more to read at once.
    pub more: bool,
}

impl HeartbeatStore {
    /// Gives the events after the id `after` (0: from the first that is kept), of one host or of all; at most `limit`, which
    /// is brought between 1 and [`MAX_EVENTS`].
    ///
    /// Ids are given out before they can be seen. Of one host they are seen in order; of all hosts, an event that is younger
    /// than 30 s by `now` and behind a gap in the ids ends the page, so that who goes on from [`EventPage::next`] misses none.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn events_since(
        &self,
        after: i64,
        host: Option<&HostName>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<EventPage, HeartbeatStoreError> {
        let after = after.max(0);
        let limit = limit.clamp(1, MAX_EVENTS);
        let read = page(&self.db, &self.tables, after, host, limit + 1);
        let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await;
        let events = rows.and_then(|rows| rows.iter().map(event).collect::<Result<Vec<_>, _>>());
        let mut events = events.map_err(HeartbeatStoreError::from("read events"))?;
        let mut more = events.len() > limit as usize;
        events.truncate(limit as usize);
        if host.is_none()
            && let Some(held) = first_unsettled(&events, after, now)
        {
            events.truncate(held);
            more = false;
        }
        let next = events.last().map_or(after, |event| event.id);
        Ok(EventPage { events, next, more })
    }
}

impl HeartbeatStore {
    /// Gives the id of the newest event, of one host or of all, for who wants those that come from now on; 0 when there is
    /// none. An event that another process is storing at this moment may have a smaller one.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn newest_event(&self, host: Option<&HostName>) -> Result<i64, HeartbeatStoreError> {
        let read = newest(&self.db, &self.tables, host);
        let row = self.db.bounded(self.db.connection().query_one_raw(read)).await;
        row.and_then(|row| row.map_or(Ok(0), |row| row.try_get_by_index(0)))
            .map_err(HeartbeatStoreError::from("read the newest event"))
    }
}

/// The last entry of the primary key, or of the host's part of the index.
pub(crate) fn newest(db: &Database, tables: &Tables, host: Option<&HostName>) -> Statement {
    let (events, hosts) = (&tables.events, &tables.hosts);
    let of_host = host.map_or_else(String::new, |_| {
        format!(" WHERE e.host_id = (SELECT x.id FROM {hosts} x WHERE x.name = ?)")
    });
    let sql = format!("SELECT e.id FROM {events} e{of_host} ORDER BY e.id DESC LIMIT 1");
    db.statement(&sql, host.map(|host| Value::from(host.as_str())))
}

/// The place of the first event that may have an unseen one before it.
fn first_unsettled(events: &[StoredEvent], after: i64, now: DateTime<Utc>) -> Option<usize> {
    let mut seen = after;
    events.iter().position(|event| {
        let gap = event.id > seen + 1;
        seen = event.id;
        gap && now - event.stored_at < SETTLED
    })
}

/// The outer join only fixes the order: events first, in the order of their ids, and the name to each.
pub(crate) fn page(
    db: &Database,
    tables: &Tables,
    after: i64,
    host: Option<&HostName>,
    limit: u32,
) -> Statement {
    let (events, hosts) = (&tables.events, &tables.hosts);
    let mut values = vec![Value::from(after)];
    let of_host = host.map_or_else(String::new, |host| {
        values.push(host.as_str().into());
        format!(" AND e.host_id = (SELECT x.id FROM {hosts} x WHERE x.name = ?)")
    });
    let sql = format!(
        "SELECT e.id, COALESCE(h.name, ''), e.kind, e.timestamp_utc, e.created_at, e.payload FROM {events} e \
         LEFT JOIN {hosts} h ON h.id = e.host_id WHERE e.id > ?{of_host} ORDER BY e.id LIMIT {limit}"
    );
    db.statement(&sql, values)
}

fn event(row: &QueryResult) -> Result<StoredEvent, DbErr> {
    Ok(StoredEvent {
        id: row.try_get_by_index(0)?,
        host: row.try_get_by_index(1)?,
        kind: row.try_get_by_index(2)?,
        at: row.try_get_by_index::<NaiveDateTime>(3)?.and_utc(),
        stored_at: row.try_get_by_index::<NaiveDateTime>(4)?.and_utc(),
        payload: row.try_get_by_index(5)?,
    })
}
