//! A host that behaves: what arrives, what comes back, and what it costs.

use std::time::Duration;

use host_sim::{CbtLevel, DoneStyle, TlsIdentity};
use winrm_transport::{AuthMethod, Client, Command, Settings, Trust, TrustStore};

use crate::lab::{LIMIT, Lab, STATION, prepare, status};

async fn commands_run(lab: &Lab, settings: Settings, handshakes: u64) {
    let client = Client::new(settings).unwrap();
    for _ in 0..3 {
        let output = client.run(&status(), LIMIT).await.unwrap();
        assert_eq!(output.exit_code, Some(0));
        assert!(output.stdout_text().contains("schemaVersion"), "{output:?}");
    }
    client.close(LIMIT).await;
    let (stats, counts) = (client.stats(), lab.host().counts());
    assert_eq!(
        (stats.connections, stats.handshakes, stats.shells_created),
        (1, handshakes, 1)
    );
    assert_eq!(
        (counts.connections, counts.handshakes, counts.shells_created),
        (1, handshakes, 1)
    );
    assert_eq!(
        (counts.open_shells, counts.commands, counts.refused_credentials),
        (0, 3, 0)
    );
    // Two for a handshake, one each for Create and Delete, three for each command.
    assert_eq!(
        (counts.requests, stats.requests),
        (2 * handshakes + 2 + 9, 2 * handshakes + 2 + 9)
    );
}

#[tokio::test]
async fn one_connection_handshake_and_shell_serve_many_commands_sealed() {
    for auth in [AuthMethod::Ntlm, AuthMethod::Negotiate] {
        let lab = Lab::start(|_| ()).await;
        let settings = Settings { auth, ..lab.http() };
        commands_run(&lab, settings, 1).await;
        lab.farm.stop().await;
    }
}

#[tokio::test]
async fn the_bare_ntlm_scheme_is_used_where_only_that_is_offered() {
    let lab = Lab::start(|spec| (spec.auth.negotiate, spec.auth.basic) = (false, false)).await;
    let client = Client::new(Settings {
        auth: AuthMethod::Negotiate,
        ..lab.http()
    })
    .unwrap();
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert_eq!(client.stats().connections, 1);
    lab.end(client).await;
}

#[tokio::test]
async fn a_strict_channel_binding_is_met_over_https() {
    for (auth, handshakes) in [
        (AuthMethod::Ntlm, 1),
        (AuthMethod::Negotiate, 1),
        (AuthMethod::Basic, 0),
    ] {
        let lab = Lab::start(|spec| spec.cbt = CbtLevel::Strict).await;
        let settings = Settings { auth, ..lab.https() };
        commands_run(&lab, settings, handshakes).await;
        lab.farm.stop().await;
    }
}

