//! What is left on the host when the answer to Create is lost: nothing, because the id of the shell was our choice.

use std::time::Duration;

use host_sim::{At, Fault};
use tokio::task::JoinSet;
use tokio::time::advance;
use winrm_transport::{Client, Command, Effect};

use crate::lab::{LIMIT, Lab, eventually, prepare, status};

/// Long enough for a handshake beside seven others on a machine with much else to do.
const SHORT: Duration = Duration::from_secs(8);

/// Every way to lose the answer to Create, with whether the host has made a shell by then.
fn losses() -> Vec<(Fault, bool)> {
    vec![
        (Fault::Reset(At::Create), false),
        (Fault::Hang(At::Create), false),
        (Fault::Reset(At::CreateAnswer), true),
        (Fault::Hang(At::CreateAnswer), true),
        (Fault::Reset(At::MidBody), true),
        (Fault::Hang(At::MidBody), true),
        (Fault::MalformedXml, true),
        (Fault::HugeXml(3 * 1024 * 1024), true),
    ]
}

/// All of them at once, each with a host of its own: most of the time goes by waiting.
async fn with_each_loss<C: Future<Output = ()> + Send + 'static>(check: impl Fn(Fault, bool) -> C) {
    let mut checks: JoinSet<()> = losses()
        .into_iter()
        .map(|(fault, made)| check(fault, made))
        .collect();
    while let Some(done) = checks.join_next().await {
        done.unwrap();
    }
}

async fn is_deleted_on_closing(command: Command, fault: Fault, made: bool) {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault_times(fault.clone(), 1);
    let error = client.run(&command, SHORT).await.unwrap_err();
    assert_eq!(error.effect(), Effect::None, "{fault:?}: {error:?}");
    client.close(LIMIT).await;
    let counts = lab.host().counts();
    assert_eq!(
        (counts.shells_created, counts.open_shells, counts.commands),
        (u64::from(made), 0, 0),
        "{fault:?}"
    );
    lab.farm.stop().await;
}

#[tokio::test]
async fn a_shell_whose_creation_was_never_confirmed_is_deleted() {
    with_each_loss(|fault, made| is_deleted_on_closing(status(), fault, made)).await;
    let with_its_own = || status().current_dir(r"C:\Users");
    with_each_loss(|fault, made| is_deleted_on_closing(with_its_own(), fault, made)).await;
}

#[tokio::test]
async fn after_an_unconfirmed_creation_the_next_command_has_the_only_shell() {
    with_each_loss(|fault, made| async move {
        let (lab, client) = Lab::sealed().await;
        lab.host().set_fault_times(fault.clone(), 1);
        client.run(&status(), SHORT).await.unwrap_err();
        let output = client.run(&status(), LIMIT).await.unwrap();
        assert_eq!(output.exit_code, Some(0), "{fault:?}");
        let counts = lab.host().counts();
        assert_eq!(
            (counts.shells_created, counts.open_shells),
            (u64::from(made) + 1, 1),
            "{fault:?}"
        );
        lab.end(client).await;
    })
    .await;
}

#[tokio::test]
async fn a_dropped_call_deletes_the_shell_that_was_being_made() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault_times(Fault::Hang(At::CreateAnswer), 1);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.run(&status(), LIMIT).await }
    });
    assert!(eventually(|| lab.host().counts().shells_created == 1).await);
    call.abort();
    assert!(lab.is_tidy().await, "without another call");
    lab.end(client).await;
}

#[tokio::test]
async fn a_command_with_a_shell_of_its_own_that_is_cut_short_leaves_neither_shell() {
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    lab.host().set_fault(Fault::CommandHangs {
        command: "prepare-session".into(),
    });
    let error = client
        .run(&prepare().current_dir(r"C:\Users"), SHORT)
        .await
        .unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    assert_eq!(lab.host().counts().shells_created, 2);
    assert!(lab.is_tidy().await, "without another call");
    lab.end(client).await;
}

#[tokio::test]
async fn a_host_that_chooses_the_ids_of_shells_itself_is_followed() {
    let lab = Lab::start(|spec| spec.takes_shell_ids = false).await;
    let client = Client::new(lab.http()).unwrap();
    for _ in 0..2 {
        assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    }
    assert_eq!(lab.host().counts().shells_created, 1);
    lab.end(client).await;

    // What nobody knows the id of, nobody can delete; it is left to the sweep and to the idle timeout we asked for.
    let lab = Lab::start(|spec| spec.takes_shell_ids = false).await;
    let mut settings = lab.http();
    settings.timeouts.orphan = Duration::ZERO;
    let client = Client::new(settings).unwrap();
    lab.host().set_fault_times(Fault::Reset(At::CreateAnswer), 1);
    client.run(&status(), LIMIT).await.unwrap_err();
    assert_eq!(client.sweep(LIMIT).await.unwrap(), 1);
    lab.end(client).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_that_died_leaves_behind_is_gone_after_fifteen_minutes() {
    const MINUTE: Duration = Duration::from_secs(60);
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    // Waits for the end of what the call does in the background.
    assert_eq!(client.sweep(LIMIT).await.unwrap(), 0);
    client.disconnect();
    drop(client);
    advance(14 * MINUTE).await;
    assert_eq!(lab.host().counts().open_shells, 1, "nobody has deleted it");
    advance(2 * MINUTE).await;
    assert_eq!(lab.host().counts().open_shells, 0);
    lab.farm.stop().await;
}
