//! Shells, commands and the answers to them.

use std::time::Duration;

use host_sim::{AuthPolicy, EffectKind, Fault, SimHost, paths};

use crate::client::{
    Call, Client, PROGRAM, between, command, create, plain, receive, received, signal, start,
};

const NO_SHELL: &str = "00000000-0000-0000-0000-000000000000";

fn command_lines(host: &SimHost) -> Vec<String> {
    let effects = host.effects().into_iter();
    effects
        .filter_map(|e| match e.what {
            EffectKind::Command { command_line, .. } => Some(command_line),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_command_runs_from_create_to_delete() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let (code, out, err) = client.run(&shell, &format!("{PROGRAM} status-json")).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("{\"autoStartConfigured\":true,"), "{out}");
    let counts = host.counts();
    assert_eq!((counts.connections, counts.requests, counts.commands), (1, 4, 1));
    assert_eq!(
        (
            counts.open_shells,
            counts.shells_created,
            counts.max_commands_at_once
        ),
        (1, 1, 1)
    );
    let reply = client.send(&Call::new("Delete", Some(&shell), "")).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(
        reply.body.contains("<a:RelatesTo>uuid:7</a:RelatesTo>"),
        "{}",
        reply.body
    );
    assert_eq!(host.counts().open_shells, 0);
}

#[tokio::test]
async fn a_shell_gets_the_id_that_the_client_asks_for_once() {
    const WANTED: &str = "0F0E0D0C-0B0A-4908-8706-050403020100";
    let asking = |id: &str| {
        let body = create()
            .body
            .replace("<r:Shell>", &format!("<r:Shell ShellId=\"{id}\">"));
        Call { body, ..create() }
    };
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let reply = client.send(&asking(&WANTED.to_lowercase())).await.unwrap();
    assert_eq!(between(&reply.body, "<rsp:ShellId>", "<"), Some(WANTED));
    assert_eq!(client.run(WANTED, &format!("{PROGRAM} status-json")).await.0, 0);
    for id in [WANTED, "no uuid"] {
        assert_eq!(client.send(&asking(id)).await.unwrap().status, 500, "{id}");
    }
    assert_eq!((host.counts().shells_created, host.counts().open_shells), (1, 1));

    let mut spec = plain("b");
    spec.takes_shell_ids = false;
    let (_farm, host) = start(spec).await;
    let mut client = Client::connect(&host).await.unwrap();
    let reply = client.send(&asking(WANTED)).await.unwrap();
    let given = between(&reply.body, "<rsp:ShellId>", "<").unwrap();
    assert_ne!(given, WANTED);
    assert_eq!(client.run(given, &format!("{PROGRAM} status-json")).await.0, 0);
}

#[tokio::test]
async fn an_unknown_shell_or_command_is_answered_by_its_fault() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let calls = [
        command(NO_SHELL, "hostname"),
        receive(NO_SHELL, NO_SHELL),
        receive(&shell, NO_SHELL),
        signal(&shell, NO_SHELL, "terminate"),
        Call::new("Delete", Some(NO_SHELL), ""),
    ];
    for call in &calls {
        assert_eq!(
            client.send(call).await.unwrap().fault(),
            Some(2_150_858_843),
            "{}",
            call.action
        );
    }
}

#[tokio::test]
async fn a_silent_command_is_a_timeout_and_then_goes_on() {
    let mut spec = plain("a");
    // The first request must find it at work.
    spec.station.durations.prepare = Duration::from_secs(4);
    let (_farm, host) = start(spec).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let id = client
        .command(&shell, &format!("{PROGRAM} prepare-session"))
        .await;
    let short = Call {
        timeout: "PT0.1S",
        ..receive(&shell, &id)
    };
    assert_eq!(client.send(&short).await.unwrap().fault(), Some(2_150_858_793));
    let received = client.receive(&shell, &id).await;
    assert_eq!(
        (received.out, received.done),
        (b"Session prepared\n".to_vec(), Some(0))
    );
    assert_eq!(
        client.send(&receive(&shell, &id)).await.unwrap().fault(),
        Some(2_150_858_843)
    );
}

