//! The HTTP service: what callers ask for, and the answers to their questions.
//!
//! [`start`] listens at once and answers 503 while the database is still being reached. Routes are in `routes/`, one
//! file each; none holds logic of its own beyond reading a request and wording an answer.

mod app;
mod auth;
mod body;
mod busy;
mod error;
mod routes;
mod server;
mod station_error;

use std::net::SocketAddr;

use anyhow::Context;
use ops_runtime::{Membership, Settings, SiteHandle};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker_registry::Departure;

/// A listening service.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    membership: Membership,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// What only this service asks of the settings: off loopback there must be a secret.
#[must_use]
pub fn check_settings(settings: &Settings) -> Vec<String> {
    if settings.api.bind.is_loopback() || settings.api.secret.is_some() {
        return Vec::new();
    }
    let bind = settings.api.bind;
    vec![format!(
        "OPS_SECRET: must be set to listen on {bind}: whoever reaches the port could command every host \
         (or set OPS_BIND=127.0.0.1)"
    )]
}

/// Binds the port and serves until [`Api::stop`].
///
/// # Errors
/// When the settings would leave the service open, or the address cannot be listened on.
pub async fn start(handle: SiteHandle) -> anyhow::Result<Api> {
    let settings = handle.settings().clone();
    if let Some(problem) = check_settings(&settings).pop() {
        anyhow::bail!(problem);
    }
    let wanted = SocketAddr::new(settings.api.bind, settings.api.port);
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("cannot listen on {wanted}"))?;
    let address = listener.local_addr()?;
    if settings.api.secret.is_none() {
        tracing::warn!(%address, "OPS_SECRET is not set: everybody on this machine may call the API");
    }
    tracing::info!(%address, "listening");
    let stop = CancellationToken::new();
    let membership = Membership::join(&handle, "api", &[]);
    let router = routes::router(app::App::new(handle));
    let serving = tokio::spawn(server::serve(
        listener,
        router,
        stop.clone(),
        settings.shutdown_grace,
        membership.pulse("accept"),
    ));
    Ok(Api {
        address,
        membership,
        stop,
        serving,
    })
}

impl Api {
    /// Where it listens; the port is the real one also when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this process has lost its place among the workers against its will: then it has to stop.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn departed(&self) -> Departure {
        self.membership.departed().await
    }

    /// Accepts no more calls, and waits for those under way, at most for the grace period.
    pub async fn stop(self) {
        self.stop.cancel();
        self.membership.drain();
        // A panic in the accept loop was already reported by the runtime.
        let _ = self.serving.await;
        self.membership.leave().await;
    }
}
