use chrono::TimeDelta;
use heartbeat_store::{HostRecord, PollFailure};
use lab_model::HostName;
use store_support::each_backend;

use crate::{a_host, a_report, a_store, at};

each_backend! {
    async fn failures_are_counted_and_the_last_good_report_is_kept(test) {
        let store = a_store(&test).await;
        let host = a_host();
        let (heartbeat, raw) = a_report("2026-03-01T08:59:57.25Z");
        store
            .record(&host, &heartbeat, &raw, at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        for minute in 1..=3 {
            let now = at(&format!("2026-03-01T09:0{minute}:00.000123456Z"));
            store
                .record_failure(&host.name, "not_json", &"x".repeat(900), now)
                .await
                .unwrap();
        }
        let state = store.host_state(&host.name).await.unwrap().unwrap();
        assert_eq!((state.host.as_str(), state.failures_in_row), ("lab-ws-01", 3));
        let failure = PollFailure {
            code: "not_json".to_owned(),
            text: "x".repeat(512),
        };
        assert_eq!(state.last_failure, Some(failure));
        assert_eq!(state.last_success_at, Some(at("2026-03-01T09:00:00Z")));
        assert_eq!(state.last_attempt_at, Some(at("2026-03-01T09:03:00.000123Z")));
        assert_eq!((state.ready, state.local_session), (Some(true), Some(true)));
        assert!(store.latest(&host.name).await.unwrap().is_some());
    }

    async fn a_good_report_resets_the_failures(test) {
        let store = a_store(&test).await;
        let host = a_host();
        store
            .record_failure(&host.name, "no_answer", "tcp_port", at("2026-03-01T08:59:00Z"))
            .await
            .unwrap();
        let before = store.host_state(&host.name).await.unwrap().unwrap();
        assert_eq!((before.failures_in_row, before.last_success_at), (1, None));
        let (heartbeat, raw) = a_report("2026-03-01T08:59:57.25Z");
        store
            .record(&host, &heartbeat, &raw, at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        let state = store.host_state(&host.name).await.unwrap().unwrap();
        assert_eq!((state.failures_in_row, &state.last_failure), (0, &None));
        assert_eq!(state.reported_at, Some(at("2026-03-01T08:59:57.25Z")));
        assert_eq!(state.clock_offset, Some(TimeDelta::milliseconds(-2750)));
        assert_eq!(state.last_forced_logoff_at, Some(at("2026-03-01T08:30:00.5Z")));
    }

    async fn the_fleet_is_listed_by_name(test) {
        let store = a_store(&test).await;
        let (heartbeat, raw) = a_report("2026-03-01T09:00:00Z");
        for name in ["ws-b", "WS-A"] {
            let host = HostRecord {
                name: HostName::parse(name).unwrap(),
                ..a_host()
            };
            store
                .record(&host, &heartbeat, &raw, at("2026-03-01T09:00:00Z"))
                .await
                .unwrap();
        }
        let never = HostName::parse("ws-c").unwrap();
        store
            .record_failure(&never, "no_answer", "tcp_port", at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        let states = store.host_states().await.unwrap();
        let names: Vec<&str> = states.iter().map(|state| state.host.as_str()).collect();
        assert_eq!(names, ["ws-a", "ws-b", "ws-c"]);
        assert_eq!(states[2].ready, None);
    }

    async fn a_name_of_the_full_width_fits_everywhere(test) {
        let store = a_store(&test).await;
        let host = HostRecord {
            name: HostName::parse(&"é".repeat(128)).unwrap(),
            ..a_host()
        };
        let (heartbeat, raw) = a_report("2026-03-01T09:00:00Z");
        store
            .record(&host, &heartbeat, &raw, at("2026-03-01T09:00:00Z"))
            .await
            .unwrap();
        assert!(store.latest(&host.name).await.unwrap().is_some());
    }
}

each_backend! {
    async fn reports_are_read_many_at_once_with_the_newest_event_of_their_host(test) {
        let store = a_store(&test).await;
        let (heartbeat, raw) = a_report("2026-03-01T09:00:00Z");
        let mut ids = Vec::new();
        for name in ["ws-a", "ws-b"] {
            let host = HostRecord {
                name: HostName::parse(name).unwrap(),
                ..a_host()
            };
            let recorded = store
                .record(&host, &heartbeat, &raw, at("2026-03-01T09:00:00Z"))
                .await
                .unwrap();
            ids.push(recorded.heartbeat_id.unwrap());
            if name == "ws-b" {
                for (user, stamp) in [("new", "2026-03-01T08:59:00Z"), ("old", "2026-03-01T08:00:00Z")] {
                    let line = format!(r#"{{"timestamp": "{stamp}", "user": "{user}"}}"#);
                    let event = labstation_commands::last_event(format!("{line}\r\n").as_bytes()).unwrap();
                    let now = at("2026-03-01T09:00:00Z");
                    store.record_event(&host, &event, now, now).await.unwrap();
                }
            }
        }
        let state = store.host_state(&HostName::parse("ws-b").unwrap()).await.unwrap().unwrap();
        assert_eq!(state.last_heartbeat_id, Some(ids[1]));
        ids.push(999_999);
        let before = test.database().traffic();
        let mut found = store.documents(&ids).await.unwrap();
        assert_eq!(test.database().traffic().since(before).statements, 1);
        found.sort_by_key(|document| document.heartbeat_id);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].last_event, None);
        assert_eq!(found[1].last_event.as_ref().unwrap()["user"], "new");
        assert_eq!(found[1].raw, raw);
    }
}
