//! What an operator wants of a worker.

use store_support::each_backend;
use worker_registry::{ChangeError, Duty, Status};

use crate::{Worker, a_registry, has_status, until};

each_backend! {
    async fn a_cordoned_worker_gives_its_shards_back_and_stays_cordoned_over_a_restart(test) {
        let registry = a_registry(&test).await;
        let first = Worker::start(&test, "a", &[Duty::Polls]).await;
        let second = Worker::start(&test, "b", &[Duty::Polls]).await;
        until("each has half", || async { (first.polls(), second.polls()) == (32, 32) }).await;
        let row = registry.cordon("scheduler@b", " new switch ").await.unwrap();
        assert_eq!((row.status, row.status_reason.as_deref()), (Status::Cordoned, Some("new switch")));
        until("the first has all", || async { (first.polls(), second.polls()) == (64, 0) }).await;

        second.leave().await;
        let second = Worker::start(&test, "b", &[Duty::Polls]).await;
        until("it runs again", || async { registry.find("scheduler@b").await.unwrap().unwrap().alive() }).await;
        let row = registry.find("scheduler@b").await.unwrap().unwrap();
        assert_eq!((row.status, row.status_reason.as_deref()), (Status::Cordoned, Some("new switch")));
        assert_eq!((first.polls(), second.polls()), (64, 0));

        assert_eq!(registry.uncordon("scheduler@b").await.unwrap().status, Status::Active);
        until("each has half again", || async { (first.polls(), second.polls()) == (32, 32) }).await;
        second.leave().await;
        first.leave().await;
    }

    async fn wishes_that_make_no_sense_are_refused_with_the_reason(test) {
        let registry = a_registry(&test).await;
        let api = Worker::start(&test, "gw", &[]).await;
        has_status(&registry, "scheduler@gw", Status::Active).await;
        let refused = registry.cordon("scheduler@gw", "why not").await;
        assert!(matches!(refused, Err(ChangeError::NothingToWithhold { .. })), "{refused:?}");
        let refused = registry.uncordon("scheduler@gw").await;
        assert!(matches!(refused, Err(ChangeError::NotCordoned { status: Status::Active, .. })), "{refused:?}");
        let refused = registry.cordon("nobody", "x").await;
        assert!(matches!(refused, Err(ChangeError::Unknown { .. })), "{refused:?}");
        for reason in [" ", "a\nb", &"x".repeat(201)] {
            let refused = registry.cordon("scheduler@gw", reason).await;
            assert!(matches!(refused, Err(ChangeError::Reason { .. })), "{refused:?}");
        }
        api.leave().await;
    }

    async fn a_dead_worker_can_be_cordoned_and_is_inactive_when_let_go(test) {
        let registry = a_registry(&test).await;
        let worker = Worker::start(&test, "gw", &[Duty::Polls]).await;
        has_status(&registry, "scheduler@gw", Status::Active).await;
        worker.leave().await;
        registry.cordon("scheduler@gw", "in repair").await.unwrap();
        assert_eq!(registry.uncordon("scheduler@gw").await.unwrap().status, Status::Inactive);
    }
}
