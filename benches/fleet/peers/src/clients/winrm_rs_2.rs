//! `winrm-rs` 2.0.1.

use std::sync::OnceLock;

use anyhow::ensure;
use winrm_rs_2::{AuthMethod, Shell, WinrmClient, WinrmConfig, WinrmCredentials};

use super::{PORT, TYPE, address};
use crate::Args;

/// Hosts of one client object: it keeps no more idle connections than that, and one that is given up costs a new
/// authentication.
const HOSTS_PER_CLIENT: u32 = 32;

pub struct WinrmRs2 {
    args: Args,
    clients: Vec<OnceLock<&'static WinrmClient>>,
}

pub struct WinrmRs2Session {
    shell: Shell<'static>,
}

impl super::Client for WinrmRs2 {
    type Session = WinrmRs2Session;

    fn new(args: &Args) -> anyhow::Result<Self> {
        let clients = (0..args.hosts.div_ceil(HOSTS_PER_CLIENT))
            .map(|_| OnceLock::new())
            .collect();
        Ok(Self {
            args: args.clone(),
            clients,
        })
    }

    async fn open(&self, number: u32) -> anyhow::Result<WinrmRs2Session> {
        let slot = &self.clients[(number / HOSTS_PER_CLIENT) as usize];
        let client = match slot.get() {
            Some(client) => client,
            None => {
                let made = build(&self.args)?;
                slot.get_or_init(|| made)
            }
        };
        let shell = client.open_shell(&address(&self.args, number)).await?;
        Ok(WinrmRs2Session { shell })
    }
}

fn build(args: &Args) -> anyhow::Result<&'static WinrmClient> {
    let config = WinrmConfig {
        port: Some(PORT),
        use_tls: false,
        auth_method: AuthMethod::Ntlm,
        operation_timeout_secs: 20,
        ..WinrmConfig::default()
    };
    let credentials = WinrmCredentials::new(&args.user, &args.password, "");
    let client = WinrmClient::builder(config).credentials(credentials).build()?;
    // Its shells borrow it; the process lives no longer than the measurement.
    Ok(Box::leak(Box::new(client)))
}

impl super::Session for WinrmRs2Session {
    async fn heartbeat(&self) -> anyhow::Result<Vec<u8>> {
        let output = self.shell.run_command(TYPE.0, &[TYPE.1]).await?;
        ensure!(output.exit_code == 0, "exit code {}", output.exit_code);
        Ok(output.stdout)
    }
}
