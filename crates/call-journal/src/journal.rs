//! The journal itself.

use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::Sha256;
use store_support::Database;

use crate::call::NewCall;

/// What the key is derived for.
const PURPOSE: &[u8] = b"lab-ops call digest v1";

/// Calls and the audit trail in a database that was migrated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallJournal {
    pub(crate) db: Database,
    digest_key: Option<Arc<SecretBox<[u8; 32]>>>,
}

impl CallJournal {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db, digest_key: None }
    }

    /// The database it works on.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Digests requests under a key derived from a secret that is not in the database and that all processes share.
    /// A request may hold a password, which could be found by a digest without a key; so without one, requests under
    /// one key are told apart only by what their rows show anyway.
    #[must_use]
    pub fn keyed_by(mut self, secret: &SecretString) -> Self {
        let key = mac(secret.expose_secret().as_bytes(), &[PURPOSE]);
        self.digest_key = Some(Arc::new(SecretBox::new(Box::new(key))));
        self
    }

    /// Bound to the call's id, so that equal requests do not show.
    pub(crate) fn digest(&self, id: &str, call: &NewCall) -> String {
        let shown = |text: &Option<String>| text.clone().unwrap_or_default();
        let bytes = match &self.digest_key {
            Some(key) => mac(
                key.expose_secret(),
                &[id.as_bytes(), b"\0", call.request.as_bytes()],
            ),
            None => {
                let (host, reservation, lab) =
                    (shown(&call.host), shown(&call.reservation), shown(&call.lab));
                let row = [id, call.kind.as_str(), &host, &reservation, &lab].join("\0");
                mac(&[], &[row.as_bytes()])
            }
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length; the empty one below is never reached.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
