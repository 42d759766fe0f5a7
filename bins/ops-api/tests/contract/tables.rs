//! 1.10: the tables, with the columns that other services name.

use crate::harness::{count, execute};
use crate::site::Site;

walk! {
    Site::start;

    async fn s1_10_every_table_has_its_columns(site) {
        for (table, columns) in [
            ("lab_hosts", "id, name, address, mac, mode, last_seen, created_at, updated_at"),
            ("lab_host_heartbeat", "id, host_id, timestamp_utc, ready, local_mode, local_session, last_forced_logoff_ts, \
                last_forced_logoff_user, last_power_action_ts, last_power_action_mode, raw_json, created_at"),
            ("lab_host_events", "id, host_id, kind, timestamp_utc, payload, created_at"),
            ("reservation_operations", "id, reservation_id, lab_id, host, action, status, success, response_code, \
                duration_ms, payload, message, created_at"),
            ("lab_reservations", "id, transaction_hash, user_id, wallet_address, lab_id, start_time, end_time, \
                block_number, contract_address, status, created_at, updated_at"),
        ] {
            let rows = count(site.database(), &format!("SELECT COUNT(*) FROM (SELECT {columns} FROM {table}) AS t")).await;
            assert_eq!(rows, 0, "{table}");
        }
    }

    async fn s1_10_another_service_may_leave_out_what_has_a_default(site) {
        let db = site.database();
        execute(db, "INSERT INTO lab_hosts (name, address) VALUES ('other', '10.0.0.9')", []).await;
        let sql = "SELECT COUNT(*) FROM lab_hosts WHERE mode = 'pure' AND created_at IS NOT NULL AND updated_at IS NOT NULL";
        assert_eq!(count(db, sql).await, 1);
        execute(db, "INSERT INTO reservation_operations (reservation_id, host, action, status) VALUES ('r', 'h', 'wake', 'x')", []).await;
        let sql = "SELECT COUNT(*) FROM reservation_operations WHERE success = 0 AND created_at IS NOT NULL";
        assert_eq!(count(db, sql).await, 1);
        execute(db, "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time) \
            VALUES ('0xd', '1', '2026-03-01 09:00:00', '2026-03-01 10:00:00')", []).await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM lab_reservations WHERE status = 'PENDING'").await, 1);
    }

    async fn s1_10_a_name_is_there_once_and_a_host_takes_its_rows_along(site) {
        let db = site.database();
        execute(db, "INSERT INTO lab_hosts (name, address) VALUES ('twice', 'a')", []).await;
        let again = db.statement("INSERT INTO lab_hosts (name, address) VALUES ('twice', 'b')", []);
        assert!(sea_orm::ConnectionTrait::execute_raw(db.connection(), again).await.is_err());
        execute(db, "INSERT INTO lab_host_heartbeat (host_id, timestamp_utc, raw_json) \
            SELECT id, '2026-03-01 09:00:00', '{}' FROM lab_hosts WHERE name = 'twice'", []).await;
        execute(db, "DELETE FROM lab_hosts WHERE name = 'twice'", []).await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM lab_host_heartbeat").await, 0);
    }
}
