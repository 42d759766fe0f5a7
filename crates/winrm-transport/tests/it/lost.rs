//! Answers that never come: what the caller learns, and that no command is sent twice.

use std::time::Duration;

use host_sim::{At, Fault, PowerState};
use tokio::time::timeout;
use winrm_transport::{Client, Effect, Error, LostBecause, Stage};

use crate::lab::{LIMIT, Lab, eventually, prepare, status};

#[tokio::test]
async fn a_lost_answer_to_command_is_found_out_by_its_id() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault_times(Fault::Reset(At::CommandAnswer), 1);
    let output = client.run(&status(), LIMIT).await.unwrap();
    assert_eq!((output.exit_code, output.truncated), (Some(0), false));
    assert_eq!((lab.host().counts().commands, client.stats().connections), (1, 2));
    lab.end(client).await;
}

#[tokio::test]
async fn a_command_lost_on_the_way_is_never_sent_again() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault_times(Fault::Reset(At::Command), 1);
    let error = client.run(&prepare(), LIMIT).await.unwrap_err();
    let Error::ConnectionLost {
        during: Stage::Command,
        source: LostBecause::NotFoundAgain,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (error.effect(), lab.host().counts().commands),
        (Effect::Unknown, 0)
    );
    lab.end(client).await;
}

#[tokio::test]
async fn an_operation_timeout_in_answer_to_command_is_not_taken_for_a_refusal() {
    let (lab, client) = Lab::sealed().await;
    lab.host()
        .set_fault_times(Fault::FaultCode(2_150_858_793, At::Command), 1);
    let error = client.run(&prepare(), LIMIT).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    assert_eq!(lab.host().counts().commands, 0);
    lab.end(client).await;
}

#[tokio::test]
async fn a_connection_lost_while_waiting_is_made_anew_and_said_so() {
    let lab = Lab::start(|spec| spec.station.durations.prepare = Duration::from_millis(300)).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host().set_fault_times(Fault::Reset(At::Receive), 1);
    let output = client.run(&prepare(), LIMIT).await.unwrap();
    assert_eq!((output.exit_code, output.truncated), (Some(0), true));
    assert_eq!((lab.host().counts().commands, client.stats().connections), (1, 2));
    lab.end(client).await;
}

#[tokio::test]
async fn a_lost_exit_code_is_not_made_up() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault_times(Fault::Reset(At::ReceiveAnswer), 1);
    let error = client.run(&status(), LIMIT).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    lab.end(client).await;
}

#[tokio::test]
async fn a_shell_that_vanished_is_replaced_for_a_command_that_did_not_start() {
    let (lab, client) = Lab::sealed().await;
    client.run(&status(), LIMIT).await.unwrap();
    lab.host().power_off();
    assert!(lab.host().wait_for(PowerState::Off, LIMIT).await);
    let error = client.run(&status(), LIMIT).await.unwrap_err();
    assert_eq!(
        (error.code(), error.effect()),
        ("connect", Effect::None),
        "{error:?}"
    );
    lab.host().power_on();
    assert!(lab.host().wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert_eq!(client.stats().shells_created, 2);
    lab.end(client).await;
}

#[tokio::test]
async fn a_host_that_never_finds_a_shell_is_given_two_and_no_more() {
    const NOT_FOUND: u32 = 2_150_858_843;
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault(Fault::FaultCode(NOT_FOUND, At::Command));
    let error = client.run(&status(), LIMIT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::ShellGone {
                during: Stage::Command
            }
        ),
        "{error:?}"
    );
    let counts = lab.host().counts();
    assert_eq!((counts.shells_created, counts.commands), (2, 0));
    // It says that it has none of them, so nothing is deleted: the shells here are the simulator's.
    lab.farm.stop().await;
}

#[tokio::test]
async fn a_host_that_goes_down_under_a_command_leaves_its_effect_unknown() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault(Fault::CommandHangs {
        command: "prepare-session".into(),
    });
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.run(&prepare(), LIMIT).await }
    });
    assert!(eventually(|| lab.host().counts().commands == 1).await);
    lab.host().power_off();
    let error = timeout(LIMIT, call).await.unwrap().unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::ConnectionLost {
                during: Stage::Receive,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.effect(), Effect::Unknown);
    lab.farm.stop().await;
}
