use store_support::{Backend, Database, each_backend};

use crate::{OLDER, count, definition, rows, run_sql};

async fn load_older_schema(db: &Database) {
    let script = match db.backend() {
        Backend::MySql => include_str!("../data/older-mysql.sql"),
        Backend::Sqlite => include_str!("../data/older-sqlite.sql"),
    };
    for statement in script
        .split(";\n")
        .filter(|statement| !statement.trim().is_empty())
    {
        run_sql(db, statement).await;
    }
}

/// Every row of the older tables as text.
async fn contents(db: &Database) -> Vec<String> {
    let mut found = Vec::new();
    for (table, columns) in [
        ("auth_users", "id, email"),
        (
            "lab_hosts",
            "id, name, address, mac, mode, last_seen, created_at, updated_at",
        ),
        (
            "lab_host_heartbeat",
            "id, host_id, timestamp_utc, ready, local_mode, raw_json, created_at",
        ),
        (
            "lab_host_events",
            "id, host_id, kind, timestamp_utc, payload, created_at",
        ),
        (
            "reservation_operations",
            "id, reservation_id, lab_id, host, action, status, success, response_code, \
                                    duration_ms, payload, message, created_at",
        ),
        (
            "lab_reservations",
            "id, transaction_hash, user_id, wallet_address, lab_id, start_time, end_time, status, \
                              created_at, updated_at",
        ),
    ] {
        let joined = columns
            .split(", ")
            .map(|column| format!("COALESCE(CAST({} AS CHAR), '-')", column.trim()));
        let joined = match db.backend() {
            Backend::MySql => format!("CONCAT_WS('|', {})", joined.collect::<Vec<_>>().join(", ")),
            Backend::Sqlite => joined.collect::<Vec<_>>().join(" || '|' || "),
        };
        for row in rows(db, &format!("SELECT {joined} FROM {table} ORDER BY id")).await {
            found.push(format!("{table}: {}", row.try_get_by_index::<String>(0).unwrap()));
        }
    }
    found
}

/// The indexes that we add to tables which others share, so that the history and the reservations are read by them.
const INDEXES: [&str; 5] = [
    "idx_reservation_operations_time",
    "idx_reservation_operations_newest",
    "idx_reservation_operations_host",
    "idx_lab_reservations_lab",
    "idx_lab_host_events_host`",
];

/// A definition without the indexes that we add.
fn without_ours(definition: &str) -> String {
    let theirs = |line: &&str| !INDEXES.iter().any(|index| line.contains(index));
    definition
        .lines()
        .filter(theirs)
        .map(|line| line.trim_end_matches(','))
        .collect::<Vec<_>>()
        .join("\n")
}

each_backend! {
    async fn an_older_schema_is_adopted_as_it_is(test) {
        let db = test.database();
        load_older_schema(db).await;
        let before = contents(db).await;
        assert_eq!(before.len(), 7);
        let mut definitions = Vec::new();
        for table in OLDER {
            definitions.push(without_ours(&definition(db, table).await));
        }
        migrations::run(db.connection()).await.unwrap();
        assert_eq!(contents(db).await, before);
        for (table, definition_before) in OLDER.iter().zip(definitions) {
            assert_eq!(
                without_ours(&definition(db, table).await),
                definition_before,
                "{table}"
            );
        }
    }

    async fn the_older_workers_statements_still_work(test) {
        let db = test.database();
        load_older_schema(db).await;
        migrations::run(db.connection()).await.unwrap();
        older_statements(db).await;
    }

    async fn the_older_workers_statements_work_on_tables_that_we_made(test) {
        let db = test.database();
        migrations::run(db.connection()).await.unwrap();
        run_sql(
            db,
            "INSERT INTO lab_hosts (id, name, address, mac) VALUES (3, 'Lab-WS-01', '10.0.0.11', NULL)",
        )
        .await;
        run_sql(
            db,
            "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) \
             VALUES ('0xaa', '12', '2026-03-01 09:00:00', '2026-03-01 10:00:00', 'CONFIRMED')",
        )
        .await;
        older_statements(db).await;
        assert_eq!(
            count(db, "SELECT COUNT(*) FROM lab_hosts WHERE mode = 'pure'").await,
            1
        );
    }

    async fn a_host_takes_its_heartbeats_along_when_it_is_deleted(test) {
        let db = test.database();
        load_older_schema(db).await;
        migrations::run(db.connection()).await.unwrap();
        run_sql(db, "DELETE FROM lab_hosts WHERE id = 3").await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM lab_host_heartbeat").await, 0);
    }
}

/// What the older worker sends, with the values it would bind.
async fn older_statements(db: &Database) {
    run_sql(
        db,
        "INSERT INTO lab_host_heartbeat (host_id, timestamp_utc, ready, local_mode, local_session, \
         last_forced_logoff_ts, last_forced_logoff_user, last_power_action_ts, last_power_action_mode, raw_json) \
         VALUES (3, '2026-03-01 08:01:00', 1, 0, NULL, NULL, NULL, '2026-02-28 20:00:00', 'shutdown', '{}')",
    )
    .await;
    run_sql(
        db,
        "INSERT INTO lab_host_events (host_id, kind, timestamp_utc, payload) \
         VALUES (3, 'session-guard', '2026-03-01 08:00:30', '{\"user\": \"x\"}')",
    )
    .await;
    run_sql(db, "UPDATE lab_hosts SET address = '10.0.0.12', mac = NULL, last_seen = '2026-03-01 08:01:00' WHERE id = 3")
        .await;
    run_sql(
        db,
        "INSERT INTO reservation_operations (reservation_id, lab_id, host, action, status, success, response_code, \
         duration_ms, payload, message) VALUES ('0xaa', '12', 'Lab-WS-01', 'prepare', 'completed', 1, 0, 812, \
         '{\"exitCode\": 0}', 'Exit code 0')",
    )
    .await;
    let candidates = "SELECT transaction_hash FROM lab_reservations r WHERE r.status = 'CONFIRMED' \
         AND r.start_time >= '2026-03-01 02:58:30' AND r.start_time <= '2026-03-01 09:00:30' \
         AND NOT EXISTS (SELECT 1 FROM reservation_operations o WHERE o.reservation_id = r.transaction_hash \
         AND o.action = 'scheduler:start' AND o.created_at > '2026-03-01 08:57:30') ORDER BY r.start_time";
    let candidates = match db.backend() {
        Backend::MySql => format!("{candidates} LIMIT 200 FOR UPDATE SKIP LOCKED"),
        Backend::Sqlite => format!("{candidates} LIMIT 200"),
    };
    let found: Vec<String> = rows(db, &candidates)
        .await
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    assert_eq!(found, ["0xaa"]);
    let moved = "UPDATE lab_reservations SET status = 'ACTIVE', updated_at = '2026-03-01 08:59:00' \
                 WHERE transaction_hash = '0xaa' AND status = 'CONFIRMED'";
    assert_eq!(run_sql(db, moved).await, 1);
    assert_eq!(run_sql(db, moved).await, 0);
}
