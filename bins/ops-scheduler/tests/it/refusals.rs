//! Reservations that cannot be served, and what the operator reads.

use host_sim::Fault;
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{
    Lab, asleep, awake, commands, history, in_secs, migrate, packets, reservations, status, until,
};
use crate::running::{Running, has_state, has_status};

each_backend! {
    async fn a_host_that_never_boots_ends_in_needs_attention_with_the_rung(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![asleep(1)]).await.on(&test).with("OPS_WAKE_TIMEOUT", "5");
        let host = lab.sim(1);
        host.set_fault(Fault::NeverBoots);
        reservations::book(db, "0xaa", "1", in_secs(4), in_secs(600)).await;
        let running = Running::start(&lab);
        until("a try has failed", || async {
            history(db, "0xaa").await.iter().any(|row| row.action == "scheduler:start").then_some(())
        })
        .await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let ended = has_state(db, "0xaa", "start", "needs_attention").await;
        let reason = &ended.details()["reason"];
        assert_eq!(reason["rung"], "tcp_port", "{reason}");
        assert!(reason["detail"].as_str().is_some_and(|text| text.contains("port")), "{reason}");
        assert_eq!(status(db, "0xaa").await, "CONFIRMED");
        assert!(!packets(host).is_empty());
        assert_eq!(commands(host, "prepare-session"), []);
        let rows = history(db, "0xaa").await;
        let wake = rows.iter().find(|row| row.action == "wake").unwrap();
        assert_eq!((wake.status.as_str(), wake.response_code), ("failed", Some(504)));
        let tries: Vec<_> = rows.iter().filter(|row| row.action == "scheduler:start").collect();
        assert!(!tries.is_empty());
        for row in tries {
            assert_eq!((row.status.as_str(), row.success, row.response_code), ("failed", false, Some(502)));
            assert_eq!(row.message.as_deref(), Some("Reservation start failed"));
            assert_eq!(row.payload.as_ref().unwrap()["response"]["success"], false);
        }
        running.stop().await;
    }
}

each_backend! {
    async fn a_lab_that_no_host_serves_is_told_in_the_words_of_the_contract(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        reservations::book(db, "0xaa", "77", in_secs(30), in_secs(600)).await;
        let running = Running::start(&lab);
        let row = until("the row is written", || async { history(db, "0xaa").await.pop() }).await;
        assert_eq!((row.action.as_str(), row.status.as_str()), ("scheduler:start", "failed"));
        assert_eq!((row.host.as_str(), row.success), ("unmapped", false));
        assert_eq!(row.message.as_deref(), Some("No host mapping for lab 77"));
        assert_eq!((row.response_code, row.payload), (None, None));
        assert_eq!(status(db, "0xaa").await, "CONFIRMED");
        running.stop().await;
    }
}

each_backend! {
    async fn a_prepare_that_fails_is_tried_again_until_it_succeeds(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let host = lab.sim(1);
        host.set_fault_times(Fault::ExitCode { command: "prepare-session".into(), code: 2 }, 2);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(commands(host, "prepare-session").len(), 3);
        let prepares: Vec<_> = history(db, "0xaa").await.into_iter().filter(|row| row.action == "prepare").collect();
        let codes: Vec<_> = prepares.iter().map(|row| (row.success, row.response_code)).collect();
        assert_eq!(codes, [(false, Some(2)), (false, Some(2)), (true, Some(0))]);
        running.stop().await;
    }
}

each_backend! {
    async fn a_password_that_was_refused_is_let_be_and_a_new_one_is_tried_at_once(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        lab.write_catalog(|entries| entries[0]["winrm_pass"] = "wrong".into());
        let lab = lab
            .with("OPS_RESERVATION_AUTOMATION", "no")
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1");
        let mut scheduler = lab.run(SCHEDULER, &[]);
        scheduler.says("the heartbeat cannot be read host.name=lab-ws-01 code=\"unauthorized\"").await;
        let refused = lab.sim(1).counts().refused_credentials;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(lab.sim(1).counts().refused_credentials, refused, "accounts get locked out");
        lab.write_catalog(|_| {});
        scheduler.signal("HUP");
        scheduler.says("the heartbeat can be read again host.name=lab-ws-01").await;
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}
