//! Labs that no host serves, over restarts and copies, until one does.

use serde_json::json;
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{Lab, awake, commands, count, history, in_secs, migrate, reservations, until};
use crate::running::has_status;

each_backend! {
    async fn a_lab_without_a_host_has_one_row_from_two_schedulers_restarted_twice_and_starts_with_a_new_catalog(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test).without("OPS_WORKER_NAME");
        reservations::book(db, "0xaa", "77", in_secs(60), in_secs(600)).await;
        let tries = || count(db, "SELECT COUNT(*) FROM ops_operations WHERE reservation_id = '0xaa'");
        for round in 1..=3 {
            let mut copies = [lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
            for copy in &mut copies {
                copy.says("took shards").await;
            }
            until("it is on record", || async { (tries().await > 0).then_some(()) }).await;
            // Looks at it a few times: every one to two seconds.
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            for copy in copies {
                assert_eq!(copy.terminate().await.0.code(), Some(0));
            }
            let rows = history(db, "0xaa").await;
            let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.message.as_deref())).collect();
            assert_eq!(told, [("scheduler:start", Some("No host mapping for lab 77"))], "round {round}");
            assert_eq!(tries().await, 1);
        }

        lab.write_catalog(|entries| entries[0]["labs"] = json!([77]));
        let scheduler = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        let rows = history(db, "0xaa").await;
        let actions: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.success)).collect();
        let expected = [
            ("scheduler:start", false),
            ("handover", true),
            ("wake", true),
            ("prepare", true),
            ("scheduler:start", true),
        ];
        assert_eq!(actions, expected);
        assert_eq!(commands(lab.sim(1), "prepare-session").len(), 1);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}
