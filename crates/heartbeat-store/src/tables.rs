//! How the tables are called: the names that are shared with the older worker, or an embedder's own.

use std::fmt;

/// What stands in front of every table's name.
///
/// The default are the names that the older worker and the gateway share with us (`lab_hosts`, `ops_host_state`). Another
/// prefix gives tables of its own: `acme_` makes `acme_hosts`, `acme_host_state` and so on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TablePrefix(Option<String>);

/// The text is no prefix for table names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no table prefix: it has 1 to 24 of a-z, 0-9 and _, and begins with a letter")]
pub struct InvalidPrefix(String);

impl TablePrefix {
    /// Reads a prefix: 1 to 24 of `a-z`, `0-9` and `_`, a letter first.
    ///
    /// # Errors
    /// [`InvalidPrefix`] for anything else, since names are part of the SQL.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if begins && text.len() <= 24 && text.chars().all(plain) {
            Ok(Self(Some(text.to_owned())))
        } else {
            Err(InvalidPrefix(text.chars().take(64).collect()))
        }
    }

    /// The name of one table; `shared` is what it is called without a prefix.
    fn table(&self, shared: &str, own: &str) -> String {
        match &self.0 {
            None => shared.to_owned(),
            Some(prefix) => format!("{prefix}{own}"),
        }
    }
}

impl fmt::Display for TablePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or_default())
    }
}

/// The names under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) hosts: String,
    pub(crate) heartbeats: String,
    pub(crate) events: String,
    pub(crate) state: String,
    pub(crate) cursors: String,
    pub(crate) changes: String,
    pub(crate) hours: String,
    pub(crate) writers: String,
    pub(crate) retention: String,
}

impl Tables {
    pub(crate) fn of(prefix: &TablePrefix) -> Self {
        Self {
            hosts: prefix.table("lab_hosts", "hosts"),
            heartbeats: prefix.table("lab_host_heartbeat", "host_heartbeat"),
            events: prefix.table("lab_host_events", "host_events"),
            state: prefix.table("ops_host_state", "host_state"),
            cursors: prefix.table("ops_event_cursors", "event_cursors"),
            changes: prefix.table("ops_host_changes", "host_changes"),
            hours: prefix.table("ops_host_hours", "host_hours"),
            writers: prefix.table("ops_heartbeat_writers", "heartbeat_writers"),
            retention: prefix.table("ops_retention", "heartbeat_retention"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_part_of_the_sql_and_so_is_checked() {
        for text in ["", "1a", "_a", "A", "a b", "a`b", "a;b", "ä", &"a".repeat(25)] {
            assert!(TablePrefix::parse(text).is_err(), "{text:?}");
        }
        let names = Tables::of(&TablePrefix::parse("acme_").unwrap());
        assert_eq!(
            (names.hosts.as_str(), names.state.as_str()),
            ("acme_hosts", "acme_host_state")
        );
        assert_eq!(
            Tables::of(&TablePrefix::default()).heartbeats,
            "lab_host_heartbeat"
        );
    }
}
