//! Two reservations of one host, and reservations that change while they run.

use host_sim::EffectKind;
use reservation_engine::WaitCode;
use store_support::each_backend;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Lab, asleep, awake, commands, history, in_secs, migrate, reservations, status, until, until_true,
};
use crate::running::{Running, has_state, has_status};

each_backend! {
    async fn back_to_back_the_next_student_waits_for_the_release_and_nobody_is_thrown_out(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = asleep(1);
        spec.station.student_follows_prepare = true;
        let lab = Lab::start(vec![spec]).await.on(&test);
        reservations::book(db, "0x1", "1", in_secs(30), in_secs(90)).await;
        reservations::book(db, "0x2", "1", in_secs(90), in_secs(900)).await;
        let running = Running::start(&lab);
        has_status(db, "0x1", "ACTIVE").await;

        // The lead of the second one has begun, but the host is taken: each pass says so.
        let site = running.site().await;
        let report = site.engine.pass(&*site.catalog.current(), &CancellationToken::new()).await.unwrap();
        let waits: Vec<_> = report.waits.iter().filter(|(id, _)| id.as_str() == "0x2").collect();
        assert_eq!(waits.len(), 1);
        assert_eq!(waits[0].1.code, WaitCode::HostOccupied);
        assert!(waits[0].1.until.is_some());
        let host = lab.sim(1);
        assert_eq!(commands(host, "prepare-session").len(), 1);

        reservations::shift(db, "0x1", in_secs(-60), in_secs(0)).await;
        reservations::shift(db, "0x2", in_secs(0), in_secs(900)).await;
        has_status(db, "0x2", "ACTIVE").await;
        assert_eq!(status(db, "0x1").await, "COMPLETED");
        let prepared = commands(host, "prepare-session");
        let released = commands(host, "release-session");
        assert_eq!((prepared.len(), released.len()), (2, 1));
        assert_eq!(released[0].1, [""; 0], "no reboot with the next student at the door");
        assert!(prepared[0].0 <= released[0].0 && released[0].0 <= prepared[1].0);
        let evicted = |what: &EffectKind| {
            matches!(what, EffectKind::ForcedLogoff { .. } | EffectKind::Rebooted { .. } | EffectKind::PoweredOff { .. })
        };
        assert!(!host.effects().iter().any(|effect| evicted(&effect.what)), "{:?}", host.effects());
        running.stop().await;
    }
}

each_backend! {
    async fn a_reservation_cancelled_while_active_is_released_at_once_and_stays_cancelled(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.student_follows_prepare = true;
        let lab = Lab::start(vec![spec]).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(30), in_secs(3600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        let host = lab.sim(1);
        assert_eq!(host.users(), ["LABUSER"]);

        reservations::cancel(db, "0xaa").await;
        has_state(db, "0xaa", "end", "done").await;
        assert_eq!(commands(host, "release-session").len(), 1);
        until_true("the student is logged off", || host.users().is_empty()).await;
        assert_eq!(status(db, "0xaa").await, "CANCELLED");
        let actions: Vec<_> = history(db, "0xaa").await.into_iter().map(|row| (row.action, row.success)).collect();
        let expected = ["wake", "prepare", "scheduler:start", "release", "scheduler:end"];
        assert_eq!(actions, expected.map(|action| (action.to_owned(), true)));
        running.stop().await;
    }
}

each_backend! {
    async fn a_reservation_cancelled_while_it_is_prepared_is_released_and_never_active(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.durations.prepare = std::time::Duration::from_secs(2);
        let lab = Lab::start(vec![spec]).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(3600)).await;
        let running = Running::start(&lab);
        let host = lab.sim(1);
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        reservations::cancel(db, "0xaa").await;
        until("the host is released", || async { (!commands(host, "release-session").is_empty()).then_some(()) }).await;
        has_state(db, "0xaa", "end", "done").await;
        assert_eq!(status(db, "0xaa").await, "CANCELLED");
        assert_eq!(commands(host, "prepare-session").len(), 1);
        running.stop().await;
    }
}
