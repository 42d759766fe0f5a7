//! What every handler has at hand, and the checks that many of them share.

use std::sync::Arc;

use axum::http::StatusCode;
use lab_model::{Host, HostName};
use labstation_commands::AllowedCommands;
use ops_runtime::metrics::Sampler;
use ops_runtime::settings::ApiSettings;
use ops_runtime::{Health, Site, SiteHandle};
use tokio_util::sync::CancellationToken;

use crate::auth::{Gate, TokenCheck};
use crate::body::Body;
use crate::calls::Calls;
use crate::error::ApiError;
use crate::fleet::Fleet;
use crate::limits::Streams;
use crate::stream::Hub;
use crate::totals::Totals;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) handle: SiteHandle,
    pub(crate) allowed: Arc<AllowedCommands>,
    /// Who gets in, and how much they may take.
    pub(crate) gate: Gate,
    /// Places for event streams.
    pub(crate) streams: Streams,
    /// What callers asked for and may take long.
    pub(crate) calls: Calls,
    /// How many rows the history has.
    pub(crate) totals: Totals,
    /// All hosts as operators see them.
    pub(crate) fleet: Fleet,
    /// Heartbeats as they come.
    pub(crate) hub: Hub,
    /// Figures for monitoring.
    pub(crate) sampler: Sampler,
    /// Whether all is well.
    pub(crate) health: Health,
}

impl App {
    /// Takes the site, which may still be opening.
    pub(crate) fn new(handle: SiteHandle, check: TokenCheck, stop: CancellationToken) -> Self {
        let allowed = handle.settings().api.allowed_commands.as_deref();
        let allowed = Arc::new(allowed.map_or_else(AllowedCommands::default, AllowedCommands::parse));
        let gate = Gate::new(&handle, check);
        let limits = handle.settings().api.access.limits;
        let fleet = Fleet::new(handle.clone());
        let hub = Hub::new(handle.clone(), fleet.clone(), stop);
        Self {
            calls: Calls::new(handle.clone()),
            totals: Totals::default(),
            fleet,
            hub,
            sampler: Sampler::new(&handle),
            health: Health::new(&handle),
            handle,
            allowed,
            gate,
            streams: Streams::new(limits.streams, limits.streams_per_token),
        }
    }

    pub(crate) fn settings(&self) -> &ApiSettings {
        &self.handle.settings().api
    }

    /// The site, or 503 while its database was not reached yet.
    pub(crate) fn site(&self) -> Result<Arc<Site>, ApiError> {
        self.handle.current().ok_or_else(ApiError::database_unavailable)
    }

    /// The host that the body names, or 404 with the contract's words.
    pub(crate) fn find_host(&self, sent: &str, not_found: fn(&str) -> String) -> Result<Host, ApiError> {
        self.handle
            .catalog()
            .current()
            .find(sent)
            .cloned()
            .ok_or_else(|| {
                // The name comes back as it was sent, but never a whole page of it.
                let shown: String = sent.chars().take(128).collect();
                ApiError::new(StatusCode::NOT_FOUND, "unknown_host", not_found(&shown))
            })
    }
}

/// `host 'x' not found in config`, as most routes word it.
pub(crate) fn not_in_config(host: &str) -> String {
    format!("host '{host}' not found in config")
}

/// The name under `field`, checked for what a name may be; absent and blank are `None`.
pub(crate) fn host_name<'a>(body: &'a Body, field: &'a str) -> Result<Option<&'a str>, ApiError> {
    let Some(text) = body.text(field)? else {
        return Ok(None);
    };
    HostName::parse(text).map_err(|problem| ApiError::field(field, problem))?;
    Ok(Some(text))
}
