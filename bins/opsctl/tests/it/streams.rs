//! Heartbeats: one that is asked for, and all as they come.

use serde_json::{Value, json};

use crate::program::opsctl;
use crate::script::{Reply, Script};

#[test]
fn a_poll_waits_and_shows_what_the_station_said() {
    let answer = json!({"heartbeat": {"summary": {"ready": true}}, "last_event": null, "duration_ms": 9, "host": "h", "persisted": true});
    let script = Script::always(Reply::json(200, &answer));
    assert!(
        opsctl(&script, &["poll", "h", "--no-events"])
            .expect(0)
            .out
            .contains("ready   yes")
    );
    assert_eq!(script.lines(), ["POST /api/heartbeat/poll"]);
    assert_eq!(
        script.seen()[0].json(),
        json!({"host": "h", "include_events": false})
    );
}

#[test]
fn heartbeats_are_shown_as_they_come_and_the_stream_is_taken_up_again() {
    let beat = |id: u32, host: &str| {
        format!(
            "id: {id}\nevent: heartbeat\ndata: {}\n\n",
            json!({"host": host, "heartbeat": {"summary": {"ready": true}}})
        )
    };
    let (first, second) = (beat(1, "a"), beat(2, "b"));
    let script = Script::start(move |_, number| match number {
        0 => Reply::events(&first),
        _ => Reply::events(&format!(
            "{second}event: error\ndata: {{\"host\": \"c\", \"error\": \"off\"}}\n\n"
        ))
        .then_silence(),
    });
    let ran = opsctl(&script, &["watch", "--json", "--count", "3"]);
    ran.expect(0);
    let lines: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let hosts: Vec<&Value> = lines.iter().map(|line| &line["data"]["host"]).collect();
    assert_eq!(hosts, ["a", "b", "c"]);
    assert_eq!(script.seen()[1].header("last-event-id"), Some("1"));
    assert_eq!(script.lines()[0], "GET /api/heartbeat/stream?include_events=true");
}

#[test]
fn several_hosts_are_watched_in_one_stream_and_a_refusal_ends_it() {
    let refusal = json!({"error": "host 'bad' not found in config", "code": "unknown_host"});
    let script = Script::always(Reply::json(404, &refusal));
    opsctl(&script, &["watch", "good", "bad", "--no-events"]).expect(3);
    assert_eq!(
        script.lines(),
        ["GET /api/heartbeat/stream?host=good&host=bad&include_events=false"]
    );
}

#[test]
fn a_stream_that_is_lost_again_and_again_is_given_up() {
    let script = Script::always(Reply::events(": hello\n\n"));
    opsctl(&script, &["watch"]).expect(5);
    assert_eq!(script.seen().len(), 6);
}
