//! How the tables of a fleet grow under the default retention, by the formula.

use heartbeat_store::{HostDay, RetentionSettings};
use store_support::Backend;

use crate::table::{grouped, head, line};

/// The table.
pub(crate) fn text() -> String {
    let (day, retention) = (HostDay::default(), RetentionSettings::default());
    let mut text = head(&[
        "hosts", "after", "reports", "events", "changes", "hours", "MariaDB", "SQLite",
    ]);
    for hosts in [100, 1_000, 10_000] {
        for days in [1, 7, 30, 365] {
            let rows = day.rows_after(days, hosts, &retention);
            let bytes = |backend| {
                let bytes = day.bytes_after(days, hosts, &retention, backend).total();
                format!("{} MB", grouped(bytes / 1e6))
            };
            text += &line(&[
                grouped(f64::from(hosts)),
                format!("{days} d"),
                grouped(rows.heartbeats),
                grouped(rows.events),
                grouped(rows.changes),
                grouped(rows.hours),
                bytes(Backend::MySql),
                bytes(Backend::Sqlite),
            ]);
        }
    }
    text + "\n"
}
