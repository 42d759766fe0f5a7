//! A few simulated hosts and a control over them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use host_sim::{EffectKind, Farm, FarmOptions, HostSpec, PowerState, SimHost, addresses};
use lab_model::{Catalog, HostName, SystemClock};
use reservation_engine::{Station, StepAction, StepOrder, StepReport, WakeOrder};
use serde_json::{Map, Value, json};
use station_control::{Settings, SharedCatalog, StationControl, WakeReport, WakeSettings};

/// Long enough for a busy machine; only a test that fails waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) farm: Farm,
    pub(crate) control: StationControl,
    pub(crate) catalog: SharedCatalog,
    name: HostName,
}

/// A host that is asleep.
pub(crate) fn asleep() -> HostSpec {
    let address = addresses::block(1)[0];
    let [.., high, low] = address.octets();
    let mut spec = HostSpec::new("lab-ws-01", address, [2, 0, 0, 0, high, low]);
    spec.station.grace_scale = 0.01;
    spec
}

/// A host that is up and ready.
pub(crate) fn awake() -> HostSpec {
    asleep().awake()
}

/// Stations that write their heartbeats when something happens, and not of themselves in the middle of a count.
pub(crate) fn quiet() -> FarmOptions {
    FarmOptions {
        heartbeat_every: Duration::from_secs(3600),
        ..FarmOptions::default()
    }
}

/// Settings with the pauses of a test and the limits of the real thing.
pub(crate) fn settings() -> Settings {
    let wake = WakeSettings {
        probe_pause: Duration::from_millis(50),
        answer_deadline: Duration::from_secs(10),
        packet_pause: Duration::from_secs(60),
        ..WakeSettings::default()
    };
    Settings {
        wake,
        ..Settings::default()
    }
}

/// The entry of a simulated host, NTLM over plain HTTP, magic packets straight to its address.
pub(crate) fn entry(sim: &SimHost) -> Map<String, Value> {
    let spec = sim.spec();
    let mac: Vec<String> = sim.mac().iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = json!({
        "name": sim.name(),
        "address": sim.address().to_string(),
        "winrm_user": spec.user,
        "winrm_pass": spec.password,
        "winrm_port": sim.http_port(),
        "mac": mac.join(":"),
        "broadcast": sim.address().to_string(),
        "wol_port": sim.wol_port(),
    });
    entry.as_object().unwrap().clone()
}

/// The same over HTTPS.
pub(crate) fn tls_entry(sim: &SimHost) -> Map<String, Value> {
    let mut entry = entry(sim);
    entry.insert("winrm_port".into(), json!(sim.https_port().unwrap()));
    entry.insert("winrm_use_ssl".into(), json!(true));
    entry
}

pub(crate) fn catalog(entries: Vec<Map<String, Value>>) -> Catalog {
    Catalog::parse(&json!({ "hosts": entries }).to_string(), &|_| None).unwrap()
}

impl Bench {
    /// One host.
    pub(crate) async fn start(spec: HostSpec) -> Self {
        Self::start_with(spec, settings(), entry).await
    }

    /// One host with settings and a catalog entry of the test's own.
    pub(crate) async fn start_with(
        spec: HostSpec,
        settings: Settings,
        entry: impl FnOnce(&SimHost) -> Map<String, Value>,
    ) -> Self {
        let farm = Farm::start(vec![spec], quiet()).await.unwrap();
        let catalog = SharedCatalog::new(catalog(vec![entry(&farm.hosts()[0])]));
        let control = StationControl::new(catalog.clone(), settings, Arc::new(SystemClock));
        let name = HostName::parse(farm.hosts()[0].name()).unwrap();
        Self {
            farm,
            control,
            catalog,
            name,
        }
    }

    pub(crate) fn sim(&self) -> &SimHost {
        &self.farm.hosts()[0]
    }

    pub(crate) fn name(&self) -> &HostName {
        &self.name
    }

    pub(crate) async fn wake(&self) -> WakeReport {
        self.wake_within(LIMIT).await
    }

    pub(crate) async fn wake_within(&self, deadline: Duration) -> WakeReport {
        self.control
            .wake(self.name(), &WakeOrder::default(), deadline)
            .await
    }

    pub(crate) async fn perform(&self, action: StepAction) -> StepReport {
        self.perform_within(action, LIMIT).await
    }

    pub(crate) async fn perform_within(&self, action: StepAction, deadline: Duration) -> StepReport {
        self.control
            .perform(StepOrder {
                host: self.name().clone(),
                action,
                deadline,
            })
            .await
    }

    /// The machine goes off at once.
    pub(crate) async fn pull_the_plug(&self) {
        self.sim().power_off();
        assert!(self.sim().wait_for(PowerState::Off, LIMIT).await);
    }

    /// Command lines that reached the host, without those that only read files.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let effects = self
            .sim()
            .effects()
            .into_iter()
            .filter_map(|effect| match effect.what {
                EffectKind::Command { argv, .. } if !argv.iter().any(|word| word == "type") => Some(argv),
                _ => None,
            });
        effects.collect()
    }

    /// Ends the test: nothing of ours may be left on the host.
    pub(crate) async fn end(self) {
        self.end_with_shells(0).await;
    }

    /// Ends the test: at most so many shells may be left on the host.
    pub(crate) async fn end_with_shells(self, most: u64) {
        self.control.close(LIMIT).await;
        let sim = self.sim();
        until("no shell is left on the host", || async {
            sim.counts().open_shells <= most
        })
        .await;
        self.farm.stop().await;
    }
}

/// Waits for a condition, with a limit.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
