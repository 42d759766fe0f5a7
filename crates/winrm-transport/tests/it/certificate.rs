//! A client certificate instead of a password.

use host_sim::{CbtLevel, HostSpec};
use winrm_transport::{AuthMethod, Client, ClientCertificate, Error, Settings, SettingsError};

use crate::lab::{LIMIT, Lab, status};

fn certificate() -> ClientCertificate {
    let made = rcgen::generate_simple_self_signed(vec!["gateway@localhost".to_owned()]).unwrap();
    ClientCertificate::from_pem(&made.cert.pem(), &made.signing_key.serialize_pem().into()).unwrap()
}

fn by_certificate(lab: &Lab, certificate: &ClientCertificate) -> Settings {
    let https = lab.https();
    Settings {
        trust: https.trust,
        server_name: https.server_name,
        timeouts: https.timeouts,
        ..Settings::with_certificate(https.endpoint, certificate.clone())
    }
}

async fn lab_that_maps(certificate: &ClientCertificate) -> Lab {
    let mapped = vec![certificate.sha256()];
    Lab::start(|spec: &mut HostSpec| (spec.client_certificates, spec.cbt) = (mapped, CbtLevel::Strict)).await
}

#[tokio::test]
async fn a_mapped_certificate_needs_no_password() {
    let ours = certificate();
    let lab = lab_that_maps(&ours).await;
    let client = Client::new(by_certificate(&lab, &ours)).unwrap();
    for _ in 0..2 {
        assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    }
    assert_eq!((client.stats().connections, client.stats().handshakes), (1, 0));
    lab.end(client).await;
}

#[tokio::test]
async fn a_certificate_that_is_mapped_to_nobody_is_refused_once() {
    let lab = lab_that_maps(&certificate()).await;
    let client = Client::new(by_certificate(&lab, &certificate())).unwrap();
    let error = client.run(&status(), LIMIT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unauthorized {
                used: "client certificate",
                ..
            }
        ),
        "{error:?}"
    );
    client.close(LIMIT).await;
    assert_eq!(lab.host().counts().refused_credentials, 1);
    // Others still come in by password, with a certificate asked for and none shown.
    let client = Client::new(lab.https()).unwrap();
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    lab.end(client).await;
}

#[tokio::test]
async fn a_certificate_is_never_an_answer_over_plain_http() {
    let ours = certificate();
    let lab = lab_that_maps(&ours).await;
    let plain = Settings::with_certificate(lab.http().endpoint, ours);
    let refused = Client::new(plain).unwrap_err();
    assert!(
        matches!(refused, SettingsError::CertificateUnusable { missing: false }),
        "{refused:?}"
    );
    let without = Settings {
        auth: AuthMethod::Certificate,
        ..lab.https()
    };
    let refused = Client::new(without).unwrap_err();
    assert!(
        matches!(refused, SettingsError::CertificateUnusable { missing: true }),
        "{refused:?}"
    );
    lab.farm.stop().await;
}
