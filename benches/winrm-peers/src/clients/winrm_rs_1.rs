//! `winrm-rs` 1.1.2.

use winrm_rs::{AuthMethod, Shell, WinrmClient, WinrmConfig, WinrmCredentials};

use crate::wire::{ARGUMENT, COMMAND_SECS, PASSWORD, PROGRAM, Setup, Transport, USER};
use crate::worker::check;

/// One client object for all hosts, as its documentation has it.
pub struct WinrmRs1 {
    setup: Setup,
    client: &'static WinrmClient,
}

pub struct WinrmRs1Session {
    shell: Shell<'static>,
}

impl super::Client for WinrmRs1 {
    type Session = WinrmRs1Session;

    fn new(setup: &Setup) -> anyhow::Result<Self> {
        let config = WinrmConfig {
            port: setup.port(),
            use_tls: setup.transport == Transport::Https,
            auth_method: AuthMethod::Ntlm,
            operation_timeout_secs: COMMAND_SECS / 2,
            // It has no way to name a certificate authority.
            accept_invalid_certs: true,
            ..WinrmConfig::default()
        };
        let credentials = WinrmCredentials::new(USER, PASSWORD, "");
        let client = WinrmClient::new(config, credentials)?;
        // Its shells borrow it; the process lives no longer than the measurement.
        let client = Box::leak(Box::new(client));
        Ok(Self {
            setup: setup.clone(),
            client,
        })
    }

    async fn open(&self, index: usize) -> anyhow::Result<WinrmRs1Session> {
        let shell = self.client.open_shell(&self.setup.hosts[index].address).await?;
        Ok(WinrmRs1Session { shell })
    }
}

impl super::Session for WinrmRs1Session {
    async fn run(&self) -> anyhow::Result<()> {
        let output = self.shell.run_command(PROGRAM, &[ARGUMENT]).await?;
        check(Some(output.exit_code), &output.stdout, &output.stderr)
    }

    async fn close(self) {
        // A session that cannot be closed was reported when it was used.
        let _ = self.shell.close().await;
    }
}
