//! What is in the table, and that it stays small.

use std::time::Duration;

use notifications::{NotificationSettings, StoredState};
use store_support::each_backend;

use crate::receiver::{Answer, Receiver};
use crate::{a_failure, count, migrated, outbox, run, settings};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

each_backend! {
    async fn a_notice_is_one_row_for_each_receiver_and_putting_it_again_changes_nothing(test) {
        let db = migrated(&test).await;
        let (one, two) = (Receiver::start(vec![], Answer::Never).await, Receiver::start(vec![], Answer::Never).await);
        let settings = settings(&[&one, &two]);
        let outbox = outbox(db, &settings);
        let notice = a_failure("lab-ws-01");
        let before = db.traffic();
        outbox.put(&notice).await.unwrap();
        assert_eq!(db.traffic().since(before).round_trips(), 1, "one insert, nothing else");
        outbox.put(&notice).await.unwrap();
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_notices").await, 2);
        let depth = outbox.depth().await.unwrap();
        assert_eq!((depth.pending, depth.dead), (2, 0));
    }

    async fn pages_go_from_the_newest_to_the_oldest(test) {
        let db = migrated(&test).await;
        let outbox = outbox(db, &NotificationSettings::default());
        for number in 0..5 {
            outbox.put(&a_failure(&format!("lab-ws-{number}"))).await.unwrap();
        }
        let first = outbox.page(None, None, 2).await.unwrap();
        assert_eq!(first.iter().map(|stored| stored.host.as_deref()).collect::<Vec<_>>(), [Some("lab-ws-4"), Some("lab-ws-3")]);
        let second = outbox.page(first.last().map(|stored| stored.id), None, 2).await.unwrap();
        assert_eq!(second[0].host.as_deref(), Some("lab-ws-2"));
        assert_eq!(second[0].body["kind"], "step_failed");
        assert!(outbox.page(None, Some(StoredState::Dead), 10).await.unwrap().is_empty());
        assert_eq!(outbox.page(None, Some(StoredState::Kept), 10).await.unwrap().len(), 5);
    }

    async fn the_table_is_bounded_and_the_newest_stay(test) {
        let db = migrated(&test).await;
        let outbox = outbox(db, &NotificationSettings::default());
        for number in 0..20 {
            outbox.put(&a_failure(&format!("lab-ws-{number}"))).await.unwrap();
        }
        run(db, "UPDATE ops_notices SET created_at = created_at - 700000000 WHERE host = 'lab-ws-19'").await;
        assert_eq!(outbox.prune(WEEK, 100).await.unwrap(), 1);
        assert_eq!(outbox.prune(WEEK, 10).await.unwrap(), 9);
        let left = outbox.page(None, None, 100).await.unwrap();
        assert_eq!((left.len(), left[0].host.as_deref(), left[9].host.as_deref()), (10, Some("lab-ws-18"), Some("lab-ws-9")));
        assert_eq!(outbox.prune(WEEK, 10).await.unwrap(), 0);
    }

    async fn a_notice_for_a_receiver_nobody_knows_any_more_dies_after_a_day(test) {
        let db = migrated(&test).await;
        let receiver = Receiver::start(vec![], Answer::Never).await;
        let outbox = outbox(db, &settings(&[&receiver]));
        outbox.put(&a_failure("lab-ws-01")).await.unwrap();
        outbox.prune(WEEK, 100).await.unwrap();
        assert_eq!(outbox.depth().await.unwrap().pending, 1);
        run(db, "UPDATE ops_notices SET created_at = created_at - 86400001").await;
        outbox.prune(WEEK, 100).await.unwrap();
        let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
        assert_eq!(stored.state, StoredState::Dead);
        assert_eq!(stored.last_error.as_deref(), Some("not delivered within 24 hours"));
    }
}
