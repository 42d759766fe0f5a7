//! The rows of `ops_credentials`. All times are milliseconds of the database's clock.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::CredentialRef;
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use store_support::{Database, DbErr, DbFault, classify, retried};

use crate::credential::Credential;
use crate::error::{CredentialError, Unreadable};
use crate::ring::KeyRing;
use crate::seal::{Sealed, open, seal};

/// Most rows that one call lists.
pub const MAX_LISTED: u32 = 500;
/// Of most keys one credential is tried: more than a ring holds.
pub const MAX_PROBED: u32 = 64;
/// The widest name of a writer that is kept, in characters.
const MAX_WRITER: usize = 128;
/// How often writing is tried while others write and remove the same name.
const MAX_TRIES: u32 = 5;

/// What may be shown of a stored credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// Its name.
    pub reference: CredentialRef,
    /// The id of the key that seals it.
    pub key_id: String,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When it was last written.
    pub updated_at: DateTime<Utc>,
    /// Time since then, by the database's clock.
    pub age: Duration,
    /// Who wrote it last.
    pub updated_by: String,
}

/// A credential that is stored and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unopened {
    /// Its name.
    pub reference: CredentialRef,
    /// The id of the key that seals it.
    pub key_id: String,
    /// Why not.
    pub why: Unreadable,
}

/// What became of a credential that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Its name was new.
    Created,
    /// It took another's place.
    Overwritten,
}

/// The stored credentials. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CredentialStore {
    pub(crate) db: Database,
    ring: Option<KeyRing>,
}

impl CredentialStore {
    /// Works on a database that was migrated. Without a ring, rows can be listed and removed only.
    #[must_use]
    pub fn new(db: Database, ring: Option<KeyRing>) -> Self {
        Self { db, ring }
    }

    /// The keys.
    ///
    /// # Errors
    /// [`CredentialError::NoKey`] when there are none.
    pub fn ring(&self) -> Result<&KeyRing, CredentialError> {
        self.ring.as_ref().ok_or(CredentialError::NoKey)
    }

    /// Writes a credential. One of that name is only replaced with `overwrite`.
    ///
    /// # Errors
    /// [`CredentialError::Exists`] and others; nothing was written then, unless the database became unavailable.
    pub async fn put(
        &self,
        name: &CredentialRef,
        credential: &Credential,
        writer: &str,
        overwrite: bool,
    ) -> Result<Written, CredentialError> {
        let sealed = seal(name, credential, self.ring()?)?;
        let writer: String = writer.chars().take(MAX_WRITER).collect();
        for _ in 0..MAX_TRIES {
            match self.insert(name, &sealed, &writer).await {
                Ok(()) => return Ok(Written::Created),
                Err(error) if classify(&error) == DbFault::Unique && overwrite => {}
                Err(error) if classify(&error) == DbFault::Unique => {
                    return Err(CredentialError::Exists {
                        reference: name.clone(),
                    });
                }
                Err(error) => return Err(CredentialError::during("write a credential")(error)),
            }
            let replaced = self.replace(name, &sealed, &writer).await;
            // Somebody may have removed it in between.
            if replaced.map_err(CredentialError::during("overwrite a credential"))? > 0 {
                return Ok(Written::Overwritten);
            }
        }
        let busy = DbErr::Custom("others write and remove the same credential all the time".to_owned());
        Err(CredentialError::Unavailable(Box::new(busy)))
    }

    /// The credential of that name; `None` when there is none.
    ///
    /// # Errors
    /// [`CredentialError`], also when the row is there but cannot be opened.
    pub async fn find(&self, name: &CredentialRef) -> Result<Option<Credential>, CredentialError> {
        let ring = self.ring()?;
        let Some(sealed) = self.sealed(name).await? else {
            return Ok(None);
        };
        let opened = open(name, &sealed, ring);
        opened.map(Some).map_err(CredentialError::unreadable(name))
    }

