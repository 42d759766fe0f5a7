//! Every class of failure: its exit code, its one line, and its document.

use serde_json::{Value, json};

use crate::program::{opsctl, run};
use crate::script::{Reply, Script};

#[test]
fn each_refusal_has_its_exit_code_one_line_and_one_document() {
    for (status, code, exit, next) in [
        (400, "invalid_field", 2, ""),
        (401, "unauthorized", 4, "--token-file"),
        (403, "forbidden", 4, "lab-ops.networks.conf"),
        (403, "role_too_small", 4, "larger role"),
        (404, "unknown_host", 3, "see `opsctl hosts`"),
        (404, "unknown_reservation", 3, "see `opsctl reservations`"),
        (404, "unknown_worker", 3, "see `opsctl workers`"),
        (409, "not_cordoned", 6, ""),
        (415, "content_type", 2, ""),
        (500, "internal_error", 1, "log has more under r-17"),
        (502, "auth_failed", 1, ""),
        (503, "database_unavailable", 5, ""),
        (504, "timed_out", 1, ""),
    ] {
        let body = json!({"error": "it is so", "code": code, "field": "host", "requestId": "r-17"});
        let script = Script::always(Reply::json(status, &body));
        let ran = opsctl(&script, &["host", "h"]);
        ran.expect(exit);
        assert_eq!(ran.out, "");
        let begin = format!("opsctl: it is so [{code}, field host, HTTP {status}, request r-17]");
        assert!(
            ran.err.starts_with(&begin) && ran.err.contains(next),
            "{}",
            ran.err
        );
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        let ran = opsctl(&script, &["host", "h", "--json"]);
        let document = ran.expect(exit).json();
        assert_eq!(document["error"], "it is so");
        assert_eq!(
            (&document["status"], &document["exitCode"]),
            (&json!(status), &json!(exit))
        );
    }
}

