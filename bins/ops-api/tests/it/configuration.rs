//! What an operator is told about a configuration, good or bad.

use serde_json::{Value, json};

use crate::API;
use crate::harness::{Lab, awake};

async fn checked(lab: &Lab) -> (Option<i32>, String) {
    let (ended, said) = lab.run(API, &["--check-config"]).ended().await;
    (ended.code(), said)
}

fn entry(name: &str, more: Value) -> Value {
    let mut entry = json!({"name": name, "address": "127.0.0.1", "winrm_user": "ops", "winrm_pass": "pw"});
    entry
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    entry
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_configuration_is_called_good_and_nothing_is_started() {
    let lab = Lab::start(vec![awake(1), awake(2)]).await;
    let (code, said) = checked(&lab).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the configuration is good; hosts: 2"), "{said}");
    assert!(!lab.folder.path().join("data").exists(), "no database is made");
    assert_eq!(lab.sim(1).counts().connections, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_of_the_hosts_is_named_at_once_with_host_and_key() {
    let lab = Lab::start(vec![]).await;
    lab.write_catalog(|entries| {
        entries.push(entry("wrong-type", json!({"labs": "12"})));
        entries.push(entry("twice", json!({})));
        entries.push(entry("Twice", json!({})));
        entries.push(entry("no-secret", json!({"winrm_pass": "env:NOBODY_SET_THIS"})));
        entries.push(entry("bad-mac", json!({"mac": "00:11:22:33:44"})));
        entries.push(entry("bad-port", json!({"winrm_port": 70_000})));
        entries.push(entry("bad-wol-port", json!({"wol_port": "nine"})));
        entries.push(entry(
            "quoted-path",
            json!({"heartbeat_path": "C:\\a\"b\\heartbeat.json"}),
        ));
        entries.push(entry("credssp-host", json!({"winrm_transport": "credssp"})));
        entries.push(entry("no-realm", json!({"winrm_transport": "kerberos"})));
        entries.push(entry("no-files", json!({"winrm_transport": "certificate"})));
        let gone = json!({"winrm_transport": "certificate", "winrm_client_cert": "/gone.pem", "winrm_client_key": "/gone.key"});
        entries.push(entry("gone-files", gone));
        entries.push(entry("clear-text", json!({"winrm_transport": "basic"})));
        entries.push(entry("far-away", json!({"address": "8.8.8.8"})));
        entries.push(json!({"address": "127.0.0.1", "winrm_user": "u", "winrm_pass": "p"}));
        entries.push(json!("not an entry"));
    });
    let (code, said) = checked(&lab).await;
    assert_eq!(code, Some(2), "{said}");
    for (host, key) in [
        ("wrong-type", "labs"),
        ("Twice", "name"),
        ("no-secret", "winrm_pass"),
        ("bad-mac", "mac"),
        ("bad-port", "winrm_port"),
        ("bad-wol-port", "wol_port"),
        ("credssp-host", "winrm_transport"),
        ("no-realm", "winrm_user"),
        ("no-realm", "winrm_kerberos_host"),
        ("no-files", "winrm_client_cert"),
        ("no-files", "winrm_client_key"),
        ("hosts[14]", "name"),
    ] {
        assert!(
            said.contains(&format!("host {host:?}, key {key:?}")),
            "{host} {key}: {said}"
        );
    }
    assert!(said.contains("hosts[15]"), "{said}");
    assert!(
        said.contains("NOBODY_SET_THIS"),
        "the missing variable is named: {said}"
    );
    // What depends on the settings as well is looked at in the same go.
    for (host, key) in [
        ("quoted-path", "heartbeat_path"),
        ("clear-text", "winrm_transport"),
        ("gone-files", "winrm_client_cert"),
        ("far-away", "address"),
    ] {
        assert!(
            said.contains(&format!("host {host:?}, key {key:?}")),
            "{host} {key}: {said}"
        );
    }
    let (ended, told) = lab.run(API, &[]).ended().await;
    assert_eq!(ended.code(), Some(2), "it does not start either: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_outside_the_allowed_transports_and_tls_are_refused_at_start_and_at_reload() {
    let lab = Lab::start(vec![]).await;
    lab.write_catalog(|entries| entries.push(entry("good", json!({"winrm_use_ssl": true}))));
    let lab = lab.with("WINRM_ALLOWED_TRANSPORTS", "ntlm,kerberos");
    let lab = lab.with("OPS_WINRM_REQUIRE_TLS", "true");
    let service = crate::service::Service::start_in(lab).await;
    service.lab.write_catalog(|entries| {
        entries.push(entry("good", json!({"winrm_use_ssl": true})));
        entries.push(entry("clear", json!({})));
        entries.push(entry(
            "word",
            json!({"winrm_transport": "negotiate", "winrm_port": 5986}),
        ));
    });
    let refused = service.post("/api/hosts/reload", json!({})).await;
    assert_ne!(refused.status, 200, "{}", refused.text);
    assert!(service.handle.catalog().current().find("clear").is_none());
    let (code, said) = checked(&service.lab).await;
    assert_eq!(code, Some(2), "{said}");
    for (host, key, part) in [
        ("clear", "winrm_use_ssl", "OPS_WINRM_REQUIRE_TLS"),
        (
            "word",
            "winrm_transport",
            "WINRM_ALLOWED_TRANSPORTS=ntlm,kerberos",
        ),
    ] {
        assert!(
            said.contains(&format!("host {host:?}, key {key:?}")) && said.contains(part),
            "{said}"
        );
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_of_the_pen_in_the_hosts_is_warned_of_and_a_comment_is_not() {
    let lab = Lab::start(vec![]).await;
    let own = json!({"winrm_prot": 5986, "// mac": "unknown", "_comment": "x", "room": "B-204"});
    lab.write_catalog(|entries| entries.push(entry("slip", own)));
    let (code, said) = checked(&lab).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("winrm_prot") && said.contains("did you mean \"winrm_port\"?"),
        "{said}"
    );
    assert!(
        !said.contains("// mac") && !said.contains("_comment") && !said.contains("room"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_is_none_is_refused_and_a_missing_one_means_no_hosts() {
    let lab = Lab::start(vec![]).await;
    let file = lab.folder.path().join("hosts.json");
    for (text, part) in [
        ("[]", "must be an object"),
        ("{\"hosts\": 5}", "must be a list"),
        ("{", "is not JSON at line 1"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, said) = checked(&lab).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part) && said.contains("hosts.json"), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    let (code, said) = checked(&lab).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("does not exist: there are no hosts"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_of_the_settings_is_named_with_those_of_the_hosts() {
    let lab = Lab::start(vec![])
        .await
        .with("OPS_PORT", "http")
        .with("OPS_POLL_INTERVAL", "-1");
    let lab = lab
        .with("OPS_WINRM_READ_TIMEOUT", "5")
        .with("MYSQL_DSN", "postgres://x/y");
    lab.write_catalog(|entries| entries.push(entry("bad-mac", json!({"mac": "zz"}))));
    let (code, said) = checked(&lab).await;
    assert_eq!(code, Some(2), "{said}");
    for name in ["OPS_PORT", "OPS_POLL_INTERVAL", "OPS_WINRM_READ_TIMEOUT"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    for name in ["MYSQL_DSN", "bad-mac"] {
        assert!(said.contains(name), "{name} in the same go: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_variable_is_warned_of_with_the_nearest_known_one() {
    let lab = Lab::start(vec![])
        .await
        .with("OPS_POLL_INTERVALL", "5")
        .with("OPS_XYZZY", "1");
    let lab = lab.with("UNRELATED", "1");
    let (code, said) = checked(&lab).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("unknown variable OPS_POLL_INTERVALL; did you mean OPS_POLL_INTERVAL?"),
        "{said}"
    );
    assert!(
        said.contains("OPS_XYZZY") && !said.contains("UNRELATED"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settings_file_is_read_below_the_environment_and_its_unknown_keys_are_refused() {
    let lab = Lab::start(vec![awake(1)]).await;
    let file = lab.folder.path().join("ops.toml");
    std::fs::write(&file, "ops_port = \"http\"\nops_poll_interval = 5\n").unwrap();
    let name = file.display().to_string();
    // The environment says 0, which is a port; the file's word is not looked at.
    let (ended, said) = lab
        .run(API, &["--check-config", "--settings", &name])
        .ended()
        .await;
    assert_eq!(ended.code(), Some(0), "{said}");
    std::fs::write(&file, "ops_prot = 1\n").unwrap();
    let (ended, said) = lab
        .run(API, &["--check-config", "--settings", &name])
        .ended()
        .await;
    assert_eq!(ended.code(), Some(2), "{said}");
    assert!(
        said.contains("unknown key ops_prot; did you mean ops_port?"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_its_version_and_refuses_arguments_it_does_not_know() {
    let lab = Lab::start(vec![]).await;
    let (ended, said) = lab.run(API, &["--version"]).ended().await;
    assert_eq!(
        (ended.code(), said.trim()),
        (Some(0), concat!("ops-api ", env!("CARGO_PKG_VERSION")))
    );
    let (ended, said) = lab.run(API, &["--with-sheduler"]).ended().await;
    assert_eq!(ended.code(), Some(2), "{said}");
    assert!(said.contains("--with-scheduler"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let lab = Lab::start(vec![])
        .await
        .with("OPS_PORT", address.port().to_string());
    let (ended, said) = lab.run(API, &[]).ended().await;
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_are_plain_text_in_a_file_and_json_on_request() {
    let lab = Lab::start(vec![]).await;
    let mut api = lab.run(API, &[]);
    api.address().await;
    let (_, said) = api.terminate().await;
    assert!(
        !said.contains('\u{1b}'),
        "no colours where there is no terminal: {said:?}"
    );

    let lab = lab.with("OPS_LOG_FORMAT", "json");
    let mut api = lab.run(API, &[]);
    api.says("\"message\":\"listening\"").await;
    let (_, said) = api.terminate().await;
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
}
