//! Many reports in one transaction, and each kind of row in one statement or a few: how many a batch takes has a bound,
//! however many hosts are in it.
//!
//! The state rows of its hosts are read and locked first, and written last. So of two transactions about one host the
//! second begins from what the first one left: by the row lock on one server, by the certification of the commit on
//! Galera, by the write lock on SQLite. The hosts are locked in the order of their names.

mod changes;
mod events;
mod fold;
mod hours;
mod ids;
mod line;
mod mark;
mod rows;
mod state_row;
mod statements;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::mem::take;
use std::sync::{Mutex, PoisonError};

use chrono::NaiveDateTime;
use sea_orm::{ConnectionTrait as _, Value};
use store_support::{DbErr, TransactionFailure, Tx, transaction};

use self::events::Known;
pub(crate) use self::events::cursors;
use self::fold::{HostFold, Order, Plan, RowOf};
use self::line::Line;
pub(crate) use self::mark::Mark;
pub(crate) use self::rows::{list, parts};
pub(crate) use self::state_row::{COLUMNS as STATE_COLUMNS, StateRow};
pub(crate) use self::statements::{Limits, LimitsCell, Statements};
use crate::hosts::{self, HostRecord};
use crate::prepared::{Prepared, PreparedEvents, What};
use crate::report::{Keep, Recorded};
use crate::store::HeartbeatStore;

/// How carefully a report is written that the database refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Care {
    /// As it is.
    Plain,
    /// With ASCII only, for tables of another charset.
    Ascii,
    /// Without the document, and the events as texts, for this reason.
    SetAside(String),
    /// Only the host's state and the cursor, for this reason.
    Bare(String),
}

/// What is written in one transaction.
pub(crate) struct Batch<'a> {
    pub(crate) reports: &'a [&'a Prepared],
    pub(crate) keep: Keep,
    pub(crate) care: &'a Care,
    pub(crate) mark: Option<&'a Mark>,
    /// Where the outcome is put before the commit, whose answer may be lost.
    pub(crate) outcome: &'a Mutex<Option<Vec<Recorded>>>,
}

/// What stopped a batch.
#[derive(Debug)]
pub(crate) enum BatchError {
    /// The batch of this mark is stored already: its commit had only got no answer.
    Stored,
    Database(DbErr),
}

impl From<DbErr> for BatchError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl TransactionFailure for BatchError {
    fn database_error(&self) -> Option<&DbErr> {
        match self {
            Self::Stored => None,
            Self::Database(error) => Some(error),
        }
    }
}

/// Writes a batch; gives for each report what became of it.
pub(crate) async fn write(store: &HeartbeatStore, batch: &Batch<'_>) -> Result<Vec<Recorded>, BatchError> {
    let limits = store.limits.get(&store.db).await?;
    let written = transaction(&store.db, |tx| Box::pin(write_in(tx, store, batch, limits)));
    let (recorded, learnt) = written.await?;
    store.ids.learn(learnt);
    Ok(recorded)
}

type Written = (Vec<Recorded>, Vec<(String, i64)>);

async fn write_in(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    batch: &Batch<'_>,
    limits: Limits,
) -> Result<Written, BatchError> {
    let now = batch
        .reports
        .iter()
        .map(|report| report.at)
        .max()
        .unwrap_or_default();
    if let Some(mark) = batch.mark
        && !mark.set(tx, store, now).await?
    {
        return Err(BatchError::Stored);
    }
    let hosts = lock_hosts(tx, store, batch, now).await?;
    let (hosts, places, learnt) = with_ids(tx, store, batch, hosts, now).await?;
    let order = Order {
        now: store.clock.now().naive_utc(),
    };
    let mut plan = Plan::new(hosts, batch.keep, batch.care, limits, order);
    plan.fold(batch.reports, &places);
    let ids = write_plan(tx, store, &mut plan, limits, now).await?;
    let recorded: Vec<Recorded> = plan
        .drafts
        .into_iter()
        .map(|draft| Recorded {
            host_id: plan.hosts[draft.host].id,
            heartbeat_id: match draft.row {
                RowOf::Batch(row) => ids.get(row).copied(),
                RowOf::Stored(id) => id,
            },
            kept: draft.kept,
            events: draft.events,
        })
        .collect();
    *batch.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorded.clone());
    Ok((recorded, learnt))
}

/// Each host of the batch with its state, by name.
type Hosts<'a> = BTreeMap<&'a str, (&'a HostRecord, StateRow)>;

/// Reads the states of the hosts and keeps others from changing them; makes the rows that are missing.
async fn lock_hosts<'a>(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    batch: &Batch<'a>,
    now: NaiveDateTime,
) -> Result<Hosts<'a>, DbErr> {
    let mut hosts: Hosts<'a> = BTreeMap::new();
    let mut polled: BTreeMap<&str, bool> = BTreeMap::new();
    for report in batch.reports {
        let key = report.host.name.key();
        hosts.insert(key, (&report.host, StateRow::default()));
        *polled.entry(key).or_default() |= !matches!(report.what, What::EventsOnly);
    }
    let mut missing: Vec<&str> = hosts.keys().copied().collect();
    for round in 0..2 {
        for state in read_states(tx, store, &missing).await? {
            if let Some(host) = hosts.get_mut(state.host_name.as_str()) {
                host.1 = state;
            }
        }
        // A host of which there are only events gets no row: it was never polled.
        missing.retain(|host| hosts[host].1.host_name.is_empty() && polled[host]);
        if missing.is_empty() {
            break;
        }
        if round > 0 {
            return Err(DbErr::RecordNotFound(format!("the state of {}", missing[0])));
        }
        let rows = missing.iter().map(|host| vec![(*host).into(), now.into()]);
        store
            .sql
            .new_states
            .run(tx, &store.db, store.limits.default_bytes(), rows.collect())
            .await?;
    }
    Ok(hosts)
}

