//! A host that misbehaves: what the caller learns, and what is left behind.

use std::time::Duration;

use host_sim::{At, Fault, PowerState, TlsIdentity};
use tokio::time::{Instant, timeout};
use winrm_transport::{Account, Client, Effect, Error, LostBecause, Settings, Stage, TlsError, Trust};

use crate::lab::{LIMIT, Lab, eventually, prepare, status};

const SHORT: Duration = Duration::from_millis(500);
/// Generous: what matters is that nobody waits for the host's own timeouts.
const PROMPT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_command_that_hangs_is_terminated_at_the_deadline() {
    for sealed in [true, false] {
        let lab = Lab::start(|_| ()).await;
        let settings = if sealed { lab.http() } else { lab.https() };
        let client = Client::new(settings).unwrap();
        lab.host().set_fault(Fault::CommandHangs {
            command: "prepare-session".into(),
        });
        let begun = Instant::now();
        let error = client.run(&prepare(), SHORT).await.unwrap_err();
        assert!(begun.elapsed() < SHORT + PROMPT);
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
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
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
    for (at, during, effect) in [
        (At::Connect, Stage::Handshake, Effect::None),
        (At::Negotiate, Stage::Handshake, Effect::None),
        (At::Authenticate, Stage::Handshake, Effect::None),
        (At::Create, Stage::Create, Effect::None),
        (At::Command, Stage::Command, Effect::Unknown),
        (At::CommandAnswer, Stage::Command, Effect::Unknown),
        (At::Receive, Stage::Receive, Effect::Unknown),
        (At::ReceiveAnswer, Stage::Receive, Effect::Unknown),
        (At::MidBody, Stage::Create, Effect::None),
    ] {
        let lab = Lab::start(|_| ()).await;
        let client = Client::new(lab.http()).unwrap();
        lab.host().set_fault_times(Fault::Hang(at), 1);
        let begun = Instant::now();
        let error = client.run(&status(), SHORT).await.unwrap_err();
        assert!(begun.elapsed() < SHORT + PROMPT, "{at:?}");
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
        // Of a Create whose answer is cut in the middle the host's choice of id is not known.
        let left = u64::from(at == At::MidBody);
        assert!(
            eventually(|| lab.host().counts().open_shells <= left).await,
            "{at:?}"
        );
        lab.farm.stop().await;
    }
}

#[tokio::test]
async fn a_hanging_tls_handshake_ends_at_the_deadline() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.https()).unwrap();
    lab.host().set_fault_times(Fault::Hang(At::TlsHandshake), 1);
    let error = client.run(&status(), SHORT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DeadlineExpired {
                during: Stage::Tls,
                ..
            }
        ),
        "{error:?}"
    );
    lab.end(client).await;
}

#[tokio::test]
async fn a_signal_that_is_never_answered_costs_the_caller_nothing() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host().set_fault_times(Fault::Hang(At::Signal), 1);
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn the_deadline_holds_against_a_host_that_drips() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host().set_fault(Fault::Drip {
        every: Duration::from_millis(20),
    });
    let error = client.run(&status(), SHORT).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExpired { .. }), "{error:?}");
    lab.end(client).await;
}

#[tokio::test]
async fn a_lost_answer_to_command_is_found_out_by_its_id() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host().set_fault_times(Fault::Reset(At::CommandAnswer), 1);
    let output = client.run(&status(), LIMIT).await.unwrap();
    assert_eq!((output.exit_code, output.truncated), (Some(0), false));
    assert_eq!((lab.host().counts().commands, client.stats().connections), (1, 2));
    lab.end(client).await;
}

#[tokio::test]
async fn a_command_lost_on_the_way_is_never_sent_again() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
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
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host().set_fault_times(Fault::Reset(At::ReceiveAnswer), 1);
    let error = client.run(&status(), LIMIT).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    lab.end(client).await;
}

#[tokio::test]
async fn a_shell_that_vanished_is_replaced_for_a_command_that_did_not_start() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
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
async fn a_host_that_goes_down_under_a_command_leaves_its_effect_unknown() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
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
        let lab = Lab::start(|_| ()).await;
        let client = Client::new(lab.http()).unwrap();
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

#[tokio::test]
async fn an_operation_timeout_in_answer_to_command_is_not_taken_for_a_refusal() {
    let lab = Lab::start(|_| ()).await;
    let client = Client::new(lab.http()).unwrap();
    lab.host()
        .set_fault_times(Fault::FaultCode(2_150_858_793, At::Command), 1);
    let error = client.run(&prepare(), LIMIT).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    assert_eq!(lab.host().counts().commands, 0);
    lab.end(client).await;
}

async fn tls_fails(lab: &Lab, settings: Settings) -> TlsError {
    let client = Client::new(settings).unwrap();
    let error = client.run(&status(), LIMIT).await.unwrap_err();
    let counts = lab.host().counts();
    assert_eq!(
        (error.effect(), counts.requests, counts.handshakes),
        (Effect::None, 0, 0),
        "nothing was sent"
    );
    match error {
        Error::Tls { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn certificates_are_refused_for_the_reason_that_holds() {
    let lab = Lab::start(|_| ()).await;
    let by_address = Settings {
        server_name: None,
        ..lab.https()
    };
    assert!(matches!(
        tls_fails(&lab, by_address).await,
        TlsError::WrongName { .. }
    ));
    let other = Settings {
        server_name: Some("other-host".into()),
        ..lab.https()
    };
    assert!(matches!(tls_fails(&lab, other).await, TlsError::WrongName { name } if name == "other-host"));
    let pin = lab.host().certificate_sha256();
    let pinned = Settings {
        trust: Trust::PinnedSha256([7; 32]),
        ..lab.https()
    };
    assert!(matches!(tls_fails(&lab, pinned).await, TlsError::PinMismatch { found } if found == pin));
    lab.host().set_fault(Fault::WrongCertificate);
    assert!(matches!(
        tls_fails(&lab, lab.https()).await,
        TlsError::UnknownIssuer
    ));
    let pinned = Settings {
        trust: Trust::PinnedSha256(pin),
        ..lab.https()
    };
    assert!(matches!(
        tls_fails(&lab, pinned).await,
        TlsError::PinMismatch { .. }
    ));
    lab.farm.stop().await;

    let lab = Lab::start(|spec| spec.tls = TlsIdentity::Expired).await;
    assert!(matches!(tls_fails(&lab, lab.https()).await, TlsError::Expired));
    lab.farm.stop().await;
}
