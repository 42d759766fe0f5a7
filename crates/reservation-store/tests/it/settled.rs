//! What lies behind costs a pass nothing.

use std::collections::BTreeSet;

use reservation_engine::Store as _;
use reservation_store::ReservationStore;
use store_support::{Backend, Database, DatabaseSettings, each_backend};

use crate::{a_reservation, a_store, at, now, rows, run, tell};

/// Reservations a quarter of an hour apart, `number` of them, all over: their starts failed long ago.
async fn settled(db: &Database, number: usize) {
    let digit = "SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
                 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9";
    let numbers = format!(
        "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM ({digit}) a, ({digit}) b, \
         ({digit}) c, ({digit}) e, ({digit}) f"
    );
    let (hash, start) = match db.backend() {
        Backend::MySql => (
            "CONCAT('0x', n)",
            "TIMESTAMP '2023-01-01 00:00:00' + INTERVAL n * 15 MINUTE",
        ),
        Backend::Sqlite => (
            "'0x' || n",
            "datetime('2023-01-01 00:00:00', '+' || (n * 15) || ' minutes')",
        ),
    };
    run(
        db,
        &format!(
            "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) \
             SELECT {hash}, '7', {start}, {start}, CASE WHEN n % 10 = 9 THEN 'ACTIVE' ELSE 'CONFIRMED' END \
             FROM ({numbers}) numbers WHERE n < {number}"
        ),
    )
    .await;
    let key = match db.backend() {
        Backend::MySql => "CONCAT('start:', transaction_hash)",
        Backend::Sqlite => "'start:' || transaction_hash",
    };
    run(
        db,
        &format!(
            "INSERT INTO ops_operations (op_key, kind, reservation_id, host, state, state_json, due_at, created_at, \
             updated_at) SELECT {key}, CASE WHEN status = 'ACTIVE' THEN 'end' ELSE 'start' END, transaction_hash, \
             'ws', 'needs_attention', '{{\"state\":\"needs_attention\",\"step\":null,\
             \"at\":\"2023-01-01T00:00:00Z\",\"reason\":{{\"code\":\"missed\",\"detail\":\"x\"}}}}', \
             start_time, start_time, start_time FROM lab_reservations"
        ),
    )
    .await;
    for table in ["lab_reservations", "ops_operations"] {
        let analyze = match db.backend() {
            Backend::MySql => format!("ANALYZE TABLE {table}"),
            Backend::Sqlite => format!("ANALYZE {table}"),
        };
        run(db, &analyze).await;
    }
}

/// How many rows the server read for this connection so far.
async fn rows_read(db: &Database) -> u64 {
    let mut sum = 0;
    for row in rows(db, "SHOW SESSION STATUS LIKE 'Handler_read%'").await {
        sum += row.try_get_by_index::<String>(1).unwrap().parse::<u64>().unwrap();
    }
    sum
}

each_backend! {
    async fn a_hundred_thousand_settled_reservations_are_not_read_in_every_pass(test) {
        a_store(&test).await;
        // One connection, for the server counts by connection.
        let settings = DatabaseSettings { max_connections: 1, ..test.settings().clone() };
        let db = Database::connect(&settings).await.unwrap();
        let store = ReservationStore::new(db.clone());
        let mut reads = Vec::new();
        // SQLite counts no rows; its plans are looked at elsewhere, so that fewer rows do here.
        let many = if db.backend() == Backend::MySql { 100_000 } else { 20_000 };
        for number in [2_000, many] {
            run(&db, "DELETE FROM ops_operations").await;
            run(&db, "DELETE FROM lab_reservations").await;
            settled(&db, number).await;
            for minute in 0..20 {
                a_reservation(&db, &format!("0xdue{minute}"), "CONFIRMED", minute).await;
            }
            let mut most = 0;
            for _ in 0..5 {
                let (before, sent) = (
                    if db.backend() == Backend::MySql { rows_read(&db).await } else { 0 },
                    db.traffic(),
                );
                let work = store.work(now(), at("2026-03-01T09:30:00Z"), 20_000).await.unwrap();
                assert!(db.traffic().since(sent).statements <= 6, "{:?}", db.traffic().since(sent));
                let due = work.iter().filter(|item| item.reservation.id.as_str().starts_with("0xdue"));
                assert_eq!(due.count(), 20);
                assert!(work.len() <= 120, "{} with those whose release was given up", work.len());
                if db.backend() == Backend::MySql {
                    most = most.max(rows_read(&db).await - before);
                }
            }
            reads.push(most);
        }
        if db.backend() == Backend::Sqlite {
            return;
        }
        tell(&format!("rows read by a pass over 2,000 and over 100,000 settled ones: {reads:?}"));
        assert!(reads[1] <= reads[0] + reads[0] / 2 && reads[1] < 10_000, "{reads:?}");
    }

    async fn a_forgotten_one_is_found_however_old_it_is(test) {
        let store = a_store(&test).await;
        let db = test.database();
        settled(db, 3_000).await;
        run(db, "DELETE FROM ops_operations WHERE reservation_id IN ('0x0', '0x9', '0x1500', '0x2999')").await;
        let mut found = BTreeSet::new();
        let mut passes = 0;
        while found.len() < 4 && passes < 12 {
            passes += 1;
            for item in store.work(now(), now(), 20_000).await.unwrap() {
                if item.end.is_none() {
                    found.insert(item.reservation.id.to_string());
                }
            }
        }
        let all = ["0x0", "0x1500", "0x2999", "0x9"].map(str::to_owned);
        assert_eq!((found, passes), (BTreeSet::from(all), 6));
        // And then from the newest again.
        let work = store.work(now(), now(), 20_000).await.unwrap();
        assert!(work.iter().any(|item| item.reservation.id.as_str() == "0x2999"));
    }
}
