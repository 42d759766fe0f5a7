//! A database that is away, at the start or in between.

use std::net::SocketAddr;

use sea_orm::ConnectionTrait as _;
use store_support::test_support::{TestDatabase, on_mysql};

use crate::SCHEDULER;
use crate::harness::{Forwarder, Lab, awake, commands, count, dsn, in_secs, migrate, reservations, until};
use crate::running::has_status;

/// The test's database by way of a forwarder.
async fn by_way(test: &TestDatabase) -> (Forwarder, String) {
    let direct = dsn(test);
    let after_user = direct.rsplit_once('@').unwrap().1;
    let (server, _) = after_user.split_once('/').unwrap();
    let server: SocketAddr = tokio::net::lookup_host(server).await.unwrap().next().unwrap();
    let forwarder = Forwarder::to(server);
    let there = forwarder.address().to_string();
    let by_way = direct.replace(after_user.split_once('/').unwrap().0, &there);
    (forwarder, by_way)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_while_the_database_is_down_it_retries_with_a_clear_line_and_then_works() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let (mut forwarder, url) = by_way(&test).await;
        let lab = Lab::start(vec![awake(1)]).await.with("MYSQL_DSN", url);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let mut scheduler = lab.run(SCHEDULER, &[]);
        scheduler
            .says("the database is not available; next try in 1 s")
            .await;
        scheduler
            .says("the database is not available; next try in 2 s")
            .await;
        assert!(
            scheduler.said().contains(&forwarder.address().to_string()),
            "it says which: {}",
            scheduler.said()
        );
        forwarder.open();
        scheduler.says("the database is ready").await;
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_a_while_is_only_a_pause() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let (mut forwarder, url) = by_way(&test).await;
        forwarder.open();
        let lab = Lab::start(vec![awake(1)]).await.with("MYSQL_DSN", url);
        let lab = lab
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_HEARTBEAT_STORE", "every")
            .with("OPS_POLL_INTERVAL", "1");
        let mut scheduler = lab.run(SCHEDULER, &[]);
        let heartbeats = || count(db, "SELECT COUNT(*) FROM lab_host_heartbeat");
        until("a heartbeat is stored", || async {
            (heartbeats().await > 0).then_some(())
        })
        .await;

        forwarder.close().await;
        scheduler.says("the reservations could not be read").await;
        let before = heartbeats().await;
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        forwarder.open();

        has_status(db, "0xaa", "ACTIVE").await;
        until("heartbeats are stored again", || async {
            (heartbeats().await > before).then_some(())
        })
        .await;
        assert_eq!(commands(lab.sim(1), "prepare-session").len(), 1);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heard_while_the_database_is_down() {
    let forwarder = Forwarder::to(SocketAddr::from(([127, 0, 0, 1], 9)));
    let url = format!("mysql://ops:pw@{}/lab", forwarder.address());
    let lab = Lab::start(vec![awake(1)]).await.with("MYSQL_DSN", url);
    let mut scheduler = lab.run(SCHEDULER, &[]);
    scheduler.says("the database is not available").await;
    assert_eq!(scheduler.terminate().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_on_another_servers_clock_and_zone_changes_nothing() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        // What other sessions do with their zone is none of ours.
        db.connection()
            .execute_unprepared("SET time_zone = '-05:00'")
            .await
            .unwrap();
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let utc = test.reopen().await;
        reservations::book(&utc, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let scheduler = lab.run(SCHEDULER, &[]);
        has_status(&utc, "0xaa", "ACTIVE").await;
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        utc.close().await;
    })
    .await;
}
