//! `GET /api/hosts`: every host with its state, for few statements however many there are.

use std::time::Duration;

use chrono::TimeDelta;
use heartbeat_store::HostRecord;
use lab_model::HostName;
use reservation_engine::Store as _;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use store_support::{Database, Traffic, each_backend};

use crate::harness::{
    Forwarder, Lab, Server, awake, execute, in_secs, migrate, new_schema, now, private_dsn, reservations,
    until,
};
use crate::http::{Answer, call};
use crate::service::Service;

fn host<'a>(body: &'a Value, name: &str) -> &'a Value {
    let hosts = body["hosts"].as_array().unwrap_or_else(|| panic!("{body}"));
    hosts
        .iter()
        .find(|host| host["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {body}"))
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// The list, made anew: a change of a moment ago is in it.
async fn settled(service: &Service, is_there: impl Fn(&Value) -> bool) -> Value {
    until("the list shows it", || async {
        let body = service.get("/api/hosts").await.expect(200);
        is_there(&body).then_some(body)
    })
    .await
}

each_backend! {
    async fn each_host_is_shown_with_its_state_and_who_needs_it(test) {
        let service = Service::start_on(&test, vec![awake(1), awake(2), awake(3)]).await;
        let db = test.database();
        let site = service.handle.current().unwrap();
        service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        reservations::book(db, "0xaa", "1", in_secs(-600), in_secs(600)).await;
        reservations::book(db, "0xbb", "1", in_secs(3600), in_secs(7200)).await;
        execute(db, "UPDATE lab_reservations SET status = 'ACTIVE' WHERE transaction_hash = ?", ["0xaa".into()]).await;
        let lease = Duration::from_secs(600);
        let claim = site.reservations.claim_host(&name("lab-ws-02"), "somebody", lease).await.unwrap().unwrap();
        site.reservations.record_timing(&claim, &[], Duration::from_secs(300), now()).await.unwrap();
        site.heartbeats.record_failure(&name("lab-ws-02"), "unauthorized", "the password is refused", now()).await.unwrap();
        let maintained = json!({"reason": "new robot", "owner": "ana"});
        service.post("/api/hosts/lab-ws-03/maintenance", maintained).await.expect(200);

        let body = settled(&service, |body| !host(body, "lab-ws-03")["maintenance"].is_null()).await;
        assert_eq!((&body["total"], &body["database"]), (&json!(3), &json!(true)));
        let first = host(&body, "lab-ws-01");
        assert_eq!(first["address"], service.lab.sim(1).address().to_string());
        assert_eq!(first["labs"], json!(["1"]));
        assert_eq!(first["winrm"], json!({"transport": "ntlm", "port": service.lab.sim(1).http_port(), "tls": false}));
        assert_eq!(first["liveness"]["verdict"], "fresh", "{first}");
        assert!(first["liveness"]["heartbeatAgeMs"].as_u64().unwrap() < 90_000);
        assert_eq!((&first["state"]["ready"], &first["state"]["localMode"]), (&json!(true), &json!(false)));
        assert!(first["state"]["observedAt"].as_str().unwrap().ends_with('Z'));
        assert_eq!((&first["failuresInRow"], &first["lastFailure"]), (&json!(0), &Value::Null));
        let current = &first["reservations"]["current"];
        assert_eq!((&current["reservationId"], &current["status"]), (&json!("0xaa"), &json!("ACTIVE")));
        assert_eq!(first["reservations"]["next"]["reservationId"], "0xbb");
        assert_eq!((&first["claim"], &first["lead"]["ms"]), (&Value::Null, &json!(120_000)));

        let second = host(&body, "lab-ws-02");
        assert_eq!(second["liveness"]["verdict"], "never-seen");
        assert_eq!(second["liveness"]["heartbeatAgeMs"], Value::Null);
        assert_eq!((&second["failuresInRow"], &second["lastFailure"]["code"]), (&json!(1), &json!("unauthorized")));
        assert_eq!(second["claim"]["holder"], "somebody");
        assert!(second["claim"]["leftMs"].as_u64().unwrap() <= 600_000);
        assert_eq!(second["lead"]["ms"], 300_000);
        assert_eq!(second["reservations"], json!({"current": null, "next": null}));
        let third = &host(&body, "lab-ws-03")["maintenance"];
        assert_eq!((&third["reason"], &third["owner"], &third["until"]), (&json!("new robot"), &json!("ana"), &Value::Null));

        let one = service.get("/api/hosts/LAB-WS-01").await.expect(200);
        assert_eq!(one["reservations"], first["reservations"]);
        assert_eq!(one["config"]["winrm_transport"], "ntlm");
        let spec = service.lab.sim(1).spec();
        for text in [body.to_string(), one.to_string()] {
            assert!(!text.contains(&spec.password) && !text.contains("winrm_pass"), "{text}");
        }
        let unknown = service.get("/api/hosts/nosuch").await.expect(404);
        assert_eq!((&unknown["code"], &unknown["error"]), (&json!("unknown_host"), &json!("host 'nosuch' not found in config")));
        service.stop().await;
    }
}

