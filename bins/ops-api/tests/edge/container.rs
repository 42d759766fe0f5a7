//! The container files, as far as they can be judged without an engine: each line of the Dockerfile, and the compose file
//! read as YAML by Python where that is to be had.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::{DEPLOY, python};

fn container(file: &str) -> String {
    std::fs::read_to_string(Path::new(DEPLOY).join("container").join(file)).unwrap()
}

/// The instructions, continued lines put together.
fn instructions() -> Vec<(String, String)> {
    let text = container("Dockerfile").replace("\\\n", " ");
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line}")));
    pairs
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// The compose file; `None` without a YAML reader.
fn compose() -> Option<Value> {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(json.load(sys.stdin)), sys.stdout)";
    python::run(script, &Value::String(container("compose.yaml")))
}

#[test]
fn every_instruction_is_one_and_every_stage_that_is_copied_from_exists() {
    const WORDS: [&str; 11] = [
        "ARG",
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "EXPOSE",
        "ENTRYPOINT",
        "LABEL",
        "VOLUME",
    ];
    let mut stages = BTreeSet::new();
    for (word, rest) in instructions() {
        assert!(WORDS.contains(&word.as_str()), "{word} {rest}");
        let parts: Vec<&str> = rest.split_whitespace().collect();
        if word == "FROM" {
            assert!(!parts[0].ends_with(":latest"), "{rest}");
            let at = parts.iter().position(|part| *part == "AS").unwrap();
            stages.insert(parts[at + 1].to_owned());
        }
        if let Some(stage) = parts.iter().find_map(|part| part.strip_prefix("--from=")) {
            assert!(stages.contains(stage), "{rest}");
        }
        if word == "ENTRYPOINT" {
            let parsed: Vec<String> = serde_json::from_str(&rest).unwrap();
            assert!(parsed[0].starts_with('/'), "there is no shell to find it: {rest}");
        }
    }
}

#[test]
fn the_last_stage_runs_as_nobody_in_particular_and_builds_nothing() {
    let all = instructions();
    let stages: Vec<usize> = (0..all.len()).filter(|at| all[*at].0 == "FROM").collect();
    for program in ["ops-api", "ops-scheduler"] {
        let start = stages
            .iter()
            .copied()
            .find(|at| all[*at].1.ends_with(&format!("AS {program}")))
            .unwrap_or_else(|| panic!("a stage {program}"));
        let end = stages.iter().copied().find(|at| *at > start).unwrap_or(all.len());
        let stage = &all[start..end];
        let user = stage.iter().find(|(word, _)| word == "USER").unwrap();
        assert_eq!(user.1, "65532:65532", "{program}");
        assert!(stage.iter().all(|(word, _)| word != "RUN"), "{program}");
        assert!(
            stage
                .iter()
                .any(|(word, rest)| word == "ENTRYPOINT" && rest.contains(program))
        );
    }
}

#[test]
fn only_the_proxy_is_published_and_everything_is_read_only() {
    let Some(compose) = compose() else { return };
    let services = compose["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(
        BTreeSet::from_iter(names),
        BTreeSet::from(["mariadb", "openresty", "ops-api", "ops-scheduler"])
    );
    let secrets = compose["secrets"].as_object().unwrap();
    let networks = compose["networks"].as_object().unwrap();
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(
            service["security_opt"],
            serde_json::json!(["no-new-privileges:true"]),
            "{name}"
        );
        assert_eq!(service.get("ports").is_some(), name == "openresty", "{name}");
        assert!(
            service.get("privileged").is_none() && service.get("network_mode").is_none(),
            "{name}"
        );
        assert!(
            service["mem_limit"].is_string() && service["pids_limit"].is_u64(),
            "{name}"
        );
        for secret in service["secrets"].as_array().into_iter().flatten() {
            let known = secret.as_str().or_else(|| secret["source"].as_str()).unwrap();
            assert!(secrets.contains_key(known), "{name}: {known}");
        }
        for network in service["networks"].as_array().into_iter().flatten() {
            assert!(
                networks.contains_key(network.as_str().unwrap()),
                "{name}: {network}"
            );
        }
    }
    assert_eq!(
        networks["database"]["internal"], true,
        "the database talks to nobody outside"
    );
    for (name, secret) in secrets {
        assert!(secret["file"].is_string(), "{name}");
    }
}

#[test]
fn the_variables_of_the_services_are_known_and_hold_no_secret() {
    let Some(compose) = compose() else { return };
    for name in ["ops-api", "ops-scheduler"] {
        let environment = compose["services"][name]["environment"].as_object().unwrap();
        for (variable, value) in environment {
            assert!(ops_runtime::settings::is_known(variable), "{name}: {variable}");
            let secret = ["SECRET", "PASSWORD", "TOKEN", "KEY", "DSN"]
                .iter()
                .any(|word| variable.contains(word));
            let file = variable.ends_with("_FILE");
            assert!(!secret || file, "{name}: {variable} stands in clear text");
            if file {
                assert!(
                    value.as_str().unwrap().starts_with("/run/secrets/"),
                    "{name}: {variable}"
                );
            }
        }
    }
}
