//! What an operator of the scheduler is told.

use serde_json::json;

use crate::SCHEDULER;
use crate::harness::{Lab, awake};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_checked_without_starting_anything() {
    // No secret is asked for: the scheduler listens nowhere.
    let lab = Lab::start(vec![awake(1)]).await.with("OPS_BIND", "0.0.0.0");
    let (ended, said) = lab.run(SCHEDULER, &["--check-config"]).ended().await;
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(said.contains("the configuration is good; hosts: 1"), "{said}");

    lab.write_catalog(|entries| entries[0]["mac"] = json!("zz"));
    for arguments in [&["--check-config"][..], &[]] {
        let (ended, said) = lab.run(SCHEDULER, arguments).ended().await;
        assert_eq!(ended.code(), Some(2), "{said}");
        assert!(said.contains("host \"lab-ws-01\", key \"mac\""), "{said}");
    }
    assert!(!lab.folder.path().join("data").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_its_version() {
    let lab = Lab::start(vec![]).await;
    let (ended, said) = lab.run(SCHEDULER, &["--version"]).ended().await;
    assert_eq!(
        (ended.code(), said.trim()),
        (Some(0), concat!("ops-scheduler ", env!("CARGO_PKG_VERSION")))
    );
}
