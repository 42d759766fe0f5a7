use serde_json::json;

use super::*;

fn env(name: &str) -> Option<String> {
    (name == "PW").then(|| "from-env".to_owned())
}

fn entry(extra: &serde_json::Value) -> serde_json::Value {
    let mut entry =
        json!({"name": "lab-ws-01", "address": "10.0.0.11", "winrm_user": "u", "winrm_pass": "env:PW"});
    let map = entry.as_object_mut().unwrap();
    map.extend(extra.as_object().unwrap().clone());
    entry
}

fn parse(entries: &[serde_json::Value]) -> Result<Catalog, CatalogError> {
    Catalog::parse(&json!({"hosts": entries}).to_string(), &env)
}

fn only_problem(extra: &serde_json::Value) -> String {
    let error = parse(&[entry(extra)]).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    error.to_string()
}

#[test]
fn an_entry_gets_the_defaults_of_the_contract() {
    let catalog = parse(&[entry(&json!({}))]).unwrap();
    let host = catalog.find("LAB-WS-01").unwrap();
    assert_eq!(
        (host.winrm.port, host.winrm.use_tls, &host.winrm.transport),
        (5985, false, &Transport::Ntlm)
    );
    assert_eq!(
        (host.wake.port, host.wake.attempts, host.wake.broadcast),
        (9, 3, Ipv4Addr::BROADCAST)
    );
    assert_eq!(host.ping_target, "10.0.0.11");
    assert_eq!(host.heartbeat_path, DEFAULT_HEARTBEAT_PATH);
}

#[test]
fn tls_follows_the_switch_the_word_or_the_port() {
    for (keys, port, tls) in [
        (json!({"winrm_use_ssl": true}), 5986, true),
        (json!({"use_ssl": "yes"}), 5986, true),
        (json!({"winrm_port": 5986}), 5986, true),
        (json!({"winrm_port": "5986", "winrm_use_ssl": "off"}), 5986, false),
        (json!({"winrm_transport": "ssl"}), 5986, true),
        (json!({"winrm_port": 15985}), 15985, false),
    ] {
        let catalog = parse(&[entry(&keys)]).unwrap();
        let winrm = &catalog.hosts()[0].winrm;
        assert_eq!((winrm.port, winrm.use_tls), (port, tls), "{keys}");
    }
}

#[test]
fn every_wrong_key_is_named_with_its_host() {
    for (keys, key, part) in [
        (json!({"winrm_port": 70000}), "winrm_port", "from 1 to 65535"),
        (json!({"wol_port": "nine"}), "wol_port", "nine"),
        (json!({"mac": "00:11:22"}), "mac", "00:11:22"),
        (json!({"mac": 7}), "mac", "must be text, is a number"),
        (json!({"labs": "12"}), "labs", "must be a list"),
        (json!({"labs": [true]}), "labs", "a boolean"),
        (json!({"winrm_pass": "env:NOPE"}), "winrm_pass", "NOPE"),
        (json!({"winrm_pass": ""}), "winrm_pass", "missing or empty"),
        (
            json!({"winrm_transport": "credssp"}),
            "winrm_transport",
            "not supported",
        ),
        (json!({"winrm_transport": "telnet"}), "winrm_transport", "telnet"),
        (
            json!({"winrm_cert_sha256": "abc"}),
            "winrm_cert_sha256",
            "64 hex digits",
        ),
        (
            json!({"address": "a b"}),
            "address",
            "neither an IP address nor a host name",
        ),
        (json!({"address": null}), "address", "is missing"),
        (json!({"heartbeat_path": 7}), "heartbeat_path", "must be text"),
        (
            json!({"events_path": "C:\\a\nb"}),
            "events_path",
            "a control character",
        ),
        (json!({"broadcast": "10.0.0.256"}), "broadcast", "no IPv4 address"),
        (json!({"wake_attempts": 0}), "wake_attempts", "from 1 to 100"),
    ] {
        let text = only_problem(&keys);
        let expected = format!("host \"lab-ws-01\", key {key:?}: ");
        assert!(
            text.starts_with(&expected) && text.contains(part),
            "{keys} gave {text}"
        );
    }
}

