//! Every command that asks one question: what it sends, what it prints, as text and as JSON.

use serde_json::{Value, json};

use crate::program::opsctl;
use crate::script::{Reply, Script};

/// Runs the command twice; gives the text. The document has to come out as it went in.
fn asked(line: &str, arguments: &[&str], document: &Value) -> String {
    let script = Script::always(Reply::json(200, document));
    let text = opsctl(&script, arguments);
    text.expect(0);
    assert_eq!(text.err, "", "{arguments:?}");
    let ran = opsctl(&script, &[&["--json"], arguments].concat());
    ran.expect(0);
    assert_eq!(&ran.json(), document, "{arguments:?}");
    assert_eq!(ran.err, "");
    assert_eq!(script.lines(), [line, line]);
    text.out
}

fn host(name: &str, lab: &str, verdict: &str) -> Value {
    json!({"name": name, "labs": [lab], "liveness": {"verdict": verdict, "heartbeatAgeMs": 1000}})
}

#[test]
fn hosts_are_listed_and_chosen_by_lab_and_liveness() {
    let all = json!({"hosts": [host("a", "1", "fresh"), host("b", "2", "silent")], "total": 2});
    let text = asked("GET /api/hosts", &["hosts"], &all);
    assert_eq!(text.lines().count(), 3, "{text}");
    // The service chooses; its document comes out as it went in, whatever it holds.
    for (query, choice) in [
        ("lab=2", &["--lab", "2"][..]),
        ("verdict=silent", &["--verdict", "silent"]),
        (
            "lab=2&verdict=stale&q=ws+0",
            &["--lab", "2", "--verdict", "stale", "--query", "ws 0"],
        ),
    ] {
        asked(
            &format!("GET /api/hosts?{query}"),
            &[&["hosts"], choice].concat(),
            &all,
        );
    }
}

#[test]
fn hosts_are_asked_for_again_and_again_until_the_count_is_reached() {
    let script = Script::start(|_, number| Reply::json(200, &json!({"hosts": [], "total": number})));
    let ran = opsctl(
        &script,
        &[
            "--json",
            "hosts",
            "--watch",
            "--interval",
            "200ms",
            "--count",
            "3",
        ],
    );
    ran.expect(0);
    let totals: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["total"].clone())
        .collect();
    assert_eq!(totals, [json!(0), json!(1), json!(2)]);
}

#[test]
fn one_host_is_shown() {
    let text = asked(
        "GET /api/hosts/lab%2Fws%2001",
        &["host", "lab/ws 01"],
        &host("lab/ws 01", "1", "fresh"),
    );
    assert!(text.contains("liveness   fresh"), "{text}");
}

#[test]
fn reservations_are_asked_for_with_every_filter() {
    let line = "GET /api/reservations?host=h&labId=12&status=CONFIRMED&from=2026-03-01T09%3A00%3A00.000Z&to=2026-03-02T00%3A00%3A00.000Z&limit=5&after=7";
    let arguments = [
        "reservations",
        "--host",
        "h",
        "--lab",
        "12",
        "--status",
        "confirmed",
        "--from",
        "2026-03-01 09:00",
        "--to",
        "2026-03-02",
        "--limit",
        "5",
        "--after",
        "7",
    ];
    let document = json!({"reservations": [{"reservationId": "r-1", "labId": "12", "status": "CONFIRMED"}]});
    assert!(asked(line, &arguments, &document).contains("r-1"));
}

#[test]
fn a_timeline_is_asked_for_with_its_page() {
    let document = json!({"reservation": {"reservationId": "r 1", "status": "ACTIVE"}, "operations": []});
    let line = "GET /api/reservations/timeline?reservationId=r+1&limit=2&offset=4";
    let text = asked(
        line,
        &["timeline", "r 1", "--limit", "2", "--offset", "4"],
        &document,
    );
    assert!(text.contains("Nothing was done yet."), "{text}");
    let under_way = "waking, attempt 2; the last answer was: nothing answered";
    let document = json!({"reservation": {"reservationId": "r-1"}, "operations": [], "underWay": under_way});
    let text = asked(
        "GET /api/reservations/timeline?reservationId=r-1",
        &["timeline", "r-1"],
        &document,
    );
    assert!(
        text.contains(under_way) && !text.contains("Nothing was done"),
        "{text}"
    );
}

