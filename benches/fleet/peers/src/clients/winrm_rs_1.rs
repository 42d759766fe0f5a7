//! `winrm-rs` 1.1.2.

use anyhow::ensure;
use winrm_rs::{AuthMethod, Shell, WinrmClient, WinrmConfig, WinrmCredentials};

use super::{PORT, TYPE, address};
use crate::Args;

/// One client object for all hosts, as its documentation has it.
pub struct WinrmRs1 {
    args: Args,
    client: &'static WinrmClient,
}

pub struct WinrmRs1Session {
    shell: Shell<'static>,
}

impl super::Client for WinrmRs1 {
    type Session = WinrmRs1Session;

    fn new(args: &Args) -> anyhow::Result<Self> {
        let config = WinrmConfig {
            port: PORT,
            use_tls: false,
            auth_method: AuthMethod::Ntlm,
            operation_timeout_secs: 20,
            ..WinrmConfig::default()
        };
        let credentials = WinrmCredentials::new(&args.user, &args.password, "");
        // Its shells borrow it; the process lives no longer than the measurement.
        let client = Box::leak(Box::new(WinrmClient::new(config, credentials)?));
        Ok(Self {
            args: args.clone(),
            client,
        })
    }

    async fn open(&self, number: u32) -> anyhow::Result<WinrmRs1Session> {
        let shell = self.client.open_shell(&address(&self.args, number)).await?;
        Ok(WinrmRs1Session { shell })
    }
}

impl super::Session for WinrmRs1Session {
    async fn heartbeat(&self) -> anyhow::Result<Vec<u8>> {
        let output = self.shell.run_command(TYPE.0, &[TYPE.1]).await?;
        ensure!(output.exit_code == 0, "exit code {}", output.exit_code);
        Ok(output.stdout)
    }
}