#[tokio::test]
async fn a_pinned_certificate_needs_neither_name_nor_authority() {
    let lab = Lab::start(|spec| spec.tls = TlsIdentity::SelfSigned).await;
    let mut settings = lab.https();
    settings.server_name = None;
    settings.trust = Trust::PinnedSha256(lab.host().certificate_sha256());
    let store = TrustStore::load(&settings.trust).unwrap();
    let client = Client::with_trust(settings, &store).unwrap();
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn basic_over_http_works_when_explicitly_allowed() {
    let lab = Lab::start(|spec| spec.allow_unencrypted = true).await;
    let settings = Settings {
        auth: AuthMethod::Basic,
        allow_insecure_basic: true,
        ..lab.http()
    };
    commands_run(&lab, settings, 0).await;
    lab.farm.stop().await;
}

#[tokio::test]
async fn arguments_arrive_exactly() {
    let (lab, client) = Lab::sealed().await;
    let safe = [
        "plain",
        "two words",
        "",
        "a&b|c<d>e^f(g)",
        r"C:\dir\",
        r"C:\two words\",
        "Übung für Jürgen",
        "  ",
    ];
    client
        .run(&Command::new(STATION).args(safe), LIMIT)
        .await
        .unwrap();
    let wild = ["say \"hi\"", "100%", "hey!", r#"a\"b c\"#, "\"", "'\t'"];
    client
        .run(
            &Command::new(STATION).args(wild).allow_cmd_metacharacters(true),
            LIMIT,
        )
        .await
        .unwrap();
    let argvs = lab.argvs();
    assert_eq!(argvs[0][1..], safe);
    assert_eq!(argvs[1][1..], wild);
    assert!(
        client
            .run(&Command::new(STATION).args(wild), LIMIT)
            .await
            .is_err()
    );
    assert_eq!(lab.host().counts().commands, 2);
    lab.end(client).await;
}

#[tokio::test]
async fn arguments_also_arrive_exactly_when_the_host_insists_on_cmd() {
    let (lab, client) = Lab::sealed().await;
    let safe = ["two words", "", "a&b|c<d>e^f(g)", r"C:\two words\", "Übung"];
    client
        .run(&Command::new(STATION).args(safe).skip_cmd_shell(false), LIMIT)
        .await
        .unwrap();
    let argvs = lab.argvs();
    assert_eq!((argvs.len(), &argvs[0][1..]), (1, &safe.map(String::from)[..]));
    lab.end(client).await;
}

#[tokio::test]
async fn exit_codes_and_standard_error_come_back() {
    for done in [DoneStyle::Together, DoneStyle::After] {
        let lab = Lab::start(|spec| spec.done = done).await;
        let client = Client::new(lab.http()).unwrap();
        let output = client.run(&Command::new("no-such-program"), LIMIT).await.unwrap();
        assert_eq!(output.exit_code, Some(1));
        assert!(!output.stderr.is_empty());
        let code = -2;
        lab.host().set_fault(host_sim::Fault::ExitCode {
            command: "prepare-session".into(),
            code,
        });
        assert_eq!(client.run(&prepare(), LIMIT).await.unwrap().exit_code, Some(-2));
        lab.end(client).await;
    }
}

#[tokio::test]
async fn a_command_longer_than_the_operation_timeout_is_waited_for() {
    let lab = Lab::start(|spec| spec.station.durations.prepare = Duration::from_millis(2_300)).await;
    let mut settings = lab.http();
    settings.timeouts.operation = Duration::from_secs(1);
    let client = Client::new(settings).unwrap();
    let output = client.run(&prepare(), LIMIT).await.unwrap();
    assert_eq!((output.exit_code, output.truncated), (Some(0), false));
    assert_eq!(client.stats().connections, 1);
    lab.end(client).await;
}

#[tokio::test]
async fn output_beyond_the_limit_is_cut_and_the_command_still_ends() {
    let lab = Lab::start(|_| ()).await;
    let mut settings = lab.http();
    settings.limits.output_bytes = 100;
    let client = Client::new(settings).unwrap();
    let output = client.run(&status(), LIMIT).await.unwrap();
    assert_eq!(
        (output.stdout.len(), output.truncated, output.exit_code),
        (100, true, Some(0))
    );
    lab.end(client).await;
}

#[tokio::test]
async fn calls_on_one_client_queue_and_all_succeed() {
    let (lab, client) = Lab::sealed().await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.run(&status(), LIMIT).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().exit_code, Some(0));
    }
    let counts = lab.host().counts();
    assert_eq!(
        (
            counts.connections,
            counts.shells_created,
            counts.max_commands_at_once
        ),
        (1, 1, 1)
    );
    lab.end(client).await;
}

#[tokio::test]
async fn a_shell_is_replaced_after_enough_commands() {
    let lab = Lab::start(|_| ()).await;
    let mut settings = lab.http();
    settings.limits.commands_per_shell = 2;
    let client = Client::new(settings).unwrap();
    for _ in 0..5 {
        client.run(&status(), LIMIT).await.unwrap();
    }
    assert_eq!(
        (client.stats().shells_created, lab.host().counts().open_shells),
        (3, 1)
    );
    lab.end(client).await;
}

#[tokio::test]
async fn identify_needs_no_credentials() {
    let lab = Lab::start(|_| ()).await;
    for settings in [lab.http(), lab.https()] {
        let client = Client::new(settings).unwrap();
        let identity = client.identify(LIMIT).await.unwrap();
        assert!(identity.protocol_version.starts_with("http://"), "{identity:?}");
        assert!(!identity.product_vendor.is_empty() && !identity.product_version.is_empty());
    }
    assert_eq!(lab.host().counts().handshakes, 0);
    lab.farm.stop().await;
}

#[tokio::test]
async fn the_boot_time_is_read_without_a_shell() {
    let (lab, client) = Lab::sealed().await;
    let class = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem";
    let system = client.get(class, LIMIT).await.unwrap();
    assert_eq!(system.value("CSName"), Some("LAB-WS-01"));
    assert!(
        system.value("LastBootUpTime").unwrap().starts_with("20"),
        "{system:?}"
    );
    assert_eq!(lab.host().counts().shells_created, 0);
    lab.end(client).await;
}

#[tokio::test]
async fn the_last_handle_to_go_deletes_the_shell() {
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    assert_eq!(lab.host().counts().open_shells, 1);
    drop(client);
    assert!(lab.is_tidy().await);
    lab.farm.stop().await;
}

#[tokio::test]
async fn after_disconnect_everything_is_made_anew() {
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    client.disconnect();
    client.run(&status(), LIMIT).await.unwrap();
    assert_eq!(
        (client.stats().connections, client.stats().shells_created),
        (2, 2)
    );
    client.close(LIMIT).await;
    // The first shell was forgotten without a word, as asked.
    assert_eq!(lab.host().counts().open_shells, 1);
    lab.farm.stop().await;
}

#[tokio::test]
async fn a_closed_client_can_be_used_again() {
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    client.close(LIMIT).await;
    client.run(&status(), LIMIT).await.unwrap();
    lab.end(client).await;
}

#[tokio::test]
async fn a_connection_that_the_host_closed_while_idle_is_replaced_unnoticed() {
    let lab = Lab::start(|spec| spec.idle_close = Duration::from_secs(4)).await;
    let client = Client::new(lab.http()).unwrap();
    client.run(&status(), LIMIT).await.unwrap();
    assert!(crate::lab::eventually(|| lab.host().counts().open_connections == 0).await);
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert_eq!(
        (client.stats().connections, client.stats().shells_created),
        (2, 1)
    );
    lab.end(client).await;
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_replaced_before_it_is_used() {
    let lab = Lab::start(|_| ()).await;
    let mut settings = lab.http();
    settings.timeouts.idle = Duration::ZERO;
    let client = Client::new(settings).unwrap();
    client.run(&status(), LIMIT).await.unwrap();
    client.close(LIMIT).await;
    // Create, Command, Receive, Signal, Delete: each found the connection too old.
    assert_eq!(
        (client.stats().connections, lab.host().counts().handshakes),
        (5, 5)
    );
    lab.end(client).await;
}
