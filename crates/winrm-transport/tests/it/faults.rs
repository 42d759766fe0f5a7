//! A host that misbehaves: what the caller learns, and what is left behind.

use std::time::Duration;

use host_sim::{At, Fault};
use tokio::task::JoinSet;
use tokio::time::Instant;
use winrm_transport::{Account, Client, Effect, Error, Settings, Stage};

use crate::lab::{LIMIT, Lab, eventually, prepare, status};

/// A deadline that is always missed.
const SHORT: Duration = Duration::from_millis(500);
/// A deadline that leaves time to come to where the host hangs, on a machine with much else to do. How soon after it the
/// caller is told is judged by a clock that stands still meanwhile, below.
const ENOUGH: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_command_that_hangs_is_terminated_at_the_deadline() {
    tokio::join!(is_terminated(true), is_terminated(false));

    async fn is_terminated(sealed: bool) {
        let lab = Lab::start(|_| ()).await;
        let settings = if sealed { lab.http() } else { lab.https() };
        let client = Client::new(settings).unwrap();
        lab.host().set_fault(Fault::CommandHangs {
            command: "prepare-session".into(),
        });
        let error = client.run(&prepare(), ENOUGH).await.unwrap_err();
        let Error::DeadlineExpired {
            during,
            partial: Some(partial),
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            (*during, error.effect(), partial.exit_code),
            (Stage::Receive, Effect::Unknown, None)
        );
        assert!(lab.is_tidy().await, "the shell goes without another call");
        lab.host().clear_faults();
        assert_eq!(client.run(&prepare(), LIMIT).await.unwrap().exit_code, Some(0));
        lab.end(client).await;
    }
}

#[tokio::test]
async fn dropping_the_call_terminates_the_command() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault(Fault::CommandHangs {
        command: "prepare-session".into(),
    });
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.run(&prepare(), LIMIT).await }
    });
    assert!(eventually(|| lab.host().counts().commands == 1).await);
    call.abort();
    assert!(lab.is_tidy().await);
    lab.host().clear_faults();
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn the_deadline_holds_wherever_the_host_hangs() {
    let places = [
        (At::Connect, Stage::Handshake, Effect::None),
        (At::Negotiate, Stage::Handshake, Effect::None),
        (At::Authenticate, Stage::Handshake, Effect::None),
        (At::Create, Stage::Create, Effect::None),
        (At::Command, Stage::Command, Effect::Unknown),
        (At::CommandAnswer, Stage::Command, Effect::Unknown),
        (At::Receive, Stage::Receive, Effect::Unknown),
        (At::ReceiveAnswer, Stage::Receive, Effect::Unknown),
        (At::MidBody, Stage::Create, Effect::None),
    ];
    // All of them at once, each with a host of its own: most of the time goes by waiting.
    let mut checks = JoinSet::new();
    for (at, during, effect) in places {
        checks.spawn(holds(at, during, effect));
    }
    while let Some(done) = checks.join_next().await {
        done.unwrap();
    }

    async fn holds(at: At, during: Stage, effect: Effect) {
        let (lab, client) = Lab::sealed().await;
        lab.host().set_fault_times(Fault::Hang(at), 1);
        let error = client.run(&status(), ENOUGH).await.unwrap_err();
        let Error::DeadlineExpired { during: found, .. } = error else {
            panic!("{at:?}: {error:?}")
        };
        assert_eq!((found, error.effect()), (during, effect), "{at:?}");
        // The client is good again at once, and whatever was begun is cleaned up.
        lab.host().clear_faults();
        assert_eq!(
            client.run(&status(), LIMIT).await.unwrap().exit_code,
            Some(0),
            "{at:?}"
        );
        client.close(LIMIT).await;
        assert!(lab.is_tidy().await, "{at:?}");
        lab.farm.stop().await;
    }
}

/// The clock stands still while anybody works, and jumps to the next timer when all wait: what is measured are our
/// waits, not the machine.
#[tokio::test(start_paused = true)]
async fn the_caller_is_told_within_a_quarter_of_a_second_of_the_deadline() {
    for at in [
        At::Connect,
        At::Authenticate,
        At::Create,
        At::CommandAnswer,
        At::Receive,
        At::MidBody,
    ] {
        let (lab, client) = Lab::sealed().await;
        lab.host().set_fault(Fault::Hang(at));
        let begun = Instant::now();
        let error = client.run(&status(), SHORT).await.unwrap_err();
        let late = begun.elapsed().saturating_sub(SHORT);
        assert!(
            matches!(error, Error::DeadlineExpired { .. }),
            "{at:?}: {error:?}"
        );
        assert!(late <= Duration::from_millis(250), "{at:?}: {late:?} late");
        lab.farm.stop().await;
    }
}

#[tokio::test]
async fn a_signal_that_is_never_answered_costs_the_caller_nothing() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault_times(Fault::Hang(At::Signal), 1);
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn the_deadline_holds_against_a_host_that_drips() {
    let (lab, client) = Lab::sealed().await;
    lab.host().set_fault(Fault::Drip {
        every: Duration::from_millis(20),
    });
    let error = client.run(&status(), SHORT).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExpired { .. }), "{error:?}");
    lab.end(client).await;
}

#[tokio::test]
async fn a_wrong_password_is_tried_exactly_once() {
    for https in [false, true] {
        let lab = Lab::start(|_| ()).await;
        let account = Account::parse(&lab.host().spec().user, "wrong".to_owned().into()).unwrap();
        let settings = Settings {
            account,
            ..if https { lab.https() } else { lab.http() }
        };
        let client = Client::new(settings).unwrap();
        let error = client.run(&status(), LIMIT).await.unwrap_err();
        let Error::Unauthorized {
            ref offered, step, ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((step, offered.len()), ("third message", 3));
        // Nor is it tried again in the background: the client is free at once, and has opened nothing more.
        client.close(LIMIT).await;
        assert_eq!(
            (
                lab.host().counts().refused_credentials,
                client.stats().connections
            ),
            (1, 1)
        );
        lab.farm.stop().await;
    }
}

#[tokio::test]
async fn refusals_of_the_host_are_told_apart() {
    for (fault, code, number) in [
        (Fault::AccessDenied, "access_denied", Some(5)),
        (
            Fault::FaultCode(2_150_859_173, At::Create),
            "quota",
            Some(2_150_859_173),
        ),
        (
            Fault::FaultCode(2_150_859_174, At::Command),
            "quota",
            Some(2_150_859_174),
        ),
        (
            Fault::FaultCode(2_147_942_402, At::Command),
            "fault",
            Some(2_147_942_402),
        ),
        (
            Fault::Http503 { retry_after: Some(3) },
            "service_unavailable",
            None,
        ),
        (Fault::MalformedXml, "protocol", None),
        (Fault::HugeXml(3 * 1024 * 1024), "protocol", None),
        (Fault::Reset(At::Connect), "connection_lost", None),
    ] {
        let (lab, client) = Lab::sealed().await;
        lab.host().set_fault(fault.clone());
        let error = client.run(&status(), LIMIT).await.unwrap_err();
        assert_eq!(
            (error.code(), error.fault_code()),
            (code, number),
            "{fault:?}: {error:?}"
        );
        assert_eq!(error.effect(), Effect::None, "{fault:?}");
        assert_eq!(lab.host().counts().commands, 0);
        lab.host().clear_faults();
        assert_eq!(
            client.run(&status(), LIMIT).await.unwrap().exit_code,
            Some(0),
            "{fault:?}"
        );
        lab.farm.stop().await;
    }
}
