//! The registry of workers.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[Step {
    name: "m030_ops_workers",
    change: Change::Table {
        table: "ops_workers",
        definition: workers,
    },
}];

/// `started_at`, `last_heartbeat`, `last_progress` and `lease_until` are in milliseconds of the database's clock.
/// `instance` is new at every start of a process.
fn workers(d: &Dialect) -> String {
    format!(
        "(id {id}, name VARCHAR(128) NOT NULL UNIQUE, role VARCHAR(16) NOT NULL, host VARCHAR(255) NOT NULL, \
         instance CHAR(36) NOT NULL, status VARCHAR(16) NOT NULL, status_reason VARCHAR(255) NULL, \
         capabilities TEXT NOT NULL, running_jobs INT NOT NULL DEFAULT 0, version VARCHAR(64) NOT NULL, \
         started_at BIGINT NOT NULL, last_heartbeat BIGINT NOT NULL, last_progress BIGINT NOT NULL, \
         lease_until BIGINT NOT NULL){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}
