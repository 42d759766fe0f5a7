//! The HTTP service: what callers ask for, and the answers to their questions.
//!
//! [`start`] listens at once and answers 503 while the database is still being reached. Routes are in `routes/`, one
//! file each; none holds logic of its own beyond reading a request and wording an answer.

mod answers;
mod app;
mod audit;
mod auth;
mod body;
mod busy;
mod calls;
pub mod commands;
mod error;
mod fleet;
mod limits;
mod measured;
mod routes;
mod station_error;
mod stream;
mod totals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use auth::TokenCheck;
use hyper_util::service::TowerToHyperService;
use ops_runtime::http::Server;
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
    /// The calls under way, and how long they get to end when the service stops.
    calls: calls::Calls,
    grace: Duration,
}

/// What only this service asks of the settings: off loopback there must be a token, and the file of tokens must be
/// good.
#[must_use]
pub fn check_settings(settings: &Settings) -> Vec<String> {
    let access = &settings.api.access;
    let asks =
        settings.api.secret.is_some() || access.internal_token.is_some() || access.tokens_file.is_some();
    let mut problems = Vec::new();
    if !asks && !settings.api.bind.is_loopback() {
        let bind = settings.api.bind;
        problems.push(format!(
            "OPS_SECRET: it, OPS_INTERNAL_AUTH_TOKEN or OPS_TOKENS_FILE must be set to listen on {bind}: whoever \
             reaches the port could command every host (or set OPS_BIND=127.0.0.1)"
        ));
    }
    problems.extend(
        access
            .tokens_file
            .iter()
            .flat_map(|file| auth::tokens_file_problems(file)),
    );
    problems
}

/// Binds the port and serves until [`Api::stop`].
///
/// # Errors
/// When the settings would leave the service open, or the address cannot be listened on.
pub async fn start(handle: SiteHandle) -> anyhow::Result<Api> {
    let settings = handle.settings().clone();
    let problems = check_settings(&settings);
    anyhow::ensure!(problems.is_empty(), problems.join("\n"));
    let check = TokenCheck::new(&settings.api).map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
    let wanted = SocketAddr::new(settings.api.bind, settings.api.port);
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("cannot listen on {wanted}"))?;
    let address = listener.local_addr()?;
    if !check.asks() {
        tracing::warn!(%address, "OPS_SECRET is not set: everybody on this machine may call the API");
    }
    tracing::info!(%address, "listening");
    ops_runtime::metrics::install("ops-api");
    let stop = CancellationToken::new();
    let membership = Membership::join(&handle, "api", &[]);
    tokio::spawn(
        stop.clone()
            .run_until_cancelled_owned(reread_tokens(handle.clone(), check.clone())),
    );
    let app = app::App::new(handle, check, stop.clone());
    let calls = app.calls.clone();
    let router = routes::router(app);
    let server = Server {
        limits: settings.api.access.limits.http,
        // What is cut off at the end of the grace period is still answered.
        grace: settings.shutdown_grace + calls::LAST_WORDS,
        pulse: Some(membership.pulse("accept")),
    };
    let service = TowerToHyperService::new(router);
    let serving = tokio::spawn(server.serve(listener, service, stop.clone()));
    Ok(Api {
        address,
        membership,
        stop,
        serving,
        calls,
        grace: settings.shutdown_grace,
    })
}

/// How soon a reload of the hosts is followed by one of the tokens.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Reads the tokens file again when the process is told to by `SIGHUP`, and whenever the hosts were reloaded, by whom
/// ever.
async fn reread_tokens(handle: SiteHandle, check: TokenCheck) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::warn!(%error, "cannot listen for SIGHUP: the tokens stay as they are"),
    };
    let mut hosts = handle.catalog().current();
    loop {
        let told = tokio::time::timeout(LOOK_AGAIN, hangup.recv()).await.is_ok();
        let now = handle.catalog().current();
        let before = std::mem::replace(&mut hosts, Arc::clone(&now));
        let reloaded = !Arc::ptr_eq(&before, &now);
        if told || reloaded {
            check.reload_and_tell();
        }
    }
}

impl Api {
    /// Where it listens; the port is the real one also when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the main loops move, for the service manager.
    #[must_use]
    pub fn progress(&self) -> worker_registry::Progress {
        self.membership.progress()
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
        let (_, ()) = tokio::join!(self.serving, self.calls.stop(self.grace));
        self.membership.leave().await;
    }
}
