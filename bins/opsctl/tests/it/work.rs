//! Work that takes a while: handed over, followed, lost and found again, left alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Ran, command, opsctl};
use crate::script::{Reply, Script, Seen};

/// An accepted call.
fn accepted() -> Reply {
    let body = json!({"id": "5f", "state": "queued", "location": "/api/operations/5f"});
    Reply::with(
        202,
        &[
            ("location", "/api/operations/5f"),
            ("preference-applied", "respond-async"),
        ],
        &body,
    )
}

fn operation(state: &str, answer: Value) -> Value {
    json!({"id": "5f", "kind": "start", "host": "h", "state": state, "answer": answer,
        "steps": [{"step": "wake", "attempt": 1, "state": "done"}]})
}

fn event(id: u32, state: &str) -> String {
    format!(
        ": keep-alive\nid: {id}\nevent: operation\ndata: {}\n\n",
        operation(state, Value::Null)
    )
}

fn started(success: bool) -> Value {
    json!({"success": success, "reservationId": "r", "host": "h", "labId": null,
        "steps": [{"action": "wake", "success": success, "message": "Host reachable", "durationMs": 12}]})
}

#[test]
fn an_answer_that_comes_at_once_is_the_answer() {
    let script = Script::always(Reply::json(200, &started(true)));
    let ran = opsctl(
        &script,
        &[
            "start",
            "r",
            "--host",
            "h",
            "--lab",
            "12",
            "--guard-grace",
            "1m",
            "--no-wake",
        ],
    );
    ran.expect(0);
    assert!(
        ran.out.contains("wake  done     12 ms  Host reachable"),
        "{}",
        ran.out
    );
    let seen: &Seen = &script.seen()[0];
    assert_eq!(seen.line(), "POST /api/reservations/start");
    assert_eq!(seen.header("prefer"), Some("respond-async"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("idempotency-key").unwrap().len(), 36);
    let body = json!({"reservationId": "r", "host": "h", "labId": "12", "guardGrace": 60, "wake": false});
    assert_eq!(seen.json(), body);
}

#[test]
fn a_failed_step_is_a_failure_and_its_document_is_printed() {
    let script = Script::always(Reply::json(502, &started(false)));
    let ran = opsctl(
        &script,
        &[
            "--json",
            "end",
            "r",
            "--host",
            "h",
            "--power",
            "shutdown",
            "--release-arg",
            "--reboot",
            "--key",
            "k-1",
        ],
    );
    assert_eq!(ran.expect(1).json(), started(false));
    let seen = &script.seen()[0];
    assert_eq!(seen.line(), "POST /api/reservations/end");
    assert_eq!(seen.header("idempotency-key"), Some("k-1"));
    let body = json!({"reservationId": "r", "host": "h", "powerAction": {"mode": "shutdown"}, "releaseArgs": ["--reboot"]});
    assert_eq!(seen.json(), body);
}

#[test]
fn accepted_work_is_followed_over_a_lost_stream_from_the_last_event_on() {
    let script = Script::start(|seen, number| match (seen.path.as_str(), number) {
        ("/api/reservations/start", _) => accepted(),
        // The stream breaks in the middle of an event.
        ("/api/operations/5f/events", 1) => {
            Reply::events(&format!("{}id: 9\nevent: opera", event(3, "running")))
        }
        ("/api/operations/5f/events", _) => {
            Reply::events(&format!("{}event: end\ndata: {{}}\n\n", event(4, "running")))
        }
        _ => Reply::json(
            200,
            &operation("succeeded", json!({"status": 200, "body": started(true)})),
        ),
    });
    let ran = opsctl(&script, &["--json", "start", "r", "--host", "h"]);
    assert_eq!(ran.expect(0).json(), started(true));
    assert_eq!(ran.err, "");
    let seen = script.seen();
    assert_eq!(
        script.lines(),
        [
            "POST /api/reservations/start",
            "GET /api/operations/5f/events",
            "GET /api/operations/5f/events",
            "GET /api/operations/5f"
        ]
    );
    assert_eq!(seen[1].header("last-event-id"), None);
    // The id of an event that was complete; the torn one is asked for again.
    assert_eq!(seen[2].header("last-event-id"), Some("3"));
}

#[test]
fn a_service_without_events_is_asked_until_the_work_is_over() {
    let script = Script::start(|seen, number| match seen.path.as_str() {
        "/api/winrm" => accepted(),
        "/api/operations/5f/events" => Reply::json(404, &json!({"error": "Not found", "code": "not_found"})),
        _ if number < 3 => Reply::json(200, &operation("running", Value::Null)),
        _ => Reply::json(
            200,
            &operation(
                "failed",
                json!({"status": 502, "body": {"error": "host is off", "code": "unreachable"}}),
            ),
        ),
    });
    let ran = opsctl(&script, &["run", "h", "status-json"]);
    ran.expect(1);
    assert!(
        ran.err.contains("host is off [unreachable, HTTP 502]"),
        "{}",
        ran.err
    );
    assert_eq!(
        script.seen()[0].json(),
        json!({"host": "h", "command": "status-json", "args": []})
    );
}

#[test]
fn work_whose_worker_died_is_a_failure_that_says_so() {
    let script = Script::start(|seen, _| match seen.path.as_str() {
        "/api/wol" => accepted(),
        "/api/operations/5f/events" => Reply::events(&event(1, "interrupted")),
        _ => Reply::json(200, &operation("interrupted", Value::Null)),
    });
    let ran = opsctl(
        &script,
        &[
            "wake",
            "h",
            "--attempts",
            "2",
            "--wait",
            "500ms",
            "--broadcast",
            "10.0.0.255",
            "--port",
            "7",
        ],
    );
    ran.expect(1);
    assert!(ran.err.contains("the operation interrupted"), "{}", ran.err);
    assert_eq!(
        script.seen()[0].json(),
        json!({"host": "h", "attempts": 2, "ping_timeout": 0.5, "broadcast": "10.0.0.255", "port": 7})
    );
}

#[test]
fn work_that_is_not_waited_for_prints_where_to_follow_it() {
    let script = Script::start(|_, _| accepted());
    let arguments = ["run", "--detach", "h", "status"];
    assert_eq!(opsctl(&script, &arguments).expect(0).out, "5f\n");
    let ran = opsctl(&script, &[&["--json"], &arguments[..]].concat());
    assert_eq!(ran.expect(0).json()["id"], "5f");
    assert_eq!(script.lines(), ["POST /api/winrm", "POST /api/winrm"]);
}

#[test]
fn when_the_time_is_over_the_work_goes_on_and_the_line_says_how_to_follow_it() {
    let script = Script::start(|seen, _| match seen.path.as_str() {
        "/api/winrm" => accepted(),
        _ => Reply::events(&event(1, "running")).then_silence(),
    });
    // Time for the order to be taken, which is longer where the machine is slow.
    let followed = |ran: &Ran| ran.err.contains("the work goes on");
    let mut ran = opsctl(&script, &["--json", "--timeout", "600ms", "run", "h", "status"]);
    for time in ["5s", "30s"] {
        if followed(&ran) {
            break;
        }
        ran = opsctl(&script, &["--json", "--timeout", time, "run", "h", "status"]);
    }
    assert_eq!(ran.expect(7).json()["code"], "timed_out");
    assert!(
        ran.err
            .contains("the work goes on; follow it with: opsctl operation 5f --follow"),
        "{}",
        ran.err
    );
}

/// Starts the program, waits for a request, and presses Ctrl-C.
fn interrupted(script: &Script, arguments: &[&str], after: &str) -> Ran {
    let child = command(&[("OPSCTL_URL", &script.url())], arguments)
        .spawn()
        .unwrap();
    let mut waited = 0;
    while !script.lines().iter().any(|line| line == after) {
        waited += 1;
        assert!(waited < 9000, "it never came to {after}: {:?}", script.lines());
        std::thread::sleep(Duration::from_millis(10));
    }
    let line = format!("kill -INT {}", child.id());
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &line])
            .status()
            .unwrap()
            .success()
    );
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn ctrl_c_leaves_the_work_to_the_service() {
    let script = Script::start(|seen, _| match seen.path.as_str() {
        "/api/winrm" => accepted(),
        _ => Reply::events(&event(1, "running")).then_silence(),
    });
    let ran = interrupted(&script, &["run", "h", "status"], "GET /api/operations/5f/events");
    ran.expect(130);
    assert!(
        ran.err
            .contains("the work goes on; follow it with: opsctl operation 5f --follow"),
        "{}",
        ran.err
    );
}

