//! The certificate that a client shows.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::settings::SettingsError;

/// A client certificate with its key, for [`AuthMethod::Certificate`](crate::AuthMethod::Certificate). Cheap to clone;
/// `Debug` shows the certificate's fingerprint and nothing of the key.
///
/// The host must map the certificate to one of its local accounts, and want to see it: the certificate needs the
/// extended key usage *client authentication* and the account as `user@localhost` in its subject alternative name. Hosts
/// with TLS 1.3 have to be told to ask for certificates in the handshake, because WinRM does not ask later.
#[derive(Clone)]
pub struct ClientCertificate {
    pub(crate) resolver: Arc<dyn ResolvesClientCert>,
    sha256: [u8; 32],
}

impl ClientCertificate {
    /// Reads a certificate, followed by intermediate ones if there are any, and its unencrypted key, both as PEM.
    ///
    /// # Errors
    /// [`SettingsError::ClientCertificate`] when there is no certificate or no key, or they do not belong together.
    pub fn from_pem(certificates: &str, key: &SecretString) -> Result<Self, SettingsError> {
        let refuse = |what| SettingsError::ClientCertificate { what };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| refuse("the certificate is not pem"))?;
        let Some(leaf) = chain.first() else {
            return Err(refuse("there is no certificate"));
        };
        let sha256 = Sha256::digest(leaf).into();
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| refuse("there is no unencrypted pem key"))?;
        let certified =
            CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => refuse("certificate and key do not belong together"),
                _ => refuse("the kind of key or certificate is not supported"),
            })?;
        Ok(Self {
            resolver: Arc::new(SingleCertAndKey::from(certified)),
            sha256,
        })
    }

    /// The SHA-256 of the certificate in DER form.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(")?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_used_is_refused_without_showing_the_key() {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["b".to_owned()]).unwrap();
        let (certificate, key) = (
            made.cert.pem(),
            SecretString::from(made.signing_key.serialize_pem()),
        );
        let usable = ClientCertificate::from_pem(&certificate, &key).unwrap();
        assert!(format!("{usable:?}").len() < 100);
        let wrong_key = SecretString::from(other.signing_key.serialize_pem());
        for (certificate, key) in [
            ("", &key),
            ("nonsense", &key),
            (certificate.as_str(), &SecretString::from("nonsense")),
            (certificate.as_str(), &wrong_key),
        ] {
            let error = ClientCertificate::from_pem(certificate, key).unwrap_err();
            assert!(
                matches!(error, SettingsError::ClientCertificate { .. }),
                "{error:?}"
            );
        }
    }
}
