//! Orphans and quotas: what is ours goes, what is not stays, and a host that is full is left alone.

use std::time::Duration;

use host_sim::{At, Fault};
use winrm_transport::{Client, Settings};

use crate::lab::{LIMIT, Lab, status};

/// Leaves so many shells behind, as a program that died does.
async fn orphans(lab: &Lab, count: usize, shell_name: &str) {
    let settings = Settings {
        shell_name: shell_name.to_owned(),
        ..lab.http()
    };
    let client = Client::new(settings).unwrap();
    for _ in 0..count {
        client.run(&status(), LIMIT).await.unwrap();
        client.disconnect();
    }
}

fn impatient(lab: &Lab) -> Settings {
    let mut settings = lab.http();
    settings.timeouts.orphan = Duration::ZERO;
    settings
}

#[tokio::test]
async fn a_sweep_deletes_orphans_of_our_name_and_nothing_else() {
    let lab = Lab::start(|_| ()).await;
    orphans(&lab, 3, "winrm-transport").await;
    orphans(&lab, 2, "somebody else").await;
    let client = Client::new(impatient(&lab)).unwrap();
    client.run(&status(), LIMIT).await.unwrap();
    assert_eq!(lab.host().counts().open_shells, 6);
    assert_eq!(client.sweep(LIMIT).await.unwrap(), 3);
    assert_eq!(client.sweep(LIMIT).await.unwrap(), 0);
    // Its own shell is still in use.
    client.run(&status(), LIMIT).await.unwrap();
    assert_eq!(client.stats().shells_created, 1);
    assert_eq!(lab.host().counts().open_shells, 3);
    let others = Settings {
        shell_name: "somebody else".into(),
        ..impatient(&lab)
    };
    let other = Client::new(others).unwrap();
    assert_eq!(other.sweep(LIMIT).await.unwrap(), 2);
    lab.end(client).await;
}

#[tokio::test]
async fn a_shell_used_a_moment_ago_is_nobodys_orphan() {
    let lab = Lab::start(|_| ()).await;
    let busy = Client::new(lab.http()).unwrap();
    busy.run(&status(), LIMIT).await.unwrap();
    let client = Client::new(lab.http()).unwrap();
    assert_eq!(client.sweep(LIMIT).await.unwrap(), 0);
    busy.run(&status(), LIMIT).await.unwrap();
    assert_eq!(busy.stats().shells_created, 1);
    busy.close(LIMIT).await;
    lab.end(client).await;
}

#[tokio::test]
async fn a_full_quota_is_freed_of_our_orphans_and_the_command_runs() {
    let lab = Lab::start(|spec| spec.quotas.max_shells = 3).await;
    orphans(&lab, 3, "winrm-transport").await;
    let client = Client::new(impatient(&lab)).unwrap();
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert_eq!(lab.host().counts().open_shells, 1);
    lab.end(client).await;
}

#[tokio::test]
async fn quota_faults_lead_to_one_recycle_and_no_storm() {
    for (code, at, first, later) in [
        // Handshake, Create, Enumerate, Create; then only Create.
        (2_150_859_173, At::Create, 2 + 3, 1),
        // Handshake, Create, Command, Delete, Enumerate, Create, Command; then only Command.
        (2_150_859_174, At::Command, 2 + 6, 1),
    ] {
        let (lab, client) = Lab::sealed().await;
        lab.host().set_fault(Fault::FaultCode(code, at));
        let error = client.run(&status(), LIMIT).await.unwrap_err();
        assert_eq!((error.code(), error.fault_code()), ("quota", Some(code)));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
        assert_eq!(lab.host().counts().requests, first, "{at:?}");
        for call in 1..=10 {
            let error = client.run(&status(), LIMIT).await.unwrap_err();
            assert_eq!(error.code(), "quota");
            assert_eq!(lab.host().counts().requests, first + call * later, "{at:?}");
        }
        assert_eq!(lab.host().counts().commands, 0);
        lab.end(client).await;
    }
}

#[tokio::test]
async fn every_command_is_signalled_so_that_no_operation_piles_up() {
    let lab = Lab::start(|spec| spec.quotas.max_operations = 2).await;
    let client = Client::new(lab.http()).unwrap();
    for _ in 0..20 {
        assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    }
    assert_eq!(client.stats().shells_created, 1);
    lab.end(client).await;
}
