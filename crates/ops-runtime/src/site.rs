//! One site: its settings, hosts, database and engine, wired once for whichever service runs it.

use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::HeartbeatStore;
use lab_model::{Catalog, SharedClock, SystemClock};
use reservation_store::ReservationStore;
use station_control::{SharedCatalog, StationControl};
use store_support::{Database, DatabaseSettings, DatabaseUrl};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker_registry::Registry;

use crate::Chain;
use crate::settings::Settings;

/// The engine over this product's own store and hosts.
pub type Engine = reservation_engine::Engine<ReservationStore, StationControl>;

/// A site that may still be opening.
#[derive(Debug, Clone)]
pub struct SiteHandle {
    settings: Arc<Settings>,
    catalog: SharedCatalog,
    site: watch::Receiver<Option<Arc<Site>>>,
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
        let catalog = SharedCatalog::new(catalog);
        let handle = Self {
            settings: Arc::clone(&settings),
            catalog: catalog.clone(),
            site: receiver,
        };
        tokio::spawn(async move {
            let opening = Box::pin(open_database(&settings, &url));
            if let Some(database) = stop.run_until_cancelled(opening).await {
                sender.send_replace(Some(Arc::new(Site::wire(settings, catalog, database))));
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
    /// Who is alive, and which shards are whose.
    pub workers: Registry,
    /// The hosts' hands and eyes.
    pub station: StationControl,
    /// The decisions.
    pub engine: Engine,
    /// What time it is.
    pub clock: SharedClock,
}

impl Site {
    fn wire(settings: Arc<Settings>, catalog: SharedCatalog, database: Database) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let station = StationControl::new(catalog.clone(), station_settings(&settings), Arc::clone(&clock));
        let reservations = ReservationStore::new(database.clone());
        let heartbeats = HeartbeatStore::new(database.clone());
        let workers = Registry::new(database.clone());
        let engine = Engine::new(
            reservations.clone(),
            station.clone(),
            Arc::clone(&clock),
            settings.reservations.engine.clone(),
            &settings.worker_name,
            None,
        );
        Self {
            settings,
            catalog,
            database,
            heartbeats,
            reservations,
            workers,
            station,
            engine,
            clock,
        }
    }

    /// Gives shells back to the hosts and closes the database, within `grace`.
    pub async fn close(&self, grace: Duration) {
        self.station.close(grace).await;
        self.database.clone().close().await;
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
