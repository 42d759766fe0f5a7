//! The farm's certificate authority and the TLS identities of the hosts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
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
            config: Arc::new(server_config(certificate.clone(), &key)?),
            certificate,
        })
    }
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    // A cache per host would be most of the memory of a large farm, and resumption carries no authentication anyway.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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
