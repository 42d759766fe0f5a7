//! The stored credentials as a running service uses them: kept in memory for a moment, and longer while the database
//! is away.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use credential_store::{
    Credential, CredentialError, CredentialStore, KeyRing, StoredCredential, Unreadable, Written,
};
use lab_model::{Catalog, CredentialRef};
use station_control::{Credentials, FoundAccount, NoCredential, StoredAccount};
use store_support::Database;
use tokio::time::Instant;

use crate::Chain;

/// For how long an answer of the database counts: a change made by another process is seen after this time.
const FRESH: Duration = Duration::from_secs(5);
/// Most answers that are kept: more than any site has credentials.
const MAX_KEPT: usize = 1024;
/// Most pages that are looked through for the credentials that hosts name.
const MAX_PAGES: usize = 40;

type Answer = Result<StoredAccount, NoCredential>;

/// Stored credentials. Cheap to clone; clones share what is kept.
#[derive(Debug, Clone)]
pub struct StoredCredentials {
    store: CredentialStore,
    kept: Arc<Mutex<Kept>>,
    fresh: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<CredentialRef, (Instant, Answer)>,
    /// Grows with every change made here, so that an older answer under way is not kept.
    changes: u64,
}

impl StoredCredentials {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(database: Database, ring: Option<KeyRing>) -> Self {
        Self {
            store: CredentialStore::new(database, ring),
            kept: Arc::default(),
            fresh: FRESH,
        }
    }

    /// The store beneath, for whoever lists or counts.
    #[must_use]
    pub fn store(&self) -> &CredentialStore {
        &self.store
    }

    /// Whether there is a key to write and read with.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.store.ring().is_ok()
    }

    /// Writes a credential; the next command on a host that names it uses it.
    ///
    /// # Errors
    /// As [`CredentialStore::put`].
    pub async fn put(
        &self,
        name: &CredentialRef,
        credential: &Credential,
        writer: &str,
        overwrite: bool,
    ) -> Result<Written, CredentialError> {
        let written = self.store.put(name, credential, writer, overwrite).await;
        self.forget(name);
        written
    }

    /// Removes a credential; `false` when there was none.
    ///
    /// # Errors
    /// As [`CredentialStore::remove`].
    pub async fn remove(&self, name: &CredentialRef) -> Result<bool, CredentialError> {
        let removed = self.store.remove(name).await;
        self.forget(name);
        removed
    }

    /// Says in the log which hosts name a credential that they will not get.
    pub async fn warn_of_missing(&self, catalog: &Catalog) {
        let named = |host: &&lab_model::Host| host.winrm.credential.is_some();
        if catalog.hosts().iter().find(named).is_none() {
            return;
        }
        if !self.has_key() {
            tracing::warn!(
                "hosts name stored credentials, but OPS_SECRETS_KEY is not set: they cannot be reached"
            );
            return;
        }
        let stored = match self.all().await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the stored credentials cannot be looked up");
                return;
            }
        };
        for host in catalog.hosts() {
            let Some(name) = &host.winrm.credential else {
                continue;
            };
            let Some(row) = stored.iter().find(|row| row.reference == *name) else {
                tracing::warn!(host.name = %host.name, credential = %name, "no such credential is stored");
                continue;
            };
            if self.store.ring().is_ok_and(|ring| !ring.has(&row.key_id)) {
                let key_id = row.key_id.as_str();
                tracing::warn!(host.name = %host.name, credential = %name, key_id, "the credential's key is not in the ring");
            }
        }
    }

    async fn all(&self) -> Result<Vec<StoredCredential>, CredentialError> {
        let mut all: Vec<StoredCredential> = Vec::new();
        for _ in 0..MAX_PAGES {
            let after = all.last().map(|row| row.reference.clone());
            let page = self
                .store
                .list(after.as_ref(), credential_store::MAX_LISTED)
                .await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        Ok(all)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, name: &CredentialRef) {
        let mut kept = self.kept();
        kept.changes += 1;
        kept.answers.remove(name);
    }

    async fn answer(&self, name: &CredentialRef) -> Answer {
        let (known, changes) = {
            let kept = self.kept();
            (kept.answers.get(name).cloned(), kept.changes)
        };
        if let Some((at, answer)) = &known
            && at.elapsed() < self.fresh
        {
            return answer.clone();
        }
        let answer = match self.store.find(name).await {
            Ok(Some(credential)) => Ok(StoredAccount {
                user: credential.user().to_owned(),
                password: credential.password().clone(),
            }),
            Ok(None) => Err(NoCredential::Missing),
            Err(CredentialError::NoKey) => Err(NoCredential::NoKey),
            Err(CredentialError::Unreadable { why, .. }) => Err(unreadable(name, &why)),
            Err(error) => {
                // What was right a while ago is better than no hosts at all while the database is away.
                let last = known.and_then(|(_, answer)| answer.ok());
                let goes_on = last.is_some();
                tracing::warn!(credential = %name, goes_on, error = %Chain(&error), "a credential cannot be looked up");
                return last.ok_or(NoCredential::Unavailable);
            }
        };
        self.keep(name, &answer, changes);
        answer
    }

    fn keep(&self, name: &CredentialRef, answer: &Answer, changes: u64) {
        let mut kept = self.kept();
        if kept.changes != changes {
            return;
        }
        if kept.answers.len() >= MAX_KEPT && !kept.answers.contains_key(name) {
            kept.answers.retain(|_, (at, _)| at.elapsed() < self.fresh);
        }
        if kept.answers.len() < MAX_KEPT || kept.answers.contains_key(name) {
            kept.answers
                .insert(name.clone(), (Instant::now(), answer.clone()));
        }
    }
}

fn unreadable(name: &CredentialRef, why: &Unreadable) -> NoCredential {
    tracing::warn!(credential = %name, error = %why, "a stored credential cannot be opened");
    NoCredential::Unreadable(why.to_string())
}

impl Credentials for StoredCredentials {
    fn find<'a>(&'a self, name: &'a CredentialRef) -> FoundAccount<'a> {
        Box::pin(self.answer(name))
    }
}

/// The hosts of a catalog that name each credential.
#[must_use]
pub fn hosts_of(catalog: &Catalog, name: &CredentialRef) -> BTreeSet<String> {
    let hosts = catalog.hosts().iter();
    hosts
        .filter(|host| host.winrm.credential.as_ref() == Some(name))
        .map(|host| host.name.to_string())
        .collect()
}

#[cfg(test)]
mod tests;
