//! Long calls: those that nobody waits for, those that are asked for twice, and those that are cut off.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use host_sim::{Fault, HostSpec, SimHost};
use serde_json::{Value, json};
use store_support::each_backend;

use crate::API;
use crate::harness::{
    Lab, asleep, awake, commands, count, execute, history, migrate, packets, until, until_true,
};
use crate::http::{Answer, call};
use crate::service::Service;

const START: &str = "/api/reservations/start";

/// A host whose prepare takes its time.
fn slow(n: u8, secs: u64) -> HostSpec {
    let mut spec = awake(n);
    spec.station.durations.prepare = Duration::from_secs(secs);
    spec
}

fn start(id: &str) -> Value {
    json!({"reservationId": id, "host": "lab-ws-01", "wake": false})
}

/// One packet that reaches the host, whatever network the test runs in.
fn wake(host: &SimHost) -> Value {
    json!({"host": host.name(), "broadcast": host.address().to_string(), "port": host.wol_port(), "ping_timeout": 0,
        "attempts": 1})
}

async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    call(address, "POST", path, headers, body.to_string()).await
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    call(address, "GET", path, &[], "").await
}

/// The document of an operation, once it is over.
async fn over(address: SocketAddr, location: &str) -> Value {
    until("it is over", || async {
        let document = get(address, location).await.expect(200);
        let open = ["queued", "running"].contains(&document["state"].as_str().unwrap());
        (!open).then_some(document)
    })
    .await
}

each_backend! {
    async fn a_caller_that_does_not_wait_finds_the_answer_where_it_was_told_to_look(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 2), asleep(2)]).await.on(&test);
        let gate = lab.gate(1);
        gate.stall();
        let service = Service::start_in(lab).await;
        let address = service.address();
        let taken = post(address, START, &[("prefer", "respond-async")], &start("0xaa")).await;
        let body = taken.expect(202);
        let location = format!("/api/operations/{}", body["id"].as_str().unwrap());
        assert_eq!((taken.header("location"), &body["location"]), (Some(location.as_str()), &json!(location)));
        assert_eq!(taken.header("preference-applied"), Some("respond-async"));
        assert_eq!(history(test.database(), "0xaa").await, [], "nobody waited");
        let seen = get(address, &location).await.expect(200);
        assert!(["queued", "running"].contains(&seen["state"].as_str().unwrap()), "{seen}");
        assert_eq!((&seen["answer"], &seen["endedAt"]), (&Value::Null, &Value::Null));

        gate.resume();
        let document = over(address, &location).await;
        assert_eq!(document["state"], "succeeded", "{document}");
        assert_eq!((&document["kind"], &document["host"]), (&json!("start"), &json!("lab-ws-01")));
        assert_eq!((&document["reservationId"], &document["caller"]), (&json!("0xaa"), &json!("anybody")));
        let step = &document["steps"][0];
        assert_eq!((&step["step"], &step["attempt"], &step["state"]), (&json!("prepare"), &json!(1), &json!("done")));
        assert!(step["durationMs"].as_u64().unwrap() >= 1900, "{step}");
        assert_eq!(document["answer"]["status"], 200);
        assert_eq!(document["answer"]["body"]["steps"][0]["details"]["exitCode"], 0);
        assert_eq!(document["explain"]["host"], "lab-ws-01", "no reservation is known, so the host is explained");

        // The same by its number in the journal, as the scheduler's own are found.
        let number = count(test.database(), "SELECT MAX(id) FROM ops_operations").await;
        let journal = get(address, &format!("/ops/api/operations/{number}")).await.expect(200);
        assert_eq!((&journal["kind"], &journal["state"]), (&json!("manual_start"), &json!("succeeded")));
        assert_eq!((&journal["steps"], &journal["caller"]), (&document["steps"], &Value::Null));

        for (path, order) in [
            ("/api/wol?async=true", wake(service.lab.sim(2))),
            ("/api/winrm?async=1", json!({"host": "lab-ws-01", "command": "status-json"})),
        ] {
            let body = post(address, path, &[], &order).await.expect(202);
            let document = over(address, body["location"].as_str().unwrap()).await;
            assert_eq!((&document["state"], &document["answer"]["status"]), (&json!("succeeded"), &json!(200)), "{path}");
        }
        assert_eq!(packets(service.lab.sim(2)).len(), 1);
        service.stop().await;
    }
}

