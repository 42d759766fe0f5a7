//! What `/health` tells whom.

use serde_json::json;

use crate::API;
use crate::harness::{Lab, awake, until};
use crate::http::call;
use crate::service::Service;

const TOKEN: (&str, &str) = ("x-ops-token", "s3cret");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_the_checks_and_the_public_only_the_three_fields() {
    let lab = Lab::start(vec![awake(1)]).await.with("OPS_SECRET", "s3cret");
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    until("it is healthy", || async {
        (call(address, "GET", "/health", &[], "").await.status == 200).then_some(())
    })
    .await;
    let bare = json!({"status": "ok", "hosts_loaded": 1, "db": true});
    for headers in [&[][..], &[("x-ops-token", "wrong")][..]] {
        assert_eq!(
            call(address, "GET", "/health?details=true", headers, "")
                .await
                .expect(200),
            bare
        );
    }
    let full = call(address, "GET", "/health", &[TOKEN], "").await.expect(200);
    assert_eq!(full["status"], "ok");
    assert_eq!(full["degraded"], json!([]));
    let names: Vec<&String> = full["checks"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["catalog", "database", "outbox", "pollers", "secrets", "workers"]
    );
    assert!(full["checks"]["database"]["latencyMs"].is_u64(), "{full}");
    assert_eq!(full["checks"]["secrets"]["keyLoaded"], false);
    assert_eq!(full["checks"]["workers"]["detail"], "no scheduler was ever here");
    assert_eq!(full["checks"]["outbox"]["pending"], 0);
    assert!(full["uptimeMs"].is_u64() && full["version"].is_string());
    assert_eq!(api.terminate().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_reload_and_a_scheduler_that_is_gone_are_named() {
    let service = Service::start(vec![awake(1)]).await;
    let db = &service.handle.current().unwrap().database;
    let details = || async { service.get("/health?details=true").await };
    assert_eq!(details().await.expect(200)["degraded"], json!([]));

    let then = format!("{} - 60000", db.backend().now_ms());
    let sql = format!(
        "INSERT INTO ops_workers (name, role, host, instance, status, capabilities, version, started_at, \
         last_heartbeat, last_progress, lease_until) VALUES ('gone', 'scheduler', 'h', \
         '00000000-0000-4000-8000-000000000000', 'inactive', '{{}}', '1', {then}, {then}, {then}, {then})"
    );
    crate::harness::execute(db, &sql, []).await;
    std::fs::write(service.lab.folder.path().join("hosts.json"), "{").unwrap();
    assert!(service.handle.reload().await.is_err());
    let sick = || async {
        let answer = details().await;
        let named = answer.text.contains("no scheduler is alive");
        named.then(|| answer.expect(503))
    };
    let answer = until("the scheduler is missed", sick).await;
    assert_eq!(answer["degraded"], json!(["catalog", "workers"]));
    assert_eq!(answer["hosts_loaded"], 1, "the hosts are those of before");
    assert!(answer["checks"]["catalog"]["problems"][0].is_string(), "{answer}");
    assert_eq!(
        service.get("/health").await.expect(503),
        json!({"status": "degraded", "hosts_loaded": 1, "db": true})
    );
    assert_eq!(
        service.get("/health/live").await.expect(200),
        json!({"status": "alive"})
    );
    service.stop().await;
}
