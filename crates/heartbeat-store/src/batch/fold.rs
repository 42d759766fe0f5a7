//! What a batch of reports comes to, given the rows that are stored: pure, in the order of the reports.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{NaiveDateTime, TimeDelta};
use sea_orm::Value;

use super::changes::{self, Change};
use super::events::{CursorRow, KIND, Known};
use super::hours::Hours;
use super::state_row::StateRow;
use super::{Care, Limits};
use crate::columns::{cut, microseconds, whole_seconds};
use crate::hosts::HostRecord;
use crate::prepared::{Prepared, PreparedEvents, PreparedHeard, What, ascii_json};
use crate::report::{EventsKept, Keep, Kept};

/// What was observed this much later than a report was observed by a clock that has been put right since.
const CLOCK_PUT_BACK: TimeDelta = TimeDelta::hours(1);
/// By so much the clocks of two workers may differ.
const AHEAD: TimeDelta = TimeDelta::seconds(5);
/// A document that was refused is tried again after so long.
const TRY_AGAIN: TimeDelta = TimeDelta::minutes(5);
/// Already a thousand million: more says nothing new, and the column would overflow.
const MAX_FAILURES: i32 = 1_000_000_000;

/// One host of the batch, brought up to date report by report.
pub(crate) struct HostFold<'a> {
    pub(crate) record: &'a HostRecord,
    pub(crate) id: Option<i64>,
    pub(crate) state: StateRow,
    /// As it was read.
    pub(crate) stored: StateRow,
    pub(crate) cursor: Option<CursorRow>,
    pub(crate) known: Known,
    /// The row of the batch that the state refers to.
    pub(crate) newest: Option<usize>,
    pub(crate) is_state_new: bool,
    pub(crate) is_cursor_new: bool,
    /// For `last_seen`.
    pub(crate) seen: Option<(NaiveDateTime, NaiveDateTime)>,
}

/// A row of `lab_host_heartbeat`, but for the host's id.
pub(crate) struct HeartbeatRow<'a> {
    pub(crate) host: usize,
    pub(crate) heard: &'a PreparedHeard,
    pub(crate) document: Cow<'a, str>,
    pub(crate) created_at: NaiveDateTime,
}

/// What became of a report, before the rows have their ids.
pub(crate) struct Draft {
    pub(crate) host: usize,
    pub(crate) row: RowOf,
    pub(crate) kept: Kept,
    pub(crate) events: EventsKept,
}

/// The row that has a report's document.
pub(crate) enum RowOf {
    Batch(usize),
    Stored(Option<i64>),
}

