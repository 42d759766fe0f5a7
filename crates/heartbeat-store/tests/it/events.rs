use labstation_commands::{Event, last_event};
use serde_json::{Value, json};
use store_support::each_backend;

use crate::{a_host, a_store, at, count, rows};

fn event(document: Value) -> Event {
    last_event(format!("{document}\n").as_bytes()).unwrap()
}

each_backend! {
    async fn the_same_event_is_stored_once_however_often_it_is_read(test) {
        let store = a_store(&test).await;
        let host = a_host();
        let older = event(json!({"timestamp": "2026-03-01T08:00:00Z", "user": "a", "message": "bye"}));
        let newer = event(json!({"timestamp": "2026-03-01T08:30:00.4Z", "user": "b", "message": "bye"}));
        let now = at("2026-03-01T09:00:00Z");
        let mut new = Vec::new();
        for event in [&older, &newer, &newer, &older] {
            new.push(store.record_event(&host, event, now, now).await.unwrap());
        }
        assert_eq!(new, [true, true, false, false]);
        let found = rows(
            test.database(),
            "SELECT payload FROM lab_host_events ORDER BY timestamp_utc",
        )
        .await;
        let payloads: Vec<Value> = found.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        assert_eq!(payloads, [older.raw, newer.raw]);
        let kind = "SELECT COUNT(*) FROM lab_host_events WHERE kind = 'session-guard' \
                    AND timestamp_utc = '2026-03-01 08:30:00'";
        assert_eq!(count(test.database(), kind).await, 1);
    }

    async fn an_event_without_a_stamp_takes_the_heartbeats_and_is_stored_once(test) {
        let store = a_store(&test).await;
        let stampless = event(json!({"user": "a"}));
        for minute in 0..3 {
            let beat = at(&format!("2026-03-01T09:0{minute}:00Z"));
            store
                .record_event(&a_host(), &stampless, beat, beat)
                .await
                .unwrap();
        }
        let stored = "SELECT COUNT(*) FROM lab_host_events WHERE timestamp_utc = '2026-03-01 09:00:00'";
        assert_eq!(count(test.database(), stored).await, 1);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_events").await,
            1
        );
    }

    async fn two_events_in_one_second_are_both_kept(test) {
        let store = a_store(&test).await;
        let now = at("2026-03-01T09:00:00Z");
        for user in ["a", "b"] {
            let event = event(json!({"timestamp": "2026-03-01T08:00:00Z", "user": user}));
            assert!(store.record_event(&a_host(), &event, now, now).await.unwrap());
        }
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_events").await,
            2
        );
        assert_eq!(
            count(
                test.database(),
                "SELECT COUNT(*) FROM lab_hosts WHERE last_seen IS NULL"
            )
            .await,
            1
        );
    }
}
