//! A station that somebody has put into local mode.

use store_support::each_backend;

use crate::harness::{Lab, awake, commands, in_secs, migrate, reservations, status};
use crate::running::{Running, has_state, has_status};

each_backend! {
    async fn a_station_in_local_mode_is_not_taken_and_the_reservation_says_why(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.local_mode = true;
        let lab = Lab::start(vec![spec]).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        let waiting = has_state(db, "0xaa", "start", "waiting").await;
        assert_eq!(waiting.details()["reason"]["code"], "local_mode");
        assert!(waiting.details()["until"].is_string(), "it says when it is tried again");
        let host = lab.sim(1);
        assert_eq!(commands(host, "prepare-session"), []);
        assert_eq!(status(db, "0xaa").await, "CONFIRMED");

        host.local_mode(false);
        host.write_heartbeat();
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(commands(host, "prepare-session").len(), 1);
        running.stop().await;
    }
}

each_backend! {
    async fn with_the_policy_ignore_local_mode_means_nothing(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.local_mode = true;
        let lab = Lab::start(vec![spec]).await.on(&test).with("OPS_LOCAL_MODE_POLICY", "ignore");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        running.stop().await;
    }
}