#[test]
fn ctrl_c_before_the_service_has_answered_names_the_key() {
    let script = Script::always(Reply::raw("").then_silence());
    let ran = interrupted(
        &script,
        &["run", "--key", "k-7", "h", "status"],
        "POST /api/winrm",
    );
    ran.expect(130);
    assert!(ran.err.contains("--key k-7"), "{}", ran.err);
}

#[test]
fn an_operation_is_followed_by_its_id() {
    let script = Script::start(|seen, number| match (seen.path.as_str(), number) {
        ("/api/operations/5f/events", _) => Reply::events(&event(2, "succeeded")),
        (_, 0) => Reply::json(200, &operation("running", Value::Null)),
        _ => Reply::json(200, &operation("succeeded", json!({"status": 200, "body": {}}))),
    });
    let ran = opsctl(&script, &["operation", "5f", "--follow", "--json"]);
    assert_eq!(ran.expect(0).json()["state"], "succeeded");
    let missing = Script::always(Reply::json(
        404,
        &json!({"error": "no such operation", "code": "unknown_operation"}),
    ));
    opsctl(&missing, &["operation", "5f", "--follow"]).expect(3);
}

#[test]
fn a_command_of_the_station_says_what_it_printed_and_how_it_ended() {
    let ran = |code: i64, command: &str| {
        let answer =
            json!({"exit_code": code, "stdout": "one\r\ntwo\r\n", "stderr": "hm\r\n", "duration_ms": 5});
        opsctl(
            &Script::always(Reply::json(200, &answer)),
            &["run", "h", command, "--flag"],
        )
    };
    let done = ran(0, "status");
    assert_eq!(
        (done.expect(0).out.as_str(), done.err.as_str()),
        ("one\ntwo\n", "opsctl: hm\n")
    );
    assert!(ran(1, "prepare-session").expect(0).err.contains("with warnings"));
    assert!(ran(1, "power").expect(1).err.contains("exit code 1"));
    ran(2, "prepare-session").expect(1);
}

#[test]
fn an_order_to_a_host_in_maintenance_is_told_so_beside_its_answer() {
    let mut answer = started(true);
    answer["maintenance"] = json!({"reason": "new disk\u{1b}[2J", "owner": "ada",
        "since": "2026-03-01T08:00:00.000Z", "until": null});
    let script = Script::always(Reply::json(200, &answer));
    let ran = opsctl(&script, &["--json", "start", "r", "--host", "h"]);
    assert_eq!(ran.expect(0).json(), answer);
    assert!(
        ran.err
            .starts_with("opsctl: the host is in maintenance: new disk\\u{1b}[2J, by ada, since "),
        "{}",
        ran.err
    );
}
