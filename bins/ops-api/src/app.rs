//! What every handler has at hand, and the checks that many of them share.

use std::sync::Arc;

use axum::http::StatusCode;
use lab_model::{Host, HostName};
use labstation_commands::AllowedCommands;
use ops_runtime::settings::ApiSettings;
use ops_runtime::{Site, SiteHandle};

use crate::body::Body;
use crate::error::ApiError;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) handle: SiteHandle,
    pub(crate) allowed: Arc<AllowedCommands>,
}

impl App {
    /// Takes the site, which may still be opening.
    pub(crate) fn new(handle: SiteHandle) -> Self {
        let allowed = handle.settings().api.allowed_commands.as_deref();
        let allowed = Arc::new(allowed.map_or_else(AllowedCommands::default, AllowedCommands::parse));
        Self { handle, allowed }
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
