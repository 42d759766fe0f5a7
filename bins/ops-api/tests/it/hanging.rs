//! A database that hangs: it takes what it is sent and says nothing, which is worse than one that refuses.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use store_support::test_support::{TestDatabase, on_mysql};
use tokio::time::{Instant, timeout};

use crate::API;
use crate::harness::{Forwarder, Lab, Process, Silence, awake, count, dsn, execute, in_secs, migrate, until};
use crate::http::{Answer, call};

/// How long something may take while the database hangs, when this long is usual: a machine that is slow was so a moment
/// before. Each wait for the database is several seconds more.
fn at_most(usual: Duration) -> Duration {
    Duration::from_secs(30) + 10 * usual
}

/// A process whose way to the database is ours.
async fn a_process(test: &TestDatabase) -> (Lab, Process, SocketAddr, Forwarder) {
    migrate(test.database()).await;
    let direct = dsn(test);
    let (server, _) = direct.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let mut way = Forwarder::to(server.parse().unwrap());
    way.open();
    let url = direct.replace(server, &way.address().to_string());
    let lab = Lab::start(vec![awake(1)])
        .await
        .with("MYSQL_DSN", url)
        .with("OPS_SHUTDOWN_GRACE", "2");
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    api.says("the database is ready").await;
    (lab, api, address, way)
}

async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    call(address, "POST", path, headers, body.to_string()).await
}

/// A packet to nobody.
fn wake() -> Value {
    json!({"mac": "02:00:09:00:00:01", "broadcast": "127.0.0.1", "ping_target": "127.0.0.2", "attempts": 1,
        "ping_timeout": 0})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_need_no_row_do_not_wait_for_a_database_that_hangs() {
    on_mysql(|test| async move {
        let (_lab, api, address, way) = a_process(&test).await;
        let look = json!({"host": "lab-ws-01", "command": "status-json"});
        let poll = json!({"host": "lab-ws-01"});
        let orders = [
            ("/api/wol", wake()),
            ("/api/winrm", look.clone()),
            ("/api/heartbeat/poll", poll.clone()),
        ];
        let began = Instant::now();
        for (path, order) in orders.iter().cycle().take(24) {
            post(address, path, &[], order).await.expect(200);
        }
        let limit = at_most(began.elapsed());
        way.stall();
        let began = Instant::now();
        for (path, order) in orders.iter().cycle().take(24) {
            let told = post(address, path, &[], order).await.expect(200);
            assert_ne!(told["persisted"], true, "{path}: {told}");
        }
        // Each of them would wait several times, at least a second each time.
        let took = began.elapsed();
        assert!(took < limit, "24 calls took {took:?}");
        // Those that need a row are told so.
        let began = Instant::now();
        for (path, order, headers) in [
            (
                "/api/reservations/start",
                json!({"reservationId": "0xaa", "host": "lab-ws-01"}),
                &[][..],
            ),
            ("/api/wol", json!({"host": "lab-ws-01"}), &[]),
            (
                "/api/winrm",
                json!({"host": "lab-ws-01", "command": "session"}),
                &[],
            ),
            ("/api/winrm", look.clone(), &[("idempotency-key", "k")]),
            ("/api/winrm", look.clone(), &[("prefer", "respond-async")]),
        ] {
            let told = post(address, path, headers, &order).await;
            assert_eq!(told.expect(503)["code"], "database_unavailable", "{path}");
        }
        let took = began.elapsed();
        assert!(took < limit, "5 refusals took {took:?}");
        way.resume();
        until("rows are kept again", || async {
            (post(address, "/api/heartbeat/poll", &[], &poll).await.expect(200)["persisted"] == true)
                .then_some(())
        })
        .await;
        until("calls are kept again", || async {
            let told = post(address, "/api/winrm", &[], &look).await.expect(200);
            (told["persisted"] == true).then_some(())
        })
        .await;
        assert_eq!(api.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_database_could_not_take_is_kept_when_it_is_back() {
    on_mysql(|test| async move {
        let (_lab, api, address, way) = a_process(&test).await;
        let begun = |key: &'static str| {
            format!("SELECT COUNT(*) FROM ops_calls WHERE state = 'running' AND (idempotency_key = '{key}' OR '{key}' = '')")
        };
        let silence = Silence::new();
        let order = silence.wake();
        let [keyed, plain] = [&[("idempotency-key", "k")][..], &[]].map(|headers| {
            let order = order.clone();
            tokio::spawn(async move { post(address, "/api/wol", headers, &order).await })
        });
        until("both are under way", || async { (count(test.database(), &begun("")).await == 2).then_some(()) }).await;
        way.stall();
        let _answering = silence.end().await;
        // Whoever waits has the answer all the same.
        let told = keyed.await.unwrap().expect(200);
        assert_eq!(plain.await.unwrap().expect(200)["success"], told["success"]);
        assert_eq!(count(test.database(), &begun("k")).await, 1, "the row does not know yet");
        way.resume();
        let kept = "SELECT COUNT(*) FROM ops_calls WHERE state = 'succeeded' AND answer_status = 200";
        until("both answers are kept", || async { (count(test.database(), kept).await == 2).then_some(()) }).await;
        let again = post(address, "/api/wol", &[("idempotency-key", "k")], &order).await;
        assert_eq!((again.expect(200), again.header("idempotent-replayed")), (told, Some("true")));
        assert_eq!(api.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_stops_within_its_grace_while_the_database_hangs() {
    on_mysql(|test| async move {
        let began = Instant::now();
        let (_lab, api, address, way) = a_process(&test).await;
        let limit = at_most(began.elapsed());
        way.stall();
        let reload = tokio::spawn(async move { post(address, "/api/hosts/reload", &[], &json!({})).await });
        let told = timeout(limit, reload)
            .await
            .expect("nobody waits for the database")
            .unwrap();
        assert_eq!(told.expect(200)["announced"], false);
        let ended = timeout(limit, api.terminate()).await;
        let (ended, said) = ended.expect("a grace of 2 s, and some seconds to say goodbye");
        assert_eq!(ended.code(), Some(0), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_forgotten_by_a_service_that_runs() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        for days in [400, 0] {
            let at = in_secs(-days * 86_400).naive_utc();
            let call = "INSERT INTO ops_calls (id, kind, caller, digest, state, worker, created_at) \
                        VALUES (?, 'wol', 'c', '', 'succeeded', 'w', ?)";
            execute(db, call, [format!("{days:036}").into(), at.into()]).await;
            let entry = "INSERT INTO ops_audit (at, request_id, caller, role, from_address, action) \
                         VALUES (?, 'r', 'c', 'admin', '', ?)";
            execute(db, entry, [at.into(), format!("{days}").into()]).await;
        }
        let lab = Lab::start(vec![]).await.on(&test);
        let mut api = lab.run(API, &[]);
        api.says("forgot what is old").await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_calls").await, 1);
        assert_eq!(
            count(db, "SELECT COUNT(*) FROM ops_audit WHERE action = '0'").await,
            1
        );
        assert_eq!(
            count(db, "SELECT COUNT(*) FROM ops_audit WHERE action = '400'").await,
            0
        );
        assert_eq!(api.terminate().await.0.code(), Some(0));
    })
    .await;
}
