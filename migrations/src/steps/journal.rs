//! Our own tables: claims, the journal of operations and their attempts, and what is known of each host.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[
    Step {
        name: "m010_ops_leases",
        change: Change::Table {
            table: "ops_leases",
            definition: leases,
        },
    },
    Step {
        name: "m011_ops_operations",
        change: Change::Table {
            table: "ops_operations",
            definition: operations,
        },
    },
    Step {
        name: "m012_ops_operations_by_reservation",
        change: Change::Index {
            name: "idx_ops_operations_reservation",
            table: "ops_operations",
            columns: &["reservation_id"],
        },
    },
    Step {
        name: "m013_ops_operations_by_state",
        change: Change::Index {
            name: "idx_ops_operations_state",
            table: "ops_operations",
            columns: &["state", "due_at"],
        },
    },
    Step {
        name: "m014_ops_operations_by_host",
        change: Change::Index {
            name: "idx_ops_operations_host",
            table: "ops_operations",
            columns: &["host", "state"],
        },
    },
    Step {
        name: "m015_ops_operations_by_release",
        change: Change::Index {
            name: "idx_ops_operations_release",
            table: "ops_operations",
            columns: &["owes_release", "due_at"],
        },
    },
    Step {
        name: "m016_ops_attempts",
        change: Change::Table {
            table: "ops_attempts",
            definition: attempts,
        },
    },
    Step {
        name: "m017_ops_attempts_by_operation",
        change: Change::Index {
            name: "idx_ops_attempts_operation",
            table: "ops_attempts",
            columns: &["operation_id"],
        },
    },
    Step {
        name: "m018_ops_host_state",
        change: Change::Heartbeats("host_state"),
    },
    Step {
        name: "m019_ops_host_timings",
        change: Change::Table {
            table: "ops_host_timings",
            definition: host_timings,
        },
    },
];

/// `lease_until` is in milliseconds of the database's clock; `fence` grows with each change of holder.
fn leases(d: &Dialect) -> String {
    format!(
        "(name VARCHAR(190) NOT NULL PRIMARY KEY, holder VARCHAR(190) NULL, fence BIGINT NOT NULL DEFAULT 0, \
         lease_until BIGINT NOT NULL DEFAULT 0){}",
        d.engine_exact
    )
}

/// `owes_release` marks a start whose host was prepared and not released since, so that a pass finds the few
/// of them without reading the whole history.
fn operations(d: &Dialect) -> String {
    format!(
        "(id {id}, op_key VARCHAR(190) NOT NULL UNIQUE, kind VARCHAR(32) NOT NULL, \
         reservation_id VARCHAR(128) NOT NULL, lab_id VARCHAR(128) NULL, host VARCHAR(128) NOT NULL, \
         state VARCHAR(32) NOT NULL, state_json TEXT NOT NULL, step VARCHAR(32) NULL, \
         token BIGINT NOT NULL DEFAULT 0, prepare_began_at DATETIME(6) NULL, \
         owes_release BOOLEAN NOT NULL DEFAULT FALSE, due_at DATETIME(6) NOT NULL, \
         created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL, \
         journal_version INT NOT NULL DEFAULT 1){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}

fn attempts(d: &Dialect) -> String {
    format!(
        "(id {id}, operation_id BIGINT NOT NULL, step VARCHAR(32) NOT NULL, attempt INT NOT NULL, \
         token BIGINT NOT NULL, intent_at DATETIME(6) NOT NULL, outcome VARCHAR(32) NULL, \
         outcome_at DATETIME(6) NULL, reason_json TEXT NULL, \
         FOREIGN KEY (operation_id) REFERENCES ops_operations (id) ON DELETE CASCADE){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}

/// `reported_at` is the station's clock, the `last_*_at` columns are ours; the offset is station minus ours.
/// The newest samples of each kind as a JSON list of milliseconds; `host` is the name in lower case.
fn host_timings(d: &Dialect) -> String {
    format!(
        "(host VARCHAR(128) NOT NULL PRIMARY KEY, wake_ms TEXT NOT NULL, prepare_ms TEXT NOT NULL, \
         lead_ms BIGINT NOT NULL, updated_at DATETIME(6) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}
