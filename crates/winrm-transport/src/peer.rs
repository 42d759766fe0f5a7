//! Whom a client talks to, in the form every request needs.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;

use crate::error::{Error, Stage};
use crate::output::Stats;
use crate::settings::{AuthMethod, Scheme, Settings, SettingsError};
use crate::soap::request::Addressing;
use crate::tls::TrustStore;

/// Whom one client talks to, and what it did so far.
pub(crate) struct Peer {
    prepared: Arc<Prepared>,
    pub(crate) counters: Counters,
}

/// Settings, checked and prepared: the same for all clients that stand beside one another.
pub(crate) struct Prepared {
    pub(crate) settings: Settings,
    /// With HTTPS only: whom to believe, and for which name.
    pub(crate) trust: Option<(TrustStore, ServerName<'static>)>,
    pub(crate) authority: HeaderValue,
    pub(crate) user_agent: HeaderValue,
    pub(crate) addressing: Addressing,
    warned: AtomicBool,
}

impl Peer {
    /// `store` is only asked for with HTTPS.
    pub(crate) fn new(
        settings: Settings,
        store: impl FnOnce(&Settings) -> Result<TrustStore, SettingsError>,
    ) -> Result<Self, SettingsError> {
        settings.validate()?;
        let by_certificate = settings.auth == AuthMethod::Certificate;
        let trust = match settings.endpoint.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let mut store = store(&settings)?;
                if let Some(certificate) = settings.client_certificate.as_ref().filter(|_| by_certificate) {
                    store = store.showing(certificate);
                }
                Some((store, server_name(&settings)?))
            }
        };
        let bad_host = |_| SettingsError::Host {
            host: settings.endpoint.host.clone(),
        };
        let authority = HeaderValue::from_str(&settings.endpoint.authority()).map_err(bad_host)?;
        let user_agent = HeaderValue::from_str(&settings.user_agent).map_err(|_| SettingsError::UserAgent)?;
        let operation = settings.timeouts.operation;
        let addressing = Addressing::new(&settings.endpoint.to_string(), operation, &settings.limits);
        let prepared = Prepared {
            settings,
            trust,
            authority,
            user_agent,
            addressing,
            warned: AtomicBool::new(false),
        };
        Ok(Self {
            prepared: Arc::new(prepared),
            counters: Counters::default(),
        })
    }

    /// The same endpoint for another client, which has done nothing yet.
    pub(crate) fn beside(&self) -> Self {
        Self {
            prepared: self.prepared.clone(),
            counters: Counters::default(),
        }
    }
}

impl Deref for Peer {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}

impl Prepared {
    /// Refuses to show a password to the network, unless that is explicitly allowed; then says so once.
    pub(crate) fn check_basic(&self) -> Result<(), Error> {
        let open = self.settings.auth == AuthMethod::Basic && self.settings.endpoint.scheme == Scheme::Http;
        if open && !self.settings.allow_insecure_basic {
            return Err(Error::InsecureBasicRefused);
        }
        if open && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                endpoint = %self.settings.endpoint,
                "basic authentication over plain http: the password is readable on the network"
            );
        }
        Ok(())
    }

    /// Whether bodies are sealed by us rather than by TLS.
    pub(crate) fn seals(&self) -> bool {
        self.settings.endpoint.scheme == Scheme::Http && self.settings.auth != AuthMethod::Basic
    }
}

fn server_name(settings: &Settings) -> Result<ServerName<'static>, SettingsError> {
    let name = settings.server_name.as_ref().unwrap_or(&settings.endpoint.host);
    ServerName::try_from(name.clone()).map_err(|_| SettingsError::ServerName { name: name.clone() })
}

/// Numbers behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) shells_created: AtomicU64,
    pub(crate) commands: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: read(&self.connections),
            handshakes: read(&self.handshakes),
            requests: read(&self.requests),
            shells_created: read(&self.shells_created),
            commands: read(&self.commands),
        }
    }
}

/// Where a call is right now, readable from outside when its time is up.
#[derive(Debug)]
pub(crate) struct Whereabouts(Mutex<Stage>);

impl Whereabouts {
    pub(crate) fn at(stage: Stage) -> Self {
        Self(Mutex::new(stage))
    }

    pub(crate) fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = stage;
    }

    pub(crate) fn get(&self) -> Stage {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