async fn read_states(tx: &Tx<'_>, store: &HeartbeatStore, hosts: &[&str]) -> Result<Vec<StateRow>, DbErr> {
    let mut states = Vec::with_capacity(hosts.len());
    for part in parts(hosts) {
        let mut names: Vec<Value> = part.iter().map(|host| (*host).into()).collect();
        let marks = list(&mut names);
        let (head, tail) = &store.sql.lock_states;
        let read = store.db.statement(&format!("{head}{marks}{tail}"), names);
        for row in tx.query_all_raw(read).await? {
            states.push(StateRow::read(&row, store.db.backend())?);
        }
    }
    Ok(states)
}

type Folds<'a> = (Vec<HostFold<'a>>, HashMap<&'a str, usize>, Vec<(String, i64)>);

/// Adds the ids of the hosts that get rows in the shared tables, and what is known of their events.
async fn with_ids<'a>(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    batch: &Batch<'a>,
    hosts: Hosts<'a>,
    now: NaiveDateTime,
) -> Result<Folds<'a>, DbErr> {
    let mut named: BTreeMap<&str, &HostRecord> = BTreeMap::new();
    let mut with_cursor: Vec<&str> = Vec::new();
    for report in batch.reports {
        if matches!(report.what, What::Heard(_) | What::EventsOnly) {
            named.insert(report.host.name.key(), &report.host);
        }
        if report
            .events
            .as_ref()
            .is_some_and(|events| events.cursor.is_some())
        {
            with_cursor.push(report.host.name.key());
        }
    }
    let named: Vec<&HostRecord> = named.into_values().collect();
    let resolved = hosts::resolve(tx, store, &named, now).await?;
    with_cursor.sort_unstable();
    with_cursor.dedup();
    let cursors = cursors(&**tx, store, &with_cursor).await?;
    let mut folds = Vec::with_capacity(hosts.len());
    let mut places = HashMap::with_capacity(hosts.len());
    for (key, (record, state)) in hosts {
        places.insert(key, folds.len());
        folds.push(HostFold {
            record,
            id: resolved.ids.get(key).copied(),
            stored: state.clone(),
            state,
            cursor: cursors.get(key).copied(),
            known: Known::default(),
            newest: None,
            is_state_new: false,
            is_cursor_new: false,
            seen: None,
        });
    }
    let mut compared: BTreeMap<&str, Vec<&PreparedEvents>> = BTreeMap::new();
    for report in batch.reports {
        let events = report.events.as_ref().filter(|events| events.compare);
        if let Some(events) = events.filter(|events| !events.rows.is_empty()) {
            compared.entry(report.host.name.key()).or_default().push(events);
        }
    }
    for (host, events) in compared {
        let fold = &mut folds[places[host]];
        if let Some(id) = fold.id {
            fold.known = Known::read(tx, store, id, &events).await?;
        }
    }
    Ok((folds, places, resolved.learnt))
}

/// Sends everything; gives the ids of the new rows of `lab_host_heartbeat`, in their order.
async fn write_plan(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    plan: &mut Plan<'_>,
    limits: Limits,
    now: NaiveDateTime,
) -> Result<Vec<i64>, DbErr> {
    let (sql, db, bytes) = (&store.sql, &store.db, limits.statement);
    let mut line = Line::new(tx);
    let seen = plan.seen_values().into_iter();
    line.send(sql.seen_hosts.statements(db, bytes, seen)).await?;
    let rows = plan.heartbeat_values();
    line.send_rows(sql.heartbeats.statements(db, bytes, rows)).await?;
    let (sums, hours, changes) = line.meanwhile(|| plan.hours_and_changes()).await?;
    let hours_sql = sql.hours(&sums);
    let sent = line.end().await?;
    let ids = ids::of_new(tx, store, plan, &sent).await?;
    let changes = changes.into_iter();
    line.send(sql.changes.statements(db, bytes, changes)).await?;
    let hours = hours.into_iter();
    line.send(hours_sql.statements(db, bytes, hours)).await?;
    for (extent, states) in line.meanwhile(|| plan.states(&ids)).await? {
        let states = states.into_iter();
        line.send(sql.states(extent).statements(db, bytes, states))
            .await?;
    }
    // The cursors before the rows: then the events of one host become visible in the order of their ids.
    let cursors = plan.cursor_values(now).into_iter();
    line.send(sql.cursors.statements(db, bytes, cursors)).await?;
    let events = take(&mut plan.events).into_iter();
    line.send(sql.events.statements(db, bytes, events)).await?;
    line.end().await?;
    Ok(ids)
}
