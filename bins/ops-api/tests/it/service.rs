//! The API in the test's own process.

use std::net::SocketAddr;

use host_sim::HostSpec;
use ops_api::Api;
use ops_runtime::SiteHandle;
use serde_json::Value;
use store_support::test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::harness::{Lab, migrate};
use crate::http::{Answer, call};

/// A listening API and its hosts.
pub(crate) struct Service {
    pub(crate) lab: Lab,
    pub(crate) handle: SiteHandle,
    api: Api,
}

impl Service {
    /// On an embedded database of its own.
    pub(crate) async fn start(specs: Vec<HostSpec>) -> Self {
        Self::start_in(Lab::start(specs).await).await
    }

    /// On the test's database.
    pub(crate) async fn start_on(test: &TestDatabase, specs: Vec<HostSpec>) -> Self {
        migrate(test.database()).await;
        Self::start_in(Lab::start(specs).await.on(test)).await
    }

    /// With the settings and the catalog of a lab, once the database is open.
    pub(crate) async fn start_in(lab: Lab) -> Self {
        let handle = lab.plan().open(CancellationToken::new());
        let api = ops_api::start(handle.clone()).await.unwrap();
        Self::with_parts(lab, handle, api).await
    }

    /// Once the database is open, of what the test started itself.
    pub(crate) async fn with_parts(lab: Lab, handle: SiteHandle, api: Api) -> Self {
        handle.opened().await.unwrap();
        Self { lab, handle, api }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.api.address()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: impl Into<bytes::Bytes>) -> Answer {
        call(self.address(), "POST", path, &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        call(self.address(), "GET", path, &[], "").await
    }

    pub(crate) async fn stop(self) {
        self.api.stop().await;
        let site = self.handle.current().unwrap();
        site.engine.stop(std::time::Duration::from_secs(10)).await;
        site.close(std::time::Duration::from_secs(2)).await;
    }
}
