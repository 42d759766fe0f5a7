//! `POST /api/winrm`: one command of the station, exactly as given.

use host_sim::EffectKind;
use serde_json::json;

use crate::harness::{Lab, asleep, awake, commands};
use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_run_and_its_answer_shown_and_parsed() {
    let service = Service::start(vec![awake(1)]).await;
    let body = service
        .post(
            "/api/winrm",
            json!({"host": "lab-ws-01", "command": "status-json"}),
        )
        .await
        .expect(200);
    assert_eq!((&body["exit_code"], &body["stderr"]), (&json!(0), &json!("")));
    assert!(body["duration_ms"].is_u64());
    assert!(body["stdout"].as_str().unwrap().contains("schemaVersion"));
    assert_eq!(body["parsed"]["schemaVersion"], "1.0.0");
    assert_eq!(body["parsed"]["localModeEnabled"], false);

    let body = service
        .post("/api/winrm", json!({"host": "lab-ws-01", "command": "status"}))
        .await
        .expect(200);
    assert_eq!((&body["exit_code"], &body["parsed"]), (&json!(0), &json!(null)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_in_the_order_and_the_words_of_the_contract() {
    let service = Service::start(vec![awake(1)]).await;
    let missing = "host and command are required";
    for (body, status, error) in [
        (json!({}), 400, missing),
        (json!({"host": "lab-ws-01"}), 400, missing),
        (json!({"command": "status"}), 400, missing),
        (json!({"host": "", "command": "status"}), 400, missing),
        (
            json!({"host": "nobody", "command": "format"}),
            400,
            "command 'format' not allowed",
        ),
        (
            json!({"host": "lab-ws-01", "command": "Status"}),
            400,
            "command 'Status' not allowed",
        ),
        (
            json!({"host": "Nobody", "command": "status"}),
            404,
            "host 'Nobody' not found in config",
        ),
    ] {
        assert_eq!(
            service.post("/api/winrm", body).await.expect(status)["error"],
            error
        );
    }
    assert_eq!(service.lab.sim(1).counts().requests, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_allow_list_is_the_operators() {
    let lab = Lab::start(vec![awake(1)])
        .await
        .with("OPS_ALLOWED_COMMANDS", " status , wol ,, ");
    let service = Service::start_in(lab).await;
    let refused = service
        .post("/api/winrm", json!({"host": "lab-ws-01", "command": "power"}))
        .await;
    assert_eq!(refused.expect(400)["error"], "command 'power' not allowed");
    service
        .post("/api/winrm", json!({"host": "lab-ws-01", "command": "wol"}))
        .await
        .expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_arrive_one_by_one_exactly_as_they_were_given() {
    let service = Service::start(vec![awake(1)]).await;
    let host = service.lab.sim(1);
    let hard = [
        "--reason=Remote order",
        "C:\\folder with blanks\\",
        "two \\\\ and one \\",
        "; $(whoami), `whoami`",
        "'single' (round) [square]",
        "gr\u{fc}n \u{2713}",
        "/c",
    ];
    let body = service
        .post(
            "/api/winrm",
            json!({"host": "lab-ws-01", "command": "status", "args": hard}),
        )
        .await;
    assert_eq!(body.expect(200)["exit_code"], 0);
    assert_eq!(commands(host, "status")[0].1, hard);
    let single = service
        .post(
            "/api/winrm",
            json!({"host": "lab-ws-01", "command": "wol", "args": "a b"}),
        )
        .await;
    single.expect(200);
    assert_eq!(commands(host, "wol")[0].1, ["a b"]);
    let started = host.effects().into_iter().filter_map(|effect| match effect.what {
        EffectKind::Command { program, .. } => Some(program),
        _ => None,
    });
    let started: Vec<_> = started.collect();
    assert!(
        started.len() == 2 && started.iter().all(|program| program.ends_with("LabStation.exe")),
        "{started:?}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_cannot_be_sent_are_refused_by_position() {
    let service = Service::start(vec![awake(1)]).await;
    for (args, field) in [
        (json!(["ok", "line\nbreak"]), "args[1]"),
        (json!(["nul\u{0}"]), "args[0]"),
        (json!(["& whoami"]), "args[0]"),
        (json!(["a", "| whoami > C:\\out.txt"]), "args[1]"),
        (json!("%USERNAME%"), "args[0]"),
        (json!(["a", "b", "^caret"]), "args[2]"),
        (json!(["say \"hello\""]), "args[0]"),
        (json!([" "]), "args[0]"),
        (json!([{}]), "args[0]"),
        (json!({"a": 1}), "args[0]"),
        (json!(["x".repeat(3000)]), "args[0]"),
        (json!(vec!["x"; 100]), "args"),
    ] {
        let body = json!({"host": "lab-ws-01", "command": "status", "args": args});
        service.post("/api/winrm", body).await.expect_field(field);
    }
    assert_eq!(service.lab.sim(1).counts().requests, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_hosts_entry_decides_with_whom_and_how_it_is_spoken() {
    let service = Service::start(vec![awake(1)]).await;
    let host = service.lab.sim(1);
    let overrides = [
        ("password", json!("guess")),
        ("password", json!(host.spec().password)),
        ("user", json!("Administrator")),
        ("transport", json!("basic")),
        ("use_ssl", json!(true)),
        ("port", json!(host.http_port() ^ 1)),
    ];
    for (field, value) in overrides {
        let mut body = json!({"host": "lab-ws-01", "command": "status"});
        body[field] = value;
        service.post("/api/winrm", body).await.expect_field(field);
    }
    assert_eq!(host.counts().requests, 0);
    let same = json!({"host": "lab-ws-01", "command": "status", "user": host.spec().user, "use_ssl": "false",
        "transport": "NTLM", "port": host.http_port()});
    service.post("/api/winrm", same).await.expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fails_is_shown_with_its_exit_code() {
    let service = Service::start(vec![awake(1)]).await;
    let body = json!({"host": "lab-ws-01", "command": "session", "args": ["dance"]});
    let body = service.post("/api/winrm", body).await.expect(200);
    assert_eq!((&body["exit_code"], &body["stdout"]), (&json!(2), &json!("")));
    assert!(
        body["stderr"].as_str().unwrap().contains("unknown command"),
        "{body}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_the_host_is_a_gateway_error_with_a_code() {
    let lab = Lab::start(vec![asleep(1), awake(2)]).await;
    lab.write_catalog(|entries| entries[1]["winrm_pass"] = json!("not the password"));
    let service = Service::start_in(lab).await;
    let asleep = service
        .post("/api/winrm", json!({"host": "lab-ws-01", "command": "status"}))
        .await;
    assert!([502, 504].contains(&asleep.status), "{asleep:?}");
    let body = asleep.json();
    assert!(
        body["code"].as_str().is_some_and(|code| !code.is_empty()),
        "{body}"
    );
    assert!(body["error"].as_str().unwrap().contains("lab-ws-01"), "{body}");
    assert_eq!(
        (&body["host"], &body["effect"]),
        (&json!("lab-ws-01"), &json!("none"))
    );

    let refused = service
        .post("/api/winrm", json!({"host": "lab-ws-02", "command": "status"}))
        .await
        .expect(502);
    assert_eq!(
        (&refused["code"], &refused["effect"]),
        (&json!("unauthorized"), &json!("none")),
        "{refused}"
    );
    assert!(!refused.to_string().contains("not the password"));
    assert_eq!(
        service.lab.sim(2).counts().refused_credentials,
        1,
        "accounts get locked out"
    );
    service.stop().await;
}
