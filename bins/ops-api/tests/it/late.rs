//! Questions to a database that hangs: refused within the limit, with a reason.

use serde_json::json;
use store_support::test_support::on_mysql;

use crate::API;
use crate::harness::{Forwarder, Lab, awake, dsn, migrate, until};
use crate::http::call;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_do_not_wait_for_a_database_that_hangs() {
    on_mysql(|test| async move {
        migrate(test.database()).await;
        let direct = dsn(&test);
        let (server, _) = direct.rsplit_once('@').unwrap().1.split_once('/').unwrap();
        let mut way = Forwarder::to(server.parse().unwrap());
        way.open();
        let lab = Lab::start(vec![awake(1)])
            .await
            .with("MYSQL_DSN", direct.replace(server, &way.address().to_string()))
            .with("OPS_HTTP_ANSWER_TIMEOUT", "1")
            .with("OPS_SHUTDOWN_GRACE", "2");
        let mut api = lab.run(API, &[]);
        let address = api.address().await;
        api.says("the database is ready").await;
        way.stall();
        for path in [
            "/api/reservations/timeline?reservationId=0xaa",
            "/api/reservations/0xaa/explain",
            "/api/hosts/lab-ws-01/explain",
            "/api/hosts/lab-ws-01/hours",
            "/api/operations/recent",
            "/api/operations/1",
            "/api/operations/1/events",
            "/api/reservations",
            "/api/audit",
        ] {
            let told = call(address, "GET", path, &[], String::new()).await;
            assert_eq!(told.header("retry-after"), Some("5"), "{path}");
            let told = told.expect(503);
            assert_eq!(told["code"], "database_unavailable", "{path}");
            let error = told["error"].as_str().unwrap();
            assert!(error.starts_with("Database not available"), "{path}: {error}");
        }
        // What can be answered without it is.
        let hosts = until("the hosts are told", || async {
            let told = call(address, "GET", "/api/hosts", &[], String::new()).await;
            (told.status == 200).then(|| told.json())
        })
        .await;
        assert_eq!(
            (&hosts["total"], &hosts["database"]),
            (&json!(1), &json!(false)),
            "{hosts}"
        );
        way.resume();
        until("questions are answered again", || async {
            let told = call(address, "GET", "/api/operations/recent", &[], String::new()).await;
            (told.status == 200).then_some(())
        })
        .await;
        assert_eq!(api.terminate().await.0.code(), Some(0));
    })
    .await;
}
