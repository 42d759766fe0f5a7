//! WinRM credentials in the database, encrypted: written, used, never shown.
//!
//! Each row is sealed by AES-256-GCM with a fresh random nonce; its name and the id of its key are bound to it, so
//! that a row copied under another name is as unreadable as an altered one. Keys come as a [`KeyRing`], so that they
//! can be changed while services run ([`CredentialStore::rotate`]).
//!
//! It does not decide who may write, and keeps nothing in memory: whoever uses credentials often caches them.
//!
//! ```
//! # use store_support::{Database, DatabaseSettings, DatabaseUrl};
//! use credential_store::{Credential, CredentialStore, KeyRing};
//! use lab_model::CredentialRef;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Database::connect(&DatabaseSettings::new(DatabaseUrl::in_memory())).await?;
//! migrations::run(db.connection()).await?;
//! let ring = KeyRing::parse(&"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into())?;
//! let store = CredentialStore::new(db, Some(ring));
//! let name = CredentialRef::parse("station-01")?;
//! let credential = Credential::new("LabGatewaySvc", "s3cret".into())?;
//! store.put(&name, &credential, "admin", false).await?;
//! assert_eq!(store.find(&name).await?.unwrap().user(), "LabGatewaySvc");
//! # Ok(())
//! # }
//! ```

mod credential;
mod error;

mod ring;
mod seal;

mod store;

mod rotate;

mod older;

pub use credential::{Credential, InvalidCredential};
pub use error::{CredentialError, Unreadable};
pub use older::{OlderEntry, OlderEntryError, OlderError, read_older_file};
pub use ring::{KeyRing, KeyRingError};
pub use rotate::Rotation;
pub use store::{CredentialStore, MAX_LISTED, MAX_PROBED, StoredCredential, Unopened, Written};
