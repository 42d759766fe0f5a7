//! 1.1: the process and its environment.

use serde_json::json;
use store_support::each_backend;

use crate::harness::{Lab, awake, dsn, migrate};
use crate::http::call;

/// Every variable of the contract that is a number.
const NUMBERS: [&str; 14] = [
    "OPS_PORT",
    "OPS_WINRM_READ_TIMEOUT",
    "OPS_WINRM_OPERATION_TIMEOUT",
    "OPS_TIMELINE_MAX_OPS",
    "OPS_TIMELINE_DEFAULT_LIMIT",
    "OPS_TIMELINE_PHASE_LOOKBACK",
    "OPS_POLL_INTERVAL",
    "OPS_RESERVATION_SCAN_INTERVAL",
    "OPS_RESERVATION_START_LEAD",
    "OPS_RESERVATION_END_DELAY",
    "OPS_RESERVATION_LOOKBACK",
    "OPS_RESERVATION_RETRY_COOLDOWN",
    "OPS_RESERVATION_MAX_BATCH",
    "OPS_DB_MAX_CONNECTIONS",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_1_a_number_that_is_none_stops_the_start_with_the_names_of_all_of_them() {
    let wrong: Vec<(&str, &str)> = NUMBERS.iter().map(|name| (*name, "soon")).collect();
    let lab = Lab::start(vec![]).await;
    let (status, said) = lab.run_with(crate::API, &wrong).ended().await;
    assert!(!status.success(), "{said}");
    for name in NUMBERS {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_1_a_missing_inventory_means_no_hosts_and_a_warning() {
    let lab = Lab::start(vec![]).await.with("OPS_CONFIG", "not-there.json");
    let mut process = lab.run(crate::API, &[]);
    process.says("not-there.json").await;
    let address = process.address().await;
    crate::harness::until("it is ready", async || {
        let answer = call(address, "GET", "/health", &[], "").await;
        (answer.status == 200).then(|| assert_eq!(answer.json()["hosts_loaded"], 0))
    })
    .await;
    process.terminate().await;
}

each_backend! {
    async fn s1_1_the_database_may_be_named_as_sqlalchemy_does(test) {
        migrate(test.database()).await;
        let written = dsn(&test).replacen("mysql://", "mysql+pymysql://", 1);
        let lab = Lab::start(vec![awake(1)]).await.with("MYSQL_DSN", written);
        let mut process = lab.run(crate::API, &[]);
        let address = process.address().await;
        crate::harness::until("it has its database", async || {
            let answer = call(address, "GET", "/health", &[], "").await;
            (answer.status == 200).then(|| assert_eq!(answer.json()["db"], true))
        })
        .await;
        process.terminate().await;
    }
}

each_backend! {
    async fn s1_1_the_allow_list_is_cut_at_commas_trimmed_and_compared_with_case(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test).with("OPS_ALLOWED_COMMANDS", " status , ,Energy,");
        let mut process = lab.run(crate::API, &[]);
        let address = process.address().await;
        for (command, allowed) in [("status", true), ("Energy", true), ("energy", false), ("power", false)] {
            let body = json!({"host": "nobody", "command": command}).to_string();
            let answer = call(address, "POST", "/api/winrm", &[], body).await;
            let words = if allowed { "host 'nobody' not found in config".to_owned() } else { format!("command '{command}' not allowed") };
            assert_eq!(answer.expect(if allowed { 404 } else { 400 })["error"], words);
        }
        process.terminate().await;
    }
}
