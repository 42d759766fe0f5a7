//! The ways into a host: how it is authenticated, how we are, and what happens when its entry changes.

use std::io::Write;

use host_sim::{AuthPolicy, FarmOptions, Fault, HostSpec, SimHost};
use lab_model::HostName;
use serde_json::{Map, Value, json};
use station_control::{EventsRead, Settings, StationControl, StationError};

use crate::bench::{Bench, LIMIT, awake, catalog, entry, settings, tls_entry};

async fn read(control: &StationControl, name: &HostName) -> Result<(), StationError> {
    control
        .read_heartbeat(name, EventsRead::No, LIMIT)
        .await
        .map(drop)
}

async fn read_over(
    spec: HostSpec,
    settings: Settings,
    entry: impl FnOnce(&SimHost) -> Map<String, Value>,
) -> (Bench, Result<(), StationError>) {
    let bench = Bench::start_with(spec, settings, entry).await;
    let ended = read(&bench.control, bench.name()).await;
    (bench, ended)
}

#[tokio::test]
async fn ntlm_works_over_http_sealed_and_over_https_with_a_pin() {
    for transport in ["ntlm", "negotiate"] {
        let (bench, ended) = read_over(awake(), settings(), |sim| {
            let mut entry = entry(sim);
            entry.insert("winrm_transport".into(), json!(transport));
            entry
        })
        .await;
        assert!(ended.is_ok(), "{transport}: {ended:?}");
        bench.end().await;
        let (bench, ended) =
            read_over(awake(), settings(), |sim| pinned(sim, sim.certificate_sha256())).await;
        assert!(ended.is_ok(), "{transport}: {ended:?}");
        bench.end().await;
    }
}

fn pinned(sim: &SimHost, pin: [u8; 32]) -> Map<String, Value> {
    let mut entry = tls_entry(sim);
    let hex: Vec<String> = pin.iter().map(|byte| format!("{byte:02x}")).collect();
    entry.insert("winrm_cert_sha256".into(), json!(hex.concat()));
    entry
}

#[tokio::test]
async fn a_ca_file_and_a_server_name_verify_a_host_known_by_its_address() {
    let farm = host_sim::Farm::start(vec![awake()], FarmOptions::default())
        .await
        .unwrap();
    let sim = &farm.hosts()[0];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(farm.ca_pem().as_bytes()).unwrap();
    let mut with_name = tls_entry(sim);
    with_name.insert("winrm_ca_file".into(), json!(file.path().to_str().unwrap()));
    let without_name = with_name.clone();
    with_name.insert("tls_server_name".into(), json!(sim.name()));
    let shared = station_control::SharedCatalog::new(catalog(vec![with_name]));
    let control = StationControl::new(
        shared.clone(),
        settings(),
        std::sync::Arc::new(lab_model::SystemClock),
    );
    let name = HostName::parse(sim.name()).unwrap();
    read(&control, &name).await.unwrap();

    let handshakes = sim.counts().handshakes;
    shared.replace(catalog(vec![without_name]));
    let error = read(&control, &name).await.unwrap_err();
    assert_eq!(error.code(), "tls_wrong_name", "{error:?}");
    assert_eq!(sim.counts().handshakes, handshakes, "no credential was sent");
    control.close(LIMIT).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_host_with_another_certificate_gets_no_credentials() {
    let (bench, ended) = read_over(awake(), settings(), |sim| pinned(sim, [7; 32])).await;
    let error = ended.unwrap_err();
    assert!(matches!(error, StationError::Tls { .. }), "{error:?}");
    assert_eq!(error.code(), "tls_pin_mismatch");
    assert_eq!(
        (
            bench.sim().counts().handshakes,
            bench.sim().counts().refused_credentials
        ),
        (0, 0)
    );
    let report = bench.wake().await;
    let reason = report.failure.unwrap();
    assert_eq!(
        (reason.code.as_str(), reason.rung.as_deref()),
        ("tls_pin_mismatch", Some("winrm_answer"))
    );
    bench.end().await;
}

#[tokio::test]
async fn a_password_is_not_shown_to_the_network_unless_that_is_allowed() {
    let basic = |sim: &SimHost| {
        let mut entry = entry(sim);
        entry.insert("winrm_transport".into(), json!("basic"));
        entry
    };
    let mut spec = awake();
    spec.auth = AuthPolicy {
        basic: true,
        ..AuthPolicy::default()
    };
    spec.allow_unencrypted = true;
    let (bench, ended) = read_over(spec.clone(), settings(), basic).await;
    let error = ended.unwrap_err();
    assert_eq!(
        (error.code(), error.is_host_problem()),
        ("insecure_basic_refused", false)
    );
    assert_eq!(bench.sim().counts().requests, 0);
    bench.end().await;

    spec.address = host_sim::addresses::block(1)[0];
    let allowing = Settings {
        allow_insecure_basic: true,
        ..settings()
    };
    let (bench, ended) = read_over(spec, allowing, basic).await;
    assert!(ended.is_ok(), "{ended:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_changed_entry_is_used_at_once_and_the_old_connection_is_closed() {
    let (bench, ended) = read_over(awake(), settings(), |sim| {
        let mut entry = entry(sim);
        entry.insert("winrm_pass".into(), json!("wrong"));
        entry
    })
    .await;
    let error = ended.unwrap_err();
    assert!(matches!(error, StationError::Unauthorized { .. }), "{error:?}");
    assert!(!error.sentence().contains("wrong\""), "{}", error.sentence());
    bench.catalog.replace(catalog(vec![entry(bench.sim())]));
    read(&bench.control, bench.name()).await.unwrap();
    bench.catalog.replace(catalog(Vec::new()));
    let error = read(&bench.control, bench.name()).await.unwrap_err();
    assert_eq!(error.code(), "unknown_host");
    assert!(bench.control.stats(bench.name()).is_none());
    bench.end().await;
}

#[tokio::test]
async fn a_rebooted_host_is_read_again_without_anybody_noticing() {
    let (bench, ended) = read_over(awake(), settings(), entry).await;
    ended.unwrap();
    bench.pull_the_plug().await;
    bench.sim().power_on();
    assert!(bench.sim().wait_for(host_sim::PowerState::Ready, LIMIT).await);
    read(&bench.control, bench.name()).await.unwrap();
    bench.sim().set_fault(Fault::AccessDenied);
    bench.end().await;
}

#[tokio::test]
async fn a_replaced_catalog_closes_the_connections_of_what_changed_and_keeps_the_others() {
    let (bench, ended) = read_over(awake(), settings(), entry).await;
    ended.unwrap();
    let same = entry(bench.sim());
    let connections = |bench: &Bench| bench.control.stats(bench.name()).map(|stats| stats.connections);
    bench.control.replace_catalog(catalog(vec![same.clone()]));
    assert_eq!(
        connections(&bench),
        Some(1),
        "the same entry keeps its connection"
    );
    let mut changed = same.clone();
    changed.insert("winrm_pass".into(), json!("a new one"));
    bench.control.replace_catalog(catalog(vec![changed]));
    assert_eq!(
        connections(&bench),
        None,
        "nothing is sent under the old password any more"
    );
    let error = read(&bench.control, bench.name()).await.unwrap_err();
    assert_eq!(error.code(), "unauthorized");
    bench.control.replace_catalog(catalog(vec![same]));
    read(&bench.control, bench.name()).await.unwrap();
    bench.control.replace_catalog(catalog(Vec::new()));
    assert_eq!(
        connections(&bench),
        None,
        "a host that is gone keeps nothing open"
    );
    bench.end().await;
}
