//! Stored credentials, sealed.

use super::{Change, Step};
use crate::schema::Dialect;

pub(super) const STEPS: &[Step] = &[Step {
    name: "m060_ops_credentials",
    change: Change::Table {
        table: "ops_credentials",
        definition: credentials,
    },
}];

/// `created_at` and `updated_at` are in milliseconds of the database's clock.
fn credentials(d: &Dialect) -> String {
    format!(
        "(ref VARCHAR(64) NOT NULL PRIMARY KEY, format BIGINT NOT NULL, key_id VARCHAR(32) NOT NULL, \
         nonce BLOB NOT NULL, ciphertext BLOB NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, \
         updated_by VARCHAR(128) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}
