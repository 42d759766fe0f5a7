//! Both services in one process, as small sites run them.

use host_sim::PowerState;
use serde_json::json;
use store_support::each_backend;

use crate::API;
use crate::harness::{Lab, asleep, commands, history, in_secs, migrate, reservations, status, until};
use crate::http::call;

each_backend! {
    async fn one_process_runs_a_reservation_from_end_to_end_and_tells_its_story(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = asleep(1);
        spec.station.student_follows_prepare = true;
        let lab = Lab::start(vec![spec]).await.on(&test);
        let lab = lab.with("OPS_POLL_ENABLED", "true").with("OPS_POLL_INTERVAL", "1");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let mut api = lab.run(API, &["--with-scheduler"]);
        let address = api.address().await;
        until("it is active", || async { (status(db, "0xaa").await == "ACTIVE").then_some(()) }).await;
        assert_eq!(lab.sim(1).power(), PowerState::Ready);
        // The poller has its own rhythm: the flow does not wait for it, so this reservation does.
        let path = "/api/reservations/timeline?reservationId=0xaa";
        until("the host was polled", || async {
            let story = call(address, "GET", path, &[], "").await.expect(200);
            story["heartbeat"]["raw"].is_object().then_some(())
        })
        .await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        // The status moves first; the last row of the history follows it.
        until("its end is recorded", || async {
            history(db, "0xaa").await.iter().any(|row| row.action == "scheduler:end").then_some(())
        })
        .await;
        let story = call(address, "GET", path, &[], "").await.expect(200);
        assert_eq!(story["reservation"]["status"], "COMPLETED");
        let actions: Vec<_> = story["operations"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
        assert_eq!(actions, ["wake", "prepare", "scheduler:start", "release", "scheduler:end"]);
        for phase in ["wake", "prepare", "release", "schedulerEnd"] {
            assert_eq!(story["phases"][phase]["success"], true, "{phase}");
        }
        assert!(story["heartbeat"]["raw"].is_object(), "its last report is still told");
        let (ended, said) = api.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        assert_eq!(lab.sim(1).counts().open_shells, 0);
    }
}

each_backend! {
    async fn without_the_switch_reservations_are_left_to_others(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = crate::harness::awake(1);
        spec.station.durations.prepare = std::time::Duration::from_secs(3);
        let lab = Lab::start(vec![spec]).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let mut api = lab.run(API, &[]);
        let address = api.address().await;
        api.says("the database is ready").await;
        // A stop in the middle of a call: the call is answered first.
        let order = json!({"reservationId": "0xbb", "host": "lab-ws-01", "wake": false}).to_string();
        let running = tokio::spawn(async move { call(address, "POST", "/api/reservations/start", &[], order).await });
        let host = lab.sim(1);
        crate::harness::until_true("it is being prepared", || commands(host, "prepare-session").len() == 1).await;
        let (ended, said) = api.terminate().await;
        running.await.unwrap().expect(200);
        assert_eq!(ended.code(), Some(0), "{said}");
        assert_eq!(history(db, "0xbb").await.len(), 1);
        assert_eq!((status(db, "0xaa").await.as_str(), history(db, "0xaa").await.len()), ("CONFIRMED", 0));
    }
}