each_backend! {
    async fn a_step_that_fails_is_told_to_the_one_who_comes_back_as_to_the_one_who_waits(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        service.lab.sim(1).set_fault(Fault::ExitCode { command: "prepare-session".into(), code: 3 });
        let address = service.address();
        let waited = post(address, START, &[], &start("0xaa")).await.expect(502);
        assert_eq!((&waited["success"], &waited["persisted"]), (&json!(false), &json!(true)));
        let taken = post(address, START, &[("prefer", "respond-async")], &start("0xbb")).await.expect(202);
        let document = over(address, taken["location"].as_str().unwrap()).await;
        assert_eq!((&document["state"], &document["answer"]["status"]), (&json!("failed"), &json!(502)), "{document}");
        let (told, steps) = (&document["answer"]["body"], &document["steps"]);
        assert_eq!((&told["success"], &told["steps"][0]["message"]), (&json!(false), &waited["steps"][0]["message"]));
        assert_eq!((&steps[0]["state"], &steps[0]["reason"]["code"]), (&json!("failed"), &waited["steps"][0]["reason"]["code"]));
        service.stop().await;
    }
}

each_backend! {
    async fn twenty_calls_with_one_key_through_two_processes_have_one_effect(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 2)]).await.on(&test);
        let mut processes = [
            lab.run_with(API, &[("OPS_WORKER_NAME", "one")]),
            lab.run_with(API, &[("OPS_WORKER_NAME", "two")]),
        ];
        let mut addresses = Vec::new();
        for process in &mut processes {
            addresses.push(process.address().await);
            process.says("the database is ready").await;
        }
        let calls = (0..20).map(|n| {
            let address = addresses[n % 2];
            tokio::spawn(async move { post(address, START, &[("idempotency-key", "k 1")], &start("0xaa")).await })
        });
        let calls: Vec<_> = calls.collect();
        let (mut bodies, mut replayed) = (HashSet::new(), 0);
        for answer in calls {
            let answer = answer.await.unwrap();
            bodies.insert(answer.expect(200).to_string());
            replayed += usize::from(answer.header("idempotent-replayed") == Some("true"));
        }
        assert_eq!((bodies.len(), replayed), (1, 19));
        assert_eq!(commands(lab.sim(1), "prepare-session").len(), 1);
        assert_eq!(history(test.database(), "0xaa").await.len(), 1);

        // Whoever does not wait is told the same call; another order under the key is none.
        let headers = [("idempotency-key", "k 1"), ("prefer", "respond-async")];
        let again = post(addresses[1], START, &headers, &start("0xaa")).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (202, Some("true")));
        let id = again.json()["id"].as_str().unwrap().to_owned();
        for (path, order) in [(START, start("0xbb")), ("/api/reservations/end", start("0xaa"))] {
            let other = post(addresses[0], path, &[("idempotency-key", "k 1")], &order).await.expect(422);
            assert_eq!((&other["code"], &other["id"]), (&json!("idempotency_mismatch"), &json!(id)));
        }
        for bad in ["", "ä"] {
            post(addresses[0], START, &[("idempotency-key", bad)], &start("0xaa")).await.expect_field("Idempotency-Key");
        }
        assert_eq!(commands(lab.sim(1), "prepare-session").len(), 1);
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM ops_calls").await, 1);
        for process in processes {
            assert_eq!(process.terminate().await.0.code(), Some(0));
        }
    }
}

