//! Hosts at which an engineer works.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[Step {
    name: "m050_ops_maintenance",
    change: Change::Table {
        table: "ops_maintenance",
        definition: maintenance,
    },
}];

/// At most one row for each host; `host` is the name in lower case, `host_name` as it was written. A row is taken out
/// when somebody ends it; one whose `until_at` has passed counts as none, until it is replaced.
fn maintenance(d: &Dialect) -> String {
    format!(
        "(host VARCHAR(128) NOT NULL PRIMARY KEY, host_name VARCHAR(128) NOT NULL, reason VARCHAR(256) NOT NULL, \
         owner VARCHAR(128) NOT NULL, since_at DATETIME(6) NOT NULL, until_at DATETIME(6) NULL, \
         updated_at DATETIME(6) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}
