//! `GET /health`: what the database itself says.

use std::net::SocketAddr;

use serde_json::json;
use store_support::test_support::on_mysql;

use crate::API;
use crate::harness::{Forwarder, Lab, awake, dsn, until};
use crate::http::call;
use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_in_health_counts_its_hosts_and_has_its_database() {
    let service = Service::start(vec![awake(1), awake(2)]).await;
    let answer = service.get("/health").await;
    assert_eq!(
        answer.expect(200),
        json!({"status": "ok", "hosts_loaded": 2, "db": true})
    );
    let head = call(service.address(), "HEAD", "/health", &[], "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), Some("application/json"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_before_its_database_it_answers_503_and_recovers_by_itself() {
    on_mysql(|test| async move {
        let direct = dsn(&test);
        let (server, _) = direct.rsplit_once('@').unwrap().1.split_once('/').unwrap();
        let mut forwarder = Forwarder::to(server.parse::<SocketAddr>().unwrap());
        let url = direct.replace(server, &forwarder.address().to_string());
        let lab = Lab::start(vec![awake(1)]).await.with("MYSQL_DSN", url);
        let mut api = lab.run(API, &[]);
        let address = api.address().await;
        let degraded = json!({"status": "degraded", "hosts_loaded": 1, "db": false});
        assert_eq!(
            call(address, "GET", "/health", &[], "").await.expect(503),
            degraded
        );
        let poll = call(
            address,
            "POST",
            "/api/heartbeat/poll",
            &[],
            r#"{"host": "lab-ws-01"}"#,
        )
        .await;
        assert_eq!(poll.expect(503)["code"], "database_unavailable");
        assert!(poll.header("retry-after").is_some());
        api.says("the database is not available; next try in").await;

        forwarder.open();
        let healthy =
            || async { (call(address, "GET", "/health", &[], "").await.status == 200).then_some(()) };
        until("it is healthy", healthy).await;
        let poll = || async {
            let order = r#"{"host": "lab-ws-01"}"#;
            let poll = call(address, "POST", "/api/heartbeat/poll", &[], order).await;
            (poll.expect(200)["persisted"] == true).then_some(())
        };
        until("a poll is kept", poll).await;

        forwarder.close().await;
        let sick = || async { (call(address, "GET", "/health", &[], "").await.status == 503).then_some(()) };
        until("it is degraded", sick).await;
        forwarder.open();
        until("it is healthy again", healthy).await;
        assert_eq!(api.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_database_whose_folder_cannot_be_made_is_waited_for() {
    let lab = Lab::start(vec![]).await;
    // A file stands where the folder should be.
    let place = lab.folder.path().join("data");
    std::fs::write(&place, "in the way").unwrap();
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    api.says("the database is not available; next try in").await;
    assert_eq!(
        call(address, "GET", "/health", &[], "").await.expect(503)["db"],
        false
    );
    std::fs::remove_file(&place).unwrap();
    until("it is healthy", || async {
        (call(address, "GET", "/health", &[], "").await.status == 200).then_some(())
    })
    .await;
    assert!(place.join("lab-ops.sqlite").is_file());
    assert_eq!(api.terminate().await.0.code(), Some(0));
}
