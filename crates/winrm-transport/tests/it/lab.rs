//! One simulated host and clients for it.

use std::time::Duration;

use host_sim::{AuthPolicy, EffectKind, Farm, FarmOptions, HostSpec, SimHost, addresses};
use winrm_transport::{Account, AuthMethod, Client, Command, Endpoint, Settings, Trust};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const STATION: &str = r"C:\LabStation\LabStation.exe";

/// A host that is up, and what is needed to reach it.
pub(crate) struct Lab {
    pub(crate) farm: Farm,
    folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) async fn start(change: impl FnOnce(&mut HostSpec)) -> Self {
        let mut spec = HostSpec::new("lab-ws-01", addresses::block(1)[0], [2, 0, 0, 0, 0, 1]).awake();
        spec.auth = AuthPolicy::ALL;
        change(&mut spec);
        let farm = Farm::start(vec![spec], FarmOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), farm.ca_pem()).unwrap();
        Self { farm, folder }
    }

    /// The usual host, and a client that speaks sealed NTLM to it.
    pub(crate) async fn sealed() -> (Self, Client) {
        let lab = Self::start(|_| ()).await;
        let client = Client::new(lab.http()).unwrap();
        (lab, client)
    }

    pub(crate) fn host(&self) -> &SimHost {
        &self.farm.hosts()[0]
    }

    pub(crate) fn account(&self) -> Account {
        let spec = self.host().spec();
        Account::parse(&format!(r".\{}", spec.user), spec.password.clone().into()).unwrap()
    }

    /// Sealed NTLM over plain HTTP.
    pub(crate) fn http(&self) -> Settings {
        let mut settings = Settings::new(
            Endpoint::http(self.host().address().to_string(), self.host().http_port()),
            self.account(),
        );
        settings.auth = AuthMethod::Ntlm;
        // A host that hangs is noticed within 16 s, and one on a machine with much else to do is not taken for one.
        settings.timeouts.operation = Duration::from_secs(4);
        settings.timeouts.answer_grace = Duration::from_secs(12);
        settings
    }

    /// Verified TLS by the farm's authority and the host's name.
    pub(crate) fn https(&self) -> Settings {
        let mut settings = self.http();
        settings.endpoint = Endpoint::https(
            self.host().address().to_string(),
            self.host().https_port().unwrap(),
        );
        settings.server_name = Some(self.host().name().to_owned());
        settings.trust = Trust::CaFile(self.folder.path().join("ca.pem"));
        settings
    }

    /// The arguments of every command the host started.
    pub(crate) fn argvs(&self) -> Vec<Vec<String>> {
        let argv = |kind| match kind {
            EffectKind::Command { argv, .. } => Some(argv),
            _ => None,
        };
        self.host()
            .effects()
            .into_iter()
            .filter_map(|effect| argv(effect.what))
            .collect()
    }

    /// Waits until no shell is open any more: what happens in the background has to end well too.
    pub(crate) async fn is_tidy(&self) -> bool {
        eventually(|| self.host().counts().open_shells == 0).await
    }

    pub(crate) async fn end(self, client: Client) {
        self.host().clear_faults();
        client.close(LIMIT).await;
        assert!(self.is_tidy().await, "open shells: {:?}", self.host().counts());
        self.farm.stop().await;
    }
}

pub(crate) fn status() -> Command {
    Command::new(STATION).arg("status-json")
}

/// A command that runs until it is stopped, once the fault for it is set.
pub(crate) fn prepare() -> Command {
    Command::new(STATION).arg("prepare-session")
}

pub(crate) async fn eventually(condition: impl Fn() -> bool) -> bool {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, holds).await.is_ok()
}
