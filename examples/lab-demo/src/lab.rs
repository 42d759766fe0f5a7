//! The lab itself: twelve simulated hosts, the files an operator would write, and the real services on top.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use host_sim::{BootTimes, Farm, FarmOptions, Fault, HostSpec, SimHost};
use ops_runtime::{Plan, Settings, Site};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::day::{END_DELAY, HOSTS, LEAD, host_name, lab_id};

/// These hosts are spoken to over HTTPS, the others over HTTP with sealed NTLM.
const OVER_TLS: [usize; 3] = [2, 5, 7];
/// Its mainboard has died: it takes the packet and never boots.
const NEVER_BOOTS: usize = 8;
/// How long steps under way may take when the services stop.
const GRACE: Duration = Duration::from_secs(5);

/// Hosts and services, running.
pub(crate) struct Lab {
    /// The simulated hosts.
    pub(crate) farm: Farm,
    /// What the services are wired from; the table is read through it.
    pub(crate) site: Arc<Site>,
    /// Where the API listens.
    pub(crate) address: SocketAddr,
    folder: TempDir,
    api: ops_api::Api,
    scheduler: ops_scheduler::Scheduler,
}

impl Lab {
    /// Starts the hosts, asleep, then the services with nothing but files and settings to know them by.
    pub(crate) async fn start(seed: u64) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("lab-demo.").context("make a temporary folder")?;
        log_to(&folder.path().join("lab-demo.log"))?;
        let farm = start_farm(seed).await?;
        write_files(&farm, folder.path())?;

        let loaded = Settings::read(&variables(folder.path()), None)?;
        let plan = Plan::new(loaded.settings)?;
        for warning in loaded.warnings.iter().chain(plan.warnings()) {
            tracing::warn!("{warning}");
        }
        let handle = plan.open(CancellationToken::new());
        let api = ops_api::start(handle.clone()).await?;
        let scheduler = ops_scheduler::start(handle.clone());
        let opened = tokio::time::timeout(Duration::from_secs(60), handle.opened()).await;
        let site = opened
            .ok()
            .flatten()
            .ok_or_else(|| anyhow!("the embedded database did not open in 60 s"))?;
        Ok(Self {
            farm,
            site,
            address: api.address(),
            folder,
            api,
            scheduler,
        })
    }

    /// A host by its place, from 0.
    pub(crate) fn host(&self, host: usize) -> Option<&SimHost> {
        self.farm.hosts().get(host)
    }

    /// Where hosts.json, the database and the log are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the services as their programs do, which gives all shells back. The hosts stay as they are.
    pub(crate) async fn stop(self) -> Remains {
        let Self {
            farm,
            site,
            folder,
            api,
            scheduler,
            ..
        } = self;
        api.stop().await;
        scheduler.stop().await;
        site.close(GRACE).await;
        Remains { farm, folder }
    }
}

/// What is left when the services have stopped.
pub(crate) struct Remains {
    /// The hosts, to look at once more.
    pub(crate) farm: Farm,
    folder: TempDir,
}

impl Remains {
    /// Shells that are still open on any host, once the last orders to close them have arrived.
    pub(crate) async fn open_shells(&self) -> u64 {
        let open = || {
            self.farm
                .hosts()
                .iter()
                .map(|host| host.counts().open_shells)
                .sum::<u64>()
        };
        let closed = async {
            while open() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Elapsed or not, what counts is what is open now.
        let _ = tokio::time::timeout(Duration::from_secs(15), closed).await;
        open()
    }

    /// Stops the hosts. The folder goes with them, unless it is kept for somebody to look into; then its path comes
    /// back.
    pub(crate) async fn clear(self, keep: bool) -> Option<std::path::PathBuf> {
        self.farm.stop().await;
        keep.then(|| self.folder.keep())
    }
}

/// The table owns the terminal, so log lines go to a file.
fn log_to(file: &Path) -> anyhow::Result<()> {
    let writer = private_file(file)?;
    let filter = EnvFilter::new("info,sqlx=warn,sea_orm_migration=warn");
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(writer));
    subscriber
        .try_init()
        .map_err(|error| anyhow!("start logging: {error}"))
}

async fn start_farm(seed: u64) -> anyhow::Result<Farm> {
    let addresses = host_sim::addresses::block(HOSTS);
    let specs: Vec<HostSpec> = addresses
        .into_iter()
        .enumerate()
        .map(|(host, address)| spec(host, address))
        .collect();
    let options = FarmOptions {
        seed,
        heartbeat_every: Duration::from_secs(5),
        ..FarmOptions::default()
    };
    let farm = Farm::start(specs, options)
        .await
        .context("start the simulated hosts")?;
    if farm.hosts().len() != HOSTS {
        anyhow::bail!(
            "only {} of {HOSTS} loopback addresses are free",
            farm.hosts().len()
        );
    }
    farm.hosts()[NEVER_BOOTS].set_fault(Fault::NeverBoots);
    Ok(farm)
}