    /// What is stored, by name, beginning behind `after`; at most [`MAX_LISTED`].
    ///
    /// # Errors
    /// [`CredentialError`] when it cannot be read.
    pub async fn list(
        &self,
        after: Option<&CredentialRef>,
        limit: u32,
    ) -> Result<Vec<StoredCredential>, CredentialError> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "SELECT ref, key_id, created_at, updated_at, {now} - updated_at, updated_by FROM ops_credentials \
             WHERE ref > ? ORDER BY ref LIMIT {}",
            limit.min(MAX_LISTED)
        );
        let after = after.map_or("", CredentialRef::as_str);
        let rows = self.query(&sql, vec![after.into()]).await;
        let read = rows.and_then(|rows| rows.iter().map(listed).collect());
        read.map_err(CredentialError::during("list the credentials"))
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`CredentialError`] when they cannot be counted.
    pub async fn count(&self) -> Result<u64, CredentialError> {
        let rows = self.query("SELECT COUNT(*) FROM ops_credentials", vec![]).await;
        let read = rows.and_then(|rows| match rows.first() {
            Some(row) => row.try_get_by_index::<i64>(0),
            None => Ok(0),
        });
        let count = read.map_err(CredentialError::during("count the credentials"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Opens one credential of each key that any was sealed with, and names those that cannot be opened; of at most
    /// [`MAX_PROBED`] keys.
    ///
    /// # Errors
    /// [`CredentialError`] when there is no key, or they cannot be read.
    pub async fn probe(&self) -> Result<Vec<Unopened>, CredentialError> {
        let ring = self.ring()?;
        let sql = format!(
            "SELECT format, key_id, nonce, ciphertext, ref FROM ops_credentials WHERE ref IN \
             (SELECT MIN(ref) FROM ops_credentials GROUP BY key_id) ORDER BY ref LIMIT {MAX_PROBED}"
        );
        let rows = self.query(&sql, vec![]).await;
        let read = rows.and_then(|rows| {
            let one = |row: &QueryResult| Ok((parsed(row.try_get_by_index(4)?)?, sealed_of(row)?));
            rows.iter().map(one).collect::<Result<Vec<_>, DbErr>>()
        });
        let read = read.map_err(CredentialError::during("read the credentials"))?;
        let unopened = read.into_iter().filter_map(|(reference, sealed)| {
            let why = open(&reference, &sealed, ring).err()?;
            Some(Unopened {
                reference,
                key_id: sealed.key_id,
                why,
            })
        });
        Ok(unopened.collect())
    }

    /// Removes a credential; `false` when there was none.
    ///
    /// # Errors
    /// [`CredentialError`] when that failed.
    pub async fn remove(&self, name: &CredentialRef) -> Result<bool, CredentialError> {
        let sql = "DELETE FROM ops_credentials WHERE ref = ?";
        let removed = self.execute(sql, vec![name.as_str().into()]).await;
        Ok(removed.map_err(CredentialError::during("remove a credential"))? > 0)
    }

    pub(crate) async fn sealed(&self, name: &CredentialRef) -> Result<Option<Sealed>, CredentialError> {
        let sql = "SELECT format, key_id, nonce, ciphertext FROM ops_credentials WHERE ref = ?";
        let rows = self.query(sql, vec![name.as_str().into()]).await;
        let read = rows.and_then(|rows| rows.first().map(sealed_of).transpose());
        read.map_err(CredentialError::during("read a credential"))
    }

    async fn insert(&self, name: &CredentialRef, sealed: &Sealed, writer: &str) -> Result<(), DbErr> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "INSERT INTO ops_credentials (ref, format, key_id, nonce, ciphertext, created_at, updated_at, updated_by) \
             VALUES (?, ?, ?, ?, ?, {now}, {now}, ?)"
        );
        let values = vec![
            name.as_str().into(),
            sealed.format.into(),
            sealed.key_id.as_str().into(),
            sealed.nonce.clone().into(),
            sealed.ciphertext.clone().into(),
            writer.into(),
        ];
        self.execute(&sql, values).await.map(|_| ())
    }

    async fn replace(&self, name: &CredentialRef, sealed: &Sealed, writer: &str) -> Result<u64, DbErr> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "UPDATE ops_credentials SET format = ?, key_id = ?, nonce = ?, ciphertext = ?, updated_at = {now}, \
             updated_by = ? WHERE ref = ?"
        );
        let values = vec![
            sealed.format.into(),
            sealed.key_id.as_str().into(),
            sealed.nonce.clone().into(),
            sealed.ciphertext.clone().into(),
            writer.into(),
            name.as_str().into(),
        ];
        self.execute(&sql, values).await
    }

    pub(crate) async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        let read = self.db.statement(sql, values);
        self.db.bounded(self.db.connection().query_all_raw(read)).await
    }

    pub(crate) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let db = &self.db;
        retried(|| async {
            let done = db
                .bounded(db.connection().execute_raw(db.statement(sql, values.clone())))
                .await?;
            Ok(done.rows_affected())
        })
        .await
    }
}

fn sealed_of(row: &QueryResult) -> Result<Sealed, DbErr> {
    Ok(Sealed {
        format: row.try_get_by_index(0)?,
        key_id: row.try_get_by_index(1)?,
        nonce: row.try_get_by_index(2)?,
        ciphertext: row.try_get_by_index(3)?,
    })
}

pub(crate) fn name_of(row: &QueryResult) -> Result<CredentialRef, DbErr> {
    parsed(row.try_get_by_index(0)?)
}

fn parsed(name: String) -> Result<CredentialRef, DbErr> {
    CredentialRef::parse(&name).map_err(|error| DbErr::Type(format!("the name of a credential {error}")))
}

fn listed(row: &QueryResult) -> Result<StoredCredential, DbErr> {
    let instant = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default();
    let age: i64 = row.try_get_by_index(4)?;
    Ok(StoredCredential {
        reference: name_of(row)?,
        key_id: row.try_get_by_index(1)?,
        created_at: instant(row.try_get_by_index(2)?),
        updated_at: instant(row.try_get_by_index(3)?),
        age: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
        updated_by: row.try_get_by_index(5)?,
    })
}
