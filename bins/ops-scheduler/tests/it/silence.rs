//! Whoever asked to be told hears of a silence once, and of its end.

use std::time::Duration;

use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{Lab, awake, count, migrate, until};

const SILENT: &str = "SELECT COUNT(*) FROM ops_notices WHERE kind = 'host_silent'";
const BACK: &str = "SELECT COUNT(*) FROM ops_notices WHERE kind = 'host_back'";

each_backend! {
    async fn two_schedulers_tell_of_a_silent_host_once_and_once_that_it_is_back_also_after_a_restart(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1), awake(2)]).await.on(&test);
        let lab = lab
            .without("OPS_WORKER_NAME")
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1");
        let schedulers = [lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
        let heard = "SELECT COUNT(*) FROM ops_host_state WHERE last_success_at IS NOT NULL";
        until("both hosts are heard", || async { (count(db, heard).await == 2).then_some(()) }).await;
        lab.sim(1).power_off();
        until("its silence is told", || async { (count(db, SILENT).await == 1).then_some(()) }).await;
        assert_eq!(count(db, BACK).await, 0);
        // Those who told are gone when it comes back.
        for scheduler in schedulers {
            scheduler.kill().await;
        }
        lab.sim(1).power_on();
        let other = lab.run(SCHEDULER, &[]);
        until("its end is told", || async { (count(db, BACK).await == 1).then_some(()) }).await;
        // As many looks again as it takes to tell of a silence.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!((count(db, SILENT).await, count(db, BACK).await), (1, 1));
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_notices WHERE host = 'lab-ws-02'").await, 0);
        assert_eq!(other.terminate().await.0.code(), Some(0));
    }
}
