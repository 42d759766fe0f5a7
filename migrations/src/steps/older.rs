//! The tables that the older worker and the gateway share with us, as they define them.
//!
//! Source: the contract, section 1.10.

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DbErr, Statement};
use store_support::Backend;

use super::{Change, Step};
use crate::schema::{Dialect, backend, create_index, create_table};

pub(super) const STEPS: &[Step] = &[
    Step {
        name: "m001_lab_hosts",
        change: Change::Heartbeats("hosts"),
    },
    Step {
        name: "m002_lab_host_heartbeat",
        change: Change::Heartbeats("heartbeat"),
    },
    Step {
        name: "m003_lab_host_heartbeat_by_time",
        change: Change::Heartbeats("heartbeat_by_time"),
    },
    Step {
        name: "m004_lab_host_events",
        change: Change::Heartbeats("events"),
    },
    Step {
        name: "m005_lab_host_events_by_kind",
        change: Change::Heartbeats("events_by_kind"),
    },
    Step {
        name: "m006_reservation_operations",
        change: Change::Table {
            table: "reservation_operations",
            definition: operations,
        },
    },
    Step {
        name: "m007_reservation_operations_by_action",
        change: Change::Index {
            name: "idx_reservation_operations_action",
            table: "reservation_operations",
            columns: &["reservation_id", "action"],
        },
    },
    // Ours, so that a page of the timeline costs the same among a thousand rows and ten million.
    Step {
        name: "m008_reservation_operations_by_time",
        change: Change::Index {
            name: "idx_reservation_operations_time",
            table: "reservation_operations",
            columns: &["reservation_id", "created_at", "id"],
        },
    },
    Step {
        name: "m009_lab_reservations",
        change: Change::Reservations,
    },
];

fn operations(d: &Dialect) -> String {
    format!(
        "(id {id}, reservation_id VARCHAR(128) NOT NULL, lab_id VARCHAR(128) NULL, host VARCHAR(128) NOT NULL, \
         action VARCHAR(32) NOT NULL, status VARCHAR(32) NOT NULL, success BOOLEAN NOT NULL DEFAULT FALSE, \
         response_code INT NULL, duration_ms INT NULL, payload {json} NULL, message TEXT NULL, \
         created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP){engine}",
        id = d.id,
        json = d.json,
        engine = d.engine,
    )
}

/// The reference to `auth_users` is made where that table exists with a key of the same type.
pub(super) async fn create_reservations(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.has_table("lab_reservations").await? {
        return Ok(());
    }
    let users = can_refer_to_users(manager).await?;
    create_table(manager, "lab_reservations", |d| reservations(d, users)).await?;
    // One step although several changes: on a table that was made just now they take no time, and one that
    // existed before keeps what it has.
    for (name, columns) in [
        ("idx_lab_reservations_user", &["user_id"][..]),
        ("idx_lab_reservations_wallet", &["wallet_address"]),
        ("idx_lab_reservations_lab", &["lab_id"]),
        ("idx_lab_reservations_start", &["start_time"]),
        (
            "idx_lab_reservations_window",
            &["status", "start_time", "end_time"],
        ),
    ] {
        create_index(manager, name, "lab_reservations", columns).await?;
    }
    Ok(())
}

fn reservations(d: &Dialect, users: bool) -> String {
    let status = d.one_of(
        "status",
        &["PENDING", "CONFIRMED", "ACTIVE", "COMPLETED", "CANCELLED"],
    );
    let users = if users {
        ", FOREIGN KEY (user_id) REFERENCES auth_users (id)"
    } else {
        ""
    };
    // Without a default of their own the first TIMESTAMP would follow every update on older servers, and the
    // second would begin at a date that strict servers refuse.
    format!(
        "(id {id}, transaction_hash VARCHAR(66) NULL UNIQUE, user_id BIGINT NULL, \
         wallet_address VARCHAR(42) NULL, lab_id VARCHAR(128) NULL, \
         start_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, end_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         block_number BIGINT NULL, contract_address VARCHAR(42) NULL, status {status} NOT NULL DEFAULT 'PENDING', \
         created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP{on_update}{users}){engine}",
        id = d.id,
        on_update = d.on_update,
        engine = d.engine,
    )
}

async fn can_refer_to_users(manager: &SchemaManager<'_>) -> Result<bool, DbErr> {
    if !manager.has_table("auth_users").await? {
        return Ok(false);
    }
    if backend(manager)? == Backend::Sqlite {
        return Ok(true);
    }
    let sql = "SELECT CAST(column_type AS CHAR) FROM information_schema.columns \
               WHERE table_schema = DATABASE() AND table_name = 'auth_users' AND column_name = 'id' \
               AND column_key = 'PRI'";
    let read = Statement::from_string(manager.get_database_backend(), sql);
    let kind = match manager.get_connection().query_one_raw(read).await? {
        Some(row) => row.try_get_by_index::<String>(0)?.to_ascii_lowercase(),
        None => return Ok(false),
    };
    Ok(kind.starts_with("bigint") && !kind.contains("unsigned"))
}
