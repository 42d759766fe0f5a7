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
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let catalog = read_catalog(&settings, &mut problems, &mut warnings);
        let url = match &settings.database_url {
            None => Ok(DatabaseUrl::embedded(&settings.data_dir)),
            Some(url) => DatabaseUrl::parse(secrecy::ExposeSecret::expose_secret(url)),
        };
        let readable = |host: &&Host| host.winrm.transport == Transport::Basic && !host.winrm.use_tls;
        warnings.extend(catalog.hosts().iter().filter(readable).map(|host| {
            let name = host.name.as_str();
            format!("host {name:?}: Basic over plain HTTP, whoever listens on the network reads its password")
        }));
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
        && !networks.iter().any(|network| network.contains(&address))
    {
        problem(
            "address",
            format!("{address} lies outside the allowed networks (WINRM_MANAGEMENT_CIDRS)"),
        );
    }
    problems.extend(station_control::check_entry(host).err());
    problems
}
