use super::*;

fn host() -> HostName {
    HostName::parse("lab-ws-01").unwrap()
}

#[test]
fn a_command_without_an_exit_code_may_have_taken_effect() {
    let error = StationError::no_exit_code(&host());
    assert_eq!((error.code(), error.effect()), ("no_exit_code", Effect::Unknown));
    assert!(error.is_host_problem());
}

#[test]
fn a_fault_keeps_the_effect_of_its_stage() {
    let fault = |during| Error::Fault {
        code: 5,
        subcode: None,
        message: "no".into(),
        during,
    };
    let at = |stage| StationError::from_transport(&host(), fault(stage)).effect();
    assert_eq!(at(Stage::Command), Effect::None);
    assert_eq!(at(Stage::Receive), Effect::Unknown);
}

#[test]
fn the_sentence_names_the_host_and_every_cause() {
    let error = StationError::from_transport(
        &host(),
        Error::AddressNotAllowed {
            address: ([8, 8, 8, 8], 5985).into(),
        },
    );
    assert_eq!(
        error.sentence(),
        "host lab-ws-01: refused: its address 8.8.8.8 is not in an allowed network"
    );
    assert_eq!(error.code(), "address_not_allowed");
    assert!(!error.is_host_problem());
}

#[test]
fn refused_credentials_are_never_tried_again_by_the_ladder() {
    let refused = Error::Unauthorized {
        offered: vec!["Negotiate".into()],
        used: "Negotiate",
        step: "type 3",
    };
    assert!(!StationError::from_transport(&host(), refused).may_pass());
    let busy = Error::ServiceUnavailable {
        retry_after: None,
        during: Stage::Create,
    };
    assert!(StationError::from_transport(&host(), busy).may_pass());
}