#[tokio::test]
async fn quotas_are_answered_by_their_faults() {
    let mut spec = plain("a");
    (spec.quotas.max_shells, spec.quotas.max_operations) = (2, 2);
    let (_farm, host) = start(spec).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    client.create().await;
    assert_eq!(client.send(&create()).await.unwrap().fault(), Some(2_150_859_173));
    let id = client.command(&shell, "hostname").await;
    client.command(&shell, "hostname").await;
    assert_eq!(
        client.send(&command(&shell, "hostname")).await.unwrap().fault(),
        Some(2_150_859_174)
    );
    client.send(&signal(&shell, &id, "Terminate")).await.unwrap();
    assert_eq!(
        client.send(&command(&shell, "hostname")).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn bad_headers_are_refused() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    for timeout in ["P", "PT", "PT-5S"] {
        let reply = client.send(&Call { timeout, ..create() }).await.unwrap();
        assert_eq!(reply.fault(), Some(2_150_858_767), "{timeout}");
    }
    let reply = client
        .send(&Call {
            max_envelope: 8191,
            ..create()
        })
        .await
        .unwrap();
    assert!(
        reply.fault().is_some() && reply.body.contains("w:EncodingLimit"),
        "{}",
        reply.body
    );
    let reply = client
        .send(&Call {
            action: "urn:nothing".into(),
            ..create()
        })
        .await
        .unwrap();
    assert!(reply.body.contains("a:ActionNotSupported"), "{}", reply.body);
    let reply = client.request("/wsman", &[], "<no-soap/>".into()).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (400, ""));
}

#[tokio::test]
async fn a_command_id_chosen_by_the_client_tells_whether_the_command_started() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let id = "11111111-2222-3333-4444-555555555555";
    assert_eq!(
        client.send(&receive(&shell, id)).await.unwrap().fault(),
        Some(2_150_858_843)
    );
    let body = format!("<r:CommandLine CommandId=\"{id}\"><r:Command>hostname</r:Command></r:CommandLine>");
    let reply = client
        .send(&Call::new("Command", Some(&shell), body))
        .await
        .unwrap();
    assert_eq!(between(&reply.body, "<rsp:CommandId>", "<"), Some(id));
    assert_eq!(client.receive(&shell, id).await.out, b"A\r\n");
}

#[tokio::test]
async fn a_shell_survives_its_connection() {
    let (_farm, host) = start(plain("a")).await;
    let shell = Client::connect(&host).await.unwrap().create().await;
    let mut client = Client::connect(&host).await.unwrap();
    assert_eq!(client.run(&shell, "hostname").await.1, "A\r\n");
}

#[tokio::test]
async fn a_shell_ends_when_it_is_idle_for_too_long() {
    let mut spec = plain("a");
    spec.quotas.shell_idle = Duration::ZERO;
    let (_farm, host) = start(spec).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    assert_eq!(
        client.send(&command(&shell, "hostname")).await.unwrap().fault(),
        Some(2_150_858_843)
    );
}

#[tokio::test]
async fn shells_are_listed_and_described() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let enumerate = |body: &str, verb: &str| Call {
        action: format!("http://schemas.xmlsoap.org/ws/2004/09/enumeration/{verb}"),
        resource: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
        ..Call::new("Get", None, body)
    };
    let at_once = client
        .send(&enumerate(
            "<n:Enumerate><w:OptimizeEnumeration/></n:Enumerate>",
            "Enumerate",
        ))
        .await;
    assert!(at_once.unwrap().body.contains(&shell));
    let context = client
        .send(&enumerate("<n:Enumerate/>", "Enumerate"))
        .await
        .unwrap();
    assert!(
        between(&context.body, "<n:EnumerationContext>", "<").is_some(),
        "{}",
        context.body
    );
    let pulled = client.send(&enumerate("<n:Pull/>", "Pull")).await.unwrap();
    assert!(
        pulled.body.contains(&shell) && pulled.body.contains("<n:EndOfSequence/>"),
        "{}",
        pulled.body
    );
    let got = client.send(&Call::new("Get", Some(&shell), "")).await.unwrap();
    assert_eq!(between(&got.body, "<rsp:Owner>", "<"), Some("LabGatewaySvc"));
}

#[tokio::test]
async fn big_output_comes_in_answers_that_fit() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let line = format!(
        "cmd.exe /d /c type{}",
        format!(" \"{}\"", paths::HEARTBEAT).repeat(20)
    );
    let id = client.command(&shell, &line).await;
    let (mut out, mut answers, mut done) = (Vec::new(), 0, None);
    while done.is_none() {
        let small = Call {
            max_envelope: 8192,
            ..receive(&shell, &id)
        };
        let reply = client.send(&small).await.unwrap();
        assert!(reply.body.len() <= 8192, "{}", reply.body.len());
        let part = received(&reply);
        out.extend(part.out);
        done = part.done;
        answers += 1;
    }
    assert_eq!(done, Some(0));
    assert!(answers > 10, "{answers}");
    assert_eq!(String::from_utf8(out).unwrap().matches('\u{FEFF}').count(), 20);
}

