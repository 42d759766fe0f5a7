//! The words `certificate` and `kerberos` of an entry: what proves who we are when it is no password.

use std::path::Path;

use host_sim::{HostSpec, SimHost};
use serde_json::{Map, Value, json};
use station_control::{EventsRead, StationError, check_entry};

use crate::bench::{Bench, LIMIT, awake, catalog, settings, tls_entry};

/// A client certificate with its key, both PEM, and the certificate's SHA-256.
struct Made {
    certificate: String,
    key: String,
    sha256: [u8; 32],
}

fn certificate() -> Made {
    let made = rcgen::generate_simple_self_signed(vec!["gateway@localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let read = winrm_transport::ClientCertificate::from_pem(&certificate, &key.clone().into()).unwrap();
    Made {
        certificate,
        key,
        sha256: read.sha256(),
    }
}

fn write(folder: &Path, made: &Made) {
    std::fs::write(folder.join("gateway.key"), &made.key).unwrap();
    std::fs::write(folder.join("gateway.pem"), &made.certificate).unwrap();
}

/// An entry without any account.
fn by_certificate(sim: &SimHost, folder: &Path) -> Map<String, Value> {
    let mut entry = tls_entry(sim);
    entry.retain(|key, _| !matches!(key.as_str(), "winrm_user" | "winrm_pass" | "winrm_use_ssl"));
    let pin: String = sim
        .certificate_sha256()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let keys = [
        ("winrm_transport", "certificate".to_owned()),
        ("winrm_cert_sha256", pin),
        (
            "winrm_client_cert",
            folder.join("gateway.pem").display().to_string(),
        ),
        (
            "winrm_client_key",
            folder.join("gateway.key").display().to_string(),
        ),
    ];
    entry.extend(keys.map(|(key, value)| (key.to_owned(), json!(value))));
    entry
}

/// A host that knows these certificates and no password of ours.
fn that_maps(mapped: &[&Made]) -> HostSpec {
    let mut spec = awake();
    spec.client_certificates = mapped.iter().map(|made| made.sha256).collect();
    spec
}

async fn read(bench: &Bench) -> Result<(), StationError> {
    let reading = bench
        .control
        .read_heartbeat(bench.name(), EventsRead::No, LIMIT)
        .await;
    reading.map(drop)
}

#[tokio::test]
async fn a_mapped_certificate_opens_a_host_without_user_and_password() {
    let (made, folder) = (certificate(), tempfile::tempdir().unwrap());
    write(folder.path(), &made);
    let bench = Bench::start_with(that_maps(&[&made]), settings(), |sim| {
        by_certificate(sim, folder.path())
    })
    .await;
    read(&bench).await.unwrap();
    assert!(bench.wake().await.failure.is_none());
    let counts = bench.sim().counts();
    assert_eq!(
        (counts.handshakes, counts.refused_credentials),
        (0, 0),
        "no password was tried"
    );
    bench.end().await;
}

#[tokio::test]
async fn a_certificate_that_is_mapped_to_nobody_is_named_and_not_tried_again_by_the_ladder() {
    let (made, folder) = (certificate(), tempfile::tempdir().unwrap());
    write(folder.path(), &made);
    let bench = Bench::start_with(that_maps(&[&certificate()]), settings(), |sim| {
        by_certificate(sim, folder.path())
    })
    .await;
    let reason = bench.wake().await.failure.unwrap();
    assert_eq!(
        (reason.code.as_str(), reason.rung.as_deref()),
        ("unauthorized", Some("winrm_answer"))
    );
    assert!(reason.to_string().contains("client certificate"), "{reason}");
    assert_eq!(bench.sim().counts().refused_credentials, 1);
    bench.end().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_host_and_key() {
    let (made, folder) = (certificate(), tempfile::tempdir().unwrap());
    let at = folder.path();
    let bench = Bench::start_with(that_maps(&[&made]), settings(), |sim| by_certificate(sim, at)).await;
    let (pem, key) = (at.join("gateway.pem"), at.join("gateway.key"));
    let too_long = "x".repeat(64 * 1024 + 1);
    type Case<'a> = (&'a dyn Fn(), &'a str, &'a str, &'a str);
    let cases: [Case<'_>; 5] = [
        (&|| (), "winrm_client_cert", "gateway.pem", "No such file"),
        (
            &|| std::fs::write(&pem, &made.certificate).unwrap(),
            "winrm_client_key",
            "gateway.key",
            "No such file",
        ),
        (
            &|| std::fs::create_dir(&key).unwrap(),
            "winrm_client_key",
            "gateway.key",
            "no regular file",
        ),
        (
            &|| {
                std::fs::remove_dir(&key).unwrap();
                std::fs::write(&key, &too_long).unwrap();
            },
            "winrm_client_key",
            "gateway.key",
            "larger than 64 KiB",
        ),
        (
            &|| std::fs::write(&key, certificate().key).unwrap(),
            "winrm_client_cert",
            "gateway.key",
            "do not belong together",
        ),
    ];
    for (prepare, key, file, part) in cases {
        prepare();
        let problem = check_entry(&bench.catalog.find(bench.name()).unwrap()).unwrap_err();
        assert_eq!(
            (problem.host.as_str(), problem.key.as_str()),
            ("lab-ws-01", key),
            "{problem}"
        );
        assert!(
            problem.message.contains(file) && problem.message.contains(part),
            "{problem}"
        );
        let error = read(&bench).await.unwrap_err();
        assert_eq!(
            (error.code(), error.is_host_problem()),
            ("settings_refused", false)
        );
        let text = error.sentence();
        assert!(
            text.contains("lab-ws-01") && text.contains(file) && text.contains(part),
            "{text}"
        );
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
    assert_eq!(bench.sim().counts().requests, 0);
    write(at, &made);
    check_entry(&bench.catalog.find(bench.name()).unwrap()).unwrap();
    read(&bench).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn renewed_files_are_used_at_once_and_half_renewed_ones_change_nothing() {
    let (old, new, folder) = (certificate(), certificate(), tempfile::tempdir().unwrap());
    write(folder.path(), &old);
    let bench = Bench::start_with(that_maps(&[&old, &new]), settings(), |sim| {
        by_certificate(sim, folder.path())
    })
    .await;
    read(&bench).await.unwrap();
    let connections = |bench: &Bench| bench.control.stats(bench.name()).unwrap().connections;
    assert_eq!(connections(&bench), 1);
    // The key is there before its certificate: both sizes may be those of the old pair, the times are not.
    std::fs::write(folder.path().join("gateway.key"), format!("{}\n", new.key)).unwrap();
    for _ in 0..2 {
        read(&bench).await.unwrap();
    }
    assert_eq!(connections(&bench), 1, "the connection that stands goes on");
    std::fs::write(
        folder.path().join("gateway.pem"),
        format!("{}\n", new.certificate),
    )
    .unwrap();
    let before = bench.sim().counts().connections;
    read(&bench).await.unwrap();
    assert_eq!(
        bench.sim().counts().connections,
        before + 1,
        "with the new certificate"
    );
    bench.end().await;
}

#[cfg(not(feature = "kerberos"))]
#[test]
fn without_the_feature_the_word_is_refused_by_name() {
    let entry = json!({
        "name": "lab-ws-01", "address": "localhost", "winrm_transport": "kerberos",
        "winrm_user": "alice@LAB.TEST", "winrm_pass": "x",
    });
    let catalog = catalog(vec![entry.as_object().unwrap().clone()]);
    let problem = check_entry(&catalog.hosts()[0]).unwrap_err();
    assert_eq!(
        (problem.host.as_str(), problem.key.as_str()),
        ("lab-ws-01", "winrm_transport")
    );
    assert!(problem.message.contains("not part of this build"), "{problem}");
}

#[cfg(feature = "kerberos")]
mod kerberos {
    use std::sync::Arc;

    use host_sim::realm::{Acceptor, PASSWORD, Realm, Scheme};
    use lab_model::{HostName, SystemClock};
    use reservation_engine::Station;
    use station_control::{SharedCatalog, StationControl};

    use super::*;

    fn control(keys: Value) -> (StationControl, HostName) {
        let mut entry = json!({
            "name": "lab-ws-01", "address": "localhost", "winrm_transport": "kerberos",
            "winrm_user": "alice@LAB.TEST", "winrm_pass": PASSWORD,
        });
        entry
            .as_object_mut()
            .unwrap()
            .extend(keys.as_object().unwrap().clone());
        let catalog = catalog(vec![entry.as_object().unwrap().clone()]);
        check_entry(&catalog.hosts()[0]).unwrap();
        let control = StationControl::new(SharedCatalog::new(catalog), settings(), Arc::new(SystemClock));
        (control, HostName::parse("lab-ws-01").unwrap())
    }

    async fn run(control: &StationControl, name: &HostName) -> Result<i32, StationError> {
        let report = control.run(name, "status-json", &[], Some(LIMIT)).await;
        report.map(|report| report.exit_code)
    }

    #[tokio::test]
    async fn a_command_runs_with_a_ticket_of_the_domain() {
        let Some(realm) = Realm::start().await else { return };
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
        let port = acceptor.port;
        for keys in [
            json!({"winrm_port": port, "winrm_kdc": realm.kdc()}),
            // By address, with everything said beside it; the first KDC is not there.
            json!({
                "winrm_port": port, "address": "127.0.0.1", "winrm_kerberos_host": "localhost",
                "winrm_user": "alice", "winrm_realm": "lab.test", "winrm_kdc": ["127.0.0.1:1", realm.kdc()],
            }),
        ] {
            let (control, name) = control(keys);
            assert_eq!(run(&control, &name).await.unwrap(), 7);
            control.close(LIMIT).await;
        }
        let said = acceptor.stop().await;
        assert_eq!(
            said.matches("\"user\": \"alice@LAB.TEST\", \"mutual\": true, \"sealing\": true")
                .count(),
            2
        );
    }

    #[tokio::test]
    async fn over_https_a_ticket_is_bound_to_the_pinned_certificate() {
        let Some(realm) = Realm::start().await else { return };
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, true, &[]).await;
        let ca = acceptor.certificate();
        let (control, name) = control(json!({
            "winrm_port": acceptor.port, "winrm_kdc": realm.kdc(), "winrm_use_ssl": true,
            "winrm_ca_file": ca.to_str().unwrap(),
        }));
        assert_eq!(run(&control, &name).await.unwrap(), 7);
        control.close(LIMIT).await;
    }

    #[tokio::test]
    async fn a_refusal_of_the_domain_is_named() {
        let Some(realm) = Realm::start().await else { return };
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
        for (keys, code, part) in [
            (
                json!({"winrm_pass": "wrong"}),
                "unauthorized",
                "password, refused by the kdc",
            ),
            (
                json!({"winrm_kerberos_host": "elsewhere"}),
                "kerberos",
                "HTTP/elsewhere",
            ),
        ] {
            let mut all = json!({"winrm_port": acceptor.port, "winrm_kdc": realm.kdc()});
            all.as_object_mut()
                .unwrap()
                .extend(keys.as_object().unwrap().clone());
            let (control, name) = control(all);
            let error = run(&control, &name).await.unwrap_err();
            let text = error.sentence();
            assert_eq!(error.code(), code, "{text}");
            assert!(
                text.starts_with("host lab-ws-01") && text.contains(part),
                "{text}"
            );
            assert!(!text.contains("wrong"), "{text}");
        }
        assert_eq!(acceptor.stop().await.matches("\"authenticated\"").count(), 0);
    }

    /// Otherwise a shutdown of which nobody knows whether it was taken would count as done while the domain is away.
    #[tokio::test]
    async fn a_silent_kdc_does_not_make_a_host_look_switched_off() {
        let host = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Takes connections and never says anything.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = host.local_addr().unwrap().port();
        for (kdc, code) in [
            ("127.0.0.1:1".to_owned(), Some("kdc_silent")),
            (silent.local_addr().unwrap().to_string(), None),
        ] {
            let keys = json!({
                "winrm_port": port, "winrm_kdc": kdc, "address": "127.0.0.1", "winrm_kerberos_host": "localhost",
            });
            let (control, name) = control(keys);
            if let Some(code) = code {
                assert_eq!(run(&control, &name).await.unwrap_err().code(), code);
            }
            let seen = control.observe(&name, std::time::Duration::from_secs(5)).await;
            assert!(seen.reachable, "{code:?}");
        }
    }
}
