//! `ops-api` under a service manager.

use crate::API;
use crate::harness::Lab;
use crate::notify::Manager;
use crate::raw::{NEAR, ask};

const WATCHED: u32 = 900_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_when_it_listens_lives_while_it_runs_and_says_that_it_stops() {
    let lab = Lab::start(vec![]).await;
    let manager = Manager::listen(lab.folder.path());
    let variables = manager.variables(WATCHED);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut api = lab.run_with(API, &variables);
    let first = manager.next().await;
    assert!(first.starts_with("READY=1\n"), "{first}");
    let address = api.address().await;
    manager.hears("STATUS=working").await;
    assert_eq!(ask(address, NEAR, "GET /health", &[], "").await.status(), 200);
    for _ in 0..4 {
        manager.hears("WATCHDOG=1").await;
    }
    api.signal("TERM");
    manager.hears("STOPPING=1").await;
    assert_eq!(api.ended().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_does_not_keep_it_from_being_ready() {
    let lab = Lab::start(vec![]).await;
    std::fs::write(lab.folder.path().join("data"), "in the way").unwrap();
    let manager = Manager::listen(lab.folder.path());
    let variables = manager.variables(WATCHED);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut api = lab.run_with(API, &variables);
    let first = manager.next().await;
    assert_eq!(first, "READY=1\nSTATUS=waiting for the database\n");
    api.says("the database is not available; next try in").await;
    for _ in 0..4 {
        manager.hears("WATCHDOG=1").await;
    }
    api.signal("TERM");
    manager.hears("STOPPING=1").await;
    api.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_the_hosts_again_is_said_with_its_beginning_and_its_end() {
    let lab = Lab::start(vec![]).await;
    let manager = Manager::listen(lab.folder.path());
    let variables = manager.variables(WATCHED);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut api = lab.run_with(API, &variables);
    manager.hears("STATUS=working").await;
    api.address().await;
    for _ in 0..2 {
        api.signal("HUP");
        let said = manager.hears("RELOADING=1").await;
        let stamp = said
            .last()
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            stamp.is_some_and(|stamp| stamp.parse::<u64>().is_ok_and(|stamp| stamp > 0)),
            "{said:?}"
        );
        manager.hears("READY=1").await;
    }
    api.signal("TERM");
    manager.hears("STOPPING=1").await;
    assert_eq!(api.ended().await.0.code(), Some(0));
}
