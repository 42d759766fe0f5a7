//! The row of `ops_host_state` as a batch reads, folds and writes it.

use chrono::NaiveDateTime;
use sea_orm::{QueryResult, Value};
use store_support::{Backend, DbErr};

use crate::columns::read_instant;

/// In the order of [`StateRow::read`] and [`StateRow::values`]; the key first.
pub(crate) const COLUMNS: [&str; 21] = [
    "host_name",
    "last_attempt_at",
    "last_success_at",
    "failures_in_row",
    "last_error_code",
    "last_error",
    "ready",
    "local_mode",
    "local_session",
    "reported_at",
    "clock_offset_ms",
    "last_forced_logoff_ts",
    "last_heartbeat_id",
    "stored_digest",
    "stored_at",
    "set_aside",
    "power_mode",
    "power_at",
    "booted_at",
    "took_ms",
    "updated_at",
];

/// How much of a row a batch changed. Most hosts say the same all day, and what is not sent costs nobody anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// When it was heard, and how.
    Heard,
    /// That, and which row has its document.
    Stored,
    /// Any column.
    Whole,
}

impl Extent {
    /// The columns that are sent, in the order of [`StateRow::values`]; the key first.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        const STORED: [&str; 7] = [
            "host_name",
            "updated_at",
            "reported_at",
            "clock_offset_ms",
            "took_ms",
            "last_heartbeat_id",
            "stored_digest",
        ];
        match self {
            Self::Heard => &STORED[..5],
            Self::Stored => &STORED,
            Self::Whole => &COLUMNS,
        }
    }

    /// Those that say the same as `updated_at`, and so are not sent.
    pub(crate) fn stamps(self) -> &'static [&'static str] {
        const STORED: [&str; 3] = ["last_attempt_at", "last_success_at", "stored_at"];
        match self {
            Self::Heard => &STORED[..2],
            Self::Stored => &STORED,
            Self::Whole => &[],
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StateRow {
    pub(crate) host_name: String,
    pub(crate) last_attempt_at: Option<NaiveDateTime>,
    pub(crate) last_success_at: Option<NaiveDateTime>,
    pub(crate) failures_in_row: i32,
    pub(crate) last_error_code: Option<String>,
    pub(crate) last_error: Option<String>,
    pub(crate) ready: Option<bool>,
    pub(crate) local_mode: Option<bool>,
    pub(crate) local_session: Option<bool>,
    pub(crate) reported_at: Option<NaiveDateTime>,
    pub(crate) clock_offset_ms: Option<i64>,
    pub(crate) last_forced_logoff_ts: Option<NaiveDateTime>,
    pub(crate) last_heartbeat_id: Option<i64>,
    pub(crate) stored_digest: Option<String>,
    pub(crate) stored_at: Option<NaiveDateTime>,
    pub(crate) set_aside: Option<String>,
    pub(crate) power_mode: Option<String>,
    pub(crate) power_at: Option<NaiveDateTime>,
    pub(crate) booted_at: Option<NaiveDateTime>,
    pub(crate) took_ms: Option<i32>,
    pub(crate) updated_at: NaiveDateTime,
}

impl StateRow {
    /// A row of [`COLUMNS`].
    pub(crate) fn read(row: &QueryResult, backend: Backend) -> Result<Self, DbErr> {
        let instant = |index| read_instant(row, index, backend);
        Ok(Self {
            host_name: row.try_get_by_index(0)?,
            last_attempt_at: instant(1)?,
            last_success_at: instant(2)?,
            failures_in_row: row.try_get_by_index(3)?,
            last_error_code: row.try_get_by_index(4)?,
            last_error: row.try_get_by_index(5)?,
            ready: row.try_get_by_index(6)?,
            local_mode: row.try_get_by_index(7)?,
            local_session: row.try_get_by_index(8)?,
            reported_at: instant(9)?,
            clock_offset_ms: row.try_get_by_index(10)?,
            last_forced_logoff_ts: instant(11)?,
            last_heartbeat_id: row.try_get_by_index(12)?,
            stored_digest: row.try_get_by_index(13)?,
            stored_at: instant(14)?,
            set_aside: row.try_get_by_index(15)?,
            power_mode: row.try_get_by_index(16)?,
            power_at: instant(17)?,
            booted_at: instant(18)?,
            took_ms: row.try_get_by_index(19)?,
            updated_at: instant(20)?.unwrap_or_default(),
        })
    }

    /// How far it differs from the row that is stored.
    pub(crate) fn extent(&self, stored: &Self) -> Extent {
        let is_else_equal = self.failures_in_row == stored.failures_in_row
            && self.last_error_code == stored.last_error_code
            && self.last_error == stored.last_error
            && (self.ready, self.local_mode, self.local_session)
                == (stored.ready, stored.local_mode, stored.local_session)
            && self.last_forced_logoff_ts == stored.last_forced_logoff_ts
            && self.set_aside == stored.set_aside
            && (&self.power_mode, self.power_at) == (&stored.power_mode, stored.power_at)
            && self.booted_at == stored.booted_at;
        let is_document_equal = self.last_heartbeat_id == stored.last_heartbeat_id
            && self.stored_digest == stored.stored_digest
            && self.stored_at == stored.stored_at;
        let is_heard_now =
            self.last_attempt_at == Some(self.updated_at) && self.last_success_at == Some(self.updated_at);
        let is_stored_now = self.stored_at == Some(self.updated_at);
        match (is_else_equal && is_heard_now, is_document_equal) {
            (true, true) => Extent::Heard,
            (true, false) if is_stored_now => Extent::Stored,
            _ => Extent::Whole,
        }
    }

    /// The columns of an extent.
    pub(crate) fn values(self, extent: Extent) -> Vec<Value> {
        if extent == Extent::Whole {
            return self.all_values();
        }
        let mut values = Vec::with_capacity(7);
        values.extend([
            self.host_name.into(),
            self.updated_at.into(),
            self.reported_at.into(),
            self.clock_offset_ms.into(),
            self.took_ms.into(),
        ]);
        if extent == Extent::Stored {
            values.extend([self.last_heartbeat_id.into(), self.stored_digest.into()]);
        }
        values
    }

    fn all_values(self) -> Vec<Value> {
        vec![
            self.host_name.into(),
            self.last_attempt_at.into(),
            self.last_success_at.into(),
            self.failures_in_row.into(),
            self.last_error_code.into(),
            self.last_error.into(),
            self.ready.into(),
            self.local_mode.into(),
            self.local_session.into(),
            self.reported_at.into(),
            self.clock_offset_ms.into(),
            self.last_forced_logoff_ts.into(),
            self.last_heartbeat_id.into(),
            self.stored_digest.into(),
            self.stored_at.into(),
            self.set_aside.into(),
            self.power_mode.into(),
            self.power_at.into(),
            self.booted_at.into(),
            self.took_ms.into(),
            self.updated_at.into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<NaiveDateTime> {
        chrono::DateTime::from_timestamp(second, 0).map(|at| at.naive_utc())
    }

    /// A column that is added has to be named in the extents that it belongs to.
    #[test]
    fn an_extent_sends_every_column_that_it_says_differs() {
        let rows: [fn(&mut StateRow); 20] = [
            |row| row.last_attempt_at = at(2),
            |row| row.last_success_at = at(2),
            |row| row.failures_in_row = 1,
            |row| row.last_error_code = Some("x".to_owned()),
            |row| row.last_error = Some("x".to_owned()),
            |row| row.ready = Some(true),
            |row| row.local_mode = Some(true),
            |row| row.local_session = Some(true),
            |row| row.reported_at = at(1),
            |row| row.clock_offset_ms = Some(1),
            |row| row.last_forced_logoff_ts = at(1),
            |row| row.last_heartbeat_id = Some(1),
            |row| row.stored_digest = Some("x".to_owned()),
            |row| row.stored_at = at(2),
            |row| row.set_aside = Some("x".to_owned()),
            |row| row.power_mode = Some("x".to_owned()),
            |row| row.power_at = at(1),
            |row| row.booted_at = at(1),
            |row| row.took_ms = Some(1),
            |row| row.updated_at = at(2).unwrap(),
        ];
        let heard = |at: Option<NaiveDateTime>| StateRow {
            last_attempt_at: at,
            last_success_at: at,
            stored_at: at,
            updated_at: at.unwrap(),
            ..StateRow::default()
        };
        for (column, change) in COLUMNS[1..].iter().zip(rows) {
            let (stored, mut row) = (heard(at(1)), heard(at(1)));
            change(&mut row);
            let extent = row.extent(&stored);
            let columns = extent.columns();
            let place = columns.iter().position(|name| name == column);
            assert!(place.is_some(), "{column}");
            let (values, before) = (row.values(extent), stored.values(extent));
            assert_eq!(values.len(), columns.len());
            let differing: Vec<usize> = (0..values.len()).filter(|i| values[*i] != before[*i]).collect();
            assert_eq!(differing, Vec::from_iter(place), "{column}");
        }
    }

    /// Whoever is not sent has to be the stamp that is.
    #[test]
    fn stamps_that_are_not_sent_say_the_same_as_the_one_that_is() {
        let stored = StateRow::default();
        let heard = StateRow {
            last_attempt_at: at(1),
            last_success_at: at(1),
            updated_at: at(1).unwrap(),
            ..StateRow::default()
        };
        assert_eq!(heard.extent(&stored), Extent::Heard);
        let kept = StateRow {
            stored_at: at(1),
            ..heard.clone()
        };
        assert_eq!(kept.extent(&stored), Extent::Stored);
        let kept_before = StateRow {
            stored_at: at(0),
            ..heard.clone()
        };
        assert_eq!(kept_before.extent(&stored), Extent::Whole);
        let failed_since = StateRow {
            last_attempt_at: at(2),
            updated_at: at(2).unwrap(),
            ..heard
        };
        assert_eq!(failed_since.extent(&stored), Extent::Whole);
        for extent in [Extent::Heard, Extent::Stored] {
            let mut named = [extent.columns(), extent.stamps()].concat();
            named.sort_unstable();
            named.dedup();
            assert_eq!(named.len(), extent.columns().len() + extent.stamps().len());
            assert!(named.iter().all(|column| COLUMNS.contains(column)), "{named:?}");
        }
    }
}