each_backend! {
    async fn a_call_cut_off_by_a_kill_is_told_as_interrupted_and_never_run_again(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 600)]).await.on(&test);
        let mut victim = lab.run_with(API, &[("OPS_WORKER_NAME", "victim")]);
        let address = victim.address().await;
        victim.says("the database is ready").await;
        let headers = [("idempotency-key", "k"), ("prefer", "respond-async")];
        let taken = post(address, START, &headers, &start("0xaa")).await.expect(202);
        until_true("it is under way", || commands(lab.sim(1), "prepare-session").len() == 1).await;
        victim.kill().await;

        let mut heir = lab.run_with(API, &[("OPS_WORKER_NAME", "heir")]);
        let address = heir.address().await;
        heir.says("the database is ready").await;
        // The caller waits until it is clear that nobody is at work any more.
        let told = post(address, START, &headers[..1], &start("0xaa")).await;
        let body = told.expect(409);
        assert_eq!((&body["code"], &body["state"]), (&json!("call_interrupted"), &json!("interrupted")), "{body}");
        assert_eq!((&body["id"], told.header("idempotent-replayed")), (&taken["id"], Some("true")));
        assert_eq!((&body["steps"][0]["step"], &body["steps"][0]["state"]), (&json!("prepare"), &json!("interrupted")));
        let again = post(address, START, &headers, &start("0xaa")).await.expect(202);
        assert_eq!((&again["id"], &again["state"]), (&taken["id"], &json!("interrupted")));
        let document = get(address, taken["location"].as_str().unwrap()).await.expect(200);
        assert_eq!((&document["state"], &document["answer"]), (&json!("interrupted"), &Value::Null));
        assert_eq!(commands(lab.sim(1), "prepare-session").len(), 1);
        assert_eq!(heir.terminate().await.0.code(), Some(0));
    }
}

each_backend! {
    async fn a_call_that_was_written_down_but_never_begun_is_run_when_it_is_asked_for_again(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let (address, db) = (service.address(), test.database());
        let key = [("idempotency-key", "k")];
        let body = post(address, "/api/winrm", &key, &json!({"host": "lab-ws-01", "command": "session"})).await;
        body.expect(200);
        assert_eq!(commands(service.lab.sim(1), "session").len(), 1);
        // As a process leaves it that dies between the row and the effect.
        let left = "UPDATE ops_calls SET state = 'queued', started_at = NULL, ended_at = NULL, answer_status = NULL, \
                    answer_body = NULL, lease_until = 0";
        assert_eq!(execute(db, left, []).await, 1);
        let again = post(address, "/api/winrm", &key, &json!({"command": "session", "host": "lab-ws-01"})).await;
        again.expect(200);
        assert_eq!(again.header("idempotent-replayed"), None);
        assert_eq!(commands(service.lab.sim(1), "session").len(), 2);
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_calls").await, 1);
        service.stop().await;
    }
}

each_backend! {
    async fn a_host_that_was_busy_does_not_use_the_key_up(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 3)]).await.on(&test).with("OPS_HOST_WAIT", "0");
        let gate = lab.gate(1);
        let service = Service::start_in(lab).await;
        let address = service.address();
        let first = tokio::spawn(async move { post(address, START, &[], &start("0xaa")).await });
        until_true("it is under way", || commands(service.lab.sim(1), "prepare-session").len() == 1).await;
        gate.stall();
        let key = [("idempotency-key", "k")];
        let busy = post(address, START, &key, &start("0xbb")).await;
        assert_eq!(busy.expect(409)["code"], "host_busy");
        assert!(busy.header("retry-after").is_some());
        gate.resume();
        first.await.unwrap().expect(200);
        post(address, START, &key, &start("0xbb")).await.expect(200);
        let states = "SELECT COUNT(*) FROM ops_calls WHERE state = 'failed' AND answer_status = 409";
        assert_eq!(count(test.database(), states).await, 1, "the one that was busy is on record");
        service.stop().await;
    }
}