#[test]
fn a_proxy_that_answers_for_the_service_is_told_from_the_service() {
    let page = |status: u16| {
        let body = "<html>502</html>";
        let length = body.len();
        Reply::raw(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nx-request-id: r-9\r\n\r\n{body}"
        ))
    };
    for (status, exit) in [(502, 5), (504, 7), (413, 2), (302, 1)] {
        let ran = opsctl(&Script::always(page(status)), &["hosts"]);
        ran.expect(exit);
        assert!(
            ran.err.contains(&format!("HTTP {status}, request r-9")),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let other = Script::always(Reply::json(200, &json!({"hosts": []})));
    let to = other.url();
    let script = Script::start(move |_, _| Reply::with(302, &[("location", &to)], &json!({})));
    let ran = run(
        &[("OPSCTL_URL", &script.url()), ("OPSCTL_TOKEN", "s3cret-token")],
        &["hosts"],
    );
    ran.expect(1);
    assert_eq!(other.seen().len(), 0);
    assert_eq!(script.seen()[0].header("x-ops-token"), Some("s3cret-token"));
    assert!(!format!("{ran:?}").contains("s3cret"));
}

#[test]
fn nobody_listening_is_told_with_the_address() {
    // Held, so that nobody else gets the port, and not listened on.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", held.local_addr().unwrap());
    let ran = run(&[], &["hosts", "--url", &url, "--json"]);
    ran.expect(5);
    assert!(ran.err.contains(&url) && ran.err.contains("--url"), "{}", ran.err);
    assert_eq!(ran.json()["code"], "unreachable");
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let torn =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"hosts\": [";
    for reply in [Reply::raw(torn), Reply::raw("HTTP/1.1 200"), Reply::raw("")] {
        let script = Script::always(reply);
        let ran = opsctl(&script, &["hosts", "--json"]);
        assert_eq!(ran.expect(5).json()["code"], "connection_cut");
        let ran = opsctl(&script, &["run", "h", "status"]);
        ran.expect(5);
        assert!(ran.err.contains("--key "), "{}", ran.err);
    }
}

#[test]
fn a_call_with_an_effect_is_not_repeated_by_itself_when_its_answer_is_lost() {
    let script = Script::always(Reply::raw(""));
    opsctl(&script, &["run", "h", "power", "reboot"]).expect(5);
    assert_eq!(script.lines(), ["POST /api/winrm"]);
}

#[test]
fn an_answer_that_never_ends_is_given_up() {
    let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[".to_vec();
    bytes.resize(40 * 1024 * 1024, b' ');
    let ran = opsctl(&Script::always(Reply::raw(bytes)), &["hosts"]);
    ran.expect(1);
    assert!(ran.err.contains("longer than 32 MiB"), "{}", ran.err);
}

#[test]
fn an_answer_that_is_no_json_or_another_document_is_named_so() {
    for body in ["nonsense", "{\"hosts\": 7}", ""] {
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let ran = opsctl(&Script::always(Reply::raw(reply)), &["hosts", "--json"]);
        assert_eq!(ran.expect(1).json()["code"], "answer_unreadable");
    }
}

#[test]
fn a_service_that_says_nothing_is_waited_for_as_long_as_asked() {
    let script = Script::always(Reply::raw("").then_silence());
    let ran = opsctl(&script, &["hosts", "--timeout", "300ms", "--json"]);
    assert_eq!(ran.expect(7).json()["code"], "timed_out");
    assert!(ran.err.contains("--timeout"), "{}", ran.err);
}

#[test]
fn a_busy_service_is_asked_again_when_it_says_so_and_not_for_ever() {
    let busy = |secs: &str| {
        Reply::with(
            429,
            &[("retry-after", secs)],
            &json!({"error": "too many", "code": "rate"}),
        )
    };
    let script = Script::start(move |_, number| match number {
        0 | 1 => busy("0"),
        _ => Reply::json(200, &json!({"hosts": []})),
    });
    opsctl(&script, &["hosts"]).expect(0);
    assert_eq!(script.seen().len(), 3);
    for (arguments, asked) in [(&["hosts"][..], 3), (&["hosts", "--retries", "0"], 1)] {
        let script = Script::start(move |_, _| busy("0"));
        opsctl(&script, arguments).expect(6);
        assert_eq!(script.seen().len(), asked, "{arguments:?}");
    }
    // A wait beyond the time that is left is not begun.
    let script = Script::start(move |_, _| busy("200"));
    let ran = opsctl(&script, &["hosts", "--timeout", "60s"]);
    ran.expect(6);
    assert!(ran.err.contains("try again in 200 s"), "{}", ran.err);
}

#[test]
fn a_conflict_that_waiting_does_not_help_is_told_at_once() {
    let body = json!({"error": "another body under this key", "code": "key_reused"});
    let script = Script::always(Reply::json(409, &body));
    opsctl(&script, &["run", "h", "status"]).expect(6);
    assert_eq!(script.seen().len(), 1);
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    let script = Script::always(Reply::json(200, &json!({})));
    for arguments in [
        &["hosts", "--verdict", "asleep"][..],
        &["explain"],
        &["explain", "r", "--host", "h"],
        &["maintenance", "h"],
        &["start", "r"],
        &["end", "r", "--host", "h", "--power", "explode"],
        &["maintenance", "h", "--reason", "x", "--until", "soon"],
        &["reservations", "--from", "whenever"],
        &["hosts", "--timeout", "long"],
        &["wake", "h", "--key", "a b"],
        &["run", "--key", "", "h", "status"],
        &["host", ".."],
        &["host", ""],
        &["--url", "ftp://x", "hosts"],
        &["--token", "x", "hosts"],
        &["nonsense"],
    ] {
        let ran = opsctl(&script, arguments);
        ran.expect(2);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{ran:?}");
    }
    assert_eq!(script.lines(), Vec::<String>::new());
}

#[test]
fn a_token_over_plain_http_off_loopback_is_warned_of() {
    // Nothing listens there: the warning comes before the attempt.
    let variables = [
        ("OPSCTL_URL", "http://no-such-gateway.invalid:1"),
        ("OPSCTL_TOKEN", "t-o-k"),
    ];
    let ran = run(&variables, &["hosts", "--timeout", "5s"]);
    assert!(
        ran.err
            .starts_with("opsctl: warning: the token crosses the network in clear text"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("t-o-k"));
}

#[test]
fn the_prefix_of_a_proxy_stays_in_front_of_every_path() {
    let script = Script::always(Reply::json(200, &json!({"workers": []})));
    for url in [format!("{}/ops", script.url()), format!("{}/ops/", script.url())] {
        run(&[("OPSCTL_URL", &url)], &["workers"]).expect(0);
    }
    assert_eq!(script.lines(), ["GET /ops/api/workers", "GET /ops/api/workers"]);
}

#[test]
fn json_is_one_document_also_for_a_refusal_of_the_command_line_that_needs_the_clock() {
    let script = Script::always(Reply::json(200, &json!({})));
    let ran = opsctl(&script, &["--json", "reservations", "--from", "whenever"]);
    let document: Value = ran.expect(2).json();
    assert_eq!(document["code"], "usage");
}
