//! What users of other clients suffer from, as far as no other file has it; and the table of all of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use host_sim::{At, Farm, FarmOptions, Fault, HostSpec, addresses};
use winrm_transport::{Account, Client, Command, Endpoint, Settings};

use crate::lab::{LIMIT, Lab, status};

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of all test functions of this crate.
fn tests_of_the_crate() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_below(&root.join("src"), &mut files);
    files_below(&root.join("tests"), &mut files);
    let mut names = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
                names.extend(rest.split('(').next().map(str::to_owned));
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn every_row_of_the_table_of_pains_names_tests_that_exist() {
    let table = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pains.md")).unwrap();
    let known = tests_of_the_crate();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    assert_eq!(rows.len(), 35);
    for row in rows {
        let column = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let names: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(
                known.iter().any(|test| test == name),
                "{name} does not exist: {row}"
            );
        }
    }
}

#[tokio::test]
async fn a_connection_of_one_account_is_never_used_by_another() {
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    let stranger = Settings {
        account: Account::parse("stranger", "guess".to_owned().into()).unwrap(),
        ..lab.http()
    };
    let error = Client::new(stranger)
        .unwrap()
        .run(&status(), LIMIT)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unauthorized");
    client.run(&status(), LIMIT).await.unwrap();
    assert_eq!(client.stats().connections, 1);
    lab.end(client).await;
}

#[tokio::test]
async fn a_clean_up_that_fails_never_replaces_the_result() {
    const NOT_FOUND: u32 = 2_150_858_843;
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault(Fault::FaultCode(NOT_FOUND, At::Signal));
    lab.host().set_fault(Fault::FaultCode(NOT_FOUND, At::Delete));
    for _ in 0..2 {
        assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    }
    assert_eq!(client.stats().shells_created, 1);
    lab.end(client).await;
}

#[tokio::test]
async fn text_beyond_ascii_comes_back_as_it_is() {
    let text = "\u{dc}bung \u{65e5}\u{672c} \u{1f600} \u{2019}";
    let lab = Lab::start(|_| ()).await;
    for settings in [lab.http(), lab.https()] {
        let client = Client::new(settings).unwrap();
        let command = Command::new("cmd")
            .args(["/d", "/c", "echo"])
            .args(text.split(' '));
        let output = client.run(&command, LIMIT).await.unwrap();
        assert_eq!(output.stdout_text().trim_end(), text);
        client.close(LIMIT).await;
    }
    assert!(lab.is_tidy().await);
    lab.farm.stop().await;
}

#[tokio::test]
async fn hosts_that_sleep_do_not_hold_up_the_others() {
    const HOSTS: u8 = 40;
    let specs = (0..HOSTS).map(|n| {
        let address = addresses::block(usize::from(HOSTS))[usize::from(n)];
        HostSpec::new(format!("lab-{n}"), address, [2, 0, 0, 0, 1, n]).awake()
    });
    let farm = Farm::start(specs.collect(), FarmOptions::default())
        .await
        .unwrap();
    let sleeps = |n: usize| n.is_multiple_of(4);
    let mut calls = Vec::new();
    for (n, host) in farm.hosts().iter().enumerate() {
        if sleeps(n) {
            host.set_fault(Fault::Hang(At::Connect));
        }
        let account = Account::parse(&host.spec().user, host.spec().password.clone().into()).unwrap();
        let endpoint = Endpoint::http(host.address().to_string(), host.http_port());
        let client = Client::new(Settings::new(endpoint, account)).unwrap();
        let limit = if sleeps(n) {
            Duration::from_millis(300)
        } else {
            LIMIT
        };
        calls.push(tokio::spawn(async move {
            let result = client.run(&status(), limit).await.map(|output| output.exit_code);
            client.close(LIMIT).await;
            result
        }));
    }
    for (n, call) in calls.into_iter().enumerate() {
        match call.await.unwrap() {
            Ok(code) => assert_eq!((code, sleeps(n)), (Some(0), false)),
            Err(error) => assert_eq!((error.code(), sleeps(n)), ("deadline_expired", true)),
        }
    }
    assert!(farm.hosts().iter().all(|host| host.counts().open_shells == 0));
    farm.stop().await;
}