#[test]
fn kerberos_takes_its_realm_and_its_names_from_the_entry() {
    let domain = |keys: serde_json::Value| {
        let mut entry = entry(&json!({"winrm_transport": "Kerberos", "address": "ws-01.lab.test"}));
        entry
            .as_object_mut()
            .unwrap()
            .extend(keys.as_object().unwrap().clone());
        let catalog = parse(&[entry]).unwrap();
        let host = &catalog.hosts()[0];
        assert_eq!((host.winrm.port, host.winrm.use_tls), (5985, false));
        assert_eq!(host.public_view()["winrm_transport"], "kerberos");
        match &host.winrm.transport {
            Transport::Kerberos(access) => access.clone(),
            other => panic!("{other:?}"),
        }
    };
    for user in ["svc@LAB.TEST", r"LAB.TEST\svc"] {
        let access = domain(json!({"winrm_user": user}));
        assert_eq!(
            (access.realm, access.kdcs, access.service_host),
            (None, vec![], None)
        );
    }
    let access = domain(json!({
        "winrm_realm": "LAB.TEST",
        "winrm_kdc": ["dc1.lab.test", "10.0.0.1:88", "[fd00::1]:750", "fd00::2"],
        "winrm_kerberos_host": "ws-01",
    }));
    assert_eq!(access.realm.as_deref(), Some("LAB.TEST"));
    assert_eq!(
        access.kdcs,
        ["dc1.lab.test", "10.0.0.1:88", "[fd00::1]:750", "fd00::2"]
    );
    assert_eq!(access.service_host.as_deref(), Some("ws-01"));
    assert_eq!(
        domain(json!({"winrm_realm": "A", "winrm_kdc": "dc1"})).kdcs,
        ["dc1"]
    );
    // An address is enough where the name to verify is given beside it.
    domain(json!({"winrm_realm": "A", "address": "10.0.0.1", "tls_server_name": "ws-01"}));
    domain(json!({"winrm_realm": "A", "address": "10.0.0.1", "winrm_kerberos_host": "10.0.0.1"}));
}

#[test]
fn a_combination_that_kerberos_cannot_use_is_named() {
    let nine: Vec<String> = (1..=9).map(|n| format!("dc{n}")).collect();
    for (keys, key, part) in [
        (json!({}), "winrm_user", "user@REALM"),
        (json!({"winrm_user": r".\svc"}), "winrm_user", "no realm"),
        (json!({"winrm_realm": "LAB TEST"}), "winrm_realm", "LAB TEST"),
        (json!({"winrm_realm": 7}), "winrm_realm", "a number"),
        (
            json!({"winrm_realm": "A", "winrm_pass": null}),
            "winrm_pass",
            "missing",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kdc": "a:0"}),
            "winrm_kdc",
            "a:0",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kdc": ["dc1", ""]}),
            "winrm_kdc",
            "host:port",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kdc": ["dc1", 7]}),
            "winrm_kdc",
            "a number",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kdc": "[x]:88"}),
            "winrm_kdc",
            "[x]:88",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kdc": "http://dc1"}),
            "winrm_kdc",
            "http://dc1",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kdc": nine}),
            "winrm_kdc",
            "at most 8",
        ),
        (
            json!({"winrm_realm": "A", "winrm_kerberos_host": "a/b"}),
            "winrm_kerberos_host",
            "a/b",
        ),
        (
            json!({"winrm_realm": "A", "address": "10.0.0.11"}),
            "winrm_kerberos_host",
            "10.0.0.11 is none",
        ),
        (
            json!({"winrm_realm": "A", "winrm_client_cert": "/a"}),
            "winrm_client_cert",
            "only used with winrm_transport \"certificate\"",
        ),
    ] {
        let mut all = json!({"winrm_transport": "kerberos", "address": "ws-01"});
        all.as_object_mut()
            .unwrap()
            .extend(keys.as_object().unwrap().clone());
        let text = only_problem(&all);
        let expected = format!("host \"lab-ws-01\", key {key:?}: ");
        assert!(
            text.starts_with(&expected) && text.contains(part),
            "{keys} gave {text}"
        );
    }
    let text = only_problem(&json!({"winrm_kdc": "dc1"}));
    assert!(
        text.contains("only used with winrm_transport \"kerberos\""),
        "{text}"
    );
}