each_backend! {
    async fn a_stop_marks_what_it_cuts_off(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 600)]).await.on(&test).with("OPS_SHUTDOWN_GRACE", "1");
        let mut process = lab.run(API, &[]);
        let address = process.address().await;
        process.says("the database is ready").await;
        post(address, START, &[("prefer", "respond-async")], &start("0xaa")).await.expect(202);
        let wake = json!({"mac": "02:00:09:00:00:01", "broadcast": "127.0.0.1", "ping_target": "127.0.0.2", "attempts": 20,
            "ping_timeout": 60});
        post(address, "/api/wol?async=true", &[], &wake).await.expect(202);
        until_true("it is under way", || commands(lab.sim(1), "prepare-session").len() == 1).await;
        let (ended, said) = process.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        let marked = "SELECT COUNT(*) FROM ops_calls WHERE state = 'interrupted' AND ended_at IS NOT NULL";
        assert_eq!(count(test.database(), marked).await, 2, "{said}");
    }
}

each_backend! {
    async fn calls_that_somebody_waits_for_do_without_a_row_and_say_so(test) {
        let service = Service::start_on(&test, vec![awake(1), asleep(2)]).await;
        let address = service.address();
        let look = json!({"host": "lab-ws-01", "command": "status"});
        // None of them waits for a database that takes its time.
        until("one is kept", || async {
            let body = service.post("/api/winrm", look.clone()).await.expect(200);
            (body["persisted"] == true).then_some(())
        })
        .await;
        assert!(count(test.database(), "SELECT COUNT(*) FROM ops_calls WHERE kind = 'winrm'").await >= 1);
        execute(test.database(), "DROP TABLE ops_calls", []).await;
        assert_eq!(service.post("/api/winrm", look.clone()).await.expect(200)["persisted"], false);
        service.post("/api/wol", wake(service.lab.sim(2))).await.expect(200);
        assert_eq!(packets(service.lab.sim(2)).len(), 1);
        // Whoever wants to come back for the answer is refused before anything is done.
        let before = commands(service.lab.sim(1), "status").len();
        post(address, "/api/winrm", &[("prefer", "respond-async")], &look).await.expect(500);
        post(address, "/api/winrm", &[("idempotency-key", "k")], &look).await.expect(500);
        assert_eq!(commands(service.lab.sim(1), "status").len(), before);
        service.stop().await;
    }
}

each_backend! {
    async fn a_caller_who_hangs_up_leaves_work_that_goes_on_and_a_row_that_says_how_it_ended(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 2)]).await.on(&test);
        let gate = lab.gate(1);
        let service = Service::start_in(lab).await;
        let address = service.address();
        let caller = tokio::spawn(async move { post(address, START, &[], &start("0xaa")).await });
        until_true("it is under way", || commands(service.lab.sim(1), "prepare-session").len() == 1).await;
        gate.stall();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        gate.resume();
        let ended = "SELECT COUNT(*) FROM ops_calls WHERE kind = 'start' AND state = 'succeeded' AND answer_status = 200";
        until("its row says how it ended", || async { (count(test.database(), ended).await == 1).then_some(()) }).await;
        let told = "SELECT COUNT(*) FROM ops_audit WHERE action = 'POST /api/reservations/start' AND status = 200";
        until("the trail does as well", || async { (count(test.database(), told).await == 1).then_some(()) }).await;
        assert_eq!(commands(service.lab.sim(1), "prepare-session").len(), 1);
        service.stop().await;
    }

    async fn a_caller_who_waits_is_answered_when_its_call_is_cut_off_by_a_stop(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1, 600)]).await.on(&test).with("OPS_SHUTDOWN_GRACE", "1");
        let mut process = lab.run(API, &[]);
        let address = process.address().await;
        process.says("the database is ready").await;
        let caller = tokio::spawn(async move { post(address, START, &[], &start("0xaa")).await });
        until_true("it is under way", || commands(lab.sim(1), "prepare-session").len() == 1).await;
        let (ended, said) = process.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        let told = caller.await.unwrap();
        assert_eq!(told.expect(503)["code"], "stopping", "{said}");
        let marked = "SELECT COUNT(*) FROM ops_calls WHERE state = 'interrupted' AND answer_status = 503";
        assert_eq!(count(test.database(), marked).await, 1, "{said}");
        let trail = "SELECT COUNT(*) FROM ops_audit WHERE status = 503";
        assert_eq!(count(test.database(), trail).await, 1, "{said}");
    }
}
