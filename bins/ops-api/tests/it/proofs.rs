//! Hosts that want a certificate or a ticket instead of a password, through the program as an operator runs it.

use host_sim::HostSpec;
use host_sim::realm::{Acceptor, PASSWORD, Realm, Scheme};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::API;
use crate::harness::{Lab, awake};
use crate::http::call;

/// Runs `status-json` by way of a program of its own, and gives its answer and all it said.
async fn asked(lab: &Lab, host: &str) -> (Value, String) {
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    api.says("the database is ready").await;
    let body = json!({"host": host, "command": "status-json"}).to_string();
    let answer = call(address, "POST", "/api/winrm", &[], body).await.expect(200);
    let (ended, said) = api.terminate().await;
    assert!(ended.success(), "{said}");
    (answer, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_maps_our_certificate_is_run_without_an_account() {
    let made = rcgen::generate_simple_self_signed(vec!["gateway@localhost".to_owned()]).unwrap();
    let spec = HostSpec {
        https_port: Some(0),
        client_certificates: vec![Sha256::digest(made.cert.der()).into()],
        ..awake(1)
    };
    let lab = Lab::start(vec![spec]).await.with("OPS_LOG_LEVEL", "trace");
    let path = |name: &str| lab.folder.path().join(name);
    std::fs::write(path("farm.pem"), lab.farm.ca_pem()).unwrap();
    std::fs::write(path("gateway.pem"), made.cert.pem()).unwrap();
    let sim = lab.sim(1);
    lab.write_catalog(|entries| {
        entries[0] = json!({
            "name": "lab-ws-01", "address": sim.address().to_string(), "winrm_transport": "certificate",
            "winrm_port": sim.https_port(), "tls_server_name": sim.name(), "winrm_ca_file": path("farm.pem"),
            "winrm_client_cert": path("gateway.pem"), "winrm_client_key": path("gateway.key"),
        });
    });

    let (ended, said) = lab.run(API, &["--check-config"]).ended().await;
    assert_eq!(ended.code(), Some(2), "{said}");
    let named = format!(
        "host \"lab-ws-01\", key \"winrm_client_key\": cannot read {}",
        path("gateway.key").display()
    );
    assert!(said.contains(&named), "{said}");

    let key = made.signing_key.serialize_pem();
    std::fs::write(path("gateway.key"), &key).unwrap();
    let (answer, said) = asked(&lab, "lab-ws-01").await;
    assert_eq!(
        (&answer["exit_code"], &answer["parsed"]["schemaVersion"]),
        (&json!(0), &json!("1.0.0"))
    );
    let secret = key.lines().nth(1).unwrap();
    assert!(!said.contains(secret) && !answer.to_string().contains(secret));
    assert_eq!(sim.counts().handshakes, 0, "no password was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_a_domain_is_run_with_a_ticket() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    let lab = Lab::start(vec![]).await.with("OPS_LOG_LEVEL", "trace");
    let lab = lab.with("THE_PASSWORD", PASSWORD);
    lab.write_catalog(|entries| {
        entries.push(json!({
            "name": "lab-ws-01", "address": "localhost", "winrm_transport": "kerberos",
            "winrm_port": acceptor.port, "winrm_kdc": realm.kdc(),
            "winrm_user": "alice@LAB.TEST", "winrm_pass": "env:THE_PASSWORD",
        }));
    });
    let (answer, said) = asked(&lab, "lab-ws-01").await;
    assert_eq!(answer["exit_code"], 7);
    assert!(answer["parsed"].to_string().contains("status-json"), "{answer}");
    assert!(!said.contains(PASSWORD) && !answer.to_string().contains(PASSWORD));
    assert_eq!(
        acceptor
            .stop()
            .await
            .matches("\"user\": \"alice@LAB.TEST\"")
            .count(),
        1
    );
}