fn spec(host: usize, address: std::net::Ipv4Addr) -> HostSpec {
    // A locally administered address; the last byte counts the hosts.
    let mac = [
        0x02,
        0x1a,
        0xb0,
        0x00,
        0x00,
        u8::try_from(host + 1).unwrap_or(u8::MAX),
    ];
    let mut spec = HostSpec::new(host_name(host), address, mac);
    spec.password = password(host);
    // The usual ports: one that the system chooses could be taken by somebody else while the host is off.
    (spec.http_port, spec.https_port) = (5985, Some(5986));
    // A real computer takes a minute; the rest of the day is shortened by the same factor.
    spec.boot = BootTimes {
        port_open: Duration::from_millis(1500)..Duration::from_millis(3500),
        ready_after_port: Duration::from_millis(1000)..Duration::from_millis(3000),
    };
    spec.shutdown = Duration::from_millis(500)..Duration::from_millis(1000);
    spec.station.student_follows_prepare = true;
    spec.station.grace_scale = 0.05;
    spec.station.durations.prepare = Duration::from_millis(900);
    spec.station.durations.release = Duration::from_millis(700);
    spec
}

fn password(host: usize) -> String {
    format!("Demo-only-{:02}!", host + 1)
}

/// What an operator writes: the catalog, and the authority that signed the hosts' certificates.
fn write_files(farm: &Farm, folder: &Path) -> anyhow::Result<()> {
    let authority = folder.join("farm-ca.pem");
    private_file(&authority)?.write_all(farm.ca_pem().as_bytes())?;
    let hosts: Vec<Value> = farm
        .hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| entry(at, host, &authority))
        .collect();
    let text = serde_json::to_vec_pretty(&json!({ "hosts": hosts }))?;
    private_file(&folder.join("hosts.json"))?
        .write_all(&text)
        .context("write hosts.json")
}

fn entry(at: usize, host: &SimHost, authority: &Path) -> Value {
    let mac: Vec<String> = host.mac().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut entry = json!({
        "name": host.name(),
        "address": host.address().to_string(),
        "mac": mac.join(":"),
        // A directed packet: broadcasts do not leave the loopback interface.
        "broadcast": host.address().to_string(),
        "wol_port": host.wol_port(),
        "winrm_user": host.spec().user,
        "winrm_pass": host.spec().password,
        "winrm_transport": "ntlm",
        "winrm_port": host.http_port(),
        "labs": [lab_id(at)],
    });
    if let Some(port) = host.https_port().filter(|_| OVER_TLS.contains(&at)) {
        entry["winrm_use_ssl"] = json!(true);
        entry["winrm_port"] = json!(port);
        entry["winrm_ca_file"] = json!(authority);
        entry["tls_server_name"] = json!(host.name());
    }
    entry
}

/// A file that only we may read: passwords are in it, or may be.
fn private_file(path: &Path) -> anyhow::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .with_context(|| format!("create {}", path.display()))
}

/// The settings of the services, as an environment would give them: short leads, otherwise what an operator has.
fn variables(folder: &Path) -> BTreeMap<String, String> {
    let lead = LEAD.to_string();
    let end_delay = END_DELAY.to_string();
    let folder_name = folder.display().to_string();
    let catalog = folder.join("hosts.json").display().to_string();
    let pairs = [
        ("OPS_BIND", "127.0.0.1"),
        ("OPS_PORT", "0"),
        ("OPS_CONFIG", catalog.as_str()),
        ("OPS_DATA_DIR", folder_name.as_str()),
        ("OPS_POLL_ENABLED", "true"),
        ("OPS_POLL_INTERVAL", "2"),
        ("OPS_POLL_DEADLINE", "5"),
        ("OPS_RESERVATION_SCAN_INTERVAL", "1"),
        ("OPS_RESERVATION_START_LEAD", lead.as_str()),
        ("OPS_RESERVATION_END_DELAY", end_delay.as_str()),
        ("OPS_RESERVATION_RETRY_COOLDOWN", "3"),
        ("OPS_RESERVATION_GUARD_GRACE", "0"),
        ("OPS_RESERVATION_REBOOT_MARGIN", "5"),
        ("OPS_WAKE_TIMEOUT", "14"),
        ("OPS_SHUTDOWN_GRACE", "5"),
        ("OPS_WORKER_NAME", "lab-demo"),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_ones_the_services_know_and_accept() {
        let loaded = Settings::read(&variables(Path::new("/nowhere")), None).unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        assert_eq!(
            loaded.settings.reservations.engine.lead,
            Duration::from_secs(LEAD.unsigned_abs())
        );
        assert!(loaded.settings.poll.enabled && loaded.settings.reservations.enabled);
    }

    #[tokio::test]
    async fn the_catalog_written_for_the_hosts_is_one_the_services_accept() {
        let folder = TempDir::new().unwrap();
        let farm = start_farm(1).await.unwrap();
        write_files(&farm, folder.path()).unwrap();
        let settings = Settings::read(&variables(folder.path()), None).unwrap().settings;
        let plan = Plan::new(settings).unwrap();
        assert_eq!(plan.catalog().hosts().len(), HOSTS);
        assert_eq!(
            plan.catalog()
                .hosts()
                .iter()
                .filter(|host| host.winrm.use_tls)
                .count(),
            OVER_TLS.len()
        );
        farm.stop().await;
    }
}
