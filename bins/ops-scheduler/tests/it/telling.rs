//! `ops-scheduler` under a service manager.

use crate::SCHEDULER;
use crate::harness::Lab;
use crate::notify::Manager;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_at_once_lives_while_its_loops_move_and_says_that_it_stops() {
    let lab = Lab::start(vec![]).await.with("OPS_POLL_ENABLED", "true");
    let manager = Manager::listen(lab.folder.path());
    let variables = manager.variables(900_000);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let scheduler = lab.run_with(SCHEDULER, &variables);
    let first = manager.next().await;
    assert!(first.starts_with("READY=1\n"), "{first}");
    manager.hears("STATUS=working").await;
    for _ in 0..4 {
        manager.hears("WATCHDOG=1").await;
    }
    scheduler.signal("TERM");
    manager.hears("STOPPING=1").await;
    assert_eq!(scheduler.ended().await.0.code(), Some(0));
}
