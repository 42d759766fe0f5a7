//! The host catalog as running services share it: replaced as a whole when the operator's file changes.

use std::sync::{Arc, PoisonError, RwLock};

use lab_model::{Catalog, Host, HostName};

/// A handle on the catalog of the moment. Clones see the same catalog, also after it was replaced.
#[derive(Debug, Clone, Default)]
pub struct SharedCatalog(Arc<RwLock<Arc<Catalog>>>);

impl SharedCatalog {
    /// Shares a catalog.
    #[must_use]
    pub fn new(catalog: Catalog) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(catalog))))
    }

    /// The catalog of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another catalog in its place. What is under way on a host goes on with the entry it began with.
    pub fn replace(&self, catalog: Catalog) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }

    /// A copy of the host's entry of this moment.
    #[must_use]
    pub fn find(&self, host: &HostName) -> Option<Host> {
        self.current().find(host.as_str()).cloned()
    }
}
