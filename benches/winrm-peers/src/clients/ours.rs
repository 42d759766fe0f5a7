//! `winrm-transport`.

use std::time::Duration;

use winrm_transport::{Account, AuthMethod, Client, Command, Endpoint, Settings, Trust, TrustStore};

use crate::wire::{ARGUMENT, COMMAND_SECS, PASSWORD, PROGRAM, Setup, Transport, USER};
use crate::worker::check;

pub struct Ours {
    setup: Setup,
    trust: TrustStore,
}

pub struct OurSession {
    client: Client,
    command: Command,
}

impl super::Client for Ours {
    type Session = OurSession;

    fn new(setup: &Setup) -> anyhow::Result<Self> {
        let trust = TrustStore::load(&Trust::CaFile(setup.ca_file.clone()))?;
        Ok(Self {
            setup: setup.clone(),
            trust,
        })
    }

    async fn open(&self, index: usize) -> anyhow::Result<OurSession> {
        let host = &self.setup.hosts[index];
        let endpoint = match self.setup.transport {
            Transport::Http => Endpoint::http(&host.address, host.http_port),
            Transport::Https => Endpoint::https(&host.address, host.https_port),
        };
        let account = Account::parse(USER, PASSWORD.to_owned().into())?;
        let mut settings = Settings::new(endpoint, account);
        settings.auth = AuthMethod::Ntlm;
        // As often as the host's quota of commands per shell allows: the others never replace a shell.
        settings.limits.commands_per_shell = 1_000_000;
        let client = Client::with_trust(settings, &self.trust)?;
        let command = Command::new(PROGRAM).arg(ARGUMENT);
        Ok(OurSession { client, command })
    }
}

impl super::Session for OurSession {
    async fn run(&self) -> anyhow::Result<()> {
        let output = self
            .client
            .run(&self.command, Duration::from_secs(COMMAND_SECS))
            .await?;
        check(output.exit_code, &output.stdout, &output.stderr)
    }

    async fn close(self) {
        self.client.close(Duration::from_secs(5)).await;
    }
}
