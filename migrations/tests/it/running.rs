use std::collections::BTreeSet;

use store_support::each_backend;

use crate::{OLDER, OURS, count, definition, run_sql};

each_backend! {
    async fn an_empty_schema_gets_every_table_and_the_next_run_does_nothing(test) {
        let db = test.database();
        let first = migrations::run(db.connection()).await.unwrap();
        let all = first.applied.len();
        assert_eq!((all >= 19, first.already), (true, 0));
        for table in OLDER.iter().chain(&OURS) {
            assert_eq!(
                count(db, &format!("SELECT COUNT(*) FROM {table}")).await,
                0,
                "{table}"
            );
        }
        let second = migrations::run(db.connection()).await.unwrap();
        assert_eq!((second.applied.len(), second.already), (0, all));
        db.ping().await.unwrap();
    }

    async fn six_processes_that_start_at_once_all_succeed(test) {
        let mut starts = Vec::new();
        for _ in 0..6 {
            let db = test.reopen().await;
            starts.push(tokio::spawn(async move {
                let report = migrations::run(db.connection()).await;
                db.close().await;
                report
            }));
        }
        let mut applied = Vec::new();
        for start in starts {
            applied.extend(start.await.unwrap().unwrap().applied);
        }
        let distinct: BTreeSet<&String> = applied.iter().collect();
        assert_eq!(applied.len(), distinct.len(), "each migration ran once");
        let recorded = count(test.database(), "SELECT COUNT(*) FROM ops_migrations").await;
        assert_eq!(usize::try_from(recorded).unwrap(), applied.len());
    }

    async fn a_run_that_died_before_it_was_recorded_is_simply_repeated(test) {
        let db = test.database();
        let first = migrations::run(db.connection()).await.unwrap();
        run_sql(db, "INSERT INTO ops_leases (name, fence) VALUES ('host:a', 3)").await;
        run_sql(db, "DELETE FROM ops_migrations").await;
        let again = migrations::run(db.connection()).await.unwrap();
        assert_eq!(again.applied, first.applied);
        assert_eq!(
            count(db, "SELECT COUNT(*) FROM ops_leases WHERE fence = 3").await,
            1
        );
    }

    async fn a_lock_that_a_dead_process_left_expires(test) {
        let db = test.database();
        migrations::run(db.connection()).await.unwrap();
        let soon = format!(
            "UPDATE ops_schema_lock SET holder = 'dead', lease_until = {} + 700",
            db.backend().now_ms()
        );
        run_sql(db, &soon).await;
        migrations::run(db.connection()).await.unwrap();
        assert_eq!(
            count(db, "SELECT COUNT(*) FROM ops_schema_lock WHERE holder IS NULL").await,
            1
        );
    }

    async fn a_reservation_refers_to_its_user_only_where_users_exist(test) {
        let db = test.database();
        run_sql(db, "CREATE TABLE auth_users (id BIGINT NOT NULL PRIMARY KEY)").await;
        migrations::run(db.connection()).await.unwrap();
        assert!(definition(db, "lab_reservations").await.contains("auth_users"));
    }

    async fn unknown_words_of_a_status_are_refused(test) {
        let db = test.database();
        migrations::run(db.connection()).await.unwrap();
        assert!(!definition(db, "lab_reservations").await.contains("auth_users"));
        let insert = "INSERT INTO lab_reservations (transaction_hash, start_time, end_time, status) \
                      VALUES ('0x1', '2026-03-01 09:00:00', '2026-03-01 10:00:00', 'NONSENSE')";
        let refused = sea_orm::ConnectionTrait::execute_unprepared(db.connection(), insert).await;
        assert!(refused.is_err());
    }
}
