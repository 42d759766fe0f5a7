//! Which certificate is believed, and what it binds an authentication to.

mod binding;
mod client;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::error::TlsError;
use crate::settings::{SettingsError, Trust};

pub(crate) use binding::channel_binding;
pub use client::ClientCertificate;

/// A trust decision, loaded. Cheap to clone and to share between clients: loading the certificates of the
/// operating system once per client would cost far more than everything else a client keeps.
#[derive(Clone)]
pub struct TrustStore {
    pub(crate) config: Arc<ClientConfig>,
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStore").finish_non_exhaustive()
    }
}

impl TrustStore {
    /// Reads the certificates that `trust` names. Blocks on files for a few milliseconds.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate; an operating system without any.
    pub fn load(trust: &Trust) -> Result<Self, SettingsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider supports tls 1.2 and 1.3");
        let mut config = match trust {
            Trust::SystemRoots => builder
                .with_root_certificates(system_roots()?)
                .with_no_client_auth(),
            Trust::CaFile(path) => builder
                .with_root_certificates(file_roots(path)?)
                .with_no_client_auth(),
            Trust::PinnedSha256(pin) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { pin: *pin, provider }))
                .with_no_client_auth(),
        };
        // NTLM authenticates a connection and does not work over HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(32);
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

impl TrustStore {
    /// The same trust, with a certificate of our own to show. Sessions are not shared with the original: they would
    /// carry the wrong identity.
    pub(crate) fn showing(&self, certificate: &ClientCertificate) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = certificate.resolver.clone();
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
        }
    }
}

fn system_roots() -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        Err(SettingsError::NoSystemRoots)
    } else {
        Ok(roots)
    }
}

fn file_roots(path: &Path) -> Result<RootCertStore, SettingsError> {
    let pem = std::fs::read(path).map_err(|source| SettingsError::CaFile {
        path: path.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        Err(SettingsError::NoCertificate {
            path: path.to_owned(),
        })
    } else {
        Ok(roots)
    }
}

/// Believes one certificate and nothing else, but still makes its owner prove the key.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// Travels through rustls so that the refusal can be told apart.
#[derive(Debug)]
struct PinMismatch {
    found: [u8; 32],
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificate is not the pinned one")
    }
}

impl std::error::Error for PinMismatch {}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: [u8; 32] = Sha256::digest(leaf).into();
        if found == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(PinMismatch { found }))).into())
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

/// Tells the refusals of a certificate apart.
pub(crate) fn classify(error: io::Error, name: &ServerName<'_>) -> TlsError {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(reason)) = inner else {
        return TlsError::Other(error);
    };
    match reason {
        CertificateError::UnknownIssuer => TlsError::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsError::WrongName {
                name: name.to_str().into_owned(),
            }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsError::Expired,
        CertificateError::Other(OtherError(source)) => match source.downcast_ref::<PinMismatch>() {
            Some(PinMismatch { found }) => TlsError::PinMismatch { found: *found },
            None => TlsError::Other(error),
        },
        _ => TlsError::Other(error),
    }
}
