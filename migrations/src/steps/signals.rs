//! What one process tells all others on the database.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[Step {
    name: "m080_ops_signals",
    change: Change::Table {
        table: "ops_signals",
        definition: signals,
    },
}];

/// `generation` grows with each call; `at` is in milliseconds of the database's clock.
fn signals(d: &Dialect) -> String {
    format!(
        "(name VARCHAR(64) NOT NULL PRIMARY KEY, generation BIGINT NOT NULL DEFAULT 0, \
         at BIGINT NOT NULL DEFAULT 0){}",
        d.engine_exact
    )
}
