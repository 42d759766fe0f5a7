//! Simulated hosts, and the catalog and settings by which the services find them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use host_sim::{Effect, EffectKind, Farm, FarmOptions, HostSpec, SimHost, addresses};
use ops_runtime::{Plan, Settings};
use serde_json::{Map, Value, json};
use store_support::test_support::TestDatabase;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::forwarder::Forwarder;
use super::process::Process;

/// Hosts, a folder with `hosts.json`, and the variables for a service that looks after them.
pub(crate) struct Lab {
    pub(crate) farm: Farm,
    pub(crate) folder: TempDir,
    variables: BTreeMap<String, String>,
}

/// A host that is asleep. Host `n` is named `lab-ws-0n` and serves lab `n`.
pub(crate) fn asleep(n: u8) -> HostSpec {
    let address = addresses::block(1)[0];
    let [.., high, low] = address.octets();
    let mut spec = HostSpec::new(format!("lab-ws-{n:02}"), address, [2, 0, n, 0, high, low]);
    spec.https_port = None;
    spec.station.grace_scale = 0.01;
    spec
}

/// A host that is up and ready.
pub(crate) fn awake(n: u8) -> HostSpec {
    asleep(n).awake()
}

/// The entry of a simulated host: NTLM over plain HTTP, magic packets straight to its address.
fn entry(host: &SimHost) -> Value {
    let mac: Vec<String> = host.mac().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "name": host.name(),
        "address": host.address().to_string(),
        "winrm_user": host.spec().user,
        "winrm_pass": host.spec().password,
        "winrm_port": host.http_port(),
        "mac": mac.join(":"),
        "broadcast": host.address().to_string(),
        "wol_port": host.wol_port(),
        "labs": [u64::from(host.mac()[2])],
    })
}

impl Lab {
    /// Starts the hosts; settings are those of an operator in a hurry.
    pub(crate) async fn start(specs: Vec<HostSpec>) -> Self {
        let farm = Farm::start(specs, FarmOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let variables = [
            ("OPS_BIND", "127.0.0.1"),
            ("OPS_PORT", "0"),
            ("OPS_CONFIG", &path("hosts.json")),
            ("OPS_DATA_DIR", &path("data")),
            ("OPS_DB_MAX_CONNECTIONS", "5"),
            ("OPS_WORKER_NAME", "the-test"),
            ("OPS_SHUTDOWN_GRACE", "30"),
            ("OPS_RESERVATION_SCAN_INTERVAL", "1"),
            ("OPS_RESERVATION_END_DELAY", "0"),
            ("OPS_RESERVATION_RETRY_COOLDOWN", "1"),
            ("OPS_RESERVATION_RETRY_MAX", "2"),
            ("OPS_RESERVATION_GUARD_GRACE", "0"),
            ("OPS_WAKE_TIMEOUT", "60"),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let lab = Self {
            farm,
            folder,
            variables,
        };
        lab.write_catalog(|_| {});
        lab
    }

    /// Sets one variable.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves one variable out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// Works on the test's database instead of one of its own.
    pub(crate) fn on(self, test: &TestDatabase) -> Self {
        self.with("MYSQL_DSN", dsn(test))
    }

    /// Writes `hosts.json` anew, with entries as `change` leaves them.
    pub(crate) fn write_catalog(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let mut entries: Vec<Value> = self.farm.hosts().iter().map(entry).collect();
        change(&mut entries);
        let text = Value::Object(Map::from_iter([("hosts".to_owned(), Value::Array(entries))])).to_string();
        std::fs::write(self.folder.path().join("hosts.json"), text).unwrap();
    }

    /// Writes `hosts.json` anew, with a way to the WinRM of host `n` that the test can stall: what the host does then takes
    /// as long as the test wants, however slow the machine is.
    pub(crate) fn gate(&self, n: u8) -> Forwarder {
        let host = self.sim(n);
        let mut way = Forwarder::to((host.address(), host.http_port()).into());
        way.open();
        self.write_catalog(|entries| {
            let named = |entry: &&mut Value| entry["name"] == host.name();
            let entry = entries.iter_mut().find(named).unwrap();
            entry["address"] = json!(way.address().ip().to_string());
            entry["winrm_port"] = json!(way.address().port());
        });
        way
    }

    /// The settings read and everything checked, for a service in this process.
    pub(crate) fn plan(&self) -> Plan {
        let loaded = Settings::read(&self.variables, None).unwrap();
        let mut warnings = loaded.warnings;
        // Secrets of tests may be short.
        warnings.retain(|warning| !warning.contains("is shorter than 16 characters"));
        assert_eq!(warnings, Vec::<String>::new());
        Plan::new(loaded.settings).unwrap()
    }

    /// A service as a process of its own, with nothing in its environment but the variables.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Process {
        Process::start(program, arguments, &self.variables, self.folder.path())
    }

    /// The same with more variables for this one process.
    pub(crate) fn run_with(&self, program: &str, more: &[(&str, &str)]) -> Process {
        let mut variables = self.variables.clone();
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        variables.extend(more);
        Process::start(program, &[], &variables, self.folder.path())
    }

    /// Host `n`.
    pub(crate) fn sim(&self, n: u8) -> &SimHost {
        self.farm.host(&format!("lab-ws-{n:02}")).unwrap()
    }
}

/// An address at which nothing answers before the test lets it: a wake that looks there lasts until then.
pub(crate) struct Silence(Ipv4Addr);

impl Silence {
    pub(crate) fn new() -> Self {
        Self(addresses::block(1)[0])
    }

    /// An order for one packet to nobody, and a look at this address.
    pub(crate) fn wake(&self) -> Value {
        json!({"mac": "02:00:09:00:00:01", "broadcast": "127.0.0.1", "ping_target": self.0.to_string(), "attempts": 1,
            "ping_timeout": 120})
    }

    /// Something answers there while what is given lives.
    pub(crate) async fn end(&self) -> TcpListener {
        TcpListener::bind((self.0, 5985)).await.unwrap()
    }
}

/// The address of the test's database, as an operator would write it.
pub(crate) fn dsn(test: &TestDatabase) -> String {
    let shown = test.settings().url.shown();
    match shown.strip_prefix("mysql") {
        None => shown,
        Some(rest) => {
            // What is shown has no password; the server's address of the environment has.
            let name = rest.rsplit('/').next().unwrap().split('?').next().unwrap();
            format!(
                "{}/{name}",
                super::database::server_url().unwrap().trim_end_matches('/')
            )
        }
    }
}

/// The valid magic packets a host has seen.
pub(crate) fn packets(host: &SimHost) -> Vec<Effect> {
    let mut effects = host.effects();
    effects.retain(|effect| matches!(effect.what, EffectKind::MagicPacket { valid: true, .. }));
    effects
}

/// The commands of the station that a host was given, by their first word: when, and the arguments after it.
pub(crate) fn commands(host: &SimHost, word: &str) -> Vec<(chrono::DateTime<chrono::Utc>, Vec<String>)> {
    let effects = host.effects().into_iter();
    let given = effects.filter_map(|effect| match effect.what {
        EffectKind::Command { program, argv, .. } if program.ends_with("LabStation.exe") => {
            Some((effect.at, argv))
        }
        _ => None,
    });
    given
        .filter(|(_, argv)| argv.get(1).is_some_and(|first| first == word))
        .map(|(at, argv)| (at, argv[2..].to_vec()))
        .collect()
}
