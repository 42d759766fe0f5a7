//! One site: its settings, hosts, database and engine, wired once for whichever service runs it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::HeartbeatStore;
use lab_model::{Catalog, Host, Problem, SharedClock, SystemClock, Transport};
use reservation_store::ReservationStore;
use station_control::{SharedCatalog, StationControl};
use store_support::{Database, DatabaseSettings, DatabaseUrl};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Chain;
use crate::settings::Settings;

/// The engine over this product's own store and hosts.
pub type Engine = reservation_engine::Engine<ReservationStore, StationControl>;

/// Settings and catalog, checked as a whole; nothing was opened yet.
#[derive(Debug)]
pub struct Plan {
    settings: Settings,
    catalog: Catalog,
    database_url: DatabaseUrl,
    warnings: Vec<String>,
}

/// Everything that is wrong with the catalog or the database's address.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct PlanError {
    /// One line each, naming host and key or the variable.
    pub problems: Vec<String>,
}

impl Plan {
    /// Reads the catalog and checks it against the settings.
    ///
    /// # Errors
    /// [`PlanError`] lists every problem.
    pub fn new(settings: Settings) -> Result<Self, PlanError> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let catalog = read_catalog(&settings, &mut problems, &mut warnings);
        let url = match &settings.database_url {
            None => Ok(DatabaseUrl::embedded(&settings.data_dir)),
            Some(url) => DatabaseUrl::parse(secrecy::ExposeSecret::expose_secret(url)),
        };
        match url {
            Ok(database_url) if problems.is_empty() => {
                warnings.extend(
                    database_url
                        .warnings()
                        .iter()
                        .map(|warning| format!("MYSQL_DSN: {warning}")),
                );
                Ok(Self {
                    settings,
                    catalog,
                    database_url,
                    warnings,
                })
            }
            Ok(_) => Err(PlanError { problems }),
            Err(error) => {
                problems.push(format!("MYSQL_DSN: {error}"));
                Err(PlanError { problems })
            }
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The hosts.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What an operator should know although the configuration is valid.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Opens the site in the background: connects, migrates, wires. A database that does not answer is tried
    /// again, with a line in the log each time, until `stop`.
    #[must_use]
    pub fn open(self, stop: CancellationToken) -> SiteHandle {
        let (sender, receiver) = watch::channel(None);
        let settings = Arc::new(self.settings);
        let catalog = SharedCatalog::new(self.catalog);
        let handle = SiteHandle {
            settings: Arc::clone(&settings),
            catalog: catalog.clone(),
            site: receiver,
        };
        tokio::spawn(async move {
            let opening = Box::pin(open_database(&settings, &self.database_url));
            if let Some(Some(database)) = stop.run_until_cancelled(opening).await {
                sender.send_replace(Some(Arc::new(Site::wire(settings, catalog, database))));
                // The sender lives as long as anybody may wait for the site.
                sender.closed().await;
            }
        });
        handle
    }
}

fn read_catalog(settings: &Settings, problems: &mut Vec<String>, warnings: &mut Vec<String>) -> Catalog {
    let file = &settings.catalog_file;
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            warnings.push(format!("{} does not exist: there are no hosts", file.display()));
            return Catalog::default();
        }
        Err(error) => {
            problems.push(format!("OPS_CONFIG: cannot read {}: {error}", file.display()));
            return Catalog::default();
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "secrets of the catalog are named by variables, resolved only here"
    )]
    let lookup = |name: &str| std::env::var(name).ok();
    let mut check = |hosts: &[Host]| {
        let found = hosts.iter().flat_map(|host| check_host(host, settings));
        problems.extend(found.map(|problem| format!("{}: {problem}", file.display())));
    };
    match Catalog::parse(&text, &lookup) {
        Ok(catalog) => {
            check(catalog.hosts());
            catalog
        }
        Err(error) => {
            check(&error.readable);
            problems.extend(
                error
                    .problems
                    .iter()
                    .map(|problem| format!("{}: {problem}", file.display())),
            );
            Catalog::default()
        }
    }
}

/// What depends on the settings as well as on the entry.
fn check_host(host: &Host, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, message: String| {
        problems.push(Problem {
            host: host.name.to_string(),
            key: key.to_owned(),
            message,
        });
    };
    if host.winrm.transport == Transport::Basic && !host.winrm.use_tls && !settings.winrm.allow_insecure_basic
    {
        let message = "Basic over plain HTTP shows the password to the network; set winrm_use_ssl, or \
                       OPS_WINRM_ALLOW_INSECURE_BASIC=true";
        problem("winrm_transport", message.to_owned());
    }
    let paths = [
        ("labstation_exe", &host.labstation_exe),
        ("heartbeat_path", &host.heartbeat_path),
        ("events_path", &host.events_path),
    ];
    for (key, path) in paths {
        if let Err(error) = labstation_commands::check_path(path) {
            problem(key, error.to_string());
        }
    }
    if let lab_model::WinrmTrust::CaFile(file) = &host.winrm.trust
        && let Err(error) = std::fs::metadata(file)
    {
        problem("winrm_ca_file", format!("{}: {error}", file.display()));
    }
    let networks = settings
        .winrm
        .management_networks
        .clone()
        .unwrap_or_else(station_control::private_networks);
    if let Ok(address) = host.address.parse::<IpAddr>()
        && !networks.iter().any(|network| network.contains(&address))
    {
        problem(
            "address",
            format!("{address} lies outside the allowed networks (WINRM_MANAGEMENT_CIDRS)"),
        );
    }
    problems
}

/// Connects and migrates; `None` never comes back, the caller cancels.
async fn open_database(settings: &Settings, url: &DatabaseUrl) -> Option<Database> {
    let mut database_settings = DatabaseSettings::new(url.clone());
    database_settings.max_connections = settings.database_connections;
    let mut wait = Duration::from_secs(1);
    loop {
        let error = match Database::connect(&database_settings).await {
            Ok(database) => match migrations::run(database.connection()).await {
                Ok(report) => {
                    tracing::info!(database = %url.shown(), applied = report.applied.len(), "the database is ready");
                    return Some(database);
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

/// A site that may still be opening.
#[derive(Debug, Clone)]
pub struct SiteHandle {
    settings: Arc<Settings>,
    catalog: SharedCatalog,
    site: watch::Receiver<Option<Arc<Site>>>,
}

impl SiteHandle {
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
