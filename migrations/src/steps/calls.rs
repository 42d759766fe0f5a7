//! What callers asked for and what came of it, the audit trail, and the indexes by which the history is read newest
//! first.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[
    Step {
        name: "m040_ops_calls",
        change: Change::Table {
            table: "ops_calls",
            definition: calls,
        },
    },
    Step {
        name: "m041_ops_calls_by_state",
        change: Change::Index {
            name: "idx_ops_calls_state",
            table: "ops_calls",
            columns: &["state", "lease_until"],
        },
    },
    Step {
        name: "m042_ops_audit",
        change: Change::Table {
            table: "ops_audit",
            definition: audit,
        },
    },
    Step {
        name: "m043_ops_audit_by_caller",
        change: Change::Index {
            name: "idx_ops_audit_caller",
            table: "ops_audit",
            columns: &["caller", "id"],
        },
    },
    Step {
        name: "m044_ops_audit_by_subject",
        change: Change::Index {
            name: "idx_ops_audit_subject",
            table: "ops_audit",
            columns: &["subject", "id"],
        },
    },
    Step {
        name: "m045_reservation_operations_newest",
        change: Change::Index {
            name: "idx_reservation_operations_newest",
            table: "reservation_operations",
            columns: &["created_at", "id"],
        },
    },
    Step {
        name: "m046_reservation_operations_by_host",
        change: Change::Index {
            name: "idx_reservation_operations_host",
            table: "reservation_operations",
            columns: &["host", "created_at", "id"],
        },
    },
    Step {
        name: "m047_ops_attempts_by_step",
        change: Change::Index {
            name: "idx_ops_attempts_step",
            table: "ops_attempts",
            columns: &["step", "outcome_at"],
        },
    },
    // A table that another service made may be without it.
    Step {
        name: "m048_lab_reservations_by_lab",
        change: Change::Index {
            name: "idx_lab_reservations_lab",
            table: "lab_reservations",
            columns: &["lab_id"],
        },
    },
];

/// `lease_until` is in milliseconds of the database's clock: past it, whoever ran the call is gone. `digest` is of the
/// request, salted with the id. Calls without a key do not meet in the unique index, since NULLs differ.
fn calls(d: &Dialect) -> String {
    format!(
        "(seq {id}, id CHAR(36) NOT NULL UNIQUE, kind VARCHAR(16) NOT NULL, host VARCHAR(128) NULL, \
         reservation_id VARCHAR(128) NULL, lab_id VARCHAR(128) NULL, caller VARCHAR(128) NOT NULL, \
         request_id VARCHAR(128) NULL, idempotency_key VARCHAR(128) NULL, digest CHAR(64) NOT NULL, \
         state VARCHAR(16) NOT NULL, answer_status INT NULL, answer_body MEDIUMTEXT NULL, \
         worker VARCHAR(190) NOT NULL, lease_until BIGINT NOT NULL DEFAULT 0, created_at DATETIME(6) NOT NULL, \
         started_at DATETIME(6) NULL, ended_at DATETIME(6) NULL, UNIQUE (caller, idempotency_key)){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}

/// `status` and `code` stay NULL when nobody lived to write them.
fn audit(d: &Dialect) -> String {
    format!(
        "(id {id}, at DATETIME(6) NOT NULL, request_id VARCHAR(128) NOT NULL, caller VARCHAR(128) NOT NULL, \
         role VARCHAR(16) NOT NULL, from_address VARCHAR(64) NOT NULL, action VARCHAR(190) NOT NULL, \
         subject VARCHAR(128) NULL, detail TEXT NULL, status INT NULL, code VARCHAR(64) NULL, \
         ended_at DATETIME(6) NULL){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}