#[test]
fn reservations_and_hosts_are_explained() {
    let document = json!({"reservationId": "r-1", "summary": "waits for the host", "next": null});
    let text = asked(
        "GET /api/reservations/r-1/explain",
        &["explain", "r-1"],
        &document,
    );
    assert!(text.starts_with("waits for the host\n"), "{text}");
    let document = json!({"host": "h", "summary": "idle", "reservations": []});
    let text = asked("GET /api/hosts/h/explain", &["explain", "--host", "h"], &document);
    assert!(text.starts_with("idle\n"), "{text}");
}

#[test]
fn operations_are_listed_and_one_is_shown() {
    let list = json!({"operations": [{"action": "wake", "status": "completed", "success": true, "host": "h"}], "pagination": {}});
    let line = "GET /api/operations/recent?host=h&reservationId=r&limit=3&offset=1";
    let arguments = [
        "operations",
        "--host",
        "h",
        "--reservation",
        "r",
        "--limit",
        "3",
        "--offset",
        "1",
    ];
    assert!(asked(line, &arguments, &list).contains("wake"));
    let one = json!({"id": 17, "state": "succeeded", "kind": "start", "steps": []});
    assert!(asked("GET /api/operations/17", &["operation", "17"], &one).contains("succeeded"));
}

#[test]
fn an_operation_that_failed_is_a_failure_also_when_only_looked_at() {
    let script = Script::always(Reply::json(200, &json!({"id": "x", "state": "failed"})));
    opsctl(&script, &["operation", "x"]).expect(1);
}

#[test]
fn workers_health_and_audit_are_shown() {
    let workers = json!({"workers": [{"name": "w-1", "alive": true}], "shards": {}});
    assert!(asked("GET /api/workers", &["workers"], &workers).contains("w-1"));
    assert!(asked("GET /health", &["health"], &json!({"status": "ok", "db": true})).starts_with("ok\n"));
    let audit = json!({"entries": [{"caller": "ada", "action": "POST /api/wol", "status": 200}]});
    let line = "GET /api/audit?after=5&limit=2&caller=ada&subject=h";
    let arguments = [
        "audit",
        "--after",
        "5",
        "--limit",
        "2",
        "--caller",
        "ada",
        "--subject",
        "h",
    ];
    assert!(asked(line, &arguments, &audit).contains("POST /api/wol"));
}

#[test]
fn a_service_that_is_not_well_is_shown_and_counted_as_not_reachable() {
    let document = json!({"status": "degraded", "db": false});
    let script = Script::always(Reply::json(503, &document));
    assert!(
        opsctl(&script, &["health"])
            .expect(5)
            .out
            .starts_with("degraded\n")
    );
    assert_eq!(opsctl(&script, &["health", "--json"]).expect(5).json(), document);
}

#[test]
fn nothing_a_service_says_moves_the_cursor() {
    let nasty = "x\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}y";
    let hosts = json!({"hosts": [{"name": nasty, "maintenance": {"reason": nasty}}]});
    let refusal = json!({"error": nasty, "code": nasty});
    let cases = [
        (Reply::json(200, &hosts), &["hosts"][..]),
        (Reply::json(200, &hosts), &["hosts", "--json"]),
        (Reply::json(200, &hosts), &["hosts", "--color", "always"]),
        (Reply::json(404, &refusal), &["host", "h"]),
        (Reply::json(404, &refusal), &["host", "h", "--json"]),
        (
            Reply::json(200, &json!({"exit_code": 0, "stdout": nasty, "stderr": nasty})),
            &["run", "h", "status"],
        ),
    ];
    for (reply, arguments) in cases {
        let ran = opsctl(&Script::always(reply), arguments);
        for text in [&ran.out, &ran.err] {
            for bad in ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}"] {
                assert!(!text.contains(bad), "{arguments:?}: {text:?}");
            }
        }
    }
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let hosts = json!({"hosts": [host("a", "1", "fresh")]});
    let script = Script::always(Reply::json(200, &hosts));
    assert!(!opsctl(&script, &["hosts"]).out.contains('\u{1b}'));
    assert!(
        opsctl(&script, &["hosts", "--color", "always"])
            .out
            .contains("\u{1b}[32mfresh")
    );
}

