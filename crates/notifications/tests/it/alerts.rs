//! One alert per host and cooldown, whoever counts.

use std::time::Duration;

use notifications::{AlertRules, NotificationSettings, Outbox, StoredState, Teller, Told};
use store_support::test_support::TestDatabase;
use store_support::{Database, each_backend};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::receiver::{Answer, Receiver};
use crate::{a_failure, at_most, count, host, migrated, now, outbox, rows, run, run_sender, settings, until};

const RULES: AlertRules = AlertRules {
    threshold: 3,
    window: Duration::from_secs(300),
    cooldown: Duration::from_secs(900),
};

fn a_teller(outbox: &Outbox) -> Teller {
    Teller::start(outbox.clone(), RULES, CancellationToken::new())
}

async fn alerts(db: &Database, name: &str) -> i64 {
    let sql =
        format!("SELECT COUNT(*) FROM ops_notices WHERE kind = 'repeated_failures' AND host = '{name}'");
    count(db, &sql).await
}

/// A teller over connections of its own.
async fn another(test: &TestDatabase) -> Teller {
    a_teller(&outbox(&test.reopen().await, &NotificationSettings::default()))
}

async fn fail(teller: &Teller, name: &str, times: usize) {
    for _ in 0..times {
        teller.tell(Told::Notice(a_failure(name)));
    }
    teller.settled().await;
}

each_backend! {
    async fn the_third_failure_within_the_window_raises_one_alert_for_the_cooldown(test) {
        let db = migrated(&test).await;
        let teller = a_teller(&outbox(db, &NotificationSettings::default()));
        fail(&teller, "lab-ws-01", 2).await;
        fail(&teller, "lab-ws-02", 2).await;
        assert_eq!((alerts(db, "lab-ws-01").await, alerts(db, "lab-ws-02").await), (0, 0));
        fail(&teller, "LAB-WS-01", 1).await;
        assert_eq!((alerts(db, "lab-ws-01").await, alerts(db, "lab-ws-02").await), (1, 0));
        fail(&teller, "lab-ws-01", 20).await;
        assert_eq!((alerts(db, "lab-ws-01").await, teller.alerts()), (1, 1));
        let history = rows(db, "SELECT reservation_id, message FROM reservation_operations WHERE action = 'alert'").await;
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].try_get_by_index::<String>(0).unwrap(), "0xa1");
        let message: String = history[0].try_get_by_index(1).unwrap();
        assert!(message.contains("failed 3 times within 300 s"), "{message}");

        run(db, "UPDATE ops_alerts SET alerted_at = alerted_at - 901000").await;
        fail(&teller, "lab-ws-01", 1).await;
        assert_eq!(alerts(db, "lab-ws-01").await, 2);
    }

    async fn failures_older_than_the_window_do_not_count(test) {
        let db = migrated(&test).await;
        let teller = a_teller(&outbox(db, &NotificationSettings::default()));
        fail(&teller, "lab-ws-01", 2).await;
        run(db, "UPDATE ops_notices SET created_at = created_at - 301000").await;
        fail(&teller, "lab-ws-01", 2).await;
        assert_eq!(alerts(db, "lab-ws-01").await, 0);
        fail(&teller, "lab-ws-01", 1).await;
        assert_eq!(alerts(db, "lab-ws-01").await, 1);
    }

    async fn several_schedulers_that_see_the_same_host_fail_raise_one_alert(test) {
        let db = migrated(&test).await;
        let tellers = [another(&test).await, another(&test).await, another(&test).await, another(&test).await];
        for _ in 0..5 {
            for teller in &tellers {
                teller.tell(Told::Notice(a_failure("lab-ws-01")));
            }
        }
        for teller in &tellers {
            teller.settled().await;
            assert_eq!(teller.dropped(), 0);
        }
        assert_eq!(alerts(db, "lab-ws-01").await, 1);
        assert_eq!(tellers.iter().map(Teller::alerts).sum::<u64>(), 1);
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_notices WHERE kind = 'step_failed'").await, 20);
    }

    async fn a_host_that_answers_again_is_told_once_and_only_after_an_alert(test) {
        let db = migrated(&test).await;
        let teller = a_teller(&outbox(db, &NotificationSettings::default()));
        let answers = || Told::HostAnswers { host: host("lab-ws-01"), at: now() };
        teller.tell(answers());
        fail(&teller, "lab-ws-01", 3).await;
        teller.tell(answers());
        teller.tell(answers());
        teller.settled().await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_notices WHERE kind = 'host_back'").await, 1);
    }

    async fn without_a_receiver_notices_are_kept_for_those_who_ask(test) {
        let db = migrated(&test).await;
        let outbox = outbox(db, &NotificationSettings::default());
        let teller = a_teller(&outbox);
        fail(&teller, "lab-ws-01", 1).await;
        let stored = outbox.page(None, None, 10).await.unwrap();
        assert_eq!((stored.len(), stored[0].state), (1, StoredState::Kept));
        assert_eq!(outbox.depth().await.unwrap().pending, 0);
    }

    async fn telling_never_waits_for_a_receiver_that_hangs(test) {
        const TOLD: usize = 200;
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![], Answer::Never).await;
        let settings = settings(&[&receiver]);
        let outbox = outbox(db, &settings);
        let _sender = run_sender(outbox.clone(), &settings);
        let teller = a_teller(&outbox);
        let began = Instant::now();
        teller.tell(Told::Notice(a_failure("lab-ws-01")));
        until("the receiver hangs", || async { (!receiver.got().is_empty()).then_some(()) }).await;
        fail(&teller, "lab-ws-02", TOLD).await;
        let put = "SELECT COUNT(*) FROM ops_notices WHERE kind = 'step_failed' AND host = 'lab-ws-02'";
        assert_eq!(count(db, put).await, TOLD as i64);
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_notices WHERE state <> 'pending'").await, 0);
        assert_eq!(teller.dropped(), 0);
        assert!(receiver.got().len() <= at_most(began));
    }
}

#[tokio::test]
async fn what_the_database_does_not_take_is_dropped_and_counted_and_nobody_waits() {
    store_support::test_support::on_sqlite(|test| async move {
        // Never migrated: every insert is refused.
        let teller = a_teller(&outbox(test.database(), &NotificationSettings::default()));
        fail(&teller, "lab-ws-01", 10).await;
        assert_eq!(teller.dropped(), 10);
    })
    .await;
}
