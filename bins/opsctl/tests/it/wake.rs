//! `wake`: packets go where the host's entry says, unless the options say where.

use serde_json::{Value, json};

use crate::program::opsctl;
use crate::script::{Reply, Script};

/// A host as the service shows it, with its entry.
fn entry() -> Reply {
    let config = json!({"name": "h", "broadcast": "10.0.7.255", "wol_port": 7, "labs": [1]});
    Reply::json(200, &json!({"name": "h", "config": config, "database": true}))
}

fn woken() -> Value {
    json!({"success": true, "attempts_used": 1, "duration_ms": 9, "ping_target": "10.0.7.1"})
}

/// A service whose answer to `GET /api/hosts/h` is this.
fn service(entry: Reply) -> Script {
    Script::start(move |seen, _| match seen.line().as_str() {
        "GET /api/hosts/h" => entry.clone(),
        _ => Reply::json(200, &woken()),
    })
}

/// The packets that were asked for.
fn sent(script: &Script) -> Value {
    let mut seen = script.seen();
    let last = seen.pop().unwrap();
    assert_eq!(last.line(), "POST /api/wol");
    last.json()
}

#[test]
fn a_host_is_woken_where_its_entry_says() {
    let script = service(entry());
    let ran = opsctl(&script, &["--json", "wake", "h"]);
    assert_eq!(ran.expect(0).json(), woken());
    assert_eq!(script.lines(), ["GET /api/hosts/h", "POST /api/wol"]);
    assert_eq!(
        sent(&script),
        json!({"host": "h", "broadcast": "10.0.7.255", "port": 7})
    );
}

#[test]
fn options_come_before_the_entry_which_is_not_asked_for_when_they_say_all() {
    let script = service(entry());
    opsctl(&script, &["wake", "h", "--port", "99"]).expect(0);
    assert_eq!(
        sent(&script),
        json!({"host": "h", "broadcast": "10.0.7.255", "port": 99})
    );
    let script = service(entry());
    opsctl(
        &script,
        &["wake", "h", "--port", "99", "--broadcast", "10.9.9.255"],
    )
    .expect(0);
    assert_eq!(script.lines(), ["POST /api/wol"]);
    assert_eq!(
        sent(&script),
        json!({"host": "h", "broadcast": "10.9.9.255", "port": 99})
    );
}

#[test]
fn a_service_that_shows_no_entries_is_left_to_its_own_defaults() {
    let unknown_route = Reply::json(404, &json!({"error": "Not found", "code": "not_found"}));
    for entry in [unknown_route, Reply::json(200, &json!({"name": "h"}))] {
        let script = service(entry);
        opsctl(&script, &["wake", "h"]).expect(0);
        assert_eq!(sent(&script), json!({"host": "h"}));
    }
}

#[test]
fn a_host_that_is_not_there_is_not_woken() {
    let refusal = json!({"error": "host 'h' not found in config", "code": "unknown_host"});
    let script = service(Reply::json(404, &refusal));
    opsctl(&script, &["wake", "h"]).expect(3);
    assert_eq!(script.lines(), ["GET /api/hosts/h"]);
}

#[test]
fn a_host_that_did_not_wake_is_a_failure() {
    let answer = json!({"success": false, "attempts_used": 3, "duration_ms": 900, "ping_target": "10.0.0.1"});
    let script = Script::start(move |seen, _| match seen.method.as_str() {
        "GET" => entry(),
        _ => Reply::json(200, &answer),
    });
    let ran = opsctl(&script, &["wake", "h"]);
    assert_eq!(
        ran.expect(1).out,
        "h cannot be reached at 10.0.0.1, after 3 packets and 900 ms\n"
    );
}
