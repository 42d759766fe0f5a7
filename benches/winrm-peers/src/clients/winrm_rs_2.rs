//! `winrm-rs` 2.0.1.

use std::sync::OnceLock;

use winrm_rs_2::{AuthMethod, Shell, WinrmClient, WinrmConfig, WinrmCredentials};

use crate::wire::{ARGUMENT, COMMAND_SECS, PASSWORD, PROGRAM, Setup, Transport, USER};
use crate::worker::check;

/// Hosts of one client object: it keeps no more idle connections than that, and one that is given up costs a new
/// authentication.
const HOSTS_PER_CLIENT: usize = 32;

pub struct WinrmRs2 {
    setup: Setup,
    clients: Vec<OnceLock<&'static WinrmClient>>,
}

pub struct WinrmRs2Session {
    shell: Shell<'static>,
}

impl super::Client for WinrmRs2 {
    type Session = WinrmRs2Session;

    fn new(setup: &Setup) -> anyhow::Result<Self> {
        let clients = setup
            .hosts
            .chunks(HOSTS_PER_CLIENT)
            .map(|_| OnceLock::new())
            .collect();
        Ok(Self {
            setup: setup.clone(),
            clients,
        })
    }

    async fn open(&self, index: usize) -> anyhow::Result<WinrmRs2Session> {
        let slot = &self.clients[index / HOSTS_PER_CLIENT];
        let client = match slot.get() {
            Some(client) => client,
            None => {
                let made = build(&self.setup)?;
                slot.get_or_init(|| made)
            }
        };
        let shell = client.open_shell(&self.setup.hosts[index].address).await?;
        Ok(WinrmRs2Session { shell })
    }
}

fn build(setup: &Setup) -> anyhow::Result<&'static WinrmClient> {
    let config = WinrmConfig {
        port: Some(setup.port()),
        use_tls: setup.transport == Transport::Https,
        auth_method: AuthMethod::Ntlm,
        operation_timeout_secs: COMMAND_SECS / 2,
        ..WinrmConfig::default()
    };
    let credentials = WinrmCredentials::new(USER, PASSWORD, "");
    let client = WinrmClient::builder(config)
        .credentials(credentials)
        .add_root_certificates_pem(&setup.ca_file)
        .build()?;
    // Its shells borrow it; the process lives no longer than the measurement.
    Ok(Box::leak(Box::new(client)))
}

impl super::Session for WinrmRs2Session {
    async fn run(&self) -> anyhow::Result<()> {
        let output = self.shell.run_command(PROGRAM, &[ARGUMENT]).await?;
        check(Some(output.exit_code), &output.stdout, &output.stderr)
    }

    async fn close(self) {
        // A session that cannot be closed was reported when it was used.
        let _ = self.shell.close().await;
    }
}
