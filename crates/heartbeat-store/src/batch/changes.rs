//! `ops_host_changes`: what a report changed, one row for each field that did.

use chrono::{NaiveDateTime, SecondsFormat, TimeDelta};
use sea_orm::Value;

use crate::batch::state_row::StateRow;
use crate::columns::{cut, microseconds};
use crate::prepared::PreparedHeard;

pub(crate) const COLUMNS: [&str; 6] = ["host_name", "at", "field", "old_value", "new_value", "station_at"];

/// Two looks at one boot differ by so much: it is counted back from now.
const BOOT_JITTER: TimeDelta = TimeDelta::seconds(60);

/// A row, but for the host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) field: &'static str,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    pub(crate) station_at: Option<NaiveDateTime>,
}

impl Change {
    pub(crate) fn values(self, host_name: &str, at: NaiveDateTime) -> Vec<Value> {
        vec![
            host_name.into(),
            at.into(),
            self.field.into(),
            self.old.map(|old| cut(&old, 64)).into(),
            self.new.map(|new| cut(&new, 64)).into(),
            self.station_at.into(),
        ]
    }
}

/// Whether the host was booted since the boot that is known.
pub(crate) fn is_new_boot(last: &StateRow, heard: &PreparedHeard) -> bool {
    match (last.booted_at, heard.booted_at) {
        (None, Some(_)) => true,
        (Some(known), Some(booted)) => booted > known + BOOT_JITTER,
        (_, None) => false,
    }
}

/// What is new beside the last report. The first one of a host begins the history of each field it knows.
pub(crate) fn between(last: &StateRow, heard: &PreparedHeard) -> Vec<Change> {
    let flag = |flag: Option<bool>| flag.map(|flag| flag.to_string());
    let mut changes = Vec::new();
    for (field, old, new) in [
        ("ready", last.ready, heard.ready),
        ("local_mode", last.local_mode, heard.local_mode),
        ("local_session", last.local_session, heard.local_session),
    ] {
        if old != new {
            changes.push(Change {
                field,
                old: flag(old),
                new: flag(new),
                station_at: heard.reported_at,
            });
        }
    }
    let power_at = heard.power_at.and_then(microseconds);
    let is_named = power_at.is_some() || heard.power_mode.is_some();
    if is_named && (&last.power_mode, last.power_at) != (&heard.power_mode, power_at) {
        changes.push(Change {
            field: "power",
            old: last.power_mode.clone(),
            new: heard.power_mode.clone(),
            station_at: power_at,
        });
    }
    if is_new_boot(last, heard) {
        let stamp = |at: NaiveDateTime| at.and_utc().to_rfc3339_opts(SecondsFormat::Secs, true);
        changes.push(Change {
            field: "boot",
            old: last.booted_at.map(stamp),
            new: heard.booted_at.map(stamp),
            station_at: None,
        });
    }
    changes
}