#[test]
fn what_was_is_asked_for_with_its_window() {
    let document = json!({"host": "h 1", "field": "localMode", "stepSecs": 3600, "points": [
        {"at": "2026-03-01T09:00:00.000Z", "knownSecs": 3600.0, "share": 0.5, "last": true, "changes": 1}]});
    let line = "GET /api/hosts/h%201/history?field=localMode&from=2026-03-01T09%3A00%3A00.000Z&to=2026-03-02T00%3A00%3A00.000Z&stepSecs=3600";
    let window = ["--from", "2026-03-01 09:00", "--to", "2026-03-02", "--step", "1h"];
    let text = asked(
        line,
        &[&["history", "h 1", "local-mode"], &window[..]].concat(),
        &document,
    );
    assert!(text.contains("50.0 %"), "{text}");
    asked(
        "GET /api/hosts/h/history?field=ready",
        &["history", "h", "ready"],
        &document,
    );

    let document = json!({"hours": [{"hour": "2026-03-01T09:00:00.000Z", "polls": 60, "failures": 0}]});
    let line = "GET /api/hosts/h/hours?from=2026-03-01T09%3A00%3A00.000Z";
    let text = asked(line, &["hours", "h", "--from", "2026-03-01 09:00"], &document);
    assert!(text.contains("60"), "{text}");
}

#[test]
fn a_step_or_field_that_cannot_be_is_refused_before_anything_is_asked() {
    let script = Script::always(Reply::json(200, &json!({})));
    for arguments in [
        &["history", "h", "ready", "--step", "500ms"][..],
        &["history", "h", "ready", "--step", "0s"],
        &["history", "h", "readiness"],
        &["history", "h", "ready", "--from", "whenever"],
        &["hours", "h", "--to", "whenever"],
        &["events", "--after", "-1"],
        &["events", "--limit", "501"],
        &["events", "--count", "1"],
    ] {
        opsctl(&script, arguments).expect(2);
    }
    assert!(script.seen().is_empty());
    let refusal = json!({"error": "host 'h' not found in config", "code": "unknown_host"});
    let script = Script::always(Reply::json(404, &refusal));
    for arguments in [
        &["history", "h", "ready"][..],
        &["hours", "h"],
        &["events", "--host", "h", "--follow"],
    ] {
        opsctl(&script, arguments).expect(3);
    }
}

fn event(id: i64) -> Value {
    json!({"id": id, "host": "h", "kind": "session-guard", "at": "2026-03-01T09:00:00.000Z", "payload": {"user": format!("u{id}")}})
}

#[test]
fn events_are_listed_and_the_place_to_go_on_is_named() {
    let page = json!({"events": [event(4), event(6)], "next": 6, "more": true});
    let line = "GET /api/events?host=h&after=3&limit=2";
    let text = asked(
        line,
        &["events", "--host", "h", "--after", "3", "--limit", "2"],
        &page,
    );
    assert!(
        text.contains("user=u6") && text.ends_with("more: --after 6\n"),
        "{text}"
    );
    let end = json!({"events": [event(4)], "next": 4, "more": false});
    assert!(!asked("GET /api/events", &["events"], &end).contains("more"));
}

#[test]
fn events_are_followed_each_once_over_a_service_that_is_away_for_a_moment() {
    let script = Script::start(
        |seen, number| match (number, seen.path.rsplit('=').next().unwrap()) {
            (0, "newest") => Reply::json(200, &json!({"events": [], "next": 7, "more": false})),
            (1, "7") => Reply::json(
                200,
                &json!({"events": [event(8), event(9)], "next": 9, "more": true}),
            ),
            (2, "9") => Reply::json(500, &json!({"error": "away"})),
            (3, "9") => Reply::json(200, &json!({"events": [], "next": 9, "more": false})),
            (4, "9") => Reply::json(
                200,
                &json!({"events": [event(12), event(13)], "next": 13, "more": false}),
            ),
            other => panic!("{other:?}"),
        },
    );
    let arguments = [
        "--json",
        "events",
        "--follow",
        "--interval",
        "200ms",
        "--count",
        "3",
    ];
    let ran = opsctl(&script, &arguments);
    ran.expect(0);
    let ids: Vec<i64> = ran
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, [8, 9, 12]);
    assert!(ran.err.contains("away"), "{}", ran.err);

    let quiet = Script::always(Reply::json(200, &json!({"events": [], "next": 7, "more": false})));
    // Time for two questions, which is longer where the machine is slow.
    for time in ["900ms", "5s", "30s"] {
        let before = quiet.seen().len();
        opsctl(
            &quiet,
            &["events", "--follow", "--interval", "200ms", "--timeout", time],
        )
        .expect(7);
        if quiet.seen().len() >= before + 2 {
            return;
        }
    }
    panic!("it asked only once each time: {:?}", quiet.lines());
}
