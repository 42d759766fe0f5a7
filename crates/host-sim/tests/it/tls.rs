//! Certificates: right, wrong, and of another machine.

use std::sync::Arc;

use host_sim::{At, Farm, Fault, HostSpec, SimHost, TlsIdentity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{LIMIT, plain, start};

/// Shakes hands and gives the hash of the certificate shown.
async fn shake(anchor: CertificateDer<'static>, host: &SimHost, name: &str) -> std::io::Result<[u8; 32]> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(anchor).map_err(std::io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect((host.address(), host.https_port().unwrap())).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let tls = tokio::time::timeout(LIMIT, connected).await??;
    Ok(Sha256::digest(&tls.get_ref().1.peer_certificates().unwrap()[0]).into())
}

fn ca(farm: &Farm) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(farm.ca_pem().as_bytes()).unwrap()
}

#[tokio::test]
async fn the_farms_authority_signs_the_hosts_name() {
    let (farm, host) = start(plain("lab-ws-01")).await;
    assert_eq!(
        shake(ca(&farm), &host, "lab-ws-01").await.unwrap(),
        host.certificate_sha256()
    );
    assert!(shake(ca(&farm), &host, "lab-ws-02").await.is_err());
    let address = host.address().to_string();
    assert!(shake(ca(&farm), &host, &address).await.is_err());
    assert_eq!(host.counts().connections, 3);
    assert!(host.counts().tls_handshakes >= 1);
}

#[tokio::test]
async fn wrong_certificates_are_wrong() {
    let (farm, host) = start(plain("lab-ws-01")).await;
    host.set_fault(Fault::WrongCertificate);
    assert!(shake(ca(&farm), &host, "lab-ws-01").await.is_err());
    host.clear_faults();
    assert!(shake(ca(&farm), &host, "lab-ws-01").await.is_ok());
    host.set_fault_times(Fault::Reset(At::TlsHandshake), 1);
    assert!(shake(ca(&farm), &host, "lab-ws-01").await.is_err());
    assert!(shake(ca(&farm), &host, "lab-ws-01").await.is_ok());

    let (farm, host) = start(HostSpec {
        tls: TlsIdentity::Expired,
        ..plain("lab-ws-01")
    })
    .await;
    let error = shake(ca(&farm), &host, "lab-ws-01")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("expired") || error.contains("Expired"), "{error}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_anchor() {
    let (farm, host) = start(HostSpec {
        tls: TlsIdentity::SelfSigned,
        ..plain("lab-ws-01")
    })
    .await;
    assert!(shake(ca(&farm), &host, "lab-ws-01").await.is_err());
    let own = CertificateDer::from(host.certificate_der());
    assert_eq!(
        shake(own, &host, "lab-ws-01").await.unwrap(),
        host.certificate_sha256()
    );
}
