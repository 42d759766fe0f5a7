use reservation_engine::{HistoryRow, OperationKind};
use serde_json::{Value, json};
use store_support::each_backend;

use crate::{
    a_claim, a_history_row, a_reservation, a_store, add_history, an_operation, an_operation_in, at, done, id,
    rows, run,
};

each_backend! {
    async fn a_reservation_is_shown_as_stored(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "PENDING", 0).await;
        run(
            test.database(),
            "UPDATE lab_reservations SET wallet_address = '0x01', created_at = '2026-02-01 00:00:00'",
        )
        .await;
        let row = store.reservation_row(&id("0xaa")).await.unwrap().unwrap();
        assert_eq!(
            (row.reservation_id.as_str(), row.status.as_str()),
            ("0xaa", "PENDING")
        );
        assert_eq!(
            (row.lab_id.as_deref(), row.wallet_address.as_deref()),
            (Some(" Bench-7"), Some("0x01"))
        );
        assert_eq!(
            (row.start, row.end),
            (at("2026-03-01T09:00:00Z"), at("2026-03-01T10:00:00Z"))
        );
        assert_eq!(row.created_at, Some(at("2026-02-01T00:00:00Z")));
        assert_eq!(store.reservation_row(&id("0xbb")).await.unwrap(), None);
    }

    async fn pages_go_by_time_and_then_by_id(test) {
        let store = a_store(&test).await;
        for (action, second) in [("late", 9), ("first", 1), ("second", 1), ("third", 5)] {
            let mut row = a_history_row(action);
            row.at = at(&format!("2026-03-01T09:00:0{second}Z"));
            add_history(&store, &row).await;
        }
        add_history(&store, &HistoryRow {
                reservation: id("0xother"),
                ..a_history_row("other")
            }).await;
        let page = store.operations_page(&id("0xaa"), 2, 1).await.unwrap();
        let actions: Vec<&str> = page.rows.iter().map(|row| row.action.as_str()).collect();
        assert_eq!((page.total, actions), (4, vec!["second", "third"]));
        for (limit, offset, rows) in [(10, 0, 4), (10, 3, 1), (10, 4, 0), (0, 0, 0), (1, u64::MAX, 0)] {
            let page = store.operations_page(&id("0xaa"), limit, offset).await.unwrap();
            assert_eq!(
                (page.rows.len(), page.total),
                (rows, 4),
                "limit {limit}, offset {offset}"
            );
        }
        let newest = store.newest_operations(&id("0xaa"), 3).await.unwrap();
        let actions: Vec<&str> = newest.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["late", "third", "second"]);
    }

    async fn a_row_comes_back_with_everything_that_it_was_given(test) {
        let store = a_store(&test).await;
        let full = a_history_row("wake");
        let bare = HistoryRow {
            lab: None,
            host: "unmapped".to_owned(),
            status: "failed",
            success: false,
            response_code: None,
            duration_ms: None,
            payload: None,
            message: None,
            ..a_history_row("scheduler:start")
        };
        add_history(&store, &full).await;
        add_history(&store, &bare).await;
        let rows = store.operations_page(&id("0xaa"), 10, 0).await.unwrap().rows;
        let first = &rows[0];
        assert_eq!(
            (first.payload.as_ref(), first.message.as_deref()),
            (full.payload.as_ref(), Some("Host reachable"))
        );
        assert_eq!(
            (first.success, first.response_code, first.duration_ms),
            (true, Some(200), Some(812))
        );
        assert_eq!(
            (first.lab_id.as_deref(), first.created_at),
            (Some("bench-7"), at("2026-03-01T09:00:00Z"))
        );
        let second = &rows[1];
        assert_eq!(
            (second.host.as_str(), second.status.as_str(), second.success),
            ("unmapped", "failed", false)
        );
        assert_eq!(
            (&second.payload, &second.message, &second.lab_id),
            (&None, &None, &None)
        );
    }

    async fn the_older_workers_reading_statements_understand_our_rows(test) {
        let store = a_store(&test).await;
        add_history(&store, &a_history_row("scheduler:start")).await;
        let db = test.database();
        let found = rows(
            db,
            "SELECT action, status, success, response_code, duration_ms, payload, message, created_at \
             FROM reservation_operations WHERE reservation_id = '0xaa' ORDER BY created_at, id LIMIT 100 OFFSET 0",
        )
        .await;
        let payload: Value = found[0].try_get_by_index(5).unwrap();
        assert_eq!(payload, json!({"mac": "00:11:22:33:44:55", "note": "ü"}));
        let cooling = "SELECT COUNT(*) FROM reservation_operations WHERE reservation_id = '0xaa' \
                       AND action = 'scheduler:start' AND created_at > '2026-03-01 08:59:59'";
        assert_eq!(crate::count(db, cooling).await, 1);
    }

    async fn over_long_texts_are_cut_so_that_the_row_is_not_lost(test) {
        let store = a_store(&test).await;
        let wide = HistoryRow {
            host: "ü".repeat(300),
            action: format!("power:{}", "m".repeat(99)),
            message: Some("€".repeat(70_000)),
            payload: Some(json!({"stdout": "x".repeat(300_000)})),
            ..a_history_row("x")
        };
        add_history(&store, &wide).await;
        let rows = store.operations_page(&id("0xaa"), 1, 0).await.unwrap().rows;
        assert_eq!((rows[0].host.chars().count(), rows[0].action.len()), (128, 32));
        assert_eq!(rows[0].message.as_ref().unwrap().chars().count(), 16_000);
        assert_eq!(rows[0].payload, wide.payload);
    }

    async fn a_bare_number_as_payload_survives(test) {
        let store = a_store(&test).await;
        add_history(&store, &HistoryRow {
                payload: Some(json!(5)),
                ..a_history_row("x")
            }).await;
        let rows = store.operations_page(&id("0xaa"), 1, 0).await.unwrap().rows;
        assert_eq!(rows[0].payload, Some(json!(5)));
    }

    async fn open_operations_are_listed_whoever_opened_them(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let start = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        let manual = an_operation(&store, &claim, OperationKind::ManualEnd, "0xbb").await;
        an_operation_in(&store, &claim, OperationKind::End, "0xcc", done(), false).await;
        assert_eq!(store.open_operations(10).await.unwrap(), [start.clone(), manual]);
        assert_eq!(store.open_operations(1).await.unwrap(), [start]);
    }
}
