//! A host that was shut down because nobody needs it is missed by nobody: neither in the list, nor in the metrics and the
//! health of either service, nor in what operators are told.

use std::net::SocketAddr;

use chrono::TimeDelta;
use host_sim::PowerState;
use store_support::each_backend;
use tokio_util::sync::CancellationToken;

use crate::API;
use crate::harness::{LIMIT, Lab, awake, count, execute, in_secs, migrate, now, reservations, status, until};
use crate::http::call;

async fn verdict(api: SocketAddr) -> String {
    let list = call(api, "GET", "/api/hosts", &[], "").await.expect(200);
    list["hosts"][0]["liveness"]["verdict"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Whether a service's metrics have the one host under this verdict, and only there.
async fn is_counted_as(service: SocketAddr, verdict: &str) -> bool {
    let text = call(service, "GET", "/metrics", &[], "").await.text;
    let of = |verdict: &str, count: u8| format!("labops_hosts{{liveness=\"{verdict}\"}} {count}");
    let elsewhere = ["fresh", "stale", "silent", "expected-off", "never-seen"]
        .into_iter()
        .filter(|other| *other != verdict);
    let has = |line: String| text.lines().any(|found| found == line);
    let silent = has("labops_host_silent{host=\"lab-ws-01\"} 1".to_owned());
    has(of(verdict, 1))
        && elsewhere.into_iter().all(|other| has(of(other, 0)))
        && silent == (verdict == "silent")
}

async fn silent_hosts(service: SocketAddr) -> serde_json::Value {
    let health = call(service, "GET", "/health?details=true", &[], "").await;
    health.json()["checks"]["pollers"]["hostsSilent"].clone()
}

each_backend! {
    async fn a_host_that_was_shut_down_for_being_idle_is_expected_off_everywhere(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let lab = lab
            .with("OPS_IDLE_POWER_ACTION", "shutdown")
            .with("OPS_IDLE_POWER_AFTER", "1")
            .with("OPS_METRICS_PORT", "0")
            .with("OPS_POLL_INTERVAL", "1");
        let mut api = lab.run(API, &[]);
        let address = api.address().await;
        let lab = lab.with("OPS_POLL_ENABLED", "true");
        let stop = CancellationToken::new();
        let handle = lab.plan().open(stop.clone());
        let scheduler = ops_scheduler::start(handle.clone());
        let sidecar = ops_scheduler::show_metrics(&handle, &stop).await.unwrap().unwrap();

        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        until("it is active", || async { (status(db, "0xaa").await == "ACTIVE").then_some(()) }).await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        assert!(lab.sim(1).wait_for(PowerState::Off, LIMIT).await);
        // As if that had been an hour ago: the last report is far too old for a host that should be on.
        until("a poll has failed", || async {
            let failing = "SELECT COUNT(*) FROM ops_host_state WHERE failures_in_row > 0";
            (count(db, failing).await == 1).then_some(())
        })
        .await;
        let report = "UPDATE ops_host_state SET last_success_at = ?";
        execute(db, report, [(now() - TimeDelta::hours(1)).naive_utc().into()]).await;
        until("the list says so", || async { (verdict(address).await == "expected-off").then_some(()) }).await;
        for service in [address, sidecar] {
            until("the metrics say so", || async { is_counted_as(service, "expected-off").await.then_some(()) }).await;
            until("the health says so", || async { (silent_hosts(service).await == 0).then_some(()) }).await;
        }

        // Whoever comes needs it: now its silence counts, until it is up.
        lab.sim(1).set_fault(host_sim::Fault::NeverBoots);
        reservations::book(db, "0xbb", "1", in_secs(0), in_secs(600)).await;
        until("it is missed", || async { (verdict(address).await == "silent").then_some(()) }).await;
        for service in [address, sidecar] {
            until("the metrics miss it", || async { is_counted_as(service, "silent").await.then_some(()) }).await;
            until("the health misses it", || async { (silent_hosts(service).await == 1).then_some(()) }).await;
        }
        let told = "SELECT COUNT(*) FROM ops_notices WHERE kind = 'host_silent'";
        until("somebody is told", || async { (count(db, told).await == 1).then_some(()) }).await;
        let before = "SELECT COUNT(*) FROM ops_notices WHERE kind = 'host_back'";
        assert_eq!(count(db, before).await, 0);
        scheduler.stop().await;
        handle.current().unwrap().close(std::time::Duration::from_secs(2)).await;
        stop.cancel();
        assert_eq!(api.terminate().await.0.code(), Some(0));
    }
}
