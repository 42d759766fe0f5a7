//! `GET /api/workers` and an operator's wishes about them.

use serde_json::{Value, json};
use store_support::each_backend;

use crate::API;
use crate::harness::{Lab, awake, migrate, until};
use crate::http::call;
use crate::service::Service;

impl Service {
    async fn workers(&self) -> Value {
        self.get("/api/workers").await.expect(200)
    }

    /// Waits until a worker looks as wanted, and gives it.
    async fn worker(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{name} {what}"), || async {
            let workers = self.workers().await;
            let mut rows = workers["workers"].as_array().unwrap().clone().into_iter();
            rows.find(|row| row["name"] == name && is_so(row))
        })
        .await
    }
}

each_backend! {
    async fn every_process_is_listed_with_its_state_its_ages_and_its_shards(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let scheduler = ops_scheduler::start(service.handle.clone());
        let row = service
            .worker("scheduler@the-test", "holds its shards", |row| row["shards"]["reservations"] == 64)
            .await;
        assert_eq!((&row["state"], &row["alive"], &row["reason"]), (&json!("active"), &json!(true), &Value::Null));
        assert_eq!(row["shards"]["polls"], 0, "polling is off");
        assert_eq!(row["capabilities"]["duties"], json!(["reservations"]));
        assert_eq!(row["version"], env!("CARGO_PKG_VERSION"));
        let small = |field: &str| row[field].as_u64().is_some_and(|ms| ms < 60_000);
        assert!(small("heartbeat_age_ms") && small("progress_age_ms") && small("lease_left_ms"), "{row}");
        let api = service.worker("api@the-test", "is alive", |row| row["alive"] == true).await;
        assert_eq!((&api["role"], &api["shards"]["reservations"]), (&json!("api"), &json!(0)));
        let shards = service.workers().await["shards"].clone();
        assert_eq!(shards["reservations"], json!({"total": 64, "unserved": 0}));

        scheduler.stop().await;
        let row = service.worker("scheduler@the-test", "has left", |row| row["state"] == "inactive").await;
        assert_eq!((&row["alive"], &row["lease_left_ms"]), (&json!(false), &Value::Null));
        assert_eq!(service.workers().await["shards"]["reservations"]["unserved"], 64);
        service.stop().await;
    }
}

each_backend! {
    async fn a_scheduler_is_cordoned_and_let_go_again_by_its_name(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let scheduler = ops_scheduler::start(service.handle.clone());
        let held = |wanted: u64| move |row: &Value| row["shards"]["reservations"] == wanted;
        service.worker("scheduler@the-test", "holds its shards", held(64)).await;

        let path = "/api/workers/scheduler@the-test/cordon";
        let cordoned = service.post(path, json!({"reason": "new switch"})).await.expect(200);
        assert_eq!((&cordoned["state"], &cordoned["reason"]), (&json!("cordoned"), &json!("new switch")));
        service.worker("scheduler@the-test", "holds nothing", held(0)).await;

        let path = "/api/workers/scheduler%40the-test/uncordon";
        let free = service.post(path, json!({})).await.expect(200);
        assert_eq!((&free["state"], &free["reason"]), (&json!("active"), &Value::Null));
        let refused = service.post(path, json!({})).await.expect(409);
        assert_eq!((&refused["code"], &refused["state"]), (&json!("not_cordoned"), &json!("active")));
        service.worker("scheduler@the-test", "holds its shards again", held(64)).await;
        scheduler.stop().await;
        service.stop().await;
    }
}

each_backend! {
    async fn wishes_that_make_no_sense_are_refused_in_clear_words(test) {
        let service = Service::start_on(&test, vec![]).await;
        service.worker("api@the-test", "is alive", |row| row["alive"] == true).await;
        let path = |name: &str| format!("/api/workers/{name}/cordon");
        let reason = json!({"reason": "x"});
        let unknown = service.post(&path("nobody"), reason.clone()).await.expect(404);
        assert_eq!((&unknown["code"], &unknown["worker"]), (&json!("unknown_worker"), &json!("nobody")));
        let idle = service.post(&path("api@the-test"), reason).await.expect(409);
        assert_eq!(idle["code"], "nothing_to_withhold");
        assert!(idle["error"].as_str().unwrap().contains("api@the-test"), "{idle}");
        let none = service.post(&path("api@the-test"), json!({})).await.expect(400);
        assert_eq!(none["error"], "reason is required");
        service.post(&path("api@the-test"), json!({"reason": "x".repeat(201)})).await.expect_field("reason");
        service.stop().await;
    }
}

each_backend! {
    async fn a_second_api_under_one_name_ends_with_code_5(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![]).await.on(&test).with("OPS_SECRET", "s");
        let mut first = lab.run(API, &[]);
        let address = first.address().await;
        first.says("registered").await;
        assert_eq!(call(address, "GET", "/api/workers", &[], "").await.status, 401, "not for everybody");
        let (ended, said) = lab.run(API, &[]).ended().await;
        assert_eq!(ended.code(), Some(5), "{said}");
        assert!(said.contains("\"api@the-test\" runs on"), "{said}");
        assert_eq!(first.terminate().await.0.code(), Some(0));
    }
}
