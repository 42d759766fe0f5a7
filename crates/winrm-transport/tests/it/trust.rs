//! Hosts that are not who they should be: nothing is sent to them.

use std::time::Duration;

use host_sim::{At, Fault, TlsIdentity};
use winrm_transport::{Client, Effect, Error, Settings, Stage, TlsError, Trust};

use crate::lab::{LIMIT, Lab, status};

const SHORT: Duration = Duration::from_secs(3);

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

#[tokio::test]
async fn a_pin_that_differs_in_any_byte_is_another_pin() {
    let lab = Lab::start(|_| ()).await;
    let pin = lab.host().certificate_sha256();
    for at in 0..pin.len() {
        let mut other = pin;
        other[at] ^= 1;
        let pinned = Settings {
            trust: Trust::PinnedSha256(other),
            ..lab.https()
        };
        assert!(
            matches!(tls_fails(&lab, pinned).await, TlsError::PinMismatch { found } if found == pin),
            "byte {at}"
        );
    }
    let pinned = Settings {
        trust: Trust::PinnedSha256(pin),
        ..lab.https()
    };
    let client = Client::new(pinned).unwrap();
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}
