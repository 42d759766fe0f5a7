//! From the outbox to a receiver, whatever it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use notifications::{AccessToken, NotificationSettings, Signature, Webhook};
use store_support::each_backend;
use tokio::time::Instant;

use crate::receiver::{Answer, Receiver};
use crate::{
    a_failure, a_sender, at_most, clock, count, migrated, outbox, rows, run, settings, states_are, until,
};

each_backend! {
    async fn a_notice_is_delivered_once_signed_and_leaves_a_row_in_the_history(test) {
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![], Answer::Status(204)).await;
        let settings = settings(&[&receiver]);
        let _sender = a_sender(&test, &settings).await;
        let notice = a_failure("lab-ws-01");
        outbox(db, &settings).put(&notice).await.unwrap();
        states_are(db, &["delivered"]).await;
        let got = receiver.got();
        assert_eq!(got.len(), 1);
        let document = got[0].json();
        assert_eq!(document["id"], notice.id.to_string());
        assert_eq!(document["kind"], "step_failed");
        assert_eq!(document["reason"]["rung"], "tcp_port");
        assert_eq!(document["source"], "the-test");
        assert_eq!(got[0].headers["x-labops-notice"], notice.id.to_string());
        let signature = Signature::new(&"between us".into());
        let header = &got[0].headers["x-labops-signature"];
        let at = clock().now().timestamp();
        assert_eq!(signature.verify(header, got[0].body.as_bytes(), at, 60), Ok(()));

        let history = rows(db, "SELECT action, status, response_code, host, payload FROM reservation_operations").await;
        assert_eq!(history.len(), 1);
        let text = |index: usize| -> String { history[0].try_get_by_index(index).unwrap() };
        assert_eq!((text(0).as_str(), text(1).as_str(), text(3).as_str()), ("notification", "completed", "lab-ws-01"));
        assert_eq!(history[0].try_get_by_index::<Option<i32>>(2).unwrap(), Some(204));
        let stored = outbox(db, &settings).page(None, None, 10).await.unwrap();
        let shown = format!("{stored:?} {history:?}");
        assert!(!shown.contains("SECRET-PATH"), "{shown}");
    }

    async fn a_receiver_that_fails_is_tried_again_and_one_that_asks_for_time_gets_it(test) {
        let db = migrated(&test).await;
        let script = vec![Answer::Status(500), Answer::RetryAfter(503, 3600)];
        let receiver = Receiver::start(script, Answer::Status(200)).await;
        let settings = settings(&[&receiver]);
        let _sender = a_sender(&test, &settings).await;
        let outbox = outbox(db, &settings);
        outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        let failed = |status: u16| {
            let outbox = outbox.clone();
            async move {
                let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
                (stored.last_status == Some(status) && stored.next_try_in.is_some()).then_some(stored)
            }
        };
        let tried = || async {
            let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
            stored.last_status.is_some().then_some(stored)
        };
        let first = until("the first try failed", tried).await;
        // Where nobody could look for some seconds, the second try was made already.
        if first.last_status == Some(500) {
            assert!(first.next_try_in.is_none_or(|wait| wait <= Duration::from_secs(30)), "{first:?}");
            assert_eq!(first.last_error.as_deref(), Some("the receiver answered 500"));
            // Whoever comes later finds the same row.
            run(db, "UPDATE ops_notices SET next_try_at = 0 WHERE last_status = 500").await;
        }
        let second = until("the receiver asked for time", || failed(503)).await;
        let wait = second.next_try_in.unwrap();
        assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{second:?}");
        run(db, "UPDATE ops_notices SET next_try_at = 0").await;
        states_are(db, &["delivered"]).await;
        assert_eq!(receiver.got().len(), 3);
        let ids: BTreeSet<String> = receiver.got().iter().map(|got| got.headers["x-labops-notice"].clone()).collect();
        assert_eq!(ids.len(), 1, "the same notice has the same id each time");
        let tries: Vec<String> = receiver.got().iter().map(|got| got.headers["x-labops-try"].clone()).collect();
        assert_eq!(tries, ["1", "2", "3"]);
    }

    async fn a_receiver_that_is_gone_is_asked_no_more_and_a_redirect_is_not_followed(test) {
        let db = migrated(&test).await;
        let elsewhere = Receiver::start(vec![], Answer::Status(200)).await;
        let gone = Receiver::start(vec![], Answer::Status(410)).await;
        let lost = Receiver::start(vec![], Answer::Redirect(elsewhere.url())).await;
        let settings = settings(&[&gone, &lost]);
        let _sender = a_sender(&test, &settings).await;
        let outbox = outbox(db, &settings);
        outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        states_are(db, &["dead", "pending"]).await;
        let redirected = || async {
            let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
            (stored.last_status == Some(307)).then_some(())
        };
        until("the redirect was answered", redirected).await;
        outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        let both = || async {
            let ids: BTreeSet<String> = lost.got().iter().map(|got| got.headers["x-labops-notice"].clone()).collect();
            (ids.len() == 2).then_some(())
        };
        until("the other receiver got both", both).await;
        assert_eq!((gone.got().len(), elsewhere.got().len()), (1, 0));
        let failed = "SELECT COUNT(*) FROM reservation_operations WHERE action = 'notification' AND success = 0";
        assert_eq!(count(db, failed).await, 1);
    }

    async fn a_receiver_that_is_gone_is_asked_no_more_after_a_restart_and_again_after_a_week(test) {
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![Answer::RetryAfter(503, 3600), Answer::Status(410)], Answer::Status(200)).await;
        let settings = settings(&[&receiver]);
        let outbox = outbox(db, &settings);
        let sender = a_sender(&test, &settings).await;
        // One waits already when the next is answered with 410.
        outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        until("the first is put off", || async { (receiver.got().len() == 1).then_some(()) }).await;
        outbox.put(&a_failure("lab-ws-02")).await.unwrap();
        states_are(db, &["dead", "dead"]).await;
        drop(sender);

        let sender = a_sender(&test, &settings).await;
        outbox.put(&a_failure("lab-ws-03")).await.unwrap();
        states_are(db, &["dead", "dead", "dead"]).await;
        let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
        assert_eq!((stored.last_error.as_deref(), stored.tries), (Some("the receiver is gone"), 0));
        assert_eq!(outbox.depth().await.unwrap().pending, 0, "nothing waits for it");
        drop(sender);
        assert_eq!(receiver.got().len(), 2);

        run(db, "UPDATE ops_gone_receivers SET gone_at = gone_at - 604800000").await;
        let _sender = a_sender(&test, &settings).await;
        outbox.put(&a_failure("lab-ws-04")).await.unwrap();
        states_are(db, &["dead", "dead", "dead", "delivered"]).await;
    }

    async fn what_no_receiver_took_within_a_day_is_dead(test) {
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![], Answer::Status(500)).await;
        let settings = settings(&[&receiver]);
        let outbox = outbox(db, &settings);
        outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        // The next try would come half an hour later at the soonest, which is after the end of the day.
        let day = "UPDATE ops_notices SET created_at = created_at - 85000000, tries = 30";
        run(db, day).await;
        let _sender = a_sender(&test, &settings).await;
        states_are(db, &["dead"]).await;
        assert_eq!(receiver.got().len(), 1);
        let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
        assert_eq!(stored.last_error.as_deref(), Some("the receiver answered 500"));
    }

    async fn several_senders_deliver_each_notice_once(test) {
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![], Answer::Status(200)).await;
        let settings = settings(&[&receiver]);
        let outbox = outbox(db, &settings);
        for _ in 0..40 {
            outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        }
        let _senders = (a_sender(&test, &settings).await, a_sender(&test, &settings).await, a_sender(&test, &settings).await);
        states_are(db, &["delivered"; 40]).await;
        let ids: BTreeSet<String> = receiver.got().iter().map(|got| got.headers["x-labops-notice"].clone()).collect();
        assert_eq!((receiver.got().len(), ids.len()), (40, 40));
    }

    async fn one_receiver_that_hangs_keeps_nothing_from_another(test) {
        let db = migrated(&test).await;
        let hangs = Receiver::start(vec![], Answer::Never).await;
        let good = Receiver::start(vec![], Answer::Status(200)).await;
        let settings = settings(&[&hangs, &good]);
        let outbox = outbox(db, &settings);
        let began = Instant::now();
        for _ in 0..12 {
            outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        }
        let _sender = a_sender(&test, &settings).await;
        until("the good one has all", || async { (good.got().len() == 12).then_some(()) }).await;
        let got = hangs.got().len();
        assert!(got <= at_most(began), "{got}, at most four at the same moment");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_service_gets_its_token_and_its_recipients() {
    store_support::test_support::on_sqlite(|test| async move {
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![], Answer::Status(200)).await;
        let access = AccessToken {
            header: "X-Access-Token".to_owned(),
            token: "an older token".into(),
        };
        let hook = Webhook::parse(&receiver.url(), &[]).unwrap();
        let settings = NotificationSettings {
            webhooks: vec![hook.as_older_service(Some(access), vec!["ops@example.org".to_owned()])],
            ..NotificationSettings::default()
        };
        let _sender = a_sender(&test, &settings).await;
        outbox(db, &settings).put(&a_failure("lab-ws-01")).await.unwrap();
        states_are(db, &["delivered"]).await;
        let got = receiver.got().remove(0);
        assert_eq!(got.headers["x-access-token"], "an older token");
        assert!(
            !got.headers.contains_key("x-labops-signature"),
            "there is no secret to sign with"
        );
        assert_eq!(got.json()["recipients"], serde_json::json!(["ops@example.org"]));
    })
    .await;
}