#[test]
fn a_certificate_needs_its_files_and_tls_and_no_password() {
    let files = json!({"winrm_client_cert": "/etc/c.pem", "winrm_client_key": "/etc/k.pem"});
    let by_certificate = |keys: &serde_json::Value| {
        let mut entry =
            json!({"name": "lab-ws-01", "address": "10.0.0.11", "winrm_transport": "certificate"});
        for more in [&files, keys] {
            entry
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
        }
        parse(&[entry])
    };
    let catalog = by_certificate(&json!({})).unwrap();
    let host = &catalog.hosts()[0];
    assert_eq!((host.winrm.port, host.winrm.use_tls), (5986, true));
    assert_eq!(host.winrm.transport.word(), "certificate");
    let Transport::Certificate(read) = &host.winrm.transport else {
        panic!()
    };
    assert_eq!(
        (read.certificate.to_str(), read.key.to_str()),
        (Some("/etc/c.pem"), Some("/etc/k.pem"))
    );
    let view = host.public_view().to_string();
    assert!(view.contains("certificate") && !view.contains(".pem"), "{view}");
    // What the older worker wanted of every entry is no harm, and not kept.
    let with_account = json!({"winrm_user": "svc", "winrm_pass": "env:NOPE", "winrm_port": 15986});
    let catalog = by_certificate(&with_account).unwrap();
    let winrm = &catalog.hosts()[0].winrm;
    assert_eq!(
        (winrm.user.as_str(), winrm.port, winrm.use_tls),
        ("svc", 15986, true)
    );

    for (keys, key, part) in [
        (
            json!({"winrm_client_cert": null}),
            "winrm_client_cert",
            "needs a PEM file",
        ),
        (
            json!({"winrm_client_key": " "}),
            "winrm_client_key",
            "needs a PEM file",
        ),
        (json!({"winrm_client_key": 7}), "winrm_client_key", "must be text"),
        (json!({"winrm_use_ssl": false}), "winrm_use_ssl", "within TLS"),
        (json!({"use_ssl": "no"}), "use_ssl", "within TLS"),
        (json!({"winrm_realm": "A"}), "winrm_realm", "only used with"),
    ] {
        let error = by_certificate(&keys).unwrap_err();
        let text = error.to_string();
        let expected = format!("host \"lab-ws-01\", key {key:?}: ");
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(
            text.starts_with(&expected) && text.contains(part),
            "{keys} gave {text}"
        );
    }
}

#[test]
fn the_operators_guide_has_the_table_of_keys_as_the_program_has_it() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hosts.md")).unwrap();
    let again = "cargo run -p lab-model --example hosts-table";
    assert!(
        guide.contains(&catalog_table()),
        "the table of docs/hosts.md is out of date; its text is printed by: {again}"
    );
}

#[test]
fn all_problems_of_all_entries_are_listed_at_once() {
    let error = parse(&[
        entry(&json!({"mac": "xx", "winrm_port": -1})),
        json!(7),
        entry(&json!({"name": "LAB-ws-02", "labs": {}})),
        json!({"address": "10.0.0.3", "winrm_user": "u", "winrm_pass": "p"}),
    ])
    .unwrap_err();
    let places: Vec<_> = error
        .problems
        .iter()
        .map(|p| (p.host.as_str(), p.key.as_str()))
        .collect();
    let expected = [
        ("lab-ws-01", "winrm_port"),
        ("lab-ws-01", "mac"),
        ("hosts[1]", ""),
        ("LAB-ws-02", "labs"),
        ("hosts[3]", "name"),
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_name_used_twice_is_refused_whatever_its_case() {
    let error = parse(&[entry(&json!({})), entry(&json!({"name": "LAB-WS-01"}))]).unwrap_err();
    assert!(error.to_string().contains("hosts[0] and hosts[1]"), "{error}");
}

#[test]
fn the_file_as_a_whole_is_checked() {
    for (text, part) in [
        ("{", "line 1"),
        ("[]", "is a list"),
        (r#"{"hosts": 3}"#, "hosts: must be a list"),
    ] {
        let error = Catalog::parse(text, &env).unwrap_err().to_string();
        assert!(error.contains(part), "{text} gave {error}");
    }
    assert!(Catalog::parse("\u{feff}{}", &env).unwrap().hosts().is_empty());
}

#[test]
fn labs_are_compared_trimmed_and_lower_case_and_the_first_host_wins() {
    let catalog = parse(&[
        entry(&json!({"labs": [12, " Robot "]})),
        entry(&json!({"name": "second", "labs": ["robot", ""]})),
    ])
    .unwrap();
    assert_eq!(
        catalog.host_for_lab(&LabId::new("ROBOT")).unwrap().name.as_str(),
        "lab-ws-01"
    );
    assert_eq!(
        catalog.host_for_lab(&LabId::new("12")).unwrap().name.as_str(),
        "lab-ws-01"
    );
    assert!(catalog.host_for_lab(&LabId::new("")).is_none());
}

#[test]
fn neither_the_view_nor_debug_shows_a_secret() {
    let keys =
        json!({"room": "B-204", "vnc_password": "hunter2", "note": "env:PW", "nested": {"pw": "hunter2"}});
    let catalog = parse(&[entry(&keys)]).unwrap();
    let host = &catalog.hosts()[0];
    let view = host.public_view();
    assert_eq!(view["room"], "B-204");
    for shown in [view.to_string(), format!("{:?}", host.winrm)] {
        assert!(
            !shown.contains("from-env") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

mod secrets_and_slips;
