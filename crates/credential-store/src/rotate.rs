//! Sealing every row under the ring's first key, while others read and write.

use lab_model::CredentialRef;
use store_support::DbErr;

use crate::error::{CredentialError, Unreadable};
use crate::seal::{Sealed, open, seal};
use crate::store::{CredentialStore, name_of};

/// Rows that are looked up at a time.
const BATCH: u32 = 100;
/// How often one row is tried that others write meanwhile.
const MAX_TRIES: u32 = 3;

/// What a rotation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Rows that are sealed under the first key now.
    pub rotated: u64,
    /// Rows that were sealed under another key and were removed or written by others meanwhile.
    pub overtaken: u64,
    /// Rows that cannot be opened, with the reason; they stay as they are.
    pub unreadable: Vec<(CredentialRef, Unreadable)>,
}

impl CredentialStore {
    /// Seals every row under the ring's first key. Each row is one statement that only takes effect while the row is
    /// what was read, so it may run twice, at the same time as another, and while services write.
    ///
    /// # Errors
    /// [`CredentialError`] when the database failed; rows that were rotated stay so, and it may be run again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn rotate(&self) -> Result<Rotation, CredentialError> {
        let first = self.ring()?.first_id().to_owned();
        let sql = format!(
            "SELECT ref FROM ops_credentials WHERE key_id <> ? AND ref > ? ORDER BY ref LIMIT {BATCH}"
        );
        let mut done = Rotation::default();
        let mut after = String::new();
        loop {
            let values = vec![first.as_str().into(), after.as_str().into()];
            let rows = self.query(&sql, values).await;
            let names: Result<Vec<_>, DbErr> = rows.and_then(|rows| rows.iter().map(name_of).collect());
            let names = names.map_err(CredentialError::during("read the credentials"))?;
            let Some(last) = names.last() else {
                return Ok(done);
            };
            last.as_str().clone_into(&mut after);
            for name in names {
                self.rotate_one(&name, &first, &mut done).await?;
            }
        }
    }

    async fn rotate_one(
        &self,
        name: &CredentialRef,
        first: &str,
        done: &mut Rotation,
    ) -> Result<(), CredentialError> {
        let ring = self.ring()?;
        for _ in 0..MAX_TRIES {
            let Some(old) = self.sealed(name).await?.filter(|row| row.key_id != first) else {
                break;
            };
            let credential = match open(name, &old, ring) {
                Ok(credential) => credential,
                Err(why) => {
                    done.unreadable.push((name.clone(), why));
                    return Ok(());
                }
            };
            let new = seal(name, &credential, ring)?;
            if self.exchange(name, &old, &new).await? {
                done.rotated += 1;
                return Ok(());
            }
        }
        done.overtaken += 1;
        Ok(())
    }

    /// Who wrote a row and when stays: its content is the same.
    async fn exchange(
        &self,
        name: &CredentialRef,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, CredentialError> {
        let sql = "UPDATE ops_credentials SET format = ?, key_id = ?, nonce = ?, ciphertext = ? \
                   WHERE ref = ? AND key_id = ? AND nonce = ?";
        let values = vec![
            new.format.into(),
            new.key_id.as_str().into(),
            new.nonce.clone().into(),
            new.ciphertext.clone().into(),
            name.as_str().into(),
            old.key_id.as_str().into(),
            old.nonce.clone().into(),
        ];
        let changed = self.execute(sql, values).await;
        Ok(changed.map_err(CredentialError::during("rotate a credential"))? > 0)
    }
}
