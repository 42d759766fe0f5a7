//! Settings and hosts, read and checked as a whole before anything is opened.

use std::net::IpAddr;

use lab_model::{Catalog, Host, Problem, Transport, WinrmTrust};
use store_support::DatabaseUrl;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::site::SiteHandle;

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
        let file = settings.catalog_file.display().to_string();
        let mut warnings = Vec::new();
        let (catalog, mut problems) = match read_catalog(&settings) {
            Ok(read) => {
                warnings.extend(read.warnings);
                (read.catalog, Vec::new())
            }
            Err(CatalogTrouble::Missing) => {
                warnings.push(format!("{file} does not exist: there are no hosts"));
                (Catalog::default(), Vec::new())
            }
            Err(CatalogTrouble::Unreadable(error)) => {
                let problem = format!("OPS_CONFIG: cannot read {file}: {error}");
                (Catalog::default(), vec![problem])
            }
            Err(CatalogTrouble::Wrong(problems)) => {
                let told = problems.iter().map(|problem| format!("{file}: {problem}"));
                (Catalog::default(), told.collect())
            }
        };
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
        SiteHandle::open(self.settings, self.catalog, self.database_url, stop)
    }
}

/// A catalog that is right as a whole.
#[derive(Debug)]
pub(crate) struct ReadCatalog {
    pub(crate) catalog: Catalog,
    /// What an operator should know of it all the same.
    pub(crate) warnings: Vec<String>,
}

/// Why there is no catalog.
#[derive(Debug)]
pub(crate) enum CatalogTrouble {
    /// There is no such file.
    Missing,
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// Everything that is wrong with it.
    Wrong(Vec<Problem>),
}

/// Reads the catalog's file and checks each entry, also against the settings. Blocks.
pub(crate) fn read_catalog(settings: &Settings) -> Result<ReadCatalog, CatalogTrouble> {
    let text = std::fs::read_to_string(&settings.catalog_file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CatalogTrouble::Missing,
        _ => CatalogTrouble::Unreadable(error),
    })?;
    let check = |hosts: &[Host]| -> Vec<Problem> {
        hosts.iter().flat_map(|host| check_host(host, settings)).collect()
    };
    let (catalog, problems) = match Catalog::parse_with(&text, &crate::settings::resolve_secret) {
        Ok(catalog) => {
            let problems = check(catalog.hosts());
            (catalog, problems)
        }
        Err(error) => {
            let mut problems = check(&error.readable);
            problems.extend(error.problems);
            (Catalog::default(), problems)
        }
    };
    if !problems.is_empty() {
        return Err(CatalogTrouble::Wrong(problems));
    }
    let slips = catalog.warnings().iter().map(ToString::to_string);
    let warnings = slips.chain(catalog.hosts().iter().filter_map(warning)).collect();
    Ok(ReadCatalog { catalog, warnings })
}

fn warning(host: &Host) -> Option<String> {
    let readable = host.winrm.transport == Transport::Basic && !host.winrm.use_tls;
    let name = host.name.as_str();
    readable.then(|| {
        format!("host {name:?}: Basic over plain HTTP, whoever listens on the network reads its password")
    })
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
    problems.extend(crate::settings::transport_refusal(host, &settings.winrm));
    let mut problem = |key: &str, message: String| {
        problems.push(Problem {
            host: host.name.to_string(),
            key: key.to_owned(),
            message,
        });
    };
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
    // Without the key the path follows from that of the heartbeat, which was looked at above.
    if host.extra.contains_key("local_mode_flag_path")
        && let Err(error) = station_control::local_mode_flag(host)
    {
        problem("local_mode_flag_path", error.to_string());
    }
    if let WinrmTrust::CaFile(file) = &host.winrm.trust
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
        && !station_control::is_allowed(address, &networks)
    {
        problem(
            "address",
            format!("{address} lies outside the allowed networks (WINRM_MANAGEMENT_CIDRS)"),
        );
    }
    problems.extend(station_control::check_entry(host).err());
    problems
}