#[tokio::test]
async fn without_a_shell_operators_are_arguments_and_with_one_they_run_programs() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let line = format!("{PROGRAM} status & whoami");
    client.run(&shell, &line).await;
    assert_eq!(command_lines(&host), [line.as_str()]);
    let through_cmd = Call {
        options: &[],
        ..command(&shell, &line)
    };
    let reply = client.send(&through_cmd).await.unwrap();
    let id = between(&reply.body, "<rsp:CommandId>", "<").unwrap().to_owned();
    while client.receive(&shell, &id).await.done.is_none() {}
    let status = format!("{PROGRAM} status");
    assert_eq!(command_lines(&host)[1..], [status.as_str(), "whoami"]);
}

#[tokio::test]
async fn a_hanging_program_ends_by_a_signal() {
    let (_farm, host) = start(plain("a")).await;
    host.set_fault(Fault::CommandHangs {
        command: "prepare-session".into(),
    });
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let id = client
        .command(&shell, &format!("{PROGRAM} prepare-session"))
        .await;
    assert_eq!(
        client.send(&signal(&shell, &id, "ctrl_c")).await.unwrap().status,
        200
    );
    assert_eq!(client.receive(&shell, &id).await.done, Some(-1_073_741_510));
}

#[tokio::test]
async fn the_operating_system_tells_its_name_and_boot_time() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let uri = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem";
    let reply = client
        .send(&Call {
            resource: uri,
            ..Call::new("Get", None, "")
        })
        .await
        .unwrap();
    assert_eq!(between(&reply.body, "<p:CSName>", "<"), Some("A"));
    let instant = |name: &str| {
        let block = between(&reply.body, &format!("<p:{name}>"), &format!("</p:{name}>")).unwrap();
        chrono::DateTime::parse_from_rfc3339(between(block, ">", "<").unwrap()).unwrap()
    };
    let off = instant("LastBootUpTime").to_utc() - host.booted_at().unwrap();
    assert!(off.abs() < chrono::Duration::milliseconds(1), "{off}");
    assert!(instant("LocalDateTime") >= instant("LastBootUpTime"));
}

#[tokio::test]
async fn requests_are_judged_before_their_bodies() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let reply = client
        .request("/wsman", &[("authorization", "")], String::new())
        .await
        .unwrap();
    let offers: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!((reply.status, reply.body.as_str()), (401, ""));
    assert_eq!(offers, ["Negotiate", "NTLM", "Basic realm=\"WSMAN\""]);
    let reply = client.request("/wsman", &[], String::new()).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.headers["server"], "Microsoft-HTTPAPI/2.0");
    assert_eq!(
        client
            .request("/elsewhere", &[], String::new())
            .await
            .unwrap()
            .status,
        404
    );
    let anonymous = [("authorization", ""), ("wsmanidentify", "unauthenticated")];
    let reply = client.request("/wsman", &anonymous, String::new()).await.unwrap();
    assert!(
        reply.status == 200 && reply.body.contains("OS: 0.0.0"),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn clear_text_is_refused_with_an_empty_500() {
    let mut spec = plain("a");
    spec.allow_unencrypted = false;
    let (_farm, host) = start(spec).await;
    let mut client = Client::connect(&host).await.unwrap();
    let reply = client.send(&create()).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (500, ""));
    assert_eq!(host.counts().shells_created, 0);
}

#[tokio::test]
async fn a_scheme_that_is_not_offered_is_not_taken() {
    let mut spec = plain("a");
    spec.auth = AuthPolicy::default();
    let (_farm, host) = start(spec).await;
    let reply = Client::connect(&host)
        .await
        .unwrap()
        .send(&create())
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.headers["www-authenticate"].to_str().unwrap()),
        (401, "Negotiate")
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_its_shell_stays() {
    let mut spec = plain("a");
    // Not between the requests of this test.
    spec.idle_close = Duration::from_secs(4);
    let (_farm, host) = start(spec).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    client.closed().await;
    let mut client = Client::connect(&host).await.unwrap();
    assert_eq!(client.run(&shell, "hostname").await.0, 0);
}
