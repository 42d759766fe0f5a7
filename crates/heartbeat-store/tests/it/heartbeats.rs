use chrono::NaiveDateTime;
use heartbeat_store::HeartbeatStoreError;
use serde_json::{Value, json};
use store_support::each_backend;

use crate::{a_host, a_report, a_store, at, count, report, rows};

each_backend! {
    async fn a_report_becomes_the_columns_of_the_contract(test) {
        let store = a_store(&test).await;
        let (heartbeat, raw) = a_report("2026-03-01T08:59:58.9Z");
        store
            .record(&a_host(), &heartbeat, &raw, at("2026-03-01T09:00:00.7Z"))
            .await
            .unwrap();
        let found = rows(
            test.database(),
            "SELECT b.timestamp_utc, b.ready, b.local_mode, b.local_session, b.last_forced_logoff_ts, \
             b.last_forced_logoff_user, b.last_power_action_ts, b.last_power_action_mode, b.raw_json, h.last_seen, \
             h.address, h.mac, b.created_at FROM lab_host_heartbeat b JOIN lab_hosts h ON h.id = b.host_id \
             WHERE h.name = 'Lab-WS-01'",
        )
        .await;
        let row = &found[0];
        let stamp = |index: usize| row.try_get_by_index::<NaiveDateTime>(index).unwrap().to_string();
        let flag = |index: usize| row.try_get_by_index::<Option<bool>>(index).unwrap();
        let text = |index: usize| row.try_get_by_index::<String>(index).unwrap();
        assert_eq!((found.len(), stamp(0).as_str()), (1, "2026-03-01 08:59:58"));
        assert_eq!((flag(1), flag(2), flag(3)), (Some(true), Some(false), Some(true)));
        assert_eq!(
            (stamp(4).as_str(), text(5).as_str()),
            ("2026-03-01 08:30:00", "LAB\\student")
        );
        assert_eq!(
            (stamp(6).as_str(), text(7).as_str()),
            ("2026-02-28 19:00:00", "shutdown")
        );
        assert_eq!((text(8), stamp(9).as_str()), (raw, "2026-03-01 08:59:58"));
        assert_eq!(
            (text(10).as_str(), text(11).as_str()),
            ("10.0.0.11", "00:11:22:33:44:55")
        );
        assert_eq!(stamp(12), "2026-03-01 09:00:00");
    }

    async fn the_latest_is_the_one_that_arrived_last_whatever_the_stations_clock_says(test) {
        let store = a_store(&test).await;
        let host = a_host();
        let (ahead, raw) = a_report("2031-01-01T00:00:00Z");
        store
            .record(&host, &ahead, &raw, at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        let (right, raw) = a_report("2026-03-01T09:01:00Z");
        let recorded = store
            .record(&host, &right, &raw, at("2026-03-01T09:01:01Z"))
            .await
            .unwrap();
        let latest = store.latest(&host.name).await.unwrap().unwrap();
        assert_eq!(Some(latest.id), recorded.heartbeat_id);
        assert_eq!(
            (latest.timestamp, latest.observed_at),
            (at("2026-03-01T09:01:00Z"), at("2026-03-01T09:01:01Z"))
        );
        assert_eq!(
            (latest.ready, latest.local_mode, latest.local_session),
            (Some(true), Some(false), Some(true))
        );
        assert_eq!(latest.last_power.timestamp, Some(at("2026-02-28T19:00:00Z")));
        assert_eq!(latest.last_forced_logoff.user.as_deref(), Some("LAB\\student"));
        assert_eq!(latest.raw, right.raw);
    }

    async fn reports_of_the_older_worker_are_found_before_our_first_one(test) {
        let store = a_store(&test).await;
        let db = test.database();
        rows(db, "SELECT 1").await;
        for sql in [
            "INSERT INTO lab_hosts (id, name, address) VALUES (3, 'Lab-WS-01', '10.0.0.11')",
            "INSERT INTO lab_host_heartbeat (host_id, timestamp_utc, raw_json) VALUES (3, '2026-03-01 08:01:00', 'oops')",
            "INSERT INTO lab_host_heartbeat (host_id, timestamp_utc, raw_json) VALUES (3, '2026-03-01 08:00:00', '{}')",
        ] {
            sea_orm::ConnectionTrait::execute_unprepared(db.connection(), sql)
                .await
                .unwrap();
        }
        let latest = store.latest(&a_host().name).await.unwrap().unwrap();
        assert_eq!(
            (latest.timestamp, latest.ready),
            (at("2026-03-01T08:01:00Z"), None)
        );
        assert_eq!(latest.raw, Value::String("oops".to_owned()));
    }

    async fn a_host_that_never_reported_has_no_latest(test) {
        let store = a_store(&test).await;
        assert_eq!(store.latest(&a_host().name).await.unwrap(), None);
    }

    async fn over_long_fields_are_cut_and_strange_stamps_replaced(test) {
        let store = a_store(&test).await;
        let mut host = a_host();
        host.address = "é".repeat(400);
        let (heartbeat, raw) = report(json!({
            "timestamp": "0001-01-01T00:00:00Z",
            "operations": {
                "lastForcedLogoff": {"timestamp": "2026-03-01T08:30:00Z", "user": "ü".repeat(300)},
                "lastPowerAction": {"timestamp": "2026-03-01T08:30:00Z", "mode": "m".repeat(99)},
            },
        }));
        store
            .record(&host, &heartbeat, &raw, at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        let latest = store.latest(&host.name).await.unwrap().unwrap();
        assert_eq!(latest.timestamp, at("2026-03-01T09:00:00Z"));
        assert_eq!(latest.last_forced_logoff.user.unwrap().chars().count(), 128);
        assert_eq!(latest.last_power.mode.unwrap().len(), 32);
        assert_eq!(latest.ready, None);
        assert_eq!(
            count(
                test.database(),
                "SELECT COUNT(*) FROM lab_hosts WHERE LENGTH(address) >= 255"
            )
            .await,
            1
        );
    }

    async fn a_document_that_is_not_strict_json_is_stored_so_that_others_can_read_it(test) {
        let store = a_store(&test).await;
        let raw = "\u{feff}{\"timestamp\": \"2026-03-01T09:00:00Z\", \"note\": \"a\tb\", \"status\": []}";
        let heartbeat = labstation_commands::parse_heartbeat(raw.as_bytes()).unwrap();
        store
            .record(&a_host(), &heartbeat, raw, at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        let stored: String = rows(test.database(), "SELECT raw_json FROM lab_host_heartbeat").await[0]
            .try_get_by_index(0)
            .unwrap();
        let value: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(value["note"], "a\tb");
    }

    async fn polls_of_one_new_host_at_once_make_one_host_and_lose_nothing(test) {
        let store = a_store(&test).await;
        let polls: Vec<_> = (0..8)
            .map(|second| {
                let store = store.clone();
                tokio::spawn(async move {
                    let (heartbeat, raw) = a_report(&format!("2026-03-01T09:00:0{second}Z"));
                    store
                        .record(&a_host(), &heartbeat, &raw, at("2026-03-01T09:00:10Z"))
                        .await
                })
            })
            .collect();
        for poll in polls {
            poll.await.unwrap().unwrap();
        }
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_hosts").await, 1);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await,
            8
        );
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM ops_host_state").await,
            1
        );
    }

    async fn the_mode_that_an_operator_set_is_kept(test) {
        let store = a_store(&test).await;
        let insert = "INSERT INTO lab_hosts (name, address, mode) VALUES ('Lab-WS-01', 'old', 'hybrid')";
        sea_orm::ConnectionTrait::execute_unprepared(test.database().connection(), insert)
            .await
            .unwrap();
        let (heartbeat, raw) = a_report("2026-03-01T09:00:00Z");
        store
            .record(&a_host(), &heartbeat, &raw, at("2026-03-01T09:00:01Z"))
            .await
            .unwrap();
        let kept = "SELECT COUNT(*) FROM lab_hosts WHERE mode = 'hybrid' AND address = '10.0.0.11'";
        assert_eq!(count(test.database(), kept).await, 1);
    }

    async fn a_database_that_is_gone_is_told_apart_from_a_schema_that_is_missing(test) {
        let store = heartbeat_store::HeartbeatStore::new(test.database().clone());
        let missing = store.host_states().await.unwrap_err();
        assert!(
            matches!(missing, HeartbeatStoreError::Refused { .. }),
            "{missing:?}"
        );
        test.database().clone().close().await;
        let gone = store.host_states().await.unwrap_err();
        assert!(matches!(gone, HeartbeatStoreError::Unavailable(_)), "{gone:?}");
    }
}