/// Everything that is to be written.
pub(crate) struct Plan<'a> {
    pub(crate) hosts: Vec<HostFold<'a>>,
    pub(crate) heartbeats: Vec<HeartbeatRow<'a>>,
    /// Host, instant, change.
    pub(crate) changes: Vec<(usize, NaiveDateTime, Change)>,
    pub(crate) hours: Hours,
    /// Rows of [`super::events::COLUMNS`].
    pub(crate) events: Vec<Vec<Value>>,
    pub(crate) drafts: Vec<Draft>,
    keep: Keep,
    pub(super) care: &'a Care,
    limits: Limits,
    order: Order,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        hosts: Vec<HostFold<'a>>,
        keep: Keep,
        care: &'a Care,
        limits: Limits,
        order: Order,
    ) -> Self {
        Self {
            order,
            hosts,
            heartbeats: Vec::new(),
            changes: Vec::new(),
            hours: Hours::default(),
            events: Vec::new(),
            drafts: Vec::new(),
            keep,
            care,
            limits,
        }
    }

    /// Takes all reports, each with the place of its host.
    pub(crate) fn fold(&mut self, reports: &[&'a Prepared], places: &HashMap<&str, usize>) {
        for report in reports {
            let Some(host) = places.get(report.host.name.key()).copied() else {
                continue;
            };
            self.report(host, report);
        }
    }

    fn report(&mut self, host: usize, report: &'a Prepared) {
        self.hosts[host].record = &report.host;
        let (row, kept) = match &report.what {
            What::Heard(heard) => self.heard(host, report, heard),
            What::Failed { code, text } => {
                self.hours.failed(host, report.at);
                self.not_heard(host, report, code, text, 1);
                (RowOf::Stored(None), Kept::Failure)
            }
            What::Off { text } => {
                self.not_heard(host, report, "off", text, 0);
                (RowOf::Stored(None), Kept::Off)
            }
            What::EventsOnly => (RowOf::Stored(None), Kept::Unchanged),
        };
        let events = match &report.events {
            Some(events) => self.events(host, report, events),
            None => EventsKept::None,
        };
        self.drafts.push(Draft {
            host,
            row,
            kept,
            events,
        });
    }

    fn heard(&mut self, host: usize, report: &'a Prepared, heard: &'a PreparedHeard) -> (RowOf, Kept) {
        let at = report.at;
        self.hours.heard(host, at, report.took);
        let state = &self.hosts[host].state;
        let changed = state.stored_digest.as_deref() != Some(heard.digest.as_str());
        if self.order.is_older(state.last_success_at, at) {
            let row = match self.document(heard) {
                Ok(document) if changed || self.keep == Keep::Every => {
                    self.add_row(host, heard, document, at)
                }
                _ => RowOf::Stored(state.last_heartbeat_id),
            };
            return (row, Kept::Older);
        }
        let is_due = changed || self.is_due(state, at);
        self.hours.known(host, state, at);
        for change in changes::between(state, heard) {
            if change.field == "boot" && change.old.is_some() {
                self.hours.booted(host, at);
            }
            self.changes.push((host, at, change));
        }
        let outcome = match (is_due, &state.set_aside) {
            (false, Some(reason)) => (
                RowOf::Stored(state.last_heartbeat_id),
                Kept::SetAside(reason.clone()),
            ),
            (false, None) => match self.hosts[host].newest {
                Some(row) => (RowOf::Batch(row), Kept::Unchanged),
                None => (RowOf::Stored(state.last_heartbeat_id), Kept::Unchanged),
            },
            (true, _) => match self.document(heard) {
                Ok(document) => (self.add_row(host, heard, document, at), Kept::Row),
                Err(reason) => (RowOf::Stored(state.last_heartbeat_id), Kept::SetAside(reason)),
            },
        };
        let fold = &mut self.hosts[host];
        fold.seen = Some((heard.stamp, at));
        bring_up_to_date(fold, report, heard, self.order);
        if is_due {
            fold.state.stored_digest = Some(heard.digest.clone());
            fold.state.stored_at = Some(at);
            fold.state.set_aside = None;
            match &outcome {
                (_, Kept::SetAside(reason)) => fold.state.set_aside = Some(cut(reason, 255)),
                (RowOf::Batch(row), _) => fold.newest = Some(*row),
                _ => {}
            }
        }
        outcome
    }

    /// Whether a document that did not change is stored nevertheless.
    fn is_due(&self, state: &StateRow, at: NaiveDateTime) -> bool {
        let pause = match self.keep {
            Keep::Every if state.set_aside.is_some() => TRY_AGAIN,
            Keep::Every => return true,
            Keep::Changes { keep_alive } => TimeDelta::from_std(keep_alive).unwrap_or(TimeDelta::MAX),
        };
        let stored_at = state.stored_at;
        stored_at.is_none_or(|stored| at - stored >= pause || self.order.is_put_back(stored, at))
    }

    /// The text that is to be stored, or why there is none.
    fn document(&self, heard: &'a PreparedHeard) -> Result<Cow<'a, str>, String> {
        let document = heard.document.as_ref().map_err(String::clone)?;
        let document = match self.care {
            Care::Plain => Cow::Borrowed(document.as_str()),
            Care::Ascii => Cow::Owned(ascii_json(document)),
            Care::SetAside(reason) | Care::Bare(reason) => return Err(reason.clone()),
        };
        let limit = self.limits.document;
        if document.len() > limit {
            return Err(format!(
                "the document has {} bytes, and the database takes {limit}",
                document.len()
            ));
        }
        Ok(document)
    }

    fn add_row(
        &mut self,
        host: usize,
        heard: &'a PreparedHeard,
        document: Cow<'a, str>,
        at: NaiveDateTime,
    ) -> RowOf {
        self.heartbeats.push(HeartbeatRow {
            host,
            heard,
            document,
            created_at: seconds(at),
        });
        RowOf::Batch(self.heartbeats.len() - 1)
    }

    fn not_heard(&mut self, host: usize, report: &Prepared, code: &str, text: &str, failures: i32) {
        let order = self.order;
        let fold = &mut self.hosts[host];
        let state = &mut fold.state;
        if order.is_older(state.last_attempt_at, report.at) {
            return;
        }
        state.last_attempt_at = Some(report.at);
        state.failures_in_row = state.failures_in_row.saturating_add(failures).min(MAX_FAILURES);
        state.last_error_code = Some(code.to_owned());
        state.last_error = Some(text.to_owned());
        state.updated_at = report.at;
        fold.is_state_new = true;
    }

    fn events(&mut self, host: usize, report: &Prepared, events: &PreparedEvents) -> EventsKept {
        let fold = &mut self.hosts[host];
        if let Some((from, to)) = events.cursor {
            let stored = fold.cursor.map(|row| row.cursor);
            if stored != from {
                return EventsKept::Stale { cursor: stored };
            }
            if stored != Some(to) {
                fold.cursor = Some(CursorRow::moved(fold.cursor, to));
                fold.is_cursor_new = true;
            }
        }
        let is_of_file = events.cursor.is_some();
        let now = seconds(report.at);
        let mut new = 0;
        for event in &events.rows {
            if events.compare && fold.known.holds(event, is_of_file) {
                continue;
            }
            let payload = match self.care {
                Care::Plain => event.payload.clone(),
                Care::Ascii => ascii_json(&event.payload),
                Care::SetAside(reason) => {
                    let aside = serde_json::json!({"setAside": reason, "text": event.payload});
                    ascii_json(&aside.to_string())
                }
                Care::Bare(_) => continue,
            };
            new += 1;
            fold.known.add(event, is_of_file);
            self.events.push(vec![
                fold.id.into(),
                KIND.into(),
                event.stamp.into(),
                payload.into(),
                now.into(),
            ]);
        }
        EventsKept::Stored {
            new,
            to: fold.cursor.map(|row| row.cursor).unwrap_or_default(),
        }
    }
}

fn bring_up_to_date(fold: &mut HostFold<'_>, report: &Prepared, heard: &PreparedHeard, order: Order) {
    let state = &mut fold.state;
    if !order.is_older(state.last_attempt_at, report.at) {
        state.last_attempt_at = Some(report.at);
    }
    if changes::is_new_boot(state, heard) {
        state.booted_at = heard.booted_at;
    }
    let power_at = heard.power_at.and_then(microseconds);
    if power_at.is_some() || heard.power_mode.is_some() {
        state.power_at = power_at;
        state.power_mode.clone_from(&heard.power_mode);
    }
    state.last_success_at = Some(report.at);
    state.failures_in_row = 0;
    state.last_error_code = None;
    state.last_error = None;
    state.ready = heard.ready;
    state.local_mode = heard.local_mode;
    state.local_session = heard.local_session;
    state.reported_at = heard.reported_at;
    state.clock_offset_ms = heard.offset_ms;
    state.last_forced_logoff_ts = heard.logoff_at.and_then(microseconds);
    state.took_ms = Some(i32::try_from(report.took.as_millis()).unwrap_or(i32::MAX));
    state.updated_at = report.at;
    fold.is_state_new = true;
}

/// Which of two observations is the older one. Reports come late, and clocks are put right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// By our clock, as it is being written.
    pub(crate) now: NaiveDateTime,
}

impl Order {
    /// Whether something newer is stored.
    fn is_older(self, stored: Option<NaiveDateTime>, at: NaiveDateTime) -> bool {
        stored.is_some_and(|stored| stored > at && !self.is_put_back(stored, at))
    }

    /// Whether what is stored is later than `at` only because of a clock that was ahead: this worker's, before it was put
    /// back, or another's. What came late is older than now, and so is what it must not overwrite.
    fn is_put_back(self, stored: NaiveDateTime, at: NaiveDateTime) -> bool {
        let is_to_come = stored > at && stored - self.now > AHEAD;
        is_to_come || stored - at > CLOCK_PUT_BACK
    }
}

fn seconds(at: NaiveDateTime) -> NaiveDateTime {
    whole_seconds(at.and_utc()).unwrap_or(at)
}