/// So many hosts in the catalog, of which one runs.
async fn a_campus(test: &store_support::test_support::TestDatabase, hosts: usize) -> Service {
    migrate(test.database()).await;
    let lab = Lab::start(vec![awake(1)]).await.on(test);
    lab.write_catalog(|entries| {
        for number in 2..=hosts {
            let mut entry = entries[0].clone();
            entry["name"] = json!(format!("ws-{number:04}"));
            entry["labs"] = json!([format!("lab-{number}"), "shared"]);
            entries.push(entry);
        }
    });
    Service::start_in(lab).await
}

/// What was asked of the database so far, once nothing else is: a start has statements of its own.
async fn quiet(db: &Database) -> Traffic {
    until("nothing else is asked", || async {
        let before = db.traffic();
        tokio::time::sleep(Duration::from_millis(300)).await;
        (db.traffic() == before).then_some(before)
    })
    .await
}

each_backend! {
    async fn a_thousand_hosts_cost_as_many_statements_as_one(test) {
        for hosts in [1, 1000] {
            let service = a_campus(&test, hosts).await;
            let site = service.handle.current().unwrap();
            let record = |number: usize| HostRecord {
                name: name(&format!("ws-{number:04}")),
                address: "10.0.0.1".to_owned(),
                mac: None,
            };
            if hosts > 1 {
                let document = labstation_commands::parse_heartbeat(b"{}").unwrap();
                for number in 2..=20 {
                    site.heartbeats.record(&record(number), &document, "{}", now()).await.unwrap();
                    reservations::book(test.database(), &format!("0x{number}"), &format!("lab-{number}"), in_secs(60), in_secs(600)).await;
                }
            }
            let quiet = quiet(&site.database).await;
            let began = tokio::time::Instant::now();
            // One caller, so that exactly one list is made.
            let body = service.get("/api/hosts").await.expect(200);
            assert_eq!(body["total"], hosts);
            let cost = site.database.traffic().since(quiet);
            // The look at the signals and the sign of life of the process may fall into it, more than once where it takes long.
            let beside = 4 + 2 * began.elapsed().as_secs();
            assert!(cost.statements <= 6 + beside && cost.transactions == 0, "{hosts} hosts: {cost:?}, {beside} beside");
            service.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_callers_has_the_list_made_once_and_those_who_hang_up_take_nothing_away() {
    let service = Service::start(vec![awake(1), awake(2)]).await;
    let address = service.address();
    let site = service.handle.current().unwrap();
    let before = quiet(&site.database).await;
    let began = tokio::time::Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        calls.spawn(async move {
            let call = call(address, "GET", "/api/hosts", &[], "");
            if number % 4 == 0 {
                // Hangs up before there can be an answer.
                let _ = tokio::time::timeout(Duration::from_micros(number * 20), call).await;
                return None;
            }
            Some(call.await.expect(200))
        });
    }
    let answers: Vec<Value> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers.len(), 150);
    assert!(answers.iter().all(|body| body["total"] == 2));
    let made: std::collections::BTreeSet<&str> = answers
        .iter()
        .map(|body| body["generatedAt"].as_str().unwrap())
        .collect();
    let asked = site.database.traffic().since(before).statements;
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    let (first, last) = (at(made.first().unwrap()), at(made.last().unwrap()));
    let seconds = usize::try_from((last - first).num_seconds()).unwrap();
    assert!(made.len() <= seconds + 2, "at most one a second: {made:?}");
    // The look at the signals and the sign of life of the process come beside, the longer it takes the oftener.
    let beside = 10 + 2 * began.elapsed().as_secs();
    assert!(
        asked <= 6 * (made.len() as u64 + 1) + beside,
        "{asked} statements for {} lists",
        made.len()
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_list_is_not_sent_again() {
    let service = Service::start(vec![awake(1)]).await;
    let get = |tag: String| {
        let address = service.address();
        async move { call(address, "GET", "/api/hosts", &[("if-none-match", &tag)], "").await }
    };
    let first = service.get("/api/hosts").await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    let same: Answer = get(etag.clone()).await;
    assert_eq!(
        (same.status, same.text.as_str(), same.header("etag")),
        (304, "", Some(etag.as_str()))
    );
    assert_eq!(get("\"other\"".to_owned()).await.status, 200);
    // Ages alone are nothing new, a report is.
    service
        .post("/api/heartbeat/poll", json!({"host": "lab-ws-01"}))
        .await
        .expect(200);
    let changed = until("the report shows", || async {
        let answer = get(etag.clone()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    let newer = changed.header("etag").unwrap().to_owned();
    assert_ne!(newer, etag);
    let made = changed.json()["generatedAt"].clone();
    until("another list is made", || async {
        (service.get("/api/hosts").await.json()["generatedAt"] != made).then_some(())
    })
    .await;
    assert_eq!(get(newer).await.status, 304, "only ages have changed");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_from_the_list_and_wrong_ones_are_refused() {
    let service = Service::start(vec![awake(1), awake(2), awake(3)]).await;
    service
        .post("/api/heartbeat/poll", json!({"host": "lab-ws-02"}))
        .await
        .expect(200);
    settled(&service, |body| {
        host(body, "lab-ws-02")["liveness"]["verdict"] == "fresh"
    })
    .await;
    let names = async |query: &str| {
        let body = service.get(&format!("/api/hosts?{query}")).await.expect(200);
        let hosts = body["hosts"].as_array().unwrap();
        assert_eq!(body["total"], hosts.len());
        hosts
            .iter()
            .map(|host| host["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("lab=%203%20").await, ["lab-ws-03"]);
    assert_eq!(names("verdict=fresh").await, ["lab-ws-02"]);
    assert_eq!(names("verdict=never-seen&q=WS-01").await, ["lab-ws-01"]);
    assert_eq!(names("q=nosuch").await, [""; 0]);
    assert_eq!(names("lab=&verdict=&q=").await.len(), 3);
    let address = service.lab.sim(1).address().to_string();
    assert!(
        names(&format!("q={address}"))
            .await
            .contains(&"lab-ws-01".to_owned())
    );
    service
        .get("/api/hosts?verdict=offline")
        .await
        .expect_field("verdict");
    service
        .get(&format!("/api/hosts?q={}", "x".repeat(256)))
        .await
        .expect_field("q");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_the_list_says_so_and_what_was_last_known() {
    let server = Server::start();
    let db = new_schema("127.0.0.1", server.port()).await;
    let mut way = Forwarder::to(([127, 0, 0, 1], server.port()).into());
    let dsn = private_dsn("127.0.0.1", way.address().port());
    let lab = Lab::start(vec![awake(1)]).await.with("MYSQL_DSN", dsn);
    let handle = lab.plan().open(tokio_util::sync::CancellationToken::new());
    let api = ops_api::start(handle.clone()).await.unwrap();
    // Not reached yet.
    let early = call(api.address(), "GET", "/api/hosts", &[], "")
        .await
        .expect(200);
    assert_eq!((&early["database"], &early["total"]), (&json!(false), &json!(1)));
    assert_eq!(host(&early, "lab-ws-01")["liveness"]["verdict"], "unknown");
    way.open();
    let service = Service::with_parts(lab, handle, api).await;
    service
        .post("/api/heartbeat/poll", json!({"host": "lab-ws-01"}))
        .await
        .expect(200);
    settled(&service, |body| {
        host(body, "lab-ws-01")["liveness"]["verdict"] == "fresh"
    })
    .await;

    way.close().await;
    let away = settled(&service, |body| body["database"] == false).await;
    let shown = host(&away, "lab-ws-01");
    assert_eq!(shown["liveness"]["verdict"], "unknown");
    let reason = shown["liveness"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("the database does not answer; at ") && reason.contains("it was fresh"),
        "{reason}"
    );
    assert_eq!(shown["state"]["ready"], true);
    assert_eq!(
        service.get("/api/hosts?verdict=unknown").await.expect(200)["total"],
        1
    );
    assert_eq!(
        service.get("/api/hosts/lab-ws-01").await.expect(200)["database"],
        false
    );

    way.open();
    settled(&service, |body| body["database"] == true).await;
    service.stop().await;
    db.connection().execute_unprepared("SELECT 1").await.unwrap();
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_nobody_needs_may_be_off_and_one_that_is_due_may_not() {
    let lab = Lab::start(vec![crate::harness::asleep(1), crate::harness::asleep(2)])
        .await
        .with("OPS_IDLE_POWER_ACTION", "shutdown");
    let service = Service::start_in(lab).await;
    let site = service.handle.current().unwrap();
    let document = labstation_commands::parse_heartbeat(b"{}").unwrap();
    for number in 1..=2 {
        let record = HostRecord {
            name: name(&format!("lab-ws-0{number}")),
            address: "10.0.0.1".to_owned(),
            mac: None,
        };
        let before = now() - TimeDelta::hours(5);
        site.heartbeats
            .record(&record, &document, "{}", before)
            .await
            .unwrap();
        site.heartbeats
            .record_failure(&record.name, "connect", "nothing answers", now())
            .await
            .unwrap();
    }
    // The lead is two minutes.
    reservations::book(&site.database, "0xaa", "2", in_secs(60), in_secs(900)).await;
    let body = settled(&service, |body| {
        !host(body, "lab-ws-02")["reservations"]["next"].is_null()
    })
    .await;
    assert_eq!(
        host(&body, "lab-ws-01")["liveness"]["verdict"],
        "expected-off",
        "{body}"
    );
    assert_eq!(
        host(&body, "lab-ws-02")["liveness"]["verdict"],
        "silent",
        "{body}"
    );
    service.stop().await;
}
