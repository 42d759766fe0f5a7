//! Reservations that cannot be served, and what the operator reads.

use std::time::Duration;

use credential_store::Credential;
use host_sim::Fault;
use lab_model::CredentialRef;
use ops_scheduler::poll_host;
use sea_orm::ConnectionTrait as _;
use secrecy::SecretString;
use station_control::EventsRead;
use store_support::test_support::TestDatabase;
use store_support::{Database, each_backend};
use tokio_util::sync::CancellationToken;

use crate::SCHEDULER;
use crate::harness::{
    Lab, asleep, awake, commands, history, in_secs, migrate, packets, reservations, status, until, until_true,
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

/// Why the first host could last not be read; empty when it could.
async fn failure(db: &Database) -> Option<String> {
    let sql = "SELECT CASE WHEN last_error_code IS NULL THEN '' ELSE CONCAT(last_error_code, ' ', last_error) END \
               FROM ops_host_state WHERE host_name = 'lab-ws-01'";
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, []))
        .await
        .unwrap();
    row.map(|row| row.try_get_by_index(0).unwrap())
}

async fn fails_with(db: &Database, beginning: &str) {
    until("the first host fails as it should", || async {
        failure(db).await.filter(|text| text.starts_with(beginning))
    })
    .await;
}

async fn is_heard(db: &Database) {
    until("the first host is heard", || async {
        failure(db).await.filter(String::is_empty)
    })
    .await;
}

/// A lab that is only polled, each second, with a wrong password of its first host.
async fn a_lab_that_refuses(test: &TestDatabase) -> Lab {
    migrate(test.database()).await;
    let lab = Lab::start(vec![awake(1), awake(2)]).await.on(test);
    lab.write_catalog(|entries| entries[0]["winrm_pass"] = "wrong".into());
    lab.with("OPS_RESERVATION_AUTOMATION", "no")
        .with("OPS_POLL_ENABLED", "true")
        .with("OPS_POLL_INTERVAL", "1")
}

each_backend! {
    async fn a_password_that_was_changed_while_the_scheduler_was_stopped_is_tried_when_it_starts(test) {
        let db = test.database();
        let lab = a_lab_that_refuses(&test).await;
        let running = Running::start(&lab);
        fails_with(db, "unauthorized host").await;
        running.stop().await;
        lab.write_catalog(|_| {});
        let running = Running::start(&lab);
        is_heard(db).await;
        running.stop().await;
    }
}

each_backend! {
    async fn a_scheduler_that_is_started_again_and_again_offers_a_refused_password_once_more_only(test) {
        let db = test.database();
        let lab = a_lab_that_refuses(&test).await;
        let running = Running::start(&lab);
        fails_with(db, "unauthorized host").await;
        running.stop().await;
        let running = Running::start(&lab);
        fails_with(db, "unauthorized tried once more: host").await;
        running.stop().await;
        let refused = lab.sim(1).counts().refused_credentials;
        for _ in 0..3 {
            let running = Running::start(&lab);
            let read = lab.sim(2).counts().commands;
            until_true("the other host was read three times", || lab.sim(2).counts().commands >= read + 3).await;
            running.stop().await;
        }
        assert_eq!(lab.sim(1).counts().refused_credentials, refused, "accounts get locked out");
    }
}

each_backend! {
    async fn a_host_that_lets_somebody_else_in_is_tried_again(test) {
        let db = test.database();
        let lab = a_lab_that_refuses(&test).await;
        let running = Running::start(&lab);
        fails_with(db, "unauthorized host").await;
        lab.write_catalog(|_| {});
        let other = lab.plan().open(CancellationToken::new()).opened().await.unwrap();
        let host = other.catalog.current().find("lab-ws-01").cloned().unwrap();
        poll_host(&other, &host, EventsRead::IfChanged, Duration::from_secs(30)).await.unwrap();
        // The scheduler still has the older password, and is refused.
        fails_with(db, "unauthorized tried once more: host").await;
        running.stop().await;
        other.close(Duration::from_secs(2)).await;
    }
}

each_backend! {
    async fn a_stored_password_that_another_process_changed_is_tried_at_once(test) {
        let db = test.database();
        let lab = a_lab_that_refuses(&test).await;
        lab.write_catalog(|entries| {
            let entry = entries[0].as_object_mut().unwrap();
            entry.remove("winrm_user");
            entry.remove("winrm_pass");
            entry.insert("winrm_credential_ref".into(), "station-01".into());
        });
        let lab = lab.with("OPS_SECRETS_KEY", "a:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=");
        let other = lab.plan().open(CancellationToken::new()).opened().await.unwrap();
        let name = CredentialRef::parse("station-01").unwrap();
        let spec = lab.sim(1).spec();
        let put = async |password: &str| {
            let credential = Credential::new(&spec.user, SecretString::from(password)).unwrap();
            other.credentials.put(&name, &credential, "the test", true).await.unwrap();
        };
        put("wrong").await;
        let running = Running::start(&lab);
        fails_with(db, "unauthorized host").await;
        put(&spec.password).await;
        is_heard(db).await;
        running.stop().await;
        other.close(Duration::from_secs(2)).await;
    }
}
