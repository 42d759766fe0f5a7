//! One site: its settings, hosts, database and engine, wired once for whichever service runs it.

use std::sync::Arc;
use std::time::Duration;

use call_journal::CallJournal;
use heartbeat_store::HeartbeatStore;
use lab_model::{Catalog, Clock as _, SharedClock, SystemClock};
use reservation_store::ReservationStore;
use station_control::{SharedCatalog, StationControl};
use store_support::{Database, DatabaseSettings, DatabaseUrl};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use worker_registry::Registry;

use crate::Chain;
use crate::credentials::StoredCredentials;
use crate::health::{CatalogLog, CatalogState};
use crate::metrics::Counting;
use crate::notices::Notices;
use crate::settings::Settings;
use crate::signals::Signals;

/// The engine over this product's own store and hosts.
pub type Engine = reservation_engine::Engine<ReservationStore, StationControl>;

/// A site that may still be opening.
#[derive(Debug, Clone)]
pub struct SiteHandle {
    settings: Arc<Settings>,
    catalog: SharedCatalog,
    site: watch::Receiver<Option<Arc<Site>>>,
    reloading: Arc<Mutex<()>>,
    catalog_log: Arc<CatalogLog>,
}

impl SiteHandle {
    /// Opens the site in the background, until `stop`.
    pub(crate) fn open(
        settings: Settings,
        catalog: Catalog,
        url: DatabaseUrl,
        stop: CancellationToken,
    ) -> Self {
        let (sender, receiver) = watch::channel(None);
        let settings = Arc::new(settings);
        if let Some(problem) =
            crate::descriptors::ensure(catalog.hosts().len(), settings.database_connections)
        {
            tracing::error!("{problem}");
        }
        let catalog = SharedCatalog::new(catalog);
        let handle = Self {
            settings: Arc::clone(&settings),
            catalog: catalog.clone(),
            site: receiver,
            reloading: Arc::default(),
            catalog_log: Arc::new(CatalogLog::loaded(SystemClock.now())),
        };
        tokio::spawn(crate::reload::follow(handle.clone(), stop.clone()));
        tokio::spawn(async move {
            let opening = Box::pin(open_database(&settings, &url));
            if let Some(database) = stop.run_until_cancelled(opening).await {
                let site = Arc::new(Site::wire(settings, catalog.clone(), database));
                sender.send_replace(Some(Arc::clone(&site)));
                site.credentials.warn_of_missing(&catalog.current()).await;
                drop(site);
                // The sender lives as long as anybody may wait for the site.
                sender.closed().await;
            }
        });
        handle
    }

    /// The settings, which are known from the start.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The hosts, which are known from the start.
    #[must_use]
    pub fn catalog(&self) -> &SharedCatalog {
        &self.catalog
    }

    /// Held while the hosts are read again.
    pub(crate) fn reloading(&self) -> &Mutex<()> {
        &self.reloading
    }

    /// When the hosts were read, and what is wrong with them since.
    pub(crate) fn catalog_state(&self) -> CatalogState {
        self.catalog_log.state()
    }

    /// A reload has ended, without problems if it took effect.
    pub(crate) fn note_reload(&self, problems: impl IntoIterator<Item = String>) {
        self.catalog_log.note(SystemClock.now(), problems);
    }

    /// The site, once its database was reached.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Site>> {
        self.site.borrow().clone()
    }

    /// Waits until the site is open; `None` when it was given up.
    pub async fn opened(&self) -> Option<Arc<Site>> {
        let mut site = self.site.clone();
        site.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|site| site.clone())
    }
}

/// Everything wired.
#[derive(Debug)]
pub struct Site {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The hosts.
    pub catalog: SharedCatalog,
    /// The database.
    pub database: Database,
    /// What stations reported.
    pub heartbeats: HeartbeatStore,
    /// Reservations, operations, claims.
    pub reservations: ReservationStore,
    /// What callers asked for, and the audit trail.
    pub calls: CallJournal,
    /// Who is alive, and which shards are whose.
    pub workers: Registry,
    /// The stored credentials of hosts.
    pub credentials: StoredCredentials,
    /// What one process tells all others.
    pub signals: Signals,
    /// The hosts' hands and eyes.
    pub station: StationControl,
    /// The decisions.
    pub engine: Engine,
    /// What is told to people.
    pub notices: Notices,
    /// What time it is.
    pub clock: SharedClock,
}

impl Site {
    fn wire(settings: Arc<Settings>, catalog: SharedCatalog, database: Database) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let credentials = StoredCredentials::new(database.clone(), settings.secrets_key.clone());
        let station = StationControl::with_credentials(
            catalog.clone(),
            station_settings(&settings),
            Arc::clone(&clock),
            Arc::new(credentials.clone()),
        );
        let reservations = ReservationStore::new(database.clone());
        let heartbeats = HeartbeatStore::new(database.clone()).keeping(settings.heartbeats.keep);
        let calls = CallJournal::new(database.clone());
        let access = &settings.api.access;
        let calls = match settings.api.secret.as_ref().or(access.internal_token.as_ref()) {
            Some(secret) => calls.keyed_by(secret),
            None => calls,
        };
        let workers = Registry::new(database.clone());
        let signals = Signals::new(database.clone());
        let engine = Engine::new(
            reservations.clone(),
            station.clone(),
            Arc::clone(&clock),
            settings.reservations.engine.clone(),
            &settings.worker_name,
            None,
        );
        let notices = Notices::start(&settings, &database, &clock);
        engine.listen(Counting::new(notices.teller.clone(), Arc::clone(&clock)));
        Self {
            settings,
            catalog,
            database,
            heartbeats,
            reservations,
            calls,
            workers,
            credentials,
            signals,
            station,
            engine,
            notices,
            clock,
        }
    }

    /// Gives shells back to the hosts and closes the database, within `grace`.
    pub async fn close(&self, grace: Duration) {
        tokio::join!(
            self.station.close(grace),
            self.notices.settle(grace),
            crate::traces::settle(grace)
        );
        let closing = self.database.clone().close();
        if tokio::time::timeout(grace, closing).await.is_err() {
            tracing::warn!("the database did not close within {grace:?}");
        }
    }
}

/// Connects and migrates, trying again for as long as it takes.
async fn open_database(settings: &Settings, url: &DatabaseUrl) -> Database {
    let mut database_settings = DatabaseSettings::new(url.clone());
    database_settings.max_connections = settings.database_connections;
    let mut wait = Duration::from_secs(1);
    loop {
        let error = match Database::connect(&database_settings).await {
            Ok(database) => match migrations::run(database.connection()).await {
                Ok(report) => {
                    tracing::info!(database = %url.shown(), applied = report.applied.len(), "the database is ready");
                    return database;
                }
                Err(error) => {
                    database.close().await;
                    Chain(&error).to_string()
                }
            },
            Err(error) => Chain(&error).to_string(),
        };
        let wait_secs = wait.as_secs();
        tracing::warn!(database = %url.shown(), error, "the database is not available; next try in {wait_secs} s");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(15));
    }
}

fn station_settings(settings: &Settings) -> station_control::Settings {
    let mut station = station_control::Settings::default();
    if let Some(networks) = &settings.winrm.management_networks {
        station.allowed_networks.clone_from(networks);
    }
    station.allow_insecure_basic = settings.winrm.allow_insecure_basic;
    station.read_timeout = settings.winrm.read_timeout;
    station.operation_timeout = settings.winrm.operation_timeout;
    station.wake.heartbeat = settings.winrm.ready;
    station
}
