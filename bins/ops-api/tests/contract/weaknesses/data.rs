//! 2.5: data and time.

use serde_json::json;

use crate::harness::{count, history};
use crate::site::{Site, order};

walk! {
    Site::start;

    async fn w2_5_rows_are_stamped_in_utc_whatever_the_servers_zone(site) {
        let body = order("0xutc", "lab-ws-01", json!({"wake": false}));
        site.post("/api/reservations/start", body).await.expect(200);
        let row = &history(site.database(), "0xutc").await[0];
        let apart = (row.created_at.and_utc() - crate::harness::now()).num_seconds().abs();
        assert!(apart < 600, "{row:?}");
    }

    async fn w2_5_commands_given_by_callers_leave_a_trace(site) {
        site.post("/api/winrm", json!({"host": "lab-ws-01", "command": "status"})).await.expect(200);
        let sql = "SELECT COUNT(*) FROM ops_audit WHERE action = 'POST /api/winrm' AND subject = 'lab-ws-01'";
        assert!(count(site.database(), sql).await > 0);
    }

    async fn w2_5_polls_at_the_same_time_make_one_host(site) {
        let poll = || site.post("/api/heartbeat/poll", json!({"host": "lab-ws-03"}));
        // They do not wait for a database that takes its time.
        crate::harness::until("all three are kept", async || {
            let (one, two, three) = tokio::join!(poll(), poll(), poll());
            [one, two, three].iter().all(|answer| answer.expect(200)["persisted"] == true).then_some(())
        })
        .await;
        assert_eq!(count(site.database(), "SELECT COUNT(*) FROM lab_hosts WHERE name = 'lab-ws-03'").await, 1);
    }
}
