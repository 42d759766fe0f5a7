//! What an operator copies has to work as it is.

mod http;
mod metrics;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lab_model::Catalog;
use ops_runtime::Settings;

fn deploy(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `NAME=value` lines as systemd reads them.
fn sample_environment() -> BTreeMap<String, String> {
    let text = deploy("ops.sample.env");
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once('=').expect("NAME=value"));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_sample_environment_is_read_without_a_problem_and_its_secret_has_to_be_replaced() {
    let loaded = Settings::read(&sample_environment(), None).unwrap();
    let [warning] = &loaded.warnings[..] else {
        panic!("{:?}", loaded.warnings);
    };
    assert!(warning.starts_with("OPS_SECRET: is shorter than"), "{warning}");
    assert!(loaded.settings.poll.enabled && loaded.settings.api.secret.is_some());
}

#[test]
fn the_sample_catalog_goes_with_the_sample_environment() {
    let environment = sample_environment();
    let catalog = Catalog::parse(&deploy("hosts.sample.json"), &|name| {
        environment.get(name).cloned()
    })
    .unwrap();
    let words = catalog.hosts().iter().map(|host| host.winrm.transport.word());
    assert_eq!(
        words.collect::<Vec<_>>(),
        ["ntlm", "ntlm", "kerberos", "certificate"]
    );
    assert!(catalog.find("LAB-WS-01").unwrap().winrm.use_tls);
}

#[test]
fn each_unit_starts_a_program_of_ours_with_the_sample_environment() {
    for program in ["ops-api", "ops-scheduler"] {
        let unit = deploy(&format!("systemd/{program}.service"));
        assert!(unit.contains(&format!("ExecStart=/usr/bin/{program}\n")));
        assert!(unit.contains("EnvironmentFile=/etc/lab-ops/ops.env"));
        assert!(
            unit.contains("\nUser=lab-ops\n"),
            "both have to be able to open one SQLite file"
        );
    }
}
