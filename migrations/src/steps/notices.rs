//! What operators are told: the outbox of notices, of which hosts there was an alert or a silence, and which receivers
//! want no more of it.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[
    Step {
        name: "m070_ops_notices",
        change: Change::Table {
            table: "ops_notices",
            definition: notices,
        },
    },
    Step {
        name: "m071_ops_notices_by_state",
        change: Change::Index {
            name: "idx_ops_notices_state",
            table: "ops_notices",
            columns: &["state", "next_try_at"],
        },
    },
    Step {
        name: "m072_ops_notices_by_host",
        change: Change::Index {
            name: "idx_ops_notices_host",
            table: "ops_notices",
            columns: &["host", "kind", "created_at"],
        },
    },
    Step {
        name: "m073_ops_alerts",
        change: Change::Table {
            table: "ops_alerts",
            definition: alerts,
        },
    },
    Step {
        name: "m074_ops_silences",
        change: Change::Table {
            table: "ops_silences",
            definition: silences,
        },
    },
    Step {
        name: "m075_ops_gone_receivers",
        change: Change::Table {
            table: "ops_gone_receivers",
            definition: gone_receivers,
        },
    },
];

/// One row for each notice and receiver. `lease_until`, `next_try_at`, `created_at` and `settled_at` are in
/// milliseconds of the database's clock; `fence` grows with each try.
fn notices(d: &Dialect) -> String {
    format!(
        "(id {id}, notice_id CHAR(36) NOT NULL, kind VARCHAR(32) NOT NULL, host VARCHAR(128) NULL, \
         reservation_id VARCHAR(128) NULL, lab_id VARCHAR(128) NULL, body TEXT NOT NULL, \
         target VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, tries INT NOT NULL DEFAULT 0, \
         fence BIGINT NOT NULL DEFAULT 0, lease_until BIGINT NOT NULL DEFAULT 0, next_try_at BIGINT NOT NULL, \
         created_at BIGINT NOT NULL, settled_at BIGINT NULL, last_status INT NULL, last_error VARCHAR(255) NULL, \
         UNIQUE (notice_id, target)){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}

/// `alerted_at` is in milliseconds of the database's clock; `is_open` until the host answers again.
fn alerts(d: &Dialect) -> String {
    format!(
        "(host VARCHAR(128) NOT NULL PRIMARY KEY, alerted_at BIGINT NOT NULL DEFAULT 0, \
         is_open BOOLEAN NOT NULL DEFAULT FALSE){engine}",
        engine = d.engine_exact,
    )
}

/// The hosts of whose silence somebody was told, until they answer; `told_by` names who made or ends the row, `told_at` is
/// in milliseconds of the database's clock.
fn silences(d: &Dialect) -> String {
    format!(
        "(host VARCHAR(128) NOT NULL PRIMARY KEY, told_by CHAR(36) NOT NULL, told_at BIGINT NOT NULL){engine}",
        engine = d.engine_exact,
    )
}

/// Receivers that answered 410; `gone_at` is in milliseconds of the database's clock.
fn gone_receivers(d: &Dialect) -> String {
    format!(
        "(target VARCHAR(64) NOT NULL PRIMARY KEY, gone_at BIGINT NOT NULL){engine}",
        engine = d.engine_exact,
    )
}
