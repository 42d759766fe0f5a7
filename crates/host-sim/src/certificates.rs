//! The farm's certificate authority and the TLS identities of the hosts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use sha2::{Digest, Sha256};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("make certificate")]
    Make(#[from] rcgen::Error),
    #[error("use certificate for tls")]
    Use(#[from] rustls::Error),
}

/// Signs the certificates of one farm.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    now: DateTime<Utc>,
}

/// What a certificate says.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) names: Vec<String>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) self_signed: bool,
    pub(crate) expired: bool,
    /// Clients are asked for a certificate; which of them is taken is decided later.
    pub(crate) asks_clients: bool,
}

/// A certificate with its key, ready for use.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) sha256: [u8; 32],
    pub(crate) config: Arc<rustls::ServerConfig>,
}

impl Authority {
    pub(crate) fn new(common_name: &str, now: DateTime<Utc>) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, false);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            now,
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn issue(&self, subject: &Subject) -> Result<Identity, CertificateError> {
        let mut params = CertificateParams::new(subject.names.clone())?;
        if let Some(address) = subject.address {
            params
                .subject_alt_names
                .push(SanType::IpAddress(IpAddr::V4(address)));
        }
        if let Some(name) = subject.names.first() {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        set_validity(&mut params, self.now, subject.expired);
        let key = KeyPair::generate()?;
        let certificate = if subject.self_signed {
            params.self_signed(&key)?
        } else {
            params.use_authority_key_identifier_extension = true;
            params.signed_by(&key, &self.issuer)?
        };
        let certificate = certificate.der().clone();
        Ok(Identity {
            sha256: Sha256::digest(&certificate).into(),
            config: Arc::new(server_config(certificate.clone(), &key, subject.asks_clients)?),
            certificate,
        })
    }
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    asks_clients: bool,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = if asks_clients {
        builder.with_client_cert_verifier(Arc::new(AnyClient { provider }))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(vec![certificate], key)?;
    // A cache per host would be most of the memory of a large farm, and resumption carries no authentication anyway.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Asks for a certificate and takes any whose key the client has: the mapping to an account comes later.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            leaf,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            leaf,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn set_validity(params: &mut CertificateParams, now: DateTime<Utc>, expired: bool) {
    let (from, to) = if expired { (730, -2) } else { (2, 730) };
    let (year, month, date) = day(now, -from);
    params.not_before = rcgen::date_time_ymd(year, month, date);
    let (year, month, date) = day(now, to);
    params.not_after = rcgen::date_time_ymd(year, month, date);
}

/// Calendar date so many days from now, in the parts that the certificate library takes.
fn day(now: DateTime<Utc>, offset: i64) -> (i32, u8, u8) {
    let days = Days::new(offset.unsigned_abs());
    let shifted = if offset < 0 {
        now.checked_sub_days(days)
    } else {
        now.checked_add_days(days)
    }
    .unwrap_or(now);
    // Month and day of a calendar date always fit a byte.
    let byte = |n: u32| u8::try_from(n).unwrap_or(1);
    (shifted.year(), byte(shifted.month()), byte(shifted.day()))
}
